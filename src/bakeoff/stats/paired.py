"""Candidates against each other: paired differences, p-values, and detectable effects.

References:
    Miller 2024, *Adding Error Bars to Evals*, arXiv:2411.00640.
    Canay, Romano & Shaikh 2017, *Randomization Tests under an Approximate Symmetry Assumption*,
        Econometrica 85.
    Holm 1979, *A Simple Sequentially Rejective Multiple Test Procedure*, Scand. J. Statistics 6.
    Bonett & Price 2012, *Adjusted Wald Confidence Interval for a Difference of Binomial Proportions Based on
        Paired Data*, J. Educational and Behavioral Statistics 37.
    Bell & McCaffrey 2002, *Bias Reduction in Standard Errors for Linear Regression with Multi-Stage Samples*,
        Survey Methodology 28.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from statistics import NormalDist, fmean
from typing import Literal

from bakeoff.stats.detectable import ALPHA, FEW_CLUSTERS, Spread, detectable, falling
from bakeoff.stats.intervals import (
    CONFIDENCE,
    ZERO,
    clustered_se,
    difference_df,
    t_quantile,
    t_two_sided,
    wilson,
)
from bakeoff.stats.scores import Counting, Outcome

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """`first` minus `second` on the examples both completed: the mean of their differences in pass rate.

    `method`: `paired-t`, `sign-flip` (few clusters differ; exact, without assuming normality), `no-spread` (every
    cluster differed by the same amount), or `none` (no example in common).
    """

    first: str
    second: str
    examples: int
    clusters: int
    difference: float | None = None
    se: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None  # Holm's, over all comparisons with a p-value
    # 80 % power, after correction, if single examples change; None: no effect could be detected.
    minimum_detectable_effect: float | None = None
    # The same if whole clusters change; None also where every example is a cluster
    detectable_in_clusters: float | None = None
    method: Literal["paired-t", "sign-flip", "no-spread", "none"] = "none"
    # Of a run that may stop early: the last look at this pair, 0 before the first, and what `p_value` must be below
    look: int | None = None
    boundary: float | None = None

    @property
    def distinguishable(self) -> bool:
        """Whether the difference is significant after the correction for many comparisons."""
        return self.p_adjusted is not None and self.p_adjusted < ALPHA

    @property
    def can_tell(self) -> bool:
        """Whether there are enough clusters for any difference to be significant."""
        return self.clusters >= FEW_CLUSTERS

    @property
    def grouped(self) -> bool:
        """Whether any cluster has several examples."""
        return self.clusters < self.examples

    def reversed(self) -> Comparison:
        """`second` minus `first`."""
        difference, low, high = (None if x is None else -x for x in (self.difference, self.high, self.low))
        return replace(self, first=self.second, second=self.first, difference=difference, low=low, high=high)

    @property
    def conclusion(self) -> int:
        """1: `first` is better; -1: `second` is; 0: neither, significantly."""
        if not self.distinguishable or not self.difference:
            return 0
        return 1 if self.difference > 0 else -1


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """One pair under every way to count infrastructure errors, which are missing data and not zeros.

    `worst_case` counts them against `first` and for `second`, `best_case` the reverse: the truth lies
    between the two.
    """

    first: str
    second: str
    by: Mapping[Counting, Comparison]

    @property
    def depends(self) -> bool:
        """Whether the conclusion depends on how they are counted."""
        return len({comparison.conclusion for comparison in self.by.values()}) > 1

    @property
    def outside_bounds(self) -> bool:
        """Whether the difference without infrastructure errors is none that any verdicts of theirs could bring.

        Then the examples that both completed are not like the others: what is left out was selected.
        """
        found = [self.by[way].difference for way in (Counting.WORST_CASE, Counting.SCORE, Counting.BEST_CASE)]
        worst, left_out, best = (0.0 if each is None else each for each in found)
        return None not in found and not worst - ZERO <= left_out <= best + ZERO

    @property
    def better(self) -> str | None:
        """Who is significantly better, and would be in production: what it left unfinished must not make it so."""
        conclusions = {self.by[way].conclusion for way in (Counting.SCORE, Counting.AS_DEPLOYED)}
        return self.first if conclusions == {1} else self.second if conclusions == {-1} else None

    @property
    def worse(self) -> str | None:
        """Who is significantly worse, by the same rule."""
        return {self.first: self.second, self.second: self.first}.get(self.better or "")


@dataclass(frozen=True, slots=True)
class Levels:
    """Two-sided errors: of the interval, and of the test that the detectable effect is about."""

    interval: float = 1 - CONFIDENCE
    test: float = ALPHA


@dataclass
class _Rates:
    """Mean pass rates by candidate and example, and the number of trials behind each."""

    rates: dict[str, dict[str, float]] = field(default_factory=dict)
    trials: dict[str, dict[str, int]] = field(default_factory=dict)
    cluster_of: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, outcomes: Iterable[Outcome], counting: Counting) -> _Rates:
        values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        made = cls()
        for o in outcomes:
            if (value := o.counted(counting)) is not None:
                values[o.candidate][o.example_id].append(value)
                made.cluster_of[o.example_id] = o.cluster
        for name, own in values.items():
            made.rates[name] = {example: fmean(each) for example, each in own.items()}
            made.trials[name] = {example: len(each) for example, each in own.items()}
        return made


@dataclass(frozen=True, slots=True)
class _Paired:
    """The differences of two candidates on the examples of both."""

    differences: list[float]
    clusters: list[str]  # one an example
    trials: float = 0.0  # of one candidate, behind these
    falling: tuple[float, float] = (1.0, 1.0)  # `falling` of the better one


def sign_flip_p(cluster_sums: Sequence[float]) -> float:
    """The exact two-sided p-value of a zero mean, over all 2^G ways to flip the clusters' signs.

    Canay, Romano & Shaikh (2017). For few clusters: each one doubles the work.
    """
    seen = abs(math.fsum(cluster_sums)) - ZERO
    flips = [
        abs(math.fsum(sign * total for sign, total in zip(signs, cluster_sums, strict=True))) >= seen
        for signs in product((1, -1), repeat=len(cluster_sums))
    ]
    return fmean(flips)


def compare(
    outcomes: Iterable[Outcome],
    first: str,
    second: str,
    counting: Counting = Counting.SCORE,
    pairs: int = 1,
    *,
    levels: Levels | None = None,
) -> Comparison:
    """Compare two candidates on the examples that both completed at least once. `p_adjusted` is the unadjusted p.

    An example's difference is that of its two mean pass rates over completed repetitions, and all examples weigh the
    same. With one example per cluster and no infrastructure errors this is the paired t-test. For clusters of
    different sizes it is the form of Bell & McCaffrey (2002): see `clustered_se` and `difference_df`.

    Args:
        counting: how infrastructure errors count; `worst_case` counts those of `first` as failures and those
            of `second` as passes, `best_case` the reverse.
        pairs: the total number of comparisons; the detectable effect is computed at the level alpha / pairs, Holm's
            first and strictest step.
        levels: None: 95 % of the interval, and alpha / pairs.
    """
    kept = [o for o in outcomes if o.candidate in (first, second)]
    return _compared(kept, [(first, second)], counting, levels or Levels(test=ALPHA / pairs))[0]


def spread_of(outcomes: Iterable[Outcome], first: str, second: str) -> Spread | None:
    """How `first` minus `second` varies, as estimated from this run; None: there are too few clusters."""
    rates = _Rates.of((o for o in outcomes if o.candidate in (first, second)), Counting.SCORE)
    return _spread(_paired(rates, rates, first, second))


def compare_all(
    outcomes: Sequence[Outcome], candidates: Sequence[str], counting: Counting = Counting.SCORE
) -> tuple[Comparison, ...]:
    """Every pair of candidates, with p-values adjusted by Holm over the pairs that have one."""
    return compare_pairs(outcomes, list(combinations(candidates, 2)), counting)


def compare_pairs(
    outcomes: Sequence[Outcome], pairs: Sequence[Pair], counting: Counting = Counting.SCORE
) -> tuple[Comparison, ...]:
    """These pairs of candidates, with p-values adjusted by Holm over the pairs that have one."""
    compared = _compared(outcomes, pairs, counting, Levels(test=ALPHA / max(1, len(pairs))))
    adjusted = iter(holm([pair.p_value for pair in compared if pair.p_value is not None]))
    return tuple(
        pair if pair.p_value is None else replace(pair, p_adjusted=next(adjusted)) for pair in compared
    )


def sensitivities(outcomes: Sequence[Outcome], pairs: Sequence[Pair]) -> tuple[Sensitivity, ...]:
    """These pairs under every way to count infrastructure errors, each way corrected separately."""
    by_way = {way: compare_pairs(outcomes, pairs, way) for way in Counting}
    return tuple(
        Sensitivity(*pair, {way: by_way[way][index] for way in Counting}) for index, pair in enumerate(pairs)
    )


def _compared(
    outcomes: Sequence[Outcome], pairs: Sequence[Pair], counting: Counting, levels: Levels
) -> list[Comparison]:
    opposite = {Counting.WORST_CASE: Counting.BEST_CASE, Counting.BEST_CASE: Counting.WORST_CASE}
    ours = _Rates.of(outcomes, counting)
    theirs = _Rates.of(outcomes, opposite[counting]) if counting in opposite else ours
    compared = []
    for first, second in pairs:
        compared.append(_tested(first, second, _paired(ours, theirs, first, second), levels))
    return compared


def _paired(ours: _Rates, theirs: _Rates, first: str, second: str) -> _Paired:
    of_first, of_second = ours.rates.get(first, {}), theirs.rates.get(second, {})
    common = sorted(of_first.keys() & of_second.keys())
    if not common:
        return _Paired([], [])
    clusters = [ours.cluster_of[e] for e in common]
    return _Paired(
        [of_first[e] - of_second[e] for e in common],
        clusters,
        sum(ours.trials[first][e] + theirs.trials[second][e] for e in common) / 2,
        max(falling([each[e] for e in common], clusters) for each in (of_first, of_second)),
    )


def _tested(first: str, second: str, paired: _Paired, levels: Levels) -> Comparison:
    differences, clusters, trials = paired.differences, paired.clusters, paired.trials
    n = len(differences)
    if n == 0:
        return Comparison(first, second, 0, 0)
    mean, se = fmean(differences), clustered_se(differences, clusters)
    sums = _sums(differences, clusters)
    g = len(sums)
    if se is None:
        return Comparison(first, second, n, g, mean, None, None, None, 1.0, 1.0, None, None, "sign-flip")
    single, whole = _detectable(paired, levels.test)
    known = Comparison(
        first, second, n, g, mean, se, minimum_detectable_effect=single, detectable_in_clusters=whole
    )
    if se < ZERO:
        p = 1.0 if abs(mean) < ZERO else 2.0 ** (1 - g)
        low, high = _around(mean, g, levels.interval)
        return replace(known, se=0.0, low=low, high=high, p_value=p, p_adjusted=p, method="no-spread")
    df = difference_df(differences, clusters)
    t = -t_quantile(levels.interval / 2, df)
    differing = [total for total in sums.values() if abs(total) > ZERO]
    if len(differing) >= FEW_CLUSTERS:
        low, high, p = mean - t * se, mean + t * se, t_two_sided(mean / se, df)
    else:
        cautious = _cautious(se, n, g, trials)
        low, high, p = mean - t * cautious, mean + t * cautious, sign_flip_p(differing)
        if p >= levels.interval:  # an interval without 0 would contradict the exact test
            low, high = min(low, 0.0), max(high, 0.0)
    return replace(
        known,
        low=max(-1.0, low),
        high=min(1.0, high),
        p_value=p,
        p_adjusted=p,
        method="paired-t" if len(differing) >= FEW_CLUSTERS else "sign-flip",
    )


def _detectable(paired: _Paired, alpha: float) -> tuple[float | None, float | None]:
    """The two detectable differences of `Comparison`; None: there are too few clusters."""
    spread = _spread(paired)
    if spread is None:
        return None, None
    return detectable(spread, alpha)


def _around(mean: float, clusters: int, error: float) -> tuple[float, float]:
    """The bounds of a difference of rates if every cluster differs by `mean`; `error`: two-sided.

    At most a share u of all clusters does not (Wilson's bound on 0 of `clusters`), and those lie in [-1, 1].
    """
    u = wilson(0.0, clusters, -NormalDist().inv_cdf(error / 2))[1]
    return max(-1.0, (1 - u) * mean - u), min(1.0, (1 - u) * mean + u)


def _sums(differences: Sequence[float], clusters: Sequence[str]) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for difference, cluster in zip(differences, clusters, strict=True):
        sums[cluster] += difference
    return sums


def _cautious(se: float, n: int, g: int, trials: float) -> float:
    """The standard error if few clusters differ, since those underestimate the spread.

    Bonett & Price (2012) add a discordant pair each way. This adds one trial's worth, in units of a cluster's
    difference.
    """
    extra = (n / g) ** 2 * g / trials
    return math.sqrt(se**2 + g / (g - 1) * extra / n**2)


def _spread(paired: _Paired) -> Spread | None:
    """The spread of differences of rates; None with fewer than six clusters."""
    differences, clusters = paired.differences, paired.clusters
    sums = _sums(differences, clusters)
    n, g = len(differences), len(sums)
    se = clustered_se(differences, clusters) if g >= FEW_CLUSTERS else None
    if se is None:
        return None
    differing = sum(abs(total) > ZERO for total in sums.values())
    if se < ZERO:
        se = seen_se(se, g)
    elif differing < FEW_CLUSTERS:
        se = _cautious(se, n, g, paired.trials)
    sizes = tuple(Counter(clusters).values())
    equal = 1 + difference_df(differences, clusters)
    return Spread(se, equal, sizes, differing, fmean(differences), *paired.falling)


def seen_se(se: float, clusters: int) -> float:
    """The standard error, or, if it is 0, one from the share of clusters that may differ: see `_around`."""
    return se if se > ZERO else math.sqrt(wilson(0.0, clusters)[1] / clusters)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values, in the order given."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted
