"""Candidates against each other: paired differences, their p-values, and what they could have shown.

References:
    Miller 2024, *Adding Error Bars to Evals*, arXiv:2411.00640.
    Canay, Romano & Shaikh 2017, *Randomization Tests under an Approximate Symmetry Assumption*,
        Econometrica 85.
    Holm 1979, *A Simple Sequentially Rejective Multiple Test Procedure*, Scand. J. Statistics 6.
    Bloom 1995, *Minimum Detectable Effects*, Evaluation Review 19(5).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from statistics import fmean
from typing import Literal

from bakeoff.stats.intervals import CONFIDENCE, ZERO, clustered_se, t_quantile, t_two_sided, wilson
from bakeoff.stats.scores import Outcome

ALPHA = 0.05
POWER = 0.80
# Below six clusters a t-test stands on the normality of five numbers or fewer; the exact test replaces it.
# That one cannot reach p < 0.05 there at all (its smallest p is 2 / 2^clusters), which is the honest answer.
FEW_CLUSTERS = 6


@dataclass(frozen=True, slots=True)
class Comparison:
    """`first` minus `second` on the examples both completed: the mean of their differences in pass rate.

    `method`: `paired-t`, `sign-flip` (few clusters: exact, and no normality needed), `no-spread` (every
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
    minimum_detectable_effect: float | None = None  # 80 % power, alpha 0.05; None: none could be detected
    method: Literal["paired-t", "sign-flip", "no-spread", "none"] = "none"

    @property
    def distinguishable(self) -> bool:
        """Whether the difference stands after the correction for many comparisons."""
        return self.p_adjusted is not None and self.p_adjusted < ALPHA


def minimum_detectable_effect(se: float, clusters: int) -> float:
    """The smallest true difference found with 80 % probability at alpha 0.05, given its standard error.

    (t_{1-alpha/2} + t_{power}) * SE: Miller (2024), section on power, with t for z as clusters are few
    (Bloom 1995).
    """
    return (t_quantile(1 - ALPHA / 2, clusters - 1) + t_quantile(POWER, clusters - 1)) * se


def sign_flip_p(cluster_sums: Sequence[float]) -> float:
    """The exact two-sided p-value of a zero mean, over all 2^G ways to flip the clusters' signs.

    Canay, Romano & Shaikh (2017). For few clusters: the work doubles with each.
    """
    seen = abs(math.fsum(cluster_sums)) - ZERO
    flips = [
        abs(math.fsum(sign * total for sign, total in zip(signs, cluster_sums, strict=True))) >= seen
        for signs in product((1, -1), repeat=len(cluster_sums))
    ]
    return fmean(flips)


def compare(outcomes: Iterable[Outcome], first: str, second: str) -> Comparison:
    """Compare two candidates on the examples both completed at least once. `p_adjusted` is still the plain p.

    An example's difference is that of the two mean pass rates over its completed repetitions; the examples
    weigh the same. With one cluster an example and no infra errors this is the paired t-test.
    """
    rates: dict[str, dict[str, list[float]]] = {first: defaultdict(list), second: defaultdict(list)}
    cluster_of: dict[str, str] = {}
    for o in outcomes:
        if o.completed and o.candidate in rates:
            rates[o.candidate][o.example_id].append(o.value)
            cluster_of[o.example_id] = o.cluster
    common = sorted(rates[first].keys() & rates[second].keys())
    differences = [fmean(rates[first][e]) - fmean(rates[second][e]) for e in common]
    return _tested(first, second, differences, [cluster_of[e] for e in common])


def _tested(first: str, second: str, differences: list[float], clusters: list[str]) -> Comparison:
    n = len(differences)
    if n == 0:
        return Comparison(first, second, 0, 0)
    mean, se = fmean(differences), clustered_se(differences, clusters)
    sums: dict[str, float] = defaultdict(float)
    for difference, cluster in zip(differences, clusters, strict=True):
        sums[cluster] += difference
    g = len(sums)
    if se is None:
        return Comparison(first, second, n, g, mean, None, None, None, 1.0, 1.0, None, "sign-flip")
    if se < ZERO:
        # Every cluster differs by `mean`. At most a share u of all clusters does otherwise (Wilson's bound on
        # 0 of g), and those lie in [-1, 1]: that bounds the true mean. The effect uses u as the variance.
        u = wilson(0.0, g)[1]
        low, high = max(-1.0, (1 - u) * mean - u), min(1.0, (1 - u) * mean + u)
        p = 1.0 if abs(mean) < ZERO else 2.0 ** (1 - g)
        mde = minimum_detectable_effect(math.sqrt(u / g), g) if g >= FEW_CLUSTERS else None
        return Comparison(first, second, n, g, mean, 0.0, low, high, p, p, mde, "no-spread")
    half = t_quantile((1 + CONFIDENCE) / 2, g - 1) * se
    low, high = max(-1.0, mean - half), min(1.0, mean + half)
    if g < FEW_CLUSTERS:
        p = sign_flip_p(list(sums.values()))
        return Comparison(first, second, n, g, mean, se, low, high, p, p, None, "sign-flip")
    p, mde = t_two_sided(mean / se, g - 1), minimum_detectable_effect(se, g)
    return Comparison(first, second, n, g, mean, se, low, high, p, p, mde, "paired-t")


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values, in the order given."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def compare_all(outcomes: Sequence[Outcome], candidates: Sequence[str]) -> tuple[Comparison, ...]:
    """Every pair of candidates, p-values adjusted by Holm over the pairs that have one."""
    pairs = [compare(outcomes, first, second) for first, second in combinations(candidates, 2)]
    adjusted = iter(holm([pair.p_value for pair in pairs if pair.p_value is not None]))
    return tuple(pair if pair.p_value is None else replace(pair, p_adjusted=next(adjusted)) for pair in pairs)
