"""A run directory, read once into everything that the reports, the scoreboard and `--json` show.

Memory is bounded: only the outcome and a few numbers of each trial are kept.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypedDict

from bakeoff import stats, verdict
from bakeoff.record.base import VerdictName
from bakeoff.record.manifest import Manifest, StopEarly
from bakeoff.record.store import HTML_REPORT, REPORT, RunDirectory
from bakeoff.record.trial import ResourceLimits, TrialRecord
from bakeoff.report import excerpt, prompts, suspect
from bakeoff.report import sweep as sweeps
from bakeoff.report.excerpt import Excerpt
from bakeoff.report.sweep import Sweep
from bakeoff.text import figures

EXIT_DONE, EXIT_INCONCLUSIVE, EXIT_INTERRUPTED = 0, 3, 130
USED = (
    "cost_usd",
    "input_tokens",
    "output_tokens",
    "model_calls",
    "working_seconds",
    "model_seconds",
    "queued_seconds",
    "tool_calls",
    "tool_errors",
    "repeated_calls",
    "rejected_calls",
    "unknown_tools",
)
BOUNDED = ("turns", "attempt_seconds")
GIVEN = (
    "memory_peak_bytes",
    "cpu_seconds",
    "throttled_seconds",
    "pids_peak",
    "disk_bytes",
)
LISTED_FAILURES = 50  # trials listed by `show`


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean, median, 95th percentile and maximum of something measured in every trial of a candidate."""

    n: int
    mean: float
    p50: float
    p95: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """Nearest-rank percentiles: every figure was really measured. None of nothing."""
        ranked = sorted(values)
        if not ranked:
            return None
        rank = [ranked[math.ceil(share * len(ranked)) - 1] for share in (0.5, 0.95)]
        return cls(len(ranked), math.fsum(ranked) / len(ranked), rank[0], rank[1], ranked[-1])


@dataclass(frozen=True, slots=True)
class CandidateReport:
    """One candidate's numbers. Time, model calls, tokens and money of a trial are those of all its attempts.

    What the agent used is spread over the judged trials only: an infrastructure error ends an attempt early, and would
    make its candidate look fast and cheap. What the box gave is over all, in each trial's last attempt.
    """

    name: str
    model: str
    simulated: bool
    counts: Mapping[VerdictName, int]
    scores: stats.ScoreSet
    # Chance that at least one of `ReportData.repetitions` trials passes, and that all do. None with one repetition, and
    # where trials of some example are missing: then the chance lies within the bounds
    pass_at_k: float | None
    pass_hat_k: float | None
    pass_at_k_bounds: tuple[float, float] | None
    pass_hat_k_bounds: tuple[float, float] | None
    evaluators: Mapping[str, float]  # mean score of each evaluator over the trials it scored
    total_cost_usd: float | None  # of all trials; None when any price is unknown
    cost_usd: Spread | None  # None also when any price is unknown
    input_tokens: Spread | None
    output_tokens: Spread | None
    model_calls: Spread | None
    working_seconds: Spread | None
    model_seconds: Spread | None
    queued_seconds: Spread | None
    turns: Spread | None  # model calls of the last attempt, which `limits.turns` bounds
    attempt_seconds: Spread | None  # working time of the last attempt, which `limits.seconds` bounds
    memory_peak_bytes: Spread | None
    cpu_seconds: Spread | None
    throttled_seconds: Spread | None
    pids_peak: Spread | None
    disk_bytes: Spread | None
    sampled: frozenset[str]  # of these, the peaks that some kernel did not keep: they may read low
    oom_kills: int
    bound: Mapping[str, int]  # limit -> trials that ran into it
    tool_calls: Spread | None  # these five: None also where no trial's line counts them
    tool_errors: Spread | None
    repeated_calls: Spread | None
    rejected_calls: Spread | None  # among the errors: answered without running the tool
    unknown_tools: Spread | None  # among the errors: of a tool that the model was not offered
    contended: int  # trials whose last attempt got less than its reserve
    reattempts: int  # attempts beyond each trial's first
    recovered: int  # trials that a re-attempt brought from an infra error to a verdict on the model
    lost_attempts: Mapping[str, int]  # cause -> attempts that it ended and that were followed by another
    # Trials of an older version: what their attempts before the last used is not in the numbers
    uncounted: int
    reattempted: int  # trials with more than one attempt
    reattempted_more: stats.Excess | None  # than another candidate's: the test; None: there is no other

    @property
    def label(self) -> str:
        """Its name, stamped where its numbers are a simulation's."""
        return f"{self.name} (simulated)" if self.simulated else self.name

    @property
    def n(self) -> int:
        """Finished trials."""
        return sum(self.counts.values())

    @property
    def wasted_share(self) -> float | None:
        """Share of its tool calls that failed or repeated an earlier call; None of no calls."""
        calls, errors, repeated = self.tool_calls, self.tool_errors, self.repeated_calls
        if calls is None or errors is None or repeated is None or not calls.mean:
            return None
        return (errors.mean * errors.n + repeated.mean * repeated.n) / (calls.mean * calls.n)

    @property
    def infra_error_rate(self) -> float | None:
        """Share of its trials that ended as infra errors; None of no trials."""
        return self.counts["infra_error"] / self.n if self.n else None


