"""Attempts in a scripted sandbox on a manual clock: every blame and every clock, in milliseconds."""

# ruff: noqa: E501 - one case a line

import errno
import gc
import hashlib
import json
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from bakeoff.attempt.attempt import Attempt, Watchers
from bakeoff.attempt.holdings import Holdings
from bakeoff.attempt.spec import AttemptLimits, AttemptSpec, HarnessSpec
from bakeoff.attempt.tool_log import MAX_RAW_ARGS
from bakeoff.backends.base import SandboxError
from bakeoff.backends.fake import (
    LIMITS,
    FakeHarness,
    FakeSandbox,
    ManualTimer,
    Script,
    ai,
    human,
    kernel_facts,
    tool_message,
)
from bakeoff.errors import BudgetSpent, ModelCallError, ModelErrorKind
from bakeoff.gateway.types import CallContext, ModelCard, ModelReply, ModelRequest
from bakeoff.record.base import JsonDict
from bakeoff.record.evidence import DockerFacts, HostFacts
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
    assert (evidence.answer.text, evidence.answer.source) == ("3", "model")
    assert (clock.working_seconds, clock.queued_seconds, clock.model_seconds) == (3.0, 30.0, 1.0)
    assert (evidence.replies, run.result.usage.model_calls) == (1, 1)
    assert [message.openai["role"] for message in run.result.messages] == ["user", "assistant"]
    assert run.sandbox.closed
    assert run.cause(True) is None


def after_a_reply(end: Callable[[FakeHarness], object]) -> Callable[[FakeHarness], Script]:
    """A harness that asks its model once and then ends in this way."""

    def script(harness: FakeHarness) -> Script:
        harness.loaded()
        harness.started()
        yield harness.ask("1 + 2?")
        end(harness)

    return script


def before_a_reply(end: Callable[[FakeHarness], object]) -> Callable[[FakeHarness], Script]:
    def script(harness: FakeHarness) -> Script:
        harness.loaded()
        harness.started()
        yield 1.0
        end(harness)

    return script


def loops(harness: FakeHarness) -> Script:
    harness.loaded()
    harness.started()
    while True:
        yield harness.ask("again")


def works(seconds: float) -> Callable[[FakeHarness], Script]:
    def script(harness: FakeHarness) -> Script:
        harness.loaded()
        harness.started()
        yield seconds
        harness.answer(ai("3"))

    return script


def never_starts(harness: FakeHarness) -> Script:
    harness.loaded()
    yield float("inf")


def interrupted(harness: FakeHarness) -> None:
    harness.answer(human("1 + 2?"), interrupt="approve issue_refund(amount=5)?")


def floods(harness: FakeHarness) -> None:
    for _ in range(60):
        harness.box.write(b"{}\n" * 1000)


def error(kind: ModelErrorKind) -> ModelCallError:
    return ModelCallError(kind, "said so")


GRAPH_LIMIT = "langgraph.errors.GraphRecursionError"

