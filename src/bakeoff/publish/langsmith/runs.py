"""One trial as LangSmith has it: a root run with nested runs, and feedback on the root.

    trial (chain)            inputs of the example, answer and tool calls; linked to the example; an error: infra error
    └── attempt (chain)      verdict, cause and all evidence
        ├── <model> (llm)    messages in, message out, tokens, cost, times
        └── <tool> (tool)    arguments, result or error

Ids are UUIDs of version 7, as the service asks for. The time is the run's start and the rest is derived from the
experiment and the trial, so that a run that is sent twice is the same run. Names are shown in lists and chosen by the
model: they are made visible and bounded. Everything else is exact, but for NUL and lone surrogates, which no database
stores.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from bakeoff.config.model_ref import ModelRef
from bakeoff.record.base import JsonDict
from bakeoff.record.timeline import AttemptEvent, ModelCallEvent, Timeline, ToolCallEvent
from bakeoff.record.trial import TrialRecord
from bakeoff.stats import Counting, Excess, counted_in_score
from bakeoff.text.escape import line, storable
from bakeoff.verdict import own_doing

NAME_CHARACTERS = 128  # of a run's name: the API's maximum
VERDICT, CAUSE, SCORE = "verdict", "cause", Counting.SCORE
RESERVED_KEYS = (VERDICT, CAUSE, *Counting, "infra_error_rate")
PARAMS = {"temperature": "ls_temperature", "max_tokens": "ls_max_tokens", "stop": "ls_stop"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a trial belongs.

    Attributes:
        run_id: bakeoff's run.
        project: the experiment.
        example: its example in the dataset.
        example_version: ISO 8601; None: not known.
        inputs: the example's.
        deaths: the test by which what its candidate may have caused is a failure in `score`; None: it is not.
    """

    run_id: str
    project: UUID
    example: UUID
    example_version: str | None
    inputs: JsonDict
    deaths: Excess | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """What is sent of one trial.

    Attributes:
        runs: as `Client.create_run` takes them, parents before children.
        feedback: as `Client.create_feedback` takes it.
    """

    runs: Sequence[JsonDict]
    feedback: Sequence[JsonDict]


def trace(timeline: Timeline, place: Place) -> Trace:
    """One trial's runs and feedback."""
    trial = timeline.trial
    root = _Node.root(place, trial, timeline.started_at)
    runs = [_trial(timeline, place, root)]
    for attempt in timeline.attempts:
        node = root.child(attempt.started_at, "attempt", attempt.number)
        runs.append(_attempt(attempt, node))
        events = sorted(_events(attempt), key=lambda each: each[0])
        runs += [_event(trial, attempt, event, node, at, path) for at, path, event in events]
    return Trace(runs, list(_feedback(trial, place, root)))


def feedback_key(evaluator: str) -> str:
    """The feedback key of an evaluator: its name, unless that means something else here."""
    return f"evaluator.{evaluator}" if evaluator in RESERVED_KEYS else evaluator


def stored_score(score: float) -> float:
    """A score as LangSmith stores it: four decimal places. The exact one is in the run's metadata."""
    return round(score, 4)


@dataclass(frozen=True, slots=True)
class _Node:
    """A run's place in its trace."""

    id: UUID
    trace: UUID
    parent: UUID | None
    dotted_order: str
    start: datetime
    project: UUID
    trial_id: str
    path: tuple[str | int, ...]

    @classmethod
    def root(cls, place: Place, trial: TrialRecord, start: datetime) -> _Node:
        run_id = _run_id(start, place.project, trial.trial_id)
        return cls(run_id, run_id, None, _step(start, run_id), start, place.project, trial.trial_id, ())

    def child(self, start: datetime, *path: str | int) -> _Node:
        full = (*self.path, *path)
        run_id = _run_id(start, self.project, self.trial_id, *full)
        order = f"{self.dotted_order}.{_step(start, run_id)}"
        return _Node(run_id, self.trace, self.id, order, start, self.project, self.trial_id, full)

    def run(
        self,
        name: str,
        run_type: str,
        end: datetime,
        metadata: JsonDict,
        extra: JsonDict | None = None,
        **fields: Any,
    ) -> JsonDict:
        """A finished run; metadata goes where LangSmith looks for it."""
        content: JsonDict = storable({"extra": {"metadata": metadata, **(extra or {})}, **fields})
        return {
            "id": self.id,
            "trace_id": self.trace,
            "parent_run_id": self.parent,
            "dotted_order": self.dotted_order,
            "session_id": self.project,
            "name": line(name)[:NAME_CHARACTERS],
            "run_type": run_type,
            "start_time": self.start,
            "end_time": end,
            **content,
        }