@dataclass(frozen=True, slots=True)
class CauseReport:
    """One cause of one candidate's failures, with its first case."""

    candidate: str
    verdict: VerdictName
    cause: str
    count: int
    trial_id: str
    because: str  # hostile text
    output: str  # hostile text


@dataclass(frozen=True, slots=True)
class SliceReport:
    """One candidate's trials of one part of the dataset."""

    by: str  # "suite" or "cluster"
    name: str
    candidate: str
    passed: int
    counted: int  # in `score`
    left_out: int

    @property
    def score(self) -> float | None:
        """None where no trial counts."""
        return self.passed / self.counted if self.counted else None


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything the reports say."""

    manifest: Manifest
    run_dir: str
    repetitions: int  # of each example, by every candidate: the k of pass@k and pass^k
    candidates: Sequence[CandidateReport]  # best first
    causes: Sequence[CauseReport]
    slices: Sequence[SliceReport]
    excerpts: Mapping[str, Excerpt]  # cause -> how its first trial went
    decision: stats.Decision
    effective: Sequence[tuple[ResourceLimits, int]]  # limits read back, and in how many trials
    failing: Sequence[tuple[str, VerdictName, str]]  # trial id, verdict, cause; the first LISTED_FAILURES
    warnings: Sequence[str]
    doubts: Sequence[str]  # why the run is inconclusive; none: it is conclusive
    max_error_rate: float
    prompt_varies: bool  # whether the first trials were sent different system prompts
    sweep: Sweep | None  # None: the run is no sweep

    @property
    def n(self) -> int:
        """Finished trials."""
        return sum(candidate.n for candidate in self.candidates)

    def trials_left_out(self, candidate: str) -> int:
        """Its planned trials that looks at the results left out."""
        if (plan := self.manifest.stop_early) is None:
            return 0
        return self.manifest.dataset.rows * (plan.repetitions[-1] - plan.repetitions_of(candidate))

    @property
    def infra_errors(self) -> int:
        """Trials that ended as infra errors."""
        return sum(candidate.counts["infra_error"] for candidate in self.candidates)

    @property
    def infra_error_rate(self) -> float | None:
        """Share of all trials that ended as infra errors; None of no trials."""
        return self.infra_errors / self.n if self.n else None

    @property
    def simulated(self) -> bool:
        """Whether any candidate's numbers are a simulation's."""
        return any(candidate.simulated for candidate in self.candidates)

    @property
    def inconclusive(self) -> bool:
        """Whether the numbers may not be used to decide."""
        return bool(self.doubts)

    @property
    def exit_code(self) -> int:
        """What `bakeoff run` ends with."""
        if self.manifest.state != "finished":
            return EXIT_INTERRUPTED
        return EXIT_INCONCLUSIVE if self.inconclusive else EXIT_DONE

    @property
    def sentence(self) -> str:
        """The decision in one sentence, stamped with what a reader must know before believing it."""
        stamp = "SIMULATED: " if self.simulated else ""
        if self.inconclusive:
            return f"{stamp}INCONCLUSIVE: {figures.some(self.doubts)}."
        return f"{stamp}{self.decision.sentence}"

    @property
    def report_path(self) -> str:
        """Where report.md is."""
        return f"{self.run_dir}/{REPORT}"

    @property
    def html_report_path(self) -> str:
        """Where report.html is."""
        return f"{self.run_dir}/{HTML_REPORT}"


def _not_run(manifest: Manifest) -> list[str]:
    """Trials that the budget did not cover; they have no verdict."""
    left = manifest.not_run
    return [f"{left.trials} trials were not run: {left.reason}."] if left else []


def _counts() -> dict[VerdictName, int]:
    return {"passed": 0, "failed": 0, "infra_error": 0}


def _numbers() -> array[float]:
    return array("d")


@dataclass
class _Measures:
    """What is gathered of one candidate while its trials stream by."""

    counts: dict[VerdictName, int] = field(default_factory=_counts)
    sums: Counter[str] = field(default_factory=Counter)
    lost_attempts: Counter[str] = field(default_factory=Counter)
    cost: float | None = 0.0
    score_sums: dict[str, tuple[float, int]] = field(default_factory=dict)
    bound: Counter[str] = field(default_factory=Counter)
    sampled: set[str] = field(default_factory=set)
    spreads: dict[str, array[float]] = field(default_factory=dict)

    def add(self, trial: TrialRecord) -> None:
        self.counts[trial.verdict] += 1
        cost = trial.usage.cost_usd
        self.cost = None if self.cost is None or cost is None else self.cost + cost
        self.sums.update(
            oom_kills=trial.resources.observed.oom_kills or 0,
            reattempts=max(len(trial.attempts) - 1, 0),
            reattempted=int(len(trial.attempts) > 1),
            uncounted=int(any(each.usage is None for each in trial.attempts[:-1])),
            recovered=int(trial.verdict != "infra_error" and len(trial.attempts) > 1),
            contended=int(bool(trial.attempts) and trial.attempts[-1].evidence.host.contended),
        )
        self.lost_attempts.update(each.cause or "infra.unknown" for each in trial.attempts[:-1])
        for name, score in trial.scores.items():
            total, n = self.score_sums.get(name, (0.0, 0))
            self.score_sums[name] = (total + score, n + 1)
        self.bound.update(trial.resource_bound)
        self.sampled.update(trial.resources.observed.sampled)
        measured = {name: getattr(trial.resources.observed, name) for name in GIVEN}
        if trial.verdict != "infra_error":
            measured |= {f"{name}_seconds": value for name, value in trial.seconds if name != "wall"}
            measured |= dict(trial.usage)
            measured |= _tools(trial)
            for last in trial.attempts[-1:]:
                measured["turns"] = (last.usage or trial.usage).model_calls
                measured["attempt_seconds"] = last.evidence.clock.working_seconds
        for name, value in measured.items():
            if value is not None and math.isfinite(value):
                self.spreads.setdefault(name, _numbers()).append(value)


def _tools(trial: TrialRecord) -> dict[str, float]:
    if trial.tools is not None:
        return {
            "tool_calls": trial.tools.calls,
            "tool_errors": trial.tools.failed,
            "repeated_calls": trial.tools.repeated,
            "rejected_calls": trial.tools.rejected,
            "unknown_tools": trial.tools.unknown,
        }
    # lines written before tool calls were counted still have the runner's own count of errors
    return {"tool_errors": trial.attempts[-1].evidence.harness.tool_errors} if trial.attempts else {}


def outcome(trial: TrialRecord, clusters: Mapping[str, str]) -> stats.Outcome:
    """What statistics needs of a trial. `clusters`: by example; an example without one is its own."""
    # one string an example instead of one a trial
    example = sys.intern(trial.example_id)
    return stats.Outcome(
        candidate=sys.intern(trial.experiment),
        example_id=example,
        cluster=sys.intern(str(clusters.get(example) or example)),
        repetition=trial.repetition,
        verdict=trial.verdict,
        cause=trial.cause,
        died_inside=verdict.died_inside(trial),
        unscored=verdict.unscored(trial),
        profile=sys.intern(trial.profile),
    )


def looks(plan: StopEarly) -> stats.Looks:
    """How far a run has come that may stop early, for statistics."""
    return stats.Looks(tuple(plan.repetitions), plan.pairs, len(plan.looks), plan.dropped)


def collect(run: RunDirectory) -> ReportData:
    """Read a run. Raises InputError when its files are damaged."""
    manifest = run.manifest()
    measures = {name: _Measures() for name in manifest.experiments}
    causes: dict[tuple[str, str], CauseReport] = {}
    outcomes: list[stats.Outcome] = []
    effective: Counter[ResourceLimits] = Counter()
    failing: list[tuple[str, VerdictName, str]] = []
    warnings: list[str] = []
    parts: dict[str, Mapping[str, str]] = {
        "suite": manifest.dataset.suites,
        "cluster": manifest.dataset.clusters,
    }
    peaks: dict[str, dict[str, float]] = {}
    sampled: dict[str, str] = {}  # example -> its first trial, of the first few examples
    for trial in run.trials():
        if len(sampled) < prompts.SAMPLED:
            sampled.setdefault(trial.example_id, trial.trial_id)
        outcomes.append(outcome(trial, parts["cluster"]))
        candidate = outcomes[-1].candidate
        measures.setdefault(candidate, _Measures()).add(trial)
        effective[trial.resources.effective] += 1
        if manifest.config.sweep and (peak := trial.resources.observed.memory_peak_bytes) is not None:
            highest = peaks.setdefault(outcomes[-1].example_id, {})
            highest[candidate] = max(peak, highest.get(candidate, 0))
        if trial.verdict != "passed":
            cause = trial.cause or "infra.unknown"
            first = causes.get((candidate, cause)) or _first_case(candidate, cause, trial)
            causes[candidate, cause] = replace(first, count=first.count + 1)
            if len(failing) < LISTED_FAILURES:
                failing.append((trial.trial_id, trial.verdict, cause))
    outcomes = stats.count_deaths(outcomes)
    sweep, early = sweeps.collect(manifest, outcomes, peaks), manifest.stop_early
    decision = (
        stats.decide(outcomes, list(measures), looks(early) if early else None)
        if sweep is None
        else _of_sweep(sweep, outcomes, measures)
    )
    ran = {name: sum(each.counts.values()) for name, each in measures.items()}
    again = _excesses(manifest, {name: (measures[name].sums["reattempted"], n) for name, n in ran.items()})
    lost = _excesses(manifest, {name: (measures[name].counts["infra_error"], n) for name, n in ran.items()})
    # of every candidate: those of a dropped one are fewer
    repetitions = min(map(early.repetitions_of, measures)) if early else manifest.config.trials
    # best first, as the decision ranks them
    candidates = [
        _candidate(
            scores,
            measures[scores.candidate],
            again.get(scores.candidate),
            manifest,
            [o for o in outcomes if o.candidate == scores.candidate],
            repetitions,
        )
        for scores in decision.scores
    ]
    max_error_rate = manifest.config.infra.max_error_rate
    warnings += suspect.candidates(decision.scores, lost, max_error_rate)
    if contended := sum(each.contended for each in candidates):
        warnings.append(
            f"{contended} of {len(outcomes)} trials got less CPU than was reserved for them, since the host was busy "
            "with something else: read times, and verdicts that depend on time, with care"
        )
    return ReportData(
        manifest=manifest,
        run_dir=str(run.path),
        repetitions=repetitions,
        candidates=candidates,
        causes=sorted(causes.values(), key=lambda each: (each.candidate, -each.count, each.cause)),
        slices=_slices(outcomes, parts),
        excerpts=_excerpts(run, causes.values()),
        decision=decision,
        effective=effective.most_common(),
        failing=failing,
        warnings=[*manifest.notes, *_not_run(manifest), *run.warnings, *warnings],
        doubts=[
            *_missing(manifest, len(outcomes)),
            # What the box costs is what a sweep measures
            *(_doubts(candidates, max_error_rate) if sweep is None else ()),
            *suspect.harness(
                suspect.counted([(each.candidate, each.cause, each.count) for each in causes.values()]),
                ran,
                max_error_rate,
            ),
        ],
        max_error_rate=max_error_rate,
        prompt_varies=prompts.differ(run, sampled.values()),
        sweep=sweep,
    )


def _of_sweep(sweep: Sweep, outcomes: Sequence[stats.Outcome], experiments: Iterable[str]) -> stats.Decision:
    """The sweep's decision, with the scores of its experiments in the order of candidates and profiles."""
    return replace(sweep.decision, scores=tuple(stats.score_set(name, outcomes) for name in experiments))