ENDS: dict[str, list[dict[str, Any]]] = {
    "infra.oom_killed": [{"script": after_a_reply(lambda h: h.die(9)), "kernel": {"oom_kills": 1, "memory_limit_hits": 4}}],
    "infra.host_memory": [{"script": after_a_reply(lambda h: h.die(9)), "kernel": {"oom_kills": 1, "memory_limit_hits": 0}}],
    "infra.disk_full": [
        {"script": after_a_reply(lambda h: h.die(9)), "kernel": {"disk_full": True}},
        {"script": after_a_reply(lambda h: h.die(9)), "kernel": {"inodes_full": True}},
        {
            "script": after_a_reply(lambda h: h.fail("builtins.OSError", "full", errnos=[errno.ENOSPC])),
            "kernel": {"disk_peak_bytes": LIMITS.disk_bytes},
        },
    ],
    "infra.pids_exhausted": [{"script": after_a_reply(lambda h: h.die(9)), "kernel": {"pids_refused": 3}}],
    "infra.host_pids": [{"script": after_a_reply(lambda h: h.die(9)), "kernel": {"pids_refused": 3, "pids_peak": 4}}],
    "infra.start_refused": [
        {
            "script": after_a_reply(lambda h: h.fail("builtins.RuntimeError", errnos=[errno.EAGAIN])),
            "kernel": {"pids_refused": 0},
        }
    ],
    "infra.limits_not_enforced": [{"kernel": {"memory_limit_bytes": 2**40}}],
    "infra.docker_unavailable": [
        {"deaf": True, "kill": "unanswered"},
        {"deaf": True, "kill": "ignored"},
        {"start_error": SandboxError(DockerFacts(failed_step="start", error_kind="unavailable"))},
    ],
    "infra.image": [{"start_error": SandboxError(DockerFacts(failed_step="image", error_kind="image"))}],
    "infra.container_start": [
        {"start_error": SandboxError(DockerFacts(failed_step="start", error_kind="start"))},
        {"script": never_starts},
        {"deaf": True},
    ],
    "infra.container_lost": [
        {"script": after_a_reply(lambda h: h.box.die(137))},
        {"before": lambda run: run.timer.after(0.5, run.sandbox.freeze)},
        {"before": lambda run: run.timer.after(0.5, lambda: run.sandbox.freeze("stopped", event=False))},
        {"script": after_a_reply(lambda h: h.box.exit(None, 9, terminated=True))},
    ],
    "infra.supervisor_lost": [{"script": after_a_reply(lambda h: h.box.die(1))}],
    "infra.provider_auth": [{"replies": error(ModelErrorKind.AUTH)}],
    "infra.provider_unsupported": [{"replies": error(ModelErrorKind.UNSUPPORTED)}],
    "infra.provider_rate_limited": [{"replies": error(ModelErrorKind.RATE_LIMITED)}],
    "infra.provider_unavailable": [{"replies": error(ModelErrorKind.UNAVAILABLE)}],
    "infra.provider_timeout": [{"replies": error(ModelErrorKind.TIMEOUT)}],
    "infra.not_on_tape": [{"replies": error(ModelErrorKind.NOT_ON_TAPE)}],
    "infra.provider_bad_response": [{"replies": error(ModelErrorKind.BAD_RESPONSE)}],
    "infra.unknown": [{"replies": ZeroDivisionError("a bug of the gateway")}],
    "infra.output_limit": [
        {"script": after_a_reply(floods)},
        {"script": after_a_reply(lambda h: h.box.write(b"x" * (9 * 2**20)))},
        {"script": after_a_reply(lambda h: h.box.exit(None, 9, overflow="line", stopped_for="overflow"))},
    ],
    "infra.protocol": [{"script": after_a_reply(lambda h: h.box.write(b"garbage\n"))}],
    "infra.interrupted": [{"script": after_a_reply(interrupted)}],
    "infra.harness_crash": [
        {"script": before_a_reply(lambda h: h.fail("builtins.KeyError", "'x'"))},
        {"script": before_a_reply(lambda h: h.die(9))},
        {"script": before_a_reply(lambda h: None)},
        {"replies": error(ModelErrorKind.BAD_REQUEST)},
    ],
    "infra.cpu_throttled": [{"script": works(100.0), "kernel": {"throttled_seconds": 50.0}}],
    "model.killed_harness": [
        {"script": after_a_reply(lambda h: h.die(9))},
        {"script": after_a_reply(lambda h: h.box.exit(None, 9, stopped_for="channel_closed"))},
        {"script": after_a_reply(lambda h: None)},
    ],
    "model.broke_harness": [
        {"script": after_a_reply(lambda h: h.fail("builtins.KeyError", "'A-99'"))},
        {"script": after_a_reply(lambda h: h.die(11))},
        {"script": after_a_reply(lambda h: h.fail("builtins.OSError", "full", errnos=[errno.ENOSPC]))},
    ],
    "model.turn_limit": [{"script": loops}, {"script": after_a_reply(lambda h: h.fail(GRAPH_LIMIT, "8 steps"))}],
    "model.token_limit": [{"script": loops, "attempt": spec(limits={"tokens": 5}), "model": {"input_tokens": 5}}],
    "model.time_limit": [
        {"script": works(100.0)},
        {"script": works(100.0), "stop_works": False},
        {"model": {"seconds": 100.0}, "script": honest},
    ],
    "model.context_overflow": [{"replies": error(ModelErrorKind.CONTEXT_OVERFLOW)}],
    "model.refusal": [{"replies": error(ModelErrorKind.REFUSAL)}],
    "model.invalid_tool_call": [{"replies": error(ModelErrorKind.INVALID_TOOL_CALL)}],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("cause", "made"), [(cause, one) for cause, ways in ENDS.items() for one in ways])
