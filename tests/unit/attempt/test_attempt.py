"""Attempts in a scripted sandbox on a manual clock: every blame and every clock, in milliseconds."""

from collections.abc import Callable, Iterable
from typing import Any

from bakeoff.attempt.attempt import Attempt, Watchers
from bakeoff.attempt.spec import AttemptLimits, AttemptSpec, HarnessSpec
from bakeoff.backends.fake import LIMITS, FakeHarness, FakeSandbox, ManualTimer, Script, ai, human
from bakeoff.gateway.types import CallContext, ModelCard, ModelReply, ModelRequest
from bakeoff.record.base import JsonDict
from bakeoff.record.trial import AttemptResult, TrialSpec
from bakeoff.verdict import attribute

TRIAL = TrialSpec(trial_id="m/sum/1", candidate="m", example_id="sum", repetition=1, seed=7)


def spec(**changes: Any) -> AttemptSpec:
    limits = {"turns": 5, "seconds": 60.0, "tool_seconds": 10.0, **changes.pop("limits", {})}
    return AttemptSpec(
        trial=TRIAL,
        attempt=1,
        harness=HarnessSpec(**changes.pop("harness", {"entrypoint": "shop:build"})),
        model=ModelCard("m", "fake-chat"),
        limits=AttemptLimits(**limits),
        resources=LIMITS,
        inputs={},
        messages=[{"role": "user", "content": "1 + 2?"}],
        **changes,
    )


class Model:
    """Gives its replies in order, the last one for ever. Each takes `seconds` after `queued`."""

    def __init__(
        self,
        timer: ManualTimer,
        *replies: JsonDict | Exception,
        seconds: float = 1.0,
        queued: float = 0.0,
        **more: Any,
    ) -> None:
        self.timer, self.replies, self.seconds, self.queued = timer, list(replies), seconds, queued
        self.more = more
        self.requests: list[ModelRequest] = []

    def complete(self, request: ModelRequest, call: CallContext) -> ModelReply:
        self.requests.append(request)
        self.timer.sleep(self.queued + self.seconds)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        return ModelReply(reply, self.seconds, queued_seconds=self.queued, **self.more)

    def card(self) -> ModelCard:
        return ModelCard("m", "fake-chat")

    def close(self) -> None: ...


class Run:
    """One attempt: what it is made of, and what came of it."""

    def __init__(
        self,
        script: Callable[[FakeHarness], Script] | None = None,
        *replies: JsonDict | Exception,
        attempt: AttemptSpec | None = None,
        before: Callable[["Run"], None] = lambda _: None,
        model: dict[str, Any] | None = None,
        **sandbox: Any,
    ) -> None:
        self.timer = ManualTimer()
        scripted = {} if script is None else {"script": script}
        self.sandbox = FakeSandbox(self.timer, **scripted, **sandbox)
        self.model = Model(self.timer, *(replies or (ai("3"),)), **(model or {}))
        self.seen: list[Any] = []
        watchers = Watchers(self.seen.append, lambda call, _: self.seen.append(call))
        pool = self.timer.executor()
        self.attempt = Attempt(
            attempt or spec(), self.sandbox, self.model, pool, lambda _: b"", watchers, self.timer
        )
        before(self)
        self.result: AttemptResult = self.attempt.run()
        self.evidence = self.result.evidence

    def cause(self, passed: bool | None = None, failing: Iterable[Any] = ()) -> str | None:
        return attribute(self.evidence, passed, tuple(failing)).cause


def honest(harness: FakeHarness) -> Script:
    harness.loaded()
    harness.started()
    reply = yield harness.ask("1 + 2?")
    yield 2.0
    harness.answer(human("1 + 2?"), reply["result"]["message"])


def test_an_honest_attempt_is_served_to_its_end_and_counted() -> None:
    run = Run(honest, model={"queued": 30.0})
    evidence, clock = run.evidence, run.evidence.clock
    assert evidence.harness.reached == "answered"
    assert evidence.answer is not None
    assert (evidence.answer.text, evidence.answer.source) == ("3", "model")
    assert (clock.working_seconds, clock.queued_seconds, clock.model_seconds) == (3.0, 30.0, 1.0)
    assert (evidence.replies, run.result.usage.model_calls) == (1, 1)
    assert [message.openai["role"] for message in run.result.messages] == ["user", "assistant"]
    assert run.sandbox.closed
    assert run.cause(True) is None