def _excesses(manifest: Manifest, counted: Mapping[str, tuple[int, int]]) -> dict[str, stats.Excess]:
    """As `stats.excesses`, of the candidates under one profile: what differs between profiles is the box."""
    by_profile: dict[str, dict[str, tuple[int, int]]] = {}
    for name, each in counted.items():
        by_profile.setdefault(manifest.profile(name).name, {})[name] = each
    found = (stats.excesses(each) for each in by_profile.values())
    return {name: excess for each in found for name, excess in each.items()}


def _slices(outcomes: Iterable[stats.Outcome], parts: Mapping[str, Mapping[str, str]]) -> list[SliceReport]:
    values: dict[tuple[str, str, str], list[float | None]] = {}
    for outcome in outcomes:
        for by, names in parts.items():
            if name := names.get(outcome.example_id):
                key = (by, str(name), outcome.candidate)
                values.setdefault(key, []).append(outcome.counted(stats.Counting.SCORE))
    return [
        SliceReport(*key, own.count(1.0), len(own) - own.count(None), own.count(None))
        for key, own in sorted(values.items())
    ]


def _first_case(candidate: str, cause: str, trial: TrialRecord) -> CauseReport:
    because = trial.attempts[-1].because if trial.attempts else ""
    return CauseReport(candidate, trial.verdict, cause, 0, trial.trial_id, because, trial.output)


