"""What happened in one trial, when: its attempts, and in each the model calls and tool calls, on the calendar.

Model calls come from the gateway's record (every attempt's), tool calls from the trajectory (the last attempt's, the
only one that is kept). Prompts and outputs are plain text or OpenAI-style messages, hostile until escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bakeoff.record.base import JsonDict
from bakeoff.record.messages import to_openai
from bakeoff.record.trial import AttemptRecord, TrialRecord


@dataclass(frozen=True, slots=True)
class ModelCallEvent:
    """One model call, as the gateway saw it. What was not known is None, never 0."""

    index: int  # 0-based, within its attempt
    started_at: datetime  # asked for; waiting comes first
    finished_at: datetime
    seconds: float  # with the provider
    queued_seconds: float  # queue, rate limit and back-off
    tries: int
    first_token_seconds: float | None  # None: not streamed
    messages: list[JsonDict]  # what was asked, OpenAI-style
    tools: list[JsonDict]  # what was offered, OpenAI-style
    params: JsonDict  # what the harness asked for: temperature, max_tokens, ...
    answer: JsonDict | None  # one OpenAI-style message; None: there was none
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: float | None
    finish_reason: str | None
    error_kind: str | None  # errors.ModelErrorKind
    error: str | None
    status: int | None  # HTTP, of a call that failed


@dataclass(frozen=True, slots=True)
class ToolCallEvent:
    """One tool call that was asked for; without times where it never ran."""

    call_id: str
    name: str  # as the model wrote it: a tool of this name need not exist
    arguments: JsonDict
    raw_arguments: str | None  # where they do not parse
    started_at: datetime | None
    finished_at: datetime | None
    result: str | None
    error: str | None
    timed_out: bool
    outcome: str  # `ToolCall.outcome`
    model_call: int | None  # index of the call that asked for it, where known


@dataclass(frozen=True, slots=True)
class AttemptEvent:
    """One attempt. `record` has its verdict and every fact behind it."""

    number: int  # 1-based
    record: AttemptRecord
    started_at: datetime
    agent_started_at: datetime | None  # None: it never did
    finished_at: datetime
    model_calls: Sequence[ModelCallEvent]
    tool_calls: Sequence[ToolCallEvent]  # of the last attempt only


@dataclass(frozen=True, slots=True)
class Timeline:
    """One trial, from the start of its first attempt to the end of its last."""

    trial: TrialRecord
    attempts: Sequence[AttemptEvent]
    inputs: Sequence[JsonDict]  # the conversation before the first answer, OpenAI-style, where it is known

    @property
    def started_at(self) -> datetime:
        """Start of the first attempt."""
        return self.attempts[0].started_at

    @property
    def finished_at(self) -> datetime:
        """End of the last attempt."""
        return self.attempts[-1].finished_at


def of(trial: TrialRecord, trajectory: JsonDict | None, calls: Sequence[JsonDict]) -> Timeline:
    """Put the trial's records in order. Every event lies within its attempt, and every attempt within the trial."""
    attempts = []
    last = len(trial.attempts)
    for number, record in enumerate(trial.attempts, start=1):
        started, agent, finished = _times(trial, record, is_last=number == last)
        origin = agent or started
        mine = sorted((call for call in calls if call["attempt"] == number), key=lambda call: call["index"])
        models = [_model_call(call, origin, finished) for call in mine]
        tools = list(_tool_calls(trajectory, origin, finished)) if trajectory and number == last else []
        attempts.append(AttemptEvent(number, record, started, agent, finished, models, tools))
    first = next((call for event in attempts for call in event.model_calls), None)
    return Timeline(trial, attempts, first.messages if first else [])


def _times(
    trial: TrialRecord, record: AttemptRecord, *, is_last: bool
) -> tuple[datetime, datetime | None, datetime]:
    """Start of the attempt, of its agent, and its end."""
    started = record.started_at or trial.started_at
    finished = record.finished_at or (trial.finished_at if is_last else trial.started_at)
    agent = record.agent_started_at
    if agent is None and record.evidence.harness.startup_seconds is not None:
        agent = started + timedelta(seconds=record.evidence.harness.startup_seconds)
    started, finished = _utc(started), max(_utc(started), _utc(finished))
    return started, None if agent is None else min(max(_utc(agent), started), finished), finished


def _model_call(call: JsonDict, origin: datetime, end: datetime) -> ModelCallEvent:
    request, error = call.get("request") or {}, call.get("error") or {}
    started = _within(origin, call["started"], end)
    answer = call.get("response")
    return ModelCallEvent(
        index=call["index"],
        started_at=started,
        finished_at=_within(origin, call["started"] + call["queued_seconds"] + call["seconds"], end),
        seconds=call["seconds"],
        queued_seconds=call["queued_seconds"],
        tries=call["attempts"],
        first_token_seconds=call.get("first_token_seconds"),
        messages=to_openai(request.get("messages") or []),
        tools=request.get("tools") or [],
        params=request.get("params") or {},
        answer=to_openai([answer])[0] if answer else None,
        input_tokens=call.get("input_tokens"),
        output_tokens=call.get("output_tokens"),
        cached_tokens=call.get("cached_tokens"),
        reasoning_tokens=call.get("reasoning_tokens"),
        cost_usd=call.get("cost_usd"),
        finish_reason=call.get("finish_reason"),
        error_kind=error.get("kind"),
        error=error.get("message"),
        status=call.get("status"),
    )


def _tool_calls(trajectory: JsonDict, origin: datetime, end: datetime) -> Iterator[ToolCallEvent]:
    """Those of the conversation, and those that ran without being in it (a sub-agent's)."""
    for step in trajectory.get("steps", ()):
        results = {
            entry.get("source_call_id"): entry for entry in (step.get("observation") or {}).get("results", ())
        }
        for call in step.get("tool_calls", ()):
            extra = call.get("extra") or {}
            found = results.get(call["tool_call_id"]) or {}
            started, finished = _span(origin, extra.get("started"), extra.get("seconds"), end)
            yield ToolCallEvent(
                call_id=call["tool_call_id"],
                name=call["function_name"],
                arguments=call["arguments"],
                raw_arguments=extra.get("raw_arguments"),
                started_at=started,
                finished_at=finished,
                result=found.get("content"),
                error=extra.get("error") or (found.get("extra") or {}).get("error"),
                timed_out=bool(extra.get("timed_out")),
                outcome=extra.get("outcome", "ran"),
                model_call=(step.get("extra") or {}).get("model_call"),
            )
    for call in (trajectory.get("extra") or {}).get("unmatched_tool_calls", ()):
        started, finished = _span(origin, call["started"], call.get("seconds"), end)
        yield ToolCallEvent(
            call_id=call["call_id"],
            name=call["name"],
            arguments=call["args"],
            raw_arguments=None,
            started_at=started,
            finished_at=finished,
            result=call.get("result"),
            error=call.get("error"),
            timed_out=bool(call.get("timed_out")),
            outcome=call.get("outcome", "ran"),
            model_call=None,
        )


def _span(
    origin: datetime, started: Any, seconds: Any, end: datetime
) -> tuple[datetime | None, datetime | None]:
    """Start and end; a call that was never heard of again ended with its attempt."""
    if not isinstance(started, int | float):
        return None, None
    begun = _within(origin, started, end)
    return begun, _within(origin, started + seconds, end) if isinstance(seconds, int | float) else end


def _within(origin: datetime, seconds: float, end: datetime) -> datetime:
    return min(origin + timedelta(seconds=max(0.0, seconds)), end)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
