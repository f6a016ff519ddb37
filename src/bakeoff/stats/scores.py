"""Outcomes of trials, the four scores of a candidate, pass@k and pass^k."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import fmean

from bakeoff.record.base import VerdictName
from bakeoff.record.trial import DEFAULT_PROFILE
from bakeoff.stats.excess import Excess, excesses
from bakeoff.stats.intervals import Estimate, estimate, estimate_errors


class Counting(StrEnum):
    """How infrastructure errors count: the four scores, always shown side by side."""

    SCORE = "score"  # they are excluded, unless they hit candidates unequally: see `count_deaths`
    # What died inside its container is a failure, as in production; others are excluded
    AS_DEPLOYED = "as_deployed"
    WORST_CASE = "worst_case"  # every one of them is a failure, and every trial that died inside
    BEST_CASE = "best_case"  # every one is a pass


@dataclass(frozen=True, slots=True)
class Outcome:
    """One trial, reduced to what statistics needs."""

    candidate: str
    example_id: str
    cluster: str
    repetition: int
    verdict: VerdictName
    cause: str | None = None
    died_inside: bool = False  # the cause of any of its attempts is in `verdict.INSIDE_CAUSES`
    unscored: bool = False  # its evaluators could not score its answer
    profile: str = DEFAULT_PROFILE
    # One of these, and its candidate has them more often than another: a failure. See `count_deaths`
    excess: Excess | None = None

    @property
    def completed(self) -> bool:
        """Whether it has a verdict on the model."""
        return self.verdict != "infra_error"

    @property
    def own_doing(self) -> bool:
        """Whether its candidate may have caused that it counts nowhere."""
        return self.died_inside or self.unscored

    @property
    def value(self) -> float:
        return float(self.verdict == "passed")

    def counted(self, counting: Counting) -> float | None:
        """Its value when infrastructure errors count this way; None: excluded.

        Production has no second container, so a failure that arose inside the sandbox in any attempt stays a failure in
        `as_deployed`, even if a later attempt reached a verdict. `worst_case` counts it too, because no other way to
        count may fall below it. `score` counts it where it is the candidate's own doing: see `count_deaths`. So does
        `as_deployed` with an answer that could not be scored.
        """
        if counting is Counting.SCORE:
            return counted_in_score(self.verdict, self.own_doing, self.excess)
        fails = self.died_inside or self.excess is not None
        if fails and counting in (Counting.AS_DEPLOYED, Counting.WORST_CASE):
            return 0.0
        if self.completed:
            return self.value
        return {Counting.WORST_CASE: 0.0, Counting.BEST_CASE: 1.0}.get(counting)


def counted_in_score(verdict: VerdictName, own_doing: bool, deaths: Excess | None) -> float | None:
    """What a trial counts as in `score`; None: it is left out.

    Args:
        verdict: the trial's.
        own_doing: whether any of its attempts died inside its container, or its answer could not be scored.
        deaths: the test by which such trials of its candidate are failures; None: they are not.
    """
    if own_doing and deaths is not None:
        return 0.0
    return None if verdict == "infra_error" else float(verdict == "passed")


def count_deaths(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes, marked where a trial that died inside its container, or broke an evaluator, is a failure.

    Leaving it out is fair only while that hits candidates alike. What one candidate alone does is no noise of the box,
    and a candidate that does this whenever it would fail must not gain by it. What differs between profiles is the box,
    so candidates are compared within each. Call this once, on the outcomes of everything that is compared.
    """
    counted: dict[str, dict[str, tuple[int, int]]] = defaultdict(lambda: defaultdict(lambda: (0, 0)))
    for o in outcomes:
        died, trials = counted[o.profile][o.candidate]
        counted[o.profile][o.candidate] = (died + o.own_doing, trials + 1)
    found = [each for of_profile in counted.values() for each in excesses(of_profile).items()]
    own = {name: each for name, each in found if each.beyond_noise}
    return [replace(o, excess=own.get(o.candidate)) if o.own_doing else o for o in outcomes]