def test_every_cause_that_an_attempt_can_produce_comes_out_of_a_sandbox(
    cause: str, made: dict[str, Any]
) -> None:
    made = dict(made)
    replies = made.pop("replies", None)
    script = made.pop("script", honest if replies else None)
    run = Run(script, *([replies] if replies else []), **made)
    assert run.cause() == cause, run.evidence
    assert run.evidence.internal_error is None
    assert run.sandbox.closed


def test_a_limit_lifted_from_outside_while_the_harness_runs_is_named_as_such() -> None:
    lifted = kernel_facts(LIMITS) | {"swap_limit_bytes": 2**30}
    run = Run(after_a_reply(lambda h: h.box.exit(1, None, kernel=lifted)))
    assert run.cause() == "infra.limits_not_enforced"
    assert run.evidence.limits_mismatch == [
        "swap: asked none, effective 1073741824, changed from outside while it ran"
    ]
    from_the_start = Run(honest, kernel={"swap_limit_bytes": 2**30})
    assert from_the_start.evidence.limits_mismatch == ["swap: asked none, effective 1073741824"]


@pytest.mark.parametrize("kill", ["unanswered", "ignored"])
def test_a_sandbox_that_answers_nothing_and_cannot_be_killed_ends_within_a_bound(kill: Any) -> None:
    run = Run(deaf=True, kill=kill)
    assert run.evidence.docker.error_kind == "unavailable"
    assert run.sandbox.kills <= 6
    assert run.evidence.clock.wall_seconds <= 120.0 + 10.0 * 7


def test_a_backend_that_does_not_answer_a_kill_is_asked_nothing_more() -> None:
    run = Run(deaf=True, kill="unanswered")
    assert run.sandbox.kills == 3
    assert run.sandbox.asked_who_holds_it == 1, "each question to a daemon that hangs takes a minute"


