"""Runs the plan: admits trials, re-attempts infrastructure errors, scores, judges, and writes each trial down."""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from bakeoff import verdict
from bakeoff.attempt.attempt import Attempt, AttemptSpec
from bakeoff.backends.base import Backend, Image, Sandbox, SandboxError, SandboxSpec
from bakeoff.backends.docker.images.image import harness_payload
from bakeoff.config.schema import Candidate, Config
from bakeoff.errors import EvaluatorError, ModelCallError, UnfitEnvironment
from bakeoff.gateway.recording.call_record import call_record
from bakeoff.gateway.types import ChatBackend, ModelRequest
from bakeoff.record import atif, trace_ids
from bakeoff.record.evidence import Evidence, ModelFault, Verdict
from bakeoff.record.store import RunDirectory
from bakeoff.record.trial import (
    AttemptRecord,
    AttemptResult,
    Example,
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
from bakeoff.run import host_monitor
from bakeoff.run.host_monitor import HostWatch
from bakeoff.run.ledger import Claim, Ledger
from bakeoff.run.plan import profiles
from bakeoff.run.progress import Display
from bakeoff.scoring import Scorer, ScoreSheet
from bakeoff.scoring.types import Outputs

CALLS_PER_SLOT = 4  # model calls that one harness may have out at once without waiting for a thread
BACKOFF_SECONDS = (
    1.0  # before the second attempt after a transient infrastructure error; doubles, with jitter
)
BACKOFF_MOST = 30.0


@dataclass(frozen=True)
class Job:
    """All that a run needs, resolved and checked.

    `plan` holds the trials still to be run; `slots` is how many may run at once. The ledger is entered, the watch
    started.
    """

    config: Config
    examples: Mapping[str, Example]
    file_digests: Mapping[str, str]  # SHA-256, in hex, of the examples' files, by absolute path
    plan: Sequence[TrialSpec]
    image: Image
    models: Mapping[str, ChatBackend]  # by candidate
    scorer: Scorer
    run: RunDirectory
    slots: int
    ledger: Ledger
    watch: HostWatch
    out_of_money: Callable[[], bool] = lambda: False  # then no trial is begun, and what is left is not run
    secrets: tuple[str, ...] = field(default=(), repr=False)  # masked in every record of a model call


class Stopped(Exception):  # noqa: N818 - the user stopped the run: this trial has no verdict and will run again
    """Raised inside a slot, never seen outside."""


@dataclass
class Engine:
    """One run. `run` blocks until the plan is done or `stop` was called; both are safe from any thread."""

    backend: Backend
    job: Job
    display: Display
    _stopping: threading.Event = field(default_factory=threading.Event)
    _running: dict[str, Attempt] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _barred: dict[str, ModelFault] = field(default_factory=dict)  # candidates whose key was refused
    _broken: list[BaseException] = field(default_factory=list)
    first_request: ModelRequest | None = None  # what the first harness asked of its model

    def run(self) -> bool:
        """Run every trial of the plan; True when all have a verdict on disk, False when stopped before or out of money.

        Raises:
            BakeoffError: the record cannot be written (a full disk); what was written is whole.
        """
        job = self.job
        limits = profiles(job.config)[0].limits
        spec = SandboxSpec(
            run_id=job.run.run_id,
            image=job.image.id,
            limits=limits,
            reserved_cpus=job.config.resources.reserve.cpus,
            reserved_memory_bytes=job.config.resources.reserve.memory,
        )
        waiting = deque(job.plan)
        self.backend.expect(spec, len(waiting), at_once=job.slots)
        calls = ThreadPoolExecutor(job.slots * CALLS_PER_SLOT, thread_name_prefix="call")

        def slot() -> None:
            while not (self._stopping.is_set() or job.out_of_money()):
                try:
                    trial = waiting.popleft()
                except IndexError:
                    return
                try:
                    self._trial(trial, spec, calls)
                except Stopped:
                    waiting.append(trial)
                    return
                except BaseException as error:  # noqa: BLE001 - re-raised by `run`; the other slots must stop first
                    self._broken.append(error)
                    self.stop()

        threads = [threading.Thread(target=slot, name=f"slot-{n}") for n in range(job.slots)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        calls.shutdown(wait=False, cancel_futures=True)
        try:
            self.backend.sweep(job.run.run_id)
        except UnfitEnvironment as error:
            self._broken.append(error)
        if self._broken:
            raise self._broken[0]
        return not (self._stopping.is_set() or waiting)

    def stop(self) -> None:
        """Admit no more trials and cancel those that run; their trials will run again on resume."""
        self._stopping.set()
        with self._lock:
            for attempt in self._running.values():
                attempt.stop()

    # --- one trial

    def _trial(self, trial: TrialSpec, spec: SandboxSpec, calls: ThreadPoolExecutor) -> None:
        example = self.job.examples[trial.example_id]
        most = self.job.config.infra.attempts
        records: list[AttemptRecord] = []
        self.job.run.begin_calls(trial.trial_id)
        while True:
            number = len(records) + 1
            if (fault := self._barred.get(trial.candidate)) is not None:
                result = _not_attempted(number, spec.limits, Evidence(model_fault=fault))
            else:
                result = self._attempt(trial, number, example, spec, calls)
            sheet, result = self._score(trial, example, result)
            judged = verdict.attribute(
                result.evidence, sheet.passed if sheet else None, sheet.failing_kinds if sheet else ()
            )
            records.append(
                AttemptRecord(
                    verdict=judged.verdict,
                    cause=judged.cause,
                    because=judged.because,
                    evidence=result.evidence,
                    started_at=result.started_at,
                    agent_started_at=result.agent_started_at,
                    finished_at=result.finished_at,
                )
            )
            if result.log:
                self.job.run.write_log(trial.trial_id, number, result.log)
            if result.spans:
                self.job.run.write_spans(trial.trial_id, number, result.spans)
            cause = judged.cause
            if cause is not None and verdict.stops_candidate(cause):
                self._bar(trial.candidate, result.evidence)
                break
            if cause == "infra.docker_unavailable":
                self.backend.await_return(self._stopping)
                if self._stopping.is_set():
                    raise Stopped
            if judged.verdict != "infra_error" or cause is None or number >= most:
                break
            if cause == "infra.evaluator":
                break  # the agent has answered: running it again would re-roll the model
            if verdict.transient(cause):
                self._back_off(trial, number)
        self._write(trial, example, result, sheet, judged, records)

    def _attempt(
        self,
        trial: TrialSpec,
        number: int,
        example: Example,
        spec: SandboxSpec,
        calls: ThreadPoolExecutor,
    ) -> AttemptResult:
        resources = self.job.config.resources
        wanted = Claim(trial.trial_id, resources.reserve.cpus, resources.reserve.memory)
        pinned = math.ceil(resources.cpus) if resources.pin else 0
        claim = self.job.ledger.claim(wanted, self._stopping.is_set, pinned=pinned)
        if claim is None:
            raise Stopped
        self.display.started(trial.trial_id)
        began = time.monotonic()
        try:
            try:
                sandbox = self.backend.open(spec, claim.cores)
            except SandboxError as error:
                return _not_attempted(number, spec.limits, Evidence(docker=error.facts))
            result = self._in_sandbox(trial, number, example, sandbox, calls)
        finally:
            self.job.ledger.release(trial.trial_id)
        seen = self.job.watch.during(began, time.monotonic())
        kernel, clock = result.evidence.kernel, result.evidence.clock
        length = clock.working_seconds or clock.wall_seconds  # of an agent that never started: its start
        busy = host_monitor.contended(kernel, seen.steal_percent_mean, length, resources.reserve.cpus)
        host = seen.model_copy(update={"contended": busy})
        return result.model_copy(update={"evidence": result.evidence.model_copy(update={"host": host})})

    def _in_sandbox(
        self,
        trial: TrialSpec,
        number: int,
        example: Example,
        sandbox: Sandbox,
        calls: ThreadPoolExecutor,
    ) -> AttemptResult:
        config = self.job.config
        spec = AttemptSpec(
            trial=trial,
            attempt=number,
            harness=harness_payload(config),
            model=asdict(self.job.models[trial.candidate].card()),
            limits=config.harness.limits.model_dump(include={"turns", "seconds", "tool_seconds"}),
            token_limit=config.harness.limits.tokens,
            startup_seconds=config.infra.startup_seconds,
            resources=profiles(config)[0].limits,
            inputs=example.inputs,
            messages=example.messages,
            files=example.files,
            file_digests={path: self.job.file_digests[path] for path in example.files.values()},
            reference=example.outputs,
            traceparent=trace_ids.traceparent(self.job.run.run_id, trial.trial_id, number),
        )
        attempt = Attempt(
            spec,
            sandbox,
            self.job.models[trial.candidate],
            calls,
            on_memory=lambda used: self.display.memory(trial.trial_id, used),
            on_call=lambda call, request: self.job.run.append_call(
                trial.trial_id, call_record(number, call, request, self.job.secrets)
            ),
        )
        with self._lock:
            self._running[trial.trial_id] = attempt
        try:
            if self._stopping.is_set():
                raise Stopped
            result = attempt.run()
        finally:
            with self._lock:
                del self._running[trial.trial_id]
            sandbox.close()
        if attempt.cancelled:
            raise Stopped
        self.first_request = self.first_request or attempt.first_request
        return result

    def _score(
        self, trial: TrialSpec, example: Example, result: AttemptResult
    ) -> tuple[ScoreSheet | None, AttemptResult]:
        """Scores, where there is an answer to score.

        A failing evaluator or judge is asked again about the same answer; failing on, it becomes evidence.
        """
        evidence = result.evidence
        if evidence.harness.reached != "answered" or evidence.answer is None:
            return None, result
        messages = [message.openai for message in result.messages if message.conversation == 0]
        outputs: Outputs = {"messages": messages, "answer": evidence.answer.text}
        number = 1
        while True:
            try:
                return self.job.scorer.score(example, outputs), result
            except (EvaluatorError, ModelCallError) as error:
                if number >= self.job.config.infra.attempts:
                    changed = evidence.model_copy(update={"evaluator_error": str(error)[:2000]})
                    return None, result.model_copy(update={"evidence": changed})
            self._back_off(trial, number)
            number += 1

    def _bar(self, candidate: str, evidence: Evidence) -> None:
        if evidence.model_fault is not None and candidate not in self._barred:
            self._barred[candidate] = evidence.model_fault
            self.display.note(
                f"{candidate}: the provider refused the key; its remaining trials are not attempted"
            )

    def _back_off(self, trial: TrialSpec, number: int) -> None:
        dice = random.Random(trial.seed + number)  # noqa: S311 - jitter, seeded like everything else
        if self._stopping.wait(
            min(BACKOFF_MOST, BACKOFF_SECONDS * 2 ** (number - 1)) * dice.uniform(0.5, 1.0)
        ):
            raise Stopped

    # --- the record

    def _write(
        self,
        trial: TrialSpec,
        example: Example,
        result: AttemptResult,
        sheet: ScoreSheet | None,
        judged: Verdict,
        records: list[AttemptRecord],
    ) -> None:
        job = self.job
        candidate = next(item for item in job.config.candidates if item.name == trial.candidate)
        scores = dict(sheet.scores) if sheet else {}
        trajectory = atif.trajectory(
            trial,
            example,
            result,
            agent_name=job.config.name,
            agent_version=job.image.key,
            model=candidate.model,
            verdict=judged,
            scores=scores,
        )
        job.run.write_trajectory(trial.trial_id, trajectory)
        record = trial_record(trial, candidate, result, scores, judged, records)
        job.run.append(record)
        self.display.finished(record)


def _tool_totals(calls: Sequence[ToolCall]) -> ToolTotals:
    failed = repeated = 0
    seen: set[tuple[str, str, str | None]] = set()
    for call in calls:
        done = (call.name, json.dumps(call.args, sort_keys=True, default=str), call.result)
        if call.error is not None or call.timed_out:
            failed += 1
        elif done in seen:
            repeated += 1
        seen.add(done)
    return ToolTotals(calls=len(calls), failed=failed, repeated=repeated)


def trial_record(
    trial: TrialSpec,
    candidate: Candidate,
    result: AttemptResult,
    scores: dict[str, float],
    judged: Verdict,
    records: list[AttemptRecord],
) -> TrialRecord:
    """The line of trials.jsonl. Usage, clock and resources are the last attempt's; all attempts' evidence is kept."""
    evidence, kernel, clock = result.evidence, result.evidence.kernel, result.evidence.clock
    return TrialRecord(
        trial_id=trial.trial_id,
        candidate=trial.candidate,
        profile=trial.profile,
        model=candidate.model,
        example_id=trial.example_id,
        repetition=trial.repetition,
        verdict=judged.verdict,
        cause=judged.cause,
        scores=scores,
        output=evidence.answer.text if evidence.answer else "",
        usage=result.usage,
        tools=_tool_totals(result.tool_calls),
        seconds=Seconds(
            working=clock.working_seconds,
            wall=clock.wall_seconds,
            model=clock.model_seconds,
            queued=clock.queued_seconds,
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
            ),
        ),
        resource_bound=verdict.resource_bound(evidence),
        attempts=records,
        started_at=result.started_at,
        finished_at=result.finished_at,
    )


def _not_attempted(number: int, limits: ResourceLimits, evidence: Evidence) -> AttemptResult:
    now = datetime.now(UTC)
    unread = ResourceLimits(cpus=None, memory_bytes=None, pids=None, disk_bytes=None, network=None)
    return AttemptResult(
        attempt=number,
        evidence=evidence,
        requested=limits,
        effective=unread,
        usage=Usage(cost_usd=None),
        started_at=now,
        finished_at=now,
    )
