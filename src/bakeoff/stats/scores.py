"""What statistics needs of a trial, the four scores of a candidate, and the chances of repeated trials."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from bakeoff.records import VerdictName
from bakeoff.stats.intervals import Estimate, estimate


@dataclass(frozen=True, slots=True)
class Outcome:
    """What statistics needs of one trial."""

    candidate: str
    example_id: str
    cluster: str
    repetition: int
    verdict: VerdictName
    cause: str | None = None
    limit_caused: bool = False  # an infra error due to the pinned limits: `cause in verdict.LIMIT_CAUSES`

    @property
    def completed(self) -> bool:
        """Whether it says something about the model."""
        return self.verdict != "infra_error"

    @property
    def value(self) -> float:
        """1 for a pass, else 0."""
        return float(self.verdict == "passed")


@dataclass(frozen=True, slots=True)
class ScoreSet:
    """The four scores of one candidate: leaving trials out can flatter. None: there is no trial to count."""

    candidate: str
    trials: int
    passed: int
    failed: int
    infra_errors: int
    limit_caused: int  # of the infra errors
    score: Estimate | None  # infra errors left out
    as_deployed: (
        Estimate | None
    )  # those due to the pinned limits are failures, as in production; others left out
    worst_case: Estimate | None  # every infra error is a failure
    best_case: Estimate | None  # every infra error is a pass
    infra_rate: Estimate | None  # infra errors among all trials


def score_set(candidate: str, outcomes: Iterable[Outcome]) -> ScoreSet:
    """The four scores of one candidate; outcomes of others are passed over."""
    own = [o for o in outcomes if o.candidate == candidate]
    infra = [o for o in own if not o.completed]
    done = [o for o in own if o.completed]
    limited = [o for o in infra if o.limit_caused]

    def rated(group: list[Outcome], infra_is: float) -> Estimate | None:
        values = [o.value if o.completed else infra_is for o in group]
        return estimate(values, [o.cluster for o in group])

    return ScoreSet(
        candidate=candidate,
        trials=len(own),
        passed=sum(o.verdict == "passed" for o in own),
        failed=sum(o.verdict == "failed" for o in own),
        infra_errors=len(infra),
        limit_caused=len(limited),
        score=rated(done, 0.0),
        as_deployed=rated(done + limited, 0.0),
        worst_case=rated(own, 0.0),
        best_case=rated(own, 1.0),
        infra_rate=estimate([float(not o.completed) for o in own], [o.cluster for o in own]),
    )


def pass_at_k(outcomes: Iterable[Outcome], candidate: str, k: int) -> float | None:
    """The chance that at least one of k trials passes: mean over examples of 1 - C(n - c, k) / C(n, k).

    Chen et al. 2021, *Evaluating Large Language Models Trained on Code*, arXiv:2107.03374. Examples with
    fewer than k completed trials are left out; None when none is left.
    """
    rates = [1 - math.comb(n - c, k) / math.comb(n, k) for n, c in _counts(outcomes, candidate, k)]
    return fmean(rates) if rates else None


def pass_hat_k(outcomes: Iterable[Outcome], candidate: str, k: int) -> float | None:
    """The chance that all of k trials pass (pass^k): mean over examples of C(c, k) / C(n, k).

    Yao et al. 2024, *tau-bench*, arXiv:2406.12045. Left out as in `pass_at_k`.
    """
    rates = [math.comb(c, k) / math.comb(n, k) for n, c in _counts(outcomes, candidate, k)]
    return fmean(rates) if rates else None


def _counts(outcomes: Iterable[Outcome], candidate: str, k: int) -> list[tuple[int, int]]:
    """(completed, passed) of each example with at least k completed trials."""
    if k < 1:
        raise ValueError(f"k is {k}, not 1 or more")
    values: dict[str, list[float]] = defaultdict(list)
    for o in outcomes:
        if o.candidate == candidate and o.completed:
            values[o.example_id].append(o.value)
    return [(len(v), int(sum(v))) for v in values.values() if len(v) >= k]