def _excerpts(run: RunDirectory, causes: Iterable[CauseReport]) -> dict[str, Excerpt]:
    """One a cause, most frequent first: only these few trajectories are ever read."""
    totals: Counter[str] = Counter()
    first: dict[str, str] = {}
    for each in causes:
        totals[each.cause] += each.count
        first.setdefault(each.cause, each.trial_id)
    return {cause: excerpt.read(run, first[cause]) for cause, _ in totals.most_common()}


def _candidate(
    scores: stats.ScoreSet,
    measures: _Measures,
    again: stats.Excess | None,
    manifest: Manifest,
    outcomes: Sequence[stats.Outcome],
    repetitions: int,
) -> CandidateReport:
    row = manifest.candidate(scores.candidate)
    sums = measures.sums
    spreads = {name: Spread.of(measures.spreads.get(name, ())) for name in (*USED, *BOUNDED, *GIVEN)}
    if measures.cost is None:
        spreads["cost_usd"] = None
    return CandidateReport(
        name=scores.candidate,
        model=row.model,
        simulated=row.simulated,
        counts=measures.counts,
        scores=scores,
        evaluators={key: total / n for key, (total, n) in sorted(measures.score_sums.items())},
        total_cost_usd=measures.cost,
        oom_kills=sums["oom_kills"],
        bound=dict(sorted(measures.bound.items())),
        sampled=frozenset(measures.sampled),
        reattempts=sums["reattempts"],
        recovered=sums["recovered"],
        contended=sums["contended"],
        lost_attempts=dict(measures.lost_attempts.most_common()),
        uncounted=sums["uncounted"],
        reattempted=sums["reattempted"],
        reattempted_more=again,
        **_passes(outcomes, scores.candidate, repetitions),
        **spreads,
    )