@dataclass(frozen=True, slots=True)
class ScoreSet:
    """The four scores of one candidate. None: there is no trial to count."""

    candidate: str
    trials: int
    passed: int
    failed: int
    infra_errors: int
    died_inside: int  # trials with any attempt that died inside its container
    deaths: Excess | None  # why these are failures in `score` too; None: they are not
    by: Mapping[Counting, Estimate | None]
    infra_rate: Estimate | None  # infrastructure errors among all trials: see `estimate_errors`

    @property
    def score(self) -> Estimate | None:
        return self.by[Counting.SCORE]


def score_set(candidate: str, outcomes: Iterable[Outcome]) -> ScoreSet:
    """The four scores of one candidate; outcomes of other candidates are ignored."""
    own = [o for o in outcomes if o.candidate == candidate]

    def rated(counting: Counting) -> Estimate | None:
        counted = [(value, o.cluster) for o in own if (value := o.counted(counting)) is not None]
        return estimate([value for value, _ in counted], [cluster for _, cluster in counted])

    return ScoreSet(
        candidate=candidate,
        trials=len(own),
        passed=sum(o.verdict == "passed" for o in own),
        failed=sum(o.verdict == "failed" for o in own),
        infra_errors=sum(not o.completed for o in own),
        died_inside=sum(o.died_inside for o in own),
        deaths=next((o.excess for o in own if o.excess is not None), None),
        by={counting: rated(counting) for counting in Counting},
        infra_rate=estimate_errors([float(not o.completed) for o in own], [o.example_id for o in own]),
    )


def pass_at_k(
    outcomes: Iterable[Outcome], candidate: str, k: int, counting: Counting = Counting.SCORE
) -> float | None:
    """The chance that at least one of k trials passes: mean over examples of 1 - C(n - c, k) / C(n, k).

    Chen et al. 2021, *Evaluating Large Language Models Trained on Code*, arXiv:2107.03374. Examples with fewer than k
    trials that count are excluded; None if no example remains. Exclusion flatters, since hard examples lose more
    trials: see `pass_bounds`.
    """
    counts = _counts(outcomes, candidate, k, counting)
    rates = [1 - math.comb(n - c, k) / math.comb(n, k) for n, c in counts]
    return fmean(rates) if rates else None


def pass_hat_k(
    outcomes: Iterable[Outcome], candidate: str, k: int, counting: Counting = Counting.SCORE
) -> float | None:
    """The chance that all of k trials pass (pass^k): mean over examples of C(c, k) / C(n, k).

    Yao et al. 2024, *tau-bench*, arXiv:2406.12045. Examples are excluded as in `pass_at_k`.
    """
    rates = [math.comb(c, k) / math.comb(n, k) for n, c in _counts(outcomes, candidate, k, counting)]
    return fmean(rates) if rates else None


def pass_bounds(
    estimator: Callable[[Iterable[Outcome], str, int, Counting], float | None],
    outcomes: Sequence[Outcome],
    candidate: str,
    k: int,
) -> tuple[float, float] | None:
    """What `pass_at_k` or `pass_hat_k` lies between: infrastructure errors are failures, or passes.

    The two are equal if every trial counts. None: no example has k trials.
    """
    low = estimator(outcomes, candidate, k, Counting.WORST_CASE)
    high = estimator(outcomes, candidate, k, Counting.BEST_CASE)
    return None if low is None or high is None else (low, high)


def _counts(outcomes: Iterable[Outcome], candidate: str, k: int, counting: Counting) -> list[tuple[int, int]]:
    """(counted, passed) of each example with at least k trials that count."""
    if k < 1:
        raise ValueError(f"k is {k}, not 1 or more")
    values: dict[str, list[float]] = defaultdict(list)
    for o in outcomes:
        if o.candidate == candidate and (value := o.counted(counting)) is not None:
            values[o.example_id].append(value)
    return [(len(v), int(sum(v))) for v in values.values() if len(v) >= k]