def test_a_bug_while_the_record_is_made_or_while_closing_does_not_escape(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise OSError("broken")

    monkeypatch.setattr(FakeSandbox, "close", broken)
    assert Run(honest).evidence.harness.reached == "answered"
    monkeypatch.setattr("bakeoff.attempt.evidence.EvidenceBuilder.build", broken)
    assert Run(honest).evidence.internal_error == "OSError: broken"


def test_a_run_without_money_or_that_is_stopped_is_cancelled() -> None:
    assert Run(honest, BudgetSpent(1.0, 1.0)).attempt.cancelled
    assert Run(works(50.0), before=lambda run: run.timer.after(5.0, run.attempt.stop)).attempt.cancelled


def test_a_model_call_after_the_answer_changes_nothing() -> None:
    def script(harness: FakeHarness) -> Script:
        harness.loaded()
        harness.started()
        reply = yield harness.ask("1 + 2?")
        harness.answer(human("1 + 2?"), reply["result"]["message"])
        harness.ask("Say 5 instead.")
        yield 1.0

    run = Run(script, ai("3"), ai("5"))
    assert (run.evidence.answer.text, run.result.usage.model_calls) == ("3", 1)


def test_a_line_that_is_sent_twice_or_by_another_attempt_is_no_second_call() -> None:
    def script(harness: FakeHarness) -> Script:
        harness.loaded()
        harness.started()
        asked = harness.ask("1 + 2?")
        params = {
            "messages": [human("again")],
            "tools": None,
            "tool_choice": None,
            "stop": None,
            "params": {},
        }
        harness.say({"id": asked, "method": "model/generate", "params": params})
        answer = {"id": 1, "result": {"messages": [ai("forged")]}}
        for token in ("0" * 32, "", None):
            harness.box.write(json.dumps({"token": token, **answer}).encode() + b"\n")
        reply = yield asked
        harness.answer(human("1 + 2?"), reply["result"]["message"])

    run = Run(script, ai("3"))
    assert (run.evidence.answer.text, run.result.usage.model_calls) == ("3", 1)
    protests = run.evidence.protocol_errors
    assert sum("a second call with the id" in text for text in protests) == 1
    assert sum("not of this attempt" in text for text in protests) == 3


def test_a_file_that_has_changed_since_the_run_read_it_is_told_and_fails_no_model() -> None:
    run = Run(honest, attempt=spec(files={"order.txt": hashlib.sha256(b"forty-two").hexdigest()}))
    assert run.evidence.internal_error.startswith("ValueError: order.txt has changed since the run read it")
    assert run.cause() == "infra.unknown"


def test_a_flood_cannot_hold_up_the_time_limit() -> None:
    """Lines arrive faster than time passes between them; the limit is met all the same."""

    def script(harness: FakeHarness) -> Script:
        harness.loaded()
        harness.started()
        while True:
            harness.box.write(b"{}\n")
            yield 0.1

    run = Run(script)
    assert run.evidence.time_limit_hit
    assert run.evidence.clock.working_seconds == pytest.approx(60.0, abs=0.2)


def test_queued_and_paused_time_never_causes_a_time_limit() -> None:
    run = Run(honest, model={"queued": 1000.0})
    assert run.cause(True) is None
    assert not run.evidence.time_limit_hit

    def paused(run: Run) -> None:
        run.timer.after(1.5, run.sandbox.freeze)
        run.timer.after(21.5, run.sandbox.thaw)

    run = Run(works(50.0), before=paused, attempt=spec(limits={"seconds": 51.0}))
    assert not run.evidence.time_limit_hit
    assert run.evidence.docker.paused_seconds == 20.0


@pytest.mark.parametrize("harness", [{"entrypoint": "shop:build", "command": []}, {"prompt": "Add."}])
def test_a_tool_that_returns_directly_gives_the_answer_of_a_harness_that_is_not_a_program(
    harness: dict[str, Any],
) -> None:
    def script(harness: FakeHarness) -> Script:
        harness.loaded()
        harness.started()
        reply = yield harness.ask("A-17?")
        harness.tool("c", "status", {"id": "A-17"}, "It is shipped.")
        harness.answer(human("A-17?"), reply["result"]["message"], tool_message("c", "It is shipped."))

    run = Run(script, ai("", ("c", "status", {"id": "A-17"})), attempt=spec(harness=harness))
    assert (run.evidence.answer.text, run.evidence.answer.source) == ("It is shipped.", "tool")
    assert run.evidence.disputed == []


@pytest.mark.slow
def test_large_arguments_of_tools_that_the_harness_calls_take_no_memory_until_the_end() -> None:
    def script(harness: FakeHarness) -> Script:
        harness.loaded()
        harness.started()
        reply = yield harness.ask("1 + 2?")
        for n in range(8):
            harness.tool(f"own-{n}", "write", {"text": "x" * 7_000_000})
        harness.tool("small", "write", {"text": "x"})
        harness.answer(human("1 + 2?"), reply["result"]["message"])

    result = Run(script).result
    assert result.evidence.harness.reached == "answered"
    assert [call.args for call in result.tool_calls] == [None] * 8 + [{"text": "x"}]
    assert all(len(call.raw_args or "") <= MAX_RAW_ARGS for call in result.tool_calls)


@pytest.mark.parametrize("ends", ["raises", "answers"])
def test_a_full_disk_that_the_kernel_did_not_see_is_disputed(ends: str) -> None:
    def script(harness: FakeHarness) -> Script:
        harness.loaded()
        harness.started()
        reply = yield harness.ask("1 + 2?")
        harness.tool("c", "write", {}, errnos=[errno.ENOSPC], error="no space")
        if ends == "raises":
            harness.fail("builtins.OSError", "No space left on device", errnos=[errno.ENOSPC])
        else:
            harness.answer(human("1 + 2?"), reply["result"]["message"])

    run = Run(script, kernel={"disk_peak_bytes": 2**18})
    assert run.evidence.disputed == [
        "the harness says that no space was left (ENOSPC); the kernel saw at most 256 KiB of 16 MiB of /task in use"
    ]
    assert Run(script, kernel={"disk_peak_bytes": 15 * 2**20}).evidence.disputed == []
    assert Run(script, kernel={"disk_full": True}).evidence.disputed == []


@pytest.mark.parametrize(("took", "believed"), [(0.0, False), (4.9, False), (9.0, True)])
def test_a_tool_that_ran_into_its_time_limit_took_that_long_by_the_hosts_clock(
    took: float, believed: bool
) -> None:
    def script(harness: FakeHarness) -> Script:
        harness.loaded()
        harness.started()
        reply = yield harness.ask("1 + 2?")
        call = {"run": "t1", "call_id": "c", "name": "search"}
        harness.notify("tool/start", **call, args={})
        yield took
        end = {"seconds": 10.0, "result": "", "error": None, "errnos": [], "timed_out": True}
        harness.notify("tool/end", **call, **end)
        harness.answer(human("1 + 2?"), reply["result"]["message"])

    evidence = Run(script, attempt=spec(limits={"tool_seconds": 10.0})).evidence
    assert evidence.harness.tool_timeouts == int(believed)
    doubt = (
        "the harness says that it stopped 1 tool call at the limit of 10 s; "
        "by the host's clock it took less than half of that"
    )
    assert evidence.disputed == ([] if believed else [doubt])
    # on a busy host it excuses a wrong answer, and buys another attempt
    busy = evidence.model_copy(update={"host": HostFacts(contended=True)})
    assert attribute(busy, False, ["answer"]).cause == (
        "infra.host_contention" if believed else "model.wrong_answer"
    )


# --- calls that failed, and requests that were none

CHAT = {"model": "m", "messages": [{"role": "user", "content": "1 + 2?"}]}
OTHER = {"model": "m", "messages": [{"role": "user", "content": "a sub-agent's"}]}
Step = JsonDict | int | Callable[[FakeHarness], object]


def program(*steps: Step, answers: bool = True) -> Callable[[FakeHarness], Script]:
    """A program that makes these requests, reports these sizes, and then answers."""

    def script(harness: FakeHarness) -> Script:
        harness.loaded()
        harness.started()
        for i, step in enumerate(steps):
            if isinstance(step, int):
                harness.notify("model/too_large", bytes=step)
            elif isinstance(step, dict):
                params = {"method": "POST", "path": "/v1/chat/completions", "body": step}
                harness.say({"id": f"p{i}", "method": "model/http", "params": params})
                yield f"p{i}"
            else:
                step(harness)
        if answers:
            harness.answer()

    return script


DOWN, REJECTED = error(ModelErrorKind.UNAVAILABLE), error(ModelErrorKind.BAD_REQUEST)


@pytest.mark.parametrize(
    ("script", "replies", "cause"),
    [
        (program({}), [], "infra.harness_crash"),
        (program(CHAT, {}), [], "model.wrong_answer"),  # a tool's child sent it
        (program(CHAT, {"messages": [7]}, {"messages": 3}), [], "model.wrong_answer"),
        (program(CHAT, {**CHAT, "n": 2}), [], "infra.harness_crash"),
        (program(CHAT, {**CHAT, "n": 2}, CHAT), [], "model.wrong_answer"),
        (program(10**9), [], "infra.output_limit"),
        (program(CHAT, 10**9, CHAT), [], "model.wrong_answer"),
        (program(CHAT, 10**9, lambda h: h.die(9), answers=False), [], "model.killed_harness"),
        (program(CHAT), [DOWN], "infra.provider_unavailable"),
        (program(CHAT, CHAT), [DOWN, ai("4")], "model.wrong_answer"),  # the harness tried again
        (program(CHAT, CHAT), [REJECTED, ai("4")], "model.wrong_answer"),
        (program(OTHER, CHAT), [DOWN, ai("4")], "infra.provider_unavailable"),
        (program(OTHER, CHAT), [REJECTED, ai("4")], "infra.harness_crash"),
        (program(), [], "infra.harness_crash"),  # it answered without a model
        (program(CHAT), [error(ModelErrorKind.REFUSAL)], "model.refusal"),
    ],
)  # fmt: skip
def test_a_call_that_failed_decides_unless_its_conversation_went_on(
    script: Any, replies: list[Any], cause: str
) -> None:
    run = Run(script, *replies, attempt=spec(harness={"command": ["x"]}))
    assert run.cause(False if run.evidence.harness.reached == "answered" else None, ["answer"]) == cause


@pytest.mark.parametrize(("size", "waits"), [(10, False), (400_000, True)])
def test_a_large_request_waits_for_room_and_a_small_one_does_not(size: int, waits: bool) -> None:
    everyone = Holdings(room=3_000_000)
    other = everyone.join()
    assert other.fits(10**9), "the one that may go beyond the room"
    left, asked = threading.Event(), []

    def leave() -> None:
        left.set()
        other.leave()

    def asks(harness: FakeHarness) -> Script:
        harness.loaded()
        harness.started()
        reply = yield harness.ask("x" * size)
        harness.answer(human("?"), reply["result"]["message"])

    class Noting(Model):
        def complete(self, request: ModelRequest, call: CallContext) -> ModelReply:
            asked.append(left.is_set())
            return super().complete(request, call)

    threading.Timer(0.3, leave).start()
    timer = ManualTimer()
    model, sandbox = Noting(timer, ai("3")), FakeSandbox(timer, asks)
    attempt = Attempt(
        spec(), sandbox, model, timer.executor(), lambda _: b"", timer=timer, holding=everyone.join()
    )
    assert attempt.run().evidence.harness.reached == "answered"
    assert asked == [waits]


class Draining(FakeSandbox):
    """Its engine answers a kill when all output has been read, as Docker does."""

    answered: bool | None = None

    def kill(self) -> bool:
        deadline = time.monotonic() + 5.0
        while self._frames and time.monotonic() < deadline:
            time.sleep(0.01)
        self.answered = not self._frames
        self.die()
        return self.answered


def test_what_is_killed_is_read_to_its_end_so_that_the_engine_answers() -> None:
    def floods(harness: FakeHarness) -> Script:
        harness.loaded()
        harness.started()
        harness.notify("tool/start", call_id="c", name="t", args={"x": [0] * 300_000})  # over a budget
        for _ in range(200):
            harness.notify("tool/start", call_id="c", name="t", args={"x": "x" * 10_000})
        yield 1.0

    timer = ManualTimer()
    sandbox = Draining(timer, floods)
    attempt = Attempt(spec(), sandbox, Model(timer, ai("3")), timer.executor(), lambda _: b"", timer=timer)
    assert attempt.run().evidence.budget == "values in a line"
    assert sandbox.answered


@pytest.mark.parametrize("reply", [ai("3"), ModelCallError(ModelErrorKind.BAD_RESPONSE, "no")])
def test_an_attempt_that_has_ended_is_freed_at_once(reply: JsonDict | Exception) -> None:
    gc.collect()
    gc.disable()  # which looks for what is long alive when objects are many, however large they are
    try:
        run = Run(honest, reply)
        attempt, calls = weakref.ref(run.attempt), weakref.ref(run.attempt._calls)
        del run.attempt, run.model
        assert (attempt(), calls()) == (None, None)
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("size", "at_once"), [(1_000, 2), pytest.param(3_000_000, 1, marks=pytest.mark.slow)]
)
def test_calls_of_one_attempt_that_are_larger_than_the_room_together_are_made_one_by_one(
    size: int, at_once: int
) -> None:
    out, most = [0], [0]

    def asks(harness: FakeHarness) -> Script:
        harness.loaded()
        harness.started()
        first, second = harness.ask("x" * size), harness.ask("y" * size)
        yield first
        reply = yield second
        harness.answer(human("?"), reply["result"]["message"])

    class Noting(Model):
        def complete(self, request: ModelRequest, call: CallContext) -> ModelReply:
            out[0] += 1
            most[0] = max(most[0], out[0])
            time.sleep(0.3)
            out[0] -= 1
            return ModelReply(ai("3"), 1.0)

    timer = ManualTimer()
    model, sandbox = Noting(timer), FakeSandbox(timer, asks)
    holding = Holdings(room=2**30).join()
    attempt = Attempt(spec(), sandbox, model, timer.executor(), lambda _: b"", timer=timer, holding=holding)
    assert attempt.run().evidence.harness.reached == "answered"
    assert most == [at_once]
