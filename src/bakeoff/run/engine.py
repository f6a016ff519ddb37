"""Runs a plan: slots take trials, attempt them, score and judge them, and write each one down."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bakeoff import verdict
from bakeoff.attempt.attempt import Attempt, Watchers
from bakeoff.attempt.holdings import HEAVY_BYTES, Holding, Holdings
from bakeoff.attempt.spec import AttemptLimits, AttemptSpec, HarnessSpec
from bakeoff.backends.base import Backend, Sandbox, SandboxError, SandboxSpec
from bakeoff.errors import EvaluatorError, ModelCallError, UnfitEnvironment
from bakeoff.gateway.recording.call_record import call_record
from bakeoff.gateway.types import ModelRequest
from bakeoff.harness import contents
from bakeoff.record import atif, trace_ids
from bakeoff.record.evidence import Evidence, ModelFault, Verdict
from bakeoff.record.manifest import Image
from bakeoff.record.store import RunDirectory
from bakeoff.record.trial import (
    AttemptRecord,
    AttemptResult,
    Example,
    ModelCall,
    Profile,
    TrialSpec,
)
from bakeoff.run import admission, host_monitor
from bakeoff.run.host_monitor import HostMonitor
from bakeoff.run.ledger import Ledger
from bakeoff.run.models import Models
from bakeoff.run.progress import Display
from bakeoff.run.record import attempt_record, not_attempted, trial_record
from bakeoff.run.task import Task
from bakeoff.scoring import Scorer, ScoreSheet, outputs_of

# Model calls that one harness may have out at once without waiting for a thread.
CALLS_PER_SLOT = 4
# Before the second attempt after a transient infrastructure error; doubles, with jitter.
BACKOFF_SECONDS = 1.0
MAX_BACKOFF_SECONDS = 30.0
# How long an abandoned run waits for its slots: one may be in a judge's call, which cannot be cut short.
ABANDON_SECONDS = 15.0


class Stopped(Exception):  # noqa: N818 - it reads as a state
    """The run was stopped: this trial has no verdict and will run again. Raised inside a slot, never seen outside."""


@dataclass(slots=True)
class _Trial:
    """One trial on its way to a verdict."""

    spec: TrialSpec
    example: Example
    profile: Profile
    holding: Holding
    attempts: list[AttemptRecord] = field(default_factory=list)

    @property
    def number(self) -> int:
        """Of the next attempt, 1-based."""
        return len(self.attempts) + 1


@dataclass
class Engine:
    """The trials of one run.

    Attributes:
        task: what is run.
        trials: those that have no verdict yet.
        slots: how many run at once, at most.
        ledger: entered.
        monitor: started.
    """

    task: Task
    trials: Sequence[TrialSpec]
    backend: Backend
    image: Image
    models: Models
    scorer: Scorer
    directory: RunDirectory
    ledger: Ledger
    slots: int
    monitor: HostMonitor
    display: Display

    def __post_init__(self) -> None:
        self._examples = {example.id: example for example in self.task.dataset.examples}
        self._files = {digest: path for path, digest in self.task.dataset.file_digests.items()}
        self._profiles = {profile.name: profile for profile in self.task.profiles}
        self._waiting = deque(self.trials)
        self._holdings = Holdings()
        self._stopping, self._abandoned = threading.Event(), threading.Event()
        # Held while a large answer is scored, since evaluators copy it
        self._scoring = threading.Lock()
        self._lock = threading.RLock()  # a signal's handler may take it twice
        self._running: dict[str, tuple[Attempt, Sandbox]] = {}
        self._barred: dict[str, ModelFault] = {}  # candidates whose key was refused
        self._broken: list[BaseException] = []

    # --- the run

    def run(self) -> bool:
        """Run the trials; whether all have a verdict on disk. Blocks until then, or until `stop` or a spent budget.

        Raises:
            BakeoffError: the record cannot be written, or the backend stays away; what was written is whole.
        """
        for name, count in Counter(trial.profile for trial in self.trials).items():
            self.backend.expect(self._sandbox_spec(self._profiles[name]), count, at_once=self.slots)
        calls = ThreadPoolExecutor(self.slots * CALLS_PER_SLOT, thread_name_prefix="call")
        slots = [
            threading.Thread(target=self._slot, args=(calls,), name=f"slot-{n}", daemon=True)
            for n in range(self.slots)
        ]
        for slot in slots:
            slot.start()
        self._join(slots)
        calls.shutdown(wait=False, cancel_futures=True)
        try:
            self.backend.sweep(self.directory.run_id)
        except UnfitEnvironment as error:
            self._broken.append(error)
        if self._broken:
            raise self._broken[0]
        return not (self._stopping.is_set() or self._waiting)

    def stop(self) -> None:
        """Start no more trials and cancel those that run; they will run again on resume. From any thread."""
        self._stopping.set()
        with self._lock:
            for attempt, _ in self._running.values():
                attempt.stop()

    def abandon(self) -> None:
        """Stop at once: kill what runs. From any thread."""
        self.stop()
        self._abandoned.set()
        with self._lock:
            for _, sandbox in self._running.values():
                threading.Thread(target=sandbox.kill, daemon=True).start()

    def _join(self, slots: Sequence[threading.Thread]) -> None:
        deadline: float | None = None
        for slot in slots:
            while slot.is_alive():
                slot.join(0.5)
                if self._abandoned.is_set():
                    deadline = deadline or time.monotonic() + ABANDON_SECONDS
                    if time.monotonic() > deadline:
                        return

    def _slot(self, calls: ThreadPoolExecutor) -> None:
        while not (self._stopping.is_set() or self.models.spending.exhausted):
            try:
                trial = self._waiting.popleft()
            except IndexError:
                return
            try:
                self._trial(trial, calls)
            except Stopped:
                self._waiting.append(trial)
                return
            except BaseException as error:  # noqa: BLE001 - re-raised by `run`; the other slots must stop first
                self._broken.append(error)
                self.stop()

    # --- one trial

    def _trial(self, spec: TrialSpec, calls: ThreadPoolExecutor) -> None:
        holding = self._holdings.join()
        try:
            self._to_verdict(
                _Trial(spec, self._examples[spec.example_id], self._profiles[spec.profile], holding), calls
            )
        finally:
            holding.leave()

    def _to_verdict(self, trial: _Trial, calls: ThreadPoolExecutor) -> None:
        spec = trial.spec
        self.directory.begin_calls(spec.trial_id)
        while True:
            if (fault := self._barred.get(spec.candidate)) is not None:
                evidence = Evidence(model_fault=fault)
                result = not_attempted(trial.number, trial.profile.limits, evidence)
            else:
                result = self._attempt(trial, calls)
            sheet, result = self._score(trial, result)
            judged = verdict.attribute(
                result.evidence, sheet.passed if sheet else None, sheet.failing_kinds if sheet else ()
            )
            self._keep(trial, result, judged)
            if not self._again(trial, result, judged):
                break
        with trial.holding.working():
            self._write(trial, result, sheet, judged)
        found_before_start = result.evidence.harness.reached == "supervisor"
        if judged.cause and verdict.follows(judged.cause).stops_run and found_before_start:
            raise UnfitEnvironment(judged.because, hint="`bakeoff doctor` says what this host can enforce.")

    def _again(self, trial: _Trial, result: AttemptResult, judged: Verdict) -> bool:
        """Whether the table of causes asks for another attempt. Returns after the pause that it asks for."""
        if judged.cause is None:
            return False
        cause = verdict.follows(judged.cause)
        if cause.stops_candidate:
            self._bar(trial.spec.candidate, result.evidence)
        if cause.retry is verdict.Retry.WHEN_BACKEND_RETURNS:
            self.backend.await_return(self._stopping)
            if self._stopping.is_set():
                raise Stopped
        if cause.retry is verdict.Retry.NEVER or len(trial.attempts) >= self.task.config.infra.attempts:
            return False
        if cause.retry is verdict.Retry.AFTER_BACKOFF:
            self._back_off(trial, len(trial.attempts))
        return True

    def _attempt(self, trial: _Trial, calls: ThreadPoolExecutor) -> AttemptResult:
        """Wait for admission, run the attempt in a fresh sandbox, and add what the host looked like meanwhile."""
        name, profile = trial.spec.trial_id, trial.profile
        granted = self.ledger.claim(admission.claim(name, profile), self._stopping.is_set)
        if granted is None:
            raise Stopped
        began = time.monotonic()
        try:
            self.display.started(name)
            try:
                sandbox = self.backend.open(self._sandbox_spec(profile), granted.cores)
            except SandboxError as error:
                return not_attempted(trial.number, profile.limits, Evidence(docker=error.facts))
            result = self._in_sandbox(trial, sandbox, calls)
        finally:
            self.ledger.release(name)
        seen = self.monitor.during(began, time.monotonic())
        kernel, clock = result.evidence.kernel, result.evidence.clock
        length = clock.working_seconds or clock.wall_seconds  # of an agent that never started: its start
        busy = host_monitor.contended(kernel, seen.steal_percent_mean, length, profile.reserved_cpus)
        host = seen.model_copy(update={"contended": busy})
        return result.model_copy(update={"evidence": result.evidence.model_copy(update={"host": host})})

    def _in_sandbox(self, trial: _Trial, sandbox: Sandbox, calls: ThreadPoolExecutor) -> AttemptResult:
        name = trial.spec.trial_id
        model = self.models.by_candidate[trial.spec.candidate]
        watchers = Watchers(
            on_memory=partial(self.display.memory, name), on_call=partial(self._keep_call, name, trial.number)
        )
        attempt = Attempt(
            self._attempt_spec(trial), sandbox, model, calls, self._file, watchers, holding=trial.holding
        )
        with self._lock:
            if not self._stopping.is_set():
                self._running[name] = attempt, sandbox
        try:
            if name not in self._running:
                raise Stopped
            result = attempt.run()
        finally:
            with self._lock:
                self._running.pop(name, None)
            sandbox.close()
        if attempt.cancelled:
            raise Stopped
        return result

    def _score(self, trial: _Trial, result: AttemptResult) -> tuple[ScoreSheet | None, AttemptResult]:
        """Scores, where there is an answer to score.

        A failing evaluator or judge is asked again about the same answer. If it still fails, that is evidence.
        """
        evidence = result.evidence
        if evidence.harness.reached != "answered" or evidence.answer is None:
            return None, result
        outputs = outputs_of(result)
        number = 1
        while True:
            try:
                with self._scoring if len(evidence.answer.text) >= HEAVY_BYTES else nullcontext():
                    return self.scorer.score(trial.example, outputs), result
            except (EvaluatorError, ModelCallError) as error:
                if number >= self.task.config.infra.attempts:
                    changed = evidence.model_copy(update={"evaluator_error": str(error)[:2000]})
                    return None, result.model_copy(update={"evidence": changed})
            self._back_off(trial, number)
            number += 1

    def _bar(self, candidate: str, evidence: Evidence) -> None:
        """Attempt no more trials of this candidate: each would end the same way."""
        if evidence.model_fault is not None and candidate not in self._barred:
            self._barred[candidate] = evidence.model_fault
            self.display.note(
                f"{candidate}: the provider refused the key; its remaining trials are not attempted"
            )

    def _back_off(self, trial: _Trial, number: int) -> None:
        dice = random.Random(trial.spec.seed + number)  # noqa: S311 - jitter, seeded like everything else
        longest = min(MAX_BACKOFF_SECONDS, BACKOFF_SECONDS * 2 ** (number - 1))
        if self._stopping.wait(longest * dice.uniform(0.5, 1.0)):
            raise Stopped

    # --- what an attempt needs

    def _sandbox_spec(self, profile: Profile) -> SandboxSpec:
        return admission.sandbox_spec(self.directory.run_id, self.image.id, profile)

    def _attempt_spec(self, trial: _Trial) -> AttemptSpec:
        config, example, spec = self.task.config, trial.example, trial.spec
        limits = config.harness.limits.model_dump()
        if trial.profile.seconds is not None:
            limits["seconds"] = trial.profile.seconds
        digests = self.task.dataset.file_digests
        return AttemptSpec(
            trial=spec,
            attempt=trial.number,
            harness=HarnessSpec.model_validate(contents.payload(config)),
            model=self.models.by_candidate[spec.candidate].card(),
            limits=AttemptLimits(**limits, startup_seconds=config.infra.startup_seconds),
            resources=trial.profile.limits,
            inputs=example.inputs,
            messages=example.messages,
            files={name: digests[path] for name, path in example.files.items()},
            reference=example.outputs,
            traceparent=trace_ids.traceparent(self.directory.run_id, spec.trial_id, trial.number),
        )

    def _file(self, digest: str) -> bytes:
        """The content of an example's file by its digest, which the attempt checks."""
        return Path(self._files[digest]).read_bytes()

    # --- the record

    def _keep_call(self, trial_id: str, number: int, call: ModelCall, request: ModelRequest) -> None:
        self.directory.append_call(trial_id, call_record(number, call, request, self.models.secrets))

    def _keep(self, trial: _Trial, result: AttemptResult, judged: Verdict) -> None:
        """Write down what stays of this attempt beside the trial's line."""
        name, number = trial.spec.trial_id, trial.number
        trial.attempts.append(attempt_record(result, judged))
        if result.log:
            self.directory.write_log(name, number, result.log)
        if result.spans:
            self.directory.write_spans(name, number, result.spans)

    def _write(self, trial: _Trial, result: AttemptResult, sheet: ScoreSheet | None, judged: Verdict) -> None:
        config = self.task.config
        model = next(each.model for each in config.candidates if each.name == trial.spec.candidate)
        scores = dict(sheet.scores) if sheet else {}
        trajectory = atif.trajectory(
            trial.spec,
            trial.example,
            result,
            agent_name=config.name,
            agent_version=self.image.key,
            model=model,
            verdict=judged,
            scores=scores,
        )
        self.directory.write_trajectory(trial.spec.trial_id, trajectory)
        record = trial_record(trial.spec, model, result, scores, trial.attempts)
        self.directory.append(record)
        self.display.finished(record)
