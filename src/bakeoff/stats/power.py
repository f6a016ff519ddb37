"""What a sample of this kind could show, and how much more of it a smaller effect would need.

References:
    Miller 2024, *Adding Error Bars to Evals*, arXiv:2411.00640, sections on variance reduction and on power.
    Bloom 1995, *Minimum Detectable Effects*, Evaluation Review 19(5).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from bakeoff.stats.intervals import equivalent_clusters, t_quantile
from bakeoff.stats.paired import ALPHA, FEW_CLUSTERS, compare, minimum_detectable_effect
from bakeoff.stats.scores import Outcome

MOST = 10_000_000  # examples beyond which nobody asks


@dataclass(frozen=True, slots=True)
class Power:
    """What comparing two candidates on this run's examples can show of a true difference `effect`.

    None: it cannot be told from this run (`why`), or for the numbers needed: no number is enough.
    """

    first: str
    second: str  # the same name: a rerun of the same candidate, as a nightly job compares it
    effect: float
    examples: int
    clusters: int
    repetitions: float  # judged trials of an example, on average
    detectable: float | None = None  # found with 80 % probability
    power: float | None = None  # probability that `effect` is found
    examples_needed: int | None = None  # for 80 %, with the same repetitions
    repetitions_needed: int | None = None  # for 80 %, with the same examples
    detectable_at_best: float | None = None  # with endless repetitions of the same examples
    why: str = ""


def power_of(effect: float, se: float, clusters: float, alpha: float = ALPHA) -> float:
    """The probability that a true difference is found: P(|T| > t) for the noncentral t about effect / se."""
    if se <= 0:
        return 1.0
    from scipy import special

    df, bound = clusters - 1, t_quantile(1 - alpha / 2, clusters - 1)
    below = special.nctdtr(df, effect / se, bound) - special.nctdtr(df, effect / se, -bound)
    return 1.0 - float(below)


def plan(outcomes: Sequence[Outcome], first: str, second: str, effect: float, alpha: float = ALPHA) -> Power:
    """What a comparison of `first` with `second` could show; the same name twice: with a rerun of itself.

    The variance of the mean difference has two parts: examples differ (only more examples help), and one
    example passes now and fails then (repetitions help too). The second is p (1 - p) / (R - 1) for each
    candidate's rate p in R >= 2 repetitions; a rerun of the same candidate has that part alone, twice.
    """
    judged: dict[str, dict[str, list[float]]] = {first: defaultdict(list), second: defaultdict(list)}
    cluster_of = {}
    for o in outcomes:
        if o.candidate in judged and o.completed:
            judged[o.candidate][o.example_id].append(o.value)
            cluster_of[o.example_id] = o.cluster
    shared = sorted(judged[first].keys() & judged[second].keys())
    n, g = len(shared), len({cluster_of[e] for e in shared})
    repetitions = fmean(len(judged[name][e]) for name in (first, second) for e in shared) if shared else 0.0
    known = Power(first, second, effect, n, g, repetitions)
    if g < FEW_CLUSTERS:
        return _unknown(known, f"fewer than {FEW_CLUSTERS} clusters of examples have a verdict")
    equal = equivalent_clusters([cluster_of[e] for e in shared])
    drop = effect if first == second else 0.0
    sides = [[judged[name][e] for e in shared] for name in (first, second)]
    within = _sum(_within(sides[0]), _within(sides[1], drop))
    if first == second:
        if within is None:
            return _unknown(known, "each example ran once: how much a rerun varies is not known")
        variance = within
    else:
        detectable = compare(outcomes, first, second).minimum_detectable_effect
        if detectable is None:
            return _unknown(known, "no spread can be estimated")
        variance = (detectable / minimum_detectable_effect(1.0, equal)) ** 2
        within = None if within is None else min(within, variance)  # a part estimated larger than the whole

    def detectable_with(clusters: int, spread: float) -> float:
        """`clusters` of sizes that differ as these do; those that tell as little as one are counted as two."""
        return minimum_detectable_effect(math.sqrt(spread), max(2.0, clusters * equal / g), alpha)

    clusters_needed = _smallest(
        lambda count: count >= FEW_CLUSTERS and detectable_with(count, variance * g / count) <= effect
    )
    at_best = None if within is None else variance - within
    repetitions_needed = None
    if within is not None and at_best is not None and detectable_with(g, at_best) < effect:
        endless, one = at_best, within * repetitions
        repetitions_needed = _smallest(lambda count: detectable_with(g, endless + one / count) <= effect)
    return Power(
        first,
        second,
        effect,
        n,
        g,
        repetitions,
        detectable=detectable_with(g, variance),
        power=power_of(effect, math.sqrt(variance), equal, alpha),
        examples_needed=None if clusters_needed is None else math.ceil(clusters_needed * n / g),
        repetitions_needed=repetitions_needed,
        detectable_at_best=None if at_best is None else detectable_with(g, at_best),
    )


def _unknown(known: Power, why: str) -> Power:
    return Power(
        known.first, known.second, known.effect, known.examples, known.clusters, known.repetitions, why=why
    )


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second


def _within(side: Sequence[list[float]], drop: float = 0.0) -> float | None:
    """The part of a mean rate's variance that repetitions would take away; None where no example ran twice.

    `drop`: of a rerun that passes that much less often. Where every trial passed, it is the drop itself that
    makes the rerun vary.
    """
    repeated = [(fmean(values), len(values)) for values in side if len(values) > 1]
    if not repeated:
        return None
    lower = [(max(0.0, p - drop), r) for p, r in repeated]
    return fmean(
        max(p * (1 - p) / (r - 1), q * (1 - q) / r) for (p, r), (q, _) in zip(repeated, lower, strict=True)
    ) / len(side)


def _smallest(enough: Callable[[int], bool]) -> int | None:
    """The smallest whole number from 1 that is enough, where every larger one is too; None beyond `MOST`."""
    high = 1
    while not enough(high):
        if (high := high * 2) > MOST:
            return None
    low = high // 2
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