def _run_id(start: datetime, *parts: UUID | str | int) -> UUID:
    """RFC 9562, section 5.7: 48 bits of milliseconds, version, 12 bits, variant, 62 bits."""
    digest = hashlib.sha256("\0".join(str(part) for part in parts).encode(errors="surrogatepass")).digest()
    bits = int.from_bytes(digest[:16]) & ((1 << 80) - 1)
    bits |= max(0, int(start.timestamp() * 1000)) << 80
    return UUID(int=bits & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62)


def _step(start: datetime, run: UUID) -> str:
    return f"{start.astimezone(UTC):%Y%m%dT%H%M%S%fZ}{run}"


def _trial(timeline: Timeline, place: Place, node: _Node) -> JsonDict:
    trial = timeline.trial
    record = trial.model_dump(mode="json", exclude={"attempts", "output"})
    last = trial.attempts[-1]
    metadata = {
        "run_id": place.run_id,
        **record,
        "because": last.because,
        "attempts": len(trial.attempts),
    }
    if place.example_version is not None:
        metadata["example_version"] = place.example_version
    calls = timeline.attempts[-1].tool_calls
    return node.run(
        "trial",
        "chain",
        timeline.finished_at,
        inputs=place.inputs,
        outputs={
            "answer": trial.output,
            "trajectory": [{"name": call.name, "args": call.arguments} for call in calls],
        },
        error=_infra_error(trial.verdict, trial.cause, last.because),
        reference_example_id=place.example,
        tags=[each for each in (trial.verdict, trial.cause) if each],
        metadata=metadata,
    )


def _infra_error(verdict: str, cause: str | None, because: str) -> str | None:
    """A failure of the model is a result and no error."""
    return f"{cause}: {because}" if verdict == "infra_error" else None


def _attempt(attempt: AttemptEvent, node: _Node) -> JsonDict:
    record = attempt.record
    return node.run(
        "attempt",
        "chain",
        attempt.finished_at,
        inputs={"attempt": attempt.number},
        outputs={"verdict": record.verdict, "cause": record.cause, "because": record.because},
        error=_infra_error(record.verdict, record.cause, record.because),
        metadata={"attempt": attempt.number, **record.model_dump(mode="json")},
    )


_Event = tuple[datetime, tuple[str | int, ...], ModelCallEvent | ToolCallEvent]


def _events(attempt: AttemptEvent) -> Iterator[_Event]:
    """Model and tool calls, each with its start. A call that never ran is where it was asked for."""
    ends = {call.index: call.finished_at for call in attempt.model_calls}
    for call in attempt.model_calls:
        yield call.started_at, ("model", call.index), call
    for number, tool in enumerate(attempt.tool_calls):
        asked = None if tool.model_call is None else ends.get(tool.model_call)
        start = tool.started_at or asked or attempt.agent_started_at or attempt.started_at
        yield start, ("tool", number), tool


def _event(
    trial: TrialRecord,
    attempt: AttemptEvent,
    event: ModelCallEvent | ToolCallEvent,
    parent: _Node,
    start: datetime,
    path: tuple[str | int, ...],
) -> JsonDict:
    node = parent.child(max(start, parent.start), *path)
    if isinstance(event, ModelCallEvent):
        return _model_call(trial, attempt, event, node)
    return _tool_call(attempt, event, node)


