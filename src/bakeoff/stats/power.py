"""The effect that a sample of this kind could show, and the sample that a smaller effect needs.

Reference:
    Miller 2024, *Adding Error Bars to Evals*, arXiv:2411.00640, sections on variance reduction and on power.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from bakeoff.stats.detectable import (
    ALPHA,
    FEW_CLUSTERS,
    POWER,
    Spread,
    falling,
    minimum_detectable_effect,
    power_of,
)
from bakeoff.stats.intervals import equivalent_clusters
from bakeoff.stats.paired import seen_se, spread_of
from bakeoff.stats.scores import Counting, Outcome

MOST = 10_000_000  # examples; a larger need is reported as unreachable


@dataclass(frozen=True, slots=True)
class Power:
    """What comparing two candidates on this run's examples can show of a true difference `effect`.

    None: unknown from this run (`why`), or, for the numbers needed, no number is enough.
    """

    first: str
    second: str  # the same name means a rerun of the candidate, as in a nightly job
    effect: float
    examples: int
    clusters: int
    repetitions: float  # judged trials of an example, on average
    detectable: float | None = None  # found with 80 % probability; None without `why`: no effect is
    power: float | None = None  # probability that `effect` is found
    examples_needed: int | None = None  # for 80 %, with the same repetitions
    repetitions_needed: int | None = None  # for 80 %, with the same examples
    detectable_at_best: float | None = None  # with unlimited repetitions of the same examples
    why: str = ""


def plan(outcomes: Sequence[Outcome], first: str, second: str, effect: float, alpha: float = ALPHA) -> Power:
    """The power of a comparison of `first` with `second`; the same name twice compares a candidate with its rerun.

    The variance of the mean difference has two parts: examples differ (only more examples help), and one
    example passes now and fails later (repetitions help too). The second part is p (1 - p) / (R - 1) for each
    candidate's rate p in R >= 2 repetitions. A rerun of the same candidate has only that part, twice, plus
    what the effect itself adds (`power_of`).
    """
    judged: dict[str, dict[str, list[float]]] = {first: defaultdict(list), second: defaultdict(list)}
    cluster_of = {}
    for o in outcomes:
        if o.candidate in judged and (value := o.counted(Counting.SCORE)) is not None:
            judged[o.candidate][o.example_id].append(value)
            cluster_of[o.example_id] = o.cluster
    shared = sorted(judged[first].keys() & judged[second].keys())
    n, g = len(shared), len({cluster_of[e] for e in shared})
    repetitions = fmean(len(judged[name][e]) for name in (first, second) for e in shared) if shared else 0.0
    known = Power(first, second, effect, n, g, repetitions)
    if g < FEW_CLUSTERS:
        return replace(known, why=f"fewer than {FEW_CLUSTERS} clusters of examples have a verdict")
    sides = [[judged[name][e] for e in shared] for name in (first, second)]
    within = _sum(_within(sides[0]), _within(sides[1]))
    clusters = [cluster_of[e] for e in shared]
    if first != second:
        spread = spread_of(outcomes, first, second)
    else:
        spread = None if within is None else _of_rerun(sides[0], clusters, within)
    if spread is None:
        return replace(known, why="each example ran once, so the variation of a rerun is unknown")
    if within is not None:  # a rerun varies only by repetition; a part is never larger than the total
        within = spread.se**2 if first == second else min(within, spread.se**2)

    clusters_needed = _smallest(lambda count: power_of(effect, spread, alpha, count) >= POWER)
    at_best = None if within is None else replace(spread, se=math.sqrt(max(0.0, spread.se**2 - within)))
    repetitions_needed = None
    if within is not None and at_best is not None and power_of(effect, at_best, alpha) > POWER:
        endless, one = at_best.se**2, within * repetitions
        repetitions_needed = _smallest(
            lambda count: (
                power_of(effect, replace(spread, se=math.sqrt(endless + one / count)), alpha) >= POWER
            )
        )
    return replace(
        known,
        detectable=minimum_detectable_effect(spread, alpha),
        power=power_of(effect, spread, alpha),
        examples_needed=None if clusters_needed is None else math.ceil(clusters_needed * n / g),
        repetitions_needed=repetitions_needed,
        detectable_at_best=None if at_best is None else minimum_detectable_effect(at_best, alpha),
    )


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second


def _within(side: Sequence[list[float]]) -> float | None:
    """The part of a mean rate's variance that repetitions reduce; None if no example ran twice."""
    parts = [p * (1 - p) / (len(values) - 1) for values in side if len(values) > 1 for p in (fmean(values),)]
    return fmean(parts) / len(side) if parts else None


def _of_rerun(side: Sequence[list[float]], clusters: Sequence[str], variance: float) -> Spread:
    """The spread of an equally good rerun, from a candidate's repetitions; `variance` is that of their difference."""
    level: dict[str, float] = defaultdict(lambda: 1.0)  # chance that a cluster does not differ
    for values, cluster in zip(side, clusters, strict=True):
        level[cluster] *= _level(fmean(values), len(values))
    differing = math.fsum(1 - chance for chance in level.values())
    sizes = tuple(Counter(clusters).values())
    se = seen_se(math.sqrt(variance), len(sizes))
    rates = [fmean(values) for values in side]
    return Spread(se, equivalent_clusters(clusters), sizes, differing, 0.0, *falling(rates, clusters))


def _level(p: float, trials: int) -> float:
    """The probability that two sets of `trials` trials at rate p have equally many passes."""
    return math.fsum((math.comb(trials, k) * p**k * (1 - p) ** (trials - k)) ** 2 for k in range(trials + 1))


def _smallest(enough: Callable[[int], bool]) -> int | None:
    """The smallest integer from 1 for which the monotone `enough` holds; None beyond `MOST`."""
    high = 1
    while not enough(high):
        if (high := high * 2) > MOST:
            return None
    low = high // 2
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
