"""What is written down of a trial, made from its attempts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from bakeoff import verdict
from bakeoff.record.evidence import Evidence, Verdict
from bakeoff.record.trial import (
    AttemptRecord,
    AttemptResult,
    Observed,
    ResourceLimits,
    ResourceRecord,
    Seconds,
    ToolCall,
    ToolTotals,
    TrialRecord,
    TrialSpec,
    Usage,
)

# Characters that trials.jsonl keeps of an answer.
MAX_ANSWER = 64 * 2**10


def attempt_record(result: AttemptResult, judged: Verdict) -> AttemptRecord:
    """One attempt of a trial's line."""
    return AttemptRecord(
        verdict=judged.verdict,
        cause=judged.cause,
        because=judged.because,
        evidence=_with_short_answer(result.evidence),
        usage=result.usage,
        started_at=result.started_at,
        agent_started_at=result.agent_started_at,
        finished_at=result.finished_at,
    )


def trial_record(
    trial: TrialSpec,
    model: str,
    result: AttemptResult,
    scores: Mapping[str, float],
    attempts: list[AttemptRecord],
) -> TrialRecord:
    """The line of trials.jsonl. Usage and clock are of all attempts; verdict, tools and resources the last one's."""
    evidence, kernel = result.evidence, result.evidence.kernel
    clocks = [attempt.evidence.clock for attempt in attempts]
    return TrialRecord(
        trial_id=trial.trial_id,
        candidate=trial.candidate,
        profile=trial.profile,
        model=model,
        example_id=trial.example_id,
        repetition=trial.repetition,
        verdict=attempts[-1].verdict,
        cause=attempts[-1].cause,
        scores=dict(scores),
        output=_beginning(evidence.answer.text) if evidence.answer else "",
        usage=sum((attempt.usage for attempt in attempts if attempt.usage), Usage()),
        tools=_tool_totals(result.tool_calls),
        seconds=Seconds(
            working=sum(clock.working_seconds for clock in clocks),
            wall=sum(clock.wall_seconds for clock in clocks),
            model=sum(clock.model_seconds for clock in clocks),
            queued=sum(clock.queued_seconds for clock in clocks),
        ),
        resources=ResourceRecord(
            requested=result.requested,
            effective=result.effective,
            observed=Observed(
                memory_peak_bytes=kernel.memory_peak_bytes,
                cpu_seconds=kernel.cpu_seconds,
                throttled_seconds=kernel.throttled_seconds,
                oom_kills=kernel.oom_kills,
                pids_peak=kernel.pids_peak,
                disk_bytes=kernel.disk_peak_bytes,
                sampled=kernel.sampled,
            ),
        ),
        resource_bound=verdict.resource_bound(evidence),
        attempts=attempts,
        started_at=result.started_at,
        finished_at=result.finished_at,
    )


def _with_short_answer(evidence: Evidence) -> Evidence:
    """The evidence with the beginning of a long answer."""
    answer = evidence.answer
    if answer is None or len(answer.text) <= MAX_ANSWER:
        return evidence
    return evidence.model_copy(update={"answer": answer.model_copy(update={"text": _beginning(answer.text)})})


def _beginning(text: str) -> str:
    if len(text) <= MAX_ANSWER:
        return text
    return f"{text[:MAX_ANSWER]}… ({len(text)} characters in all)"


def not_attempted(number: int, limits: ResourceLimits, evidence: Evidence) -> AttemptResult:
    """The result of an attempt that had no sandbox to run in."""
    now = datetime.now(UTC)
    unread = ResourceLimits(cpus=None, memory_bytes=None, pids=None, disk_bytes=None, network=None)
    return AttemptResult(
        attempt=number,
        evidence=evidence,
        requested=limits,
        effective=unread,
        started_at=now,
        finished_at=now,
    )


def _tool_totals(calls: Sequence[ToolCall]) -> ToolTotals:
    failed = repeated = 0
    seen: set[tuple[str, bytes, str | None]] = set()
    calls = [call for call in calls if call.outcome != "answer"]  # the form of an answer is no tool
    rejected = sum(call.outcome in ("rejected", "malformed") for call in calls)
    unknown = sum(call.outcome == "unknown_tool" for call in calls)
    for call in calls:
        args = json.dumps([call.args, call.raw_args], sort_keys=True, default=str).encode()
        done = (call.name, hashlib.blake2b(args).digest(), call.result)  # the arguments may have megabytes
        refused = call.outcome in ("rejected", "malformed", "unknown_tool")
        if refused or call.error is not None or call.timed_out:
            failed += 1
        elif done in seen:
            repeated += 1
        seen.add(done)
    return ToolTotals(calls=len(calls), failed=failed, repeated=repeated, rejected=rejected, unknown=unknown)