def _missing(manifest: Manifest, finished: int) -> list[str]:
    if finished >= manifest.trials_due:
        return []
    return [f"only {finished} of {manifest.trials_due} planned trials have a verdict"]


class _Passes(TypedDict):
    pass_at_k: float | None
    pass_hat_k: float | None
    pass_at_k_bounds: tuple[float, float] | None
    pass_hat_k_bounds: tuple[float, float] | None


def _passes(outcomes: Sequence[stats.Outcome], candidate: str, k: int) -> _Passes:
    if k < 2:
        return _Passes(pass_at_k=None, pass_hat_k=None, pass_at_k_bounds=None, pass_hat_k_bounds=None)
    complete = all(o.counted(stats.Counting.SCORE) is not None for o in outcomes)
    return _Passes(
        pass_at_k=stats.pass_at_k(outcomes, candidate, k) if complete else None,
        pass_hat_k=stats.pass_hat_k(outcomes, candidate, k) if complete else None,
        pass_at_k_bounds=stats.pass_bounds(stats.pass_at_k, outcomes, candidate, k),
        pass_hat_k_bounds=stats.pass_bounds(stats.pass_hat_k, outcomes, candidate, k),
    )


def _doubts(candidates: Sequence[CandidateReport], max_error_rate: float) -> list[str]:
    """Why the numbers may not decide.

    The limit applies to the error rate of every candidate: a bad measurement of one candidate must not hide
    behind good ones of the others.
    """
    doubts = []
    for candidate in candidates:
        rate = candidate.infra_error_rate
        if rate is not None and rate > max_error_rate:
            doubts.append(
                f"{figures.percent(rate)} of {candidate.name}'s trials ended as infrastructure errors, "
                f"and at most {figures.percent(max_error_rate)} may"
            )
    return doubts