def _model_call(trial: TrialRecord, attempt: AttemptEvent, call: ModelCallEvent, node: _Node) -> JsonDict:
    model = ModelRef(trial.model)
    usage = _usage(call)
    metadata: JsonDict = {
        "ls_provider": model.provider or model.name,
        "ls_model_name": model.name or model.provider,
        "ls_model_type": "chat",
        **{key: call.params[name] for name, key in PARAMS.items() if call.params.get(name) is not None},
        "attempt": attempt.number,
        "index": call.index,
        "seconds": call.seconds,
        "queued_seconds": call.queued_seconds,
        "tries": call.tries,
        "first_token_seconds": call.first_token_seconds,
        "cost_usd": call.cost_usd,
        "finish_reason": call.finish_reason,
        "error_kind": call.error_kind,
        "status": call.status,
    }
    outputs: JsonDict = {}
    if call.answer is not None:
        outputs["choices"] = [{"index": 0, "message": call.answer, "finish_reason": call.finish_reason}]
    if usage:
        metadata["usage_metadata"] = outputs["usage_metadata"] = usage
    return node.run(
        trial.model,
        "llm",
        max(call.finished_at, node.start),
        inputs={"messages": call.messages, **({"tools": call.tools} if call.tools else {})},
        outputs=outputs,
        error=(call.error or call.error_kind) if call.answer is None else None,
        events=list(_first_token(call)),
        metadata=metadata,
        extra={"invocation_params": {"model": model.name or model.provider, **call.params}},
    )


def _usage(call: ModelCallEvent) -> JsonDict:
    """LangSmith's form. What is not known is left out; it would be shown as zero."""
    usage: JsonDict = {}
    if call.input_tokens is not None:
        usage["input_tokens"] = call.input_tokens
        if call.cached_tokens is not None:
            usage["input_token_details"] = {"cache_read": call.cached_tokens}
    if call.output_tokens is not None:
        usage["output_tokens"] = call.output_tokens
        if call.reasoning_tokens is not None:
            usage["output_token_details"] = {"reasoning": call.reasoning_tokens}
    if usage:
        usage["total_tokens"] = (call.input_tokens or 0) + (call.output_tokens or 0)
    if call.cost_usd is not None:
        usage["total_cost"] = call.cost_usd
    return usage


def _first_token(call: ModelCallEvent) -> Iterator[JsonDict]:
    """LangSmith takes the first token's time from the event `new_token`."""
    if call.first_token_seconds is not None:
        answered = call.finished_at.timestamp() - call.seconds + call.first_token_seconds
        first = datetime.fromtimestamp(max(answered, call.started_at.timestamp()), UTC)
        yield {"name": "new_token", "time": min(first, call.finished_at).isoformat()}


def _tool_call(attempt: AttemptEvent, call: ToolCallEvent, node: _Node) -> JsonDict:
    ran = call.started_at is not None
    inputs = call.arguments if call.raw_arguments is None else {"raw_arguments": call.raw_arguments}
    error = call.error
    if call.timed_out:
        error = error or "stopped at the tool's time limit"
    if not ran and call.outcome not in ("unseen", "answer"):
        error = error or "never ran"
    return node.run(
        call.name or "tool",
        "tool",
        max(call.finished_at or node.start, node.start),
        inputs=inputs,
        outputs=None if call.result is None else {"output": call.result},
        error=error,
        metadata={
            "attempt": attempt.number,
            "tool_call_id": call.call_id,
            "model_call": call.model_call,
            "ran": ran,
            "timed_out": call.timed_out,
        },
    )


def _feedback(trial: TrialRecord, place: Place, root: _Node) -> Iterator[JsonDict]:
    """The verdict, its cause and every score; no score of what the report's `score` leaves out."""

    def entry(key: str, **given: Any) -> JsonDict:
        return {
            "feedback_id": uuid5(root.id, key),
            "key": key,
            "trace_id": root.id,
            "session_id": place.project,
            "start_time": root.start,
            "source_info": {"bakeoff": place.run_id},
            **storable(given),
        }

    yield entry(VERDICT, value=trial.verdict, comment=trial.attempts[-1].because or None)
    if trial.cause is not None:
        yield entry(CAUSE, value=trial.cause)
    score = counted_in_score(trial.verdict, own_doing(trial), place.deaths)
    if score is None:
        return
    yield entry(SCORE, score=score)
    for name, score in trial.scores.items():
        yield entry(feedback_key(name), score=stored_score(score))


def fitted(run: JsonDict, limit: int) -> tuple[JsonDict, int, bool]:
    """The run in at most `limit` bytes, how many it has, and whether its inputs and outputs had to be left out."""
    size = _size(run)
    if size <= limit:
        return run, size, False
    note = {"left_out": f"{size:,} bytes are more than LangSmith takes; they are in the run directory"}
    cut = {**run, "inputs": note, "outputs": note if run["outputs"] else run["outputs"]}
    return cut, _size(cut), True


def _size(run: JsonDict) -> int:
    return len(json.dumps(run, default=str, ensure_ascii=False).encode(errors="replace"))
