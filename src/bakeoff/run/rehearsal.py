"""One conversation of each candidate with a scripted model, in a real sandbox, before the first call is paid for.

It finds a harness that cannot run: one that fails before it asks its model anything would fail so in every trial. What
it does with the scripted reply says nothing, since it may rightly refuse it. But if it ends well, its result must be of
a form that is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bakeoff.attempt.attempt import Attempt
from bakeoff.attempt.spec import AttemptLimits, AttemptSpec, HarnessSpec
from bakeoff.backends.base import Backend, SandboxError, SandboxSpec
from bakeoff.gateway.types import CallContext, ModelCard, ModelReply, ModelRequest
from bakeoff.harness import contents
from bakeoff.record.evidence import HarnessFacts
from bakeoff.record.trial import Example, TrialSpec
from bakeoff.run.models import Models
from bakeoff.run.task import Task
from bakeoff.verdict import WRONG_RESULT

# An example can be at fault too, so the harness must fail on this many before it is refused.
EXAMPLES = 2
# A harness that talks longer than this with a scripted model is at work, and the rehearsal over.
SECONDS = 30.0
REPLY = "This is a rehearsal: no model was asked."


@dataclass(frozen=True, slots=True)
class ScriptedModel:
    """Answers every call with the same text."""

    described: ModelCard

    def complete(self, request: ModelRequest, call: CallContext) -> ModelReply:
        message = {"type": "ai", "data": {"content": REPLY, "tool_calls": [], "invalid_tool_calls": []}}
        if request.stream:
            call.on_chunk({"type": "AIMessageChunk", "data": {"content": REPLY}})
        return ModelReply(message, seconds=0.0, finish_reason="stop")

    def card(self) -> ModelCard:
        return self.described

    def close(self) -> None:
        pass


def rehearse(task: Task, backend: Backend, sandbox: SandboxSpec, models: Models) -> None:
    """Rehearse each candidate that asks a provider; of simulated, local and replayed models no call costs anything.

    Raises:
        InputError: the harness fails before it asks its model, or returns what has no answer.
    """
    paid = [each.name for each in task.config.candidates if not each.ref.own]
    with ThreadPoolExecutor(max(1, min(2, len(paid))), thread_name_prefix="rehearsal") as pool:
        failures = list(
            pool.map(lambda name: _failure(task, backend, sandbox, models.by_candidate[name].card()), paid)
        )
    for name, failure in zip(paid, failures, strict=True):
        if failure is not None:
            key = next(
                key for key in ("command", "entrypoint", "prompt") if getattr(task.config.harness, key)
            )
            error = f"{failure.error_type}: {failure.error_message}"
            problem = f"the harness fails before it asks its model ({name}): {error}"
            if failure.error_type == WRONG_RESULT:
                problem = f"{failure.error_message} ({name})"
            hint = "Correct it: every trial would end like this. No model was asked."
            raise task.config.error(("harness", key), problem, hint)


def _failure(task: Task, backend: Backend, sandbox: SandboxSpec, card: ModelCard) -> HarnessFacts | None:
    """How the harness failed on every example that was tried; None: it works, or the box is at fault."""
    last: HarnessFacts | None = None
    for example in _sample(task.dataset.examples):
        last = _conversation(task, backend, sandbox, card, example)
        if last is None:
            return None
    return last


def _sample(examples: Sequence[Example]) -> Sequence[Example]:
    return examples[:EXAMPLES]


def _conversation(
    task: Task, backend: Backend, sandbox: SandboxSpec, card: ModelCard, example: Example
) -> HarnessFacts | None:
    """One attempt with the scripted model: how the harness failed, if every trial would end so."""
    files, digests = task.dataset.file_digests, {d: p for p, d in task.dataset.file_digests.items()}
    limits = task.config.harness.limits.model_dump() | {"seconds": SECONDS}
    spec = AttemptSpec(
        trial=TrialSpec(
            trial_id="rehearsal", candidate="rehearsal", example_id=example.id, repetition=1, seed=0
        ),
        attempt=1,
        harness=HarnessSpec.model_validate(contents.payload(task.config)),
        model=card,
        limits=AttemptLimits(**limits, startup_seconds=task.config.infra.startup_seconds),
        resources=sandbox.limits,
        inputs=example.inputs,
        messages=example.messages,
        files={name: files[path] for name, path in example.files.items()},
    )
    try:
        box = backend.open(sandbox)
    except SandboxError:
        return None
    with ThreadPoolExecutor(4, thread_name_prefix="rehearsal-call") as calls:
        attempt = Attempt(
            spec, box, ScriptedModel(card), calls, lambda digest: Path(digests[digest]).read_bytes()
        )
        result = attempt.run()
    harness = result.evidence.harness
    failed = harness.error_type is not None and not result.model_calls
    return harness if failed or harness.error_type == WRONG_RESULT else None
