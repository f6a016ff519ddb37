"""The power of a comparison like this one, and the smallest true difference that it finds in four runs of five.

The result is the expected power. A run's standard error is an estimate from as many numbers as there are clusters,
and so is the probability that clusters differ. Power is averaged over the plausible true values of both, so that on
average the next runs find what this run states; power at the estimate itself falls short (Browne 1995).

References:
    Miller 2024, *Adding Error Bars to Evals*, arXiv:2411.00640, section on power.
    Browne 1995, *On the Use of a Pilot Sample for Sample Size Determination*, Statistics in Medicine 14.
    Julious & Owen 2006, *Sample Size Calculations for Clinical Studies Allowing for Uncertainty about the
        Variance*, Pharmaceutical Statistics 5.
    Connor 1987, *Sample Size for Testing Differences in Proportions for the Paired-Sample Design*,
        Biometrics 43.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from statistics import fmean
from typing import Any

from bakeoff.stats.intervals import LEAST_DF, ZERO, spread_df, t_quantile

ALPHA = 0.05
POWER = 0.80
# With fewer differing clusters, a t-test relies on the normality of a handful of numbers (four of the same sign among
# forty zeros would give p = 0.04), so the exact test replaces it. It cannot reach p < 0.05 there (its smallest p is
# 2 / 2^clusters), which is the honest answer.
FEW_CLUSTERS = 6
STEPS = 10**7  # resolution of an effect
NODES = 48  # of the Gauss-Hermite quadrature; gives power to 1e-7


@dataclass(frozen=True, slots=True)
class Spread:
    """How a comparison of two pass rates varies, as estimated from one run."""

    se: float  # of the mean difference
    clusters: float  # the equivalent number of clusters of one size: the degrees of freedom of `se` plus one
    sizes: tuple[int, ...]  # examples of each cluster
    differing: float  # clusters whose difference was not 0
    difference: float = 0.0  # the difference in this run
    rate: float = 1.0  # of the better candidate, which is the one that can fall
    turning: float = 1.0  # the mean rate of its clusters, each weighted with its own rate: see `falling`

    @property
    def grouped(self) -> bool:
        """Whether any cluster has several examples, so that it matters whether examples or whole clusters turn."""
        return max(self.sizes) > 1


def falling(rates: Sequence[float], clusters: Sequence[str]) -> tuple[float, float]:
    """(`rate`, `turning`) of `Spread` from a candidate's pass rates by example.

    What passes can turn into a failure. So the clusters that fall are drawn by their rates r: E r² / E r.
    """
    passed: dict[str, list[float]] = defaultdict(list)
    for value, cluster in zip(rates, clusters, strict=True):
        passed[cluster].append(value)
    rate = fmean(rates)
    if rate < ZERO:
        return 1.0, 1.0
    return rate, math.fsum(math.fsum(own) ** 2 / len(own) for own in passed.values()) / len(rates) / rate


def power_of(
    effect: float,
    spread: Spread,
    alpha: float = ALPHA,
    clusters: int | None = None,
    whole_clusters: bool = False,
) -> float:
    """The probability that another run like the one behind `spread` finds a true difference at `alpha`.

    Two events must happen, and mostly happen together: enough clusters differ for the t-test, and t exceeds its bound.
    The smaller of their probabilities is returned. A difference that was not in the run is modelled as examples, or
    whole clusters, that turn completely and independently: see `_turned`. A difference made of small changes
    everywhere is found more often.

    Args:
        effect: in (0, 1].
        clusters: the number of clusters of the other run, with sizes in the same proportions; None: as many.
        whole_clusters: whole clusters turn, instead of single examples.
    """
    count = clusters or len(spread.sizes)
    # what the difference of this run exceeds its noise by
    had = math.sqrt(max(0.0, spread.difference**2 - spread.se**2))
    shift = min(1.0, max(0.0, effect - had))
    noise = spread.se * math.sqrt(1 - shift)  # from what does not turn
    turned, level = _turned(shift, spread, whole_clusters)
    if count < FEW_CLUSTERS or noise**2 + turned < ZERO**2:
        return float(count >= FEW_CLUSTERS)
    sized = count / len(spread.sizes)
    # What turns in clusters makes the differences of a cluster alike: see `difference_df`
    alike = min(spread.clusters - 1, max(LEAST_DF, spread_df(spread.sizes, 1.0)))
    # at least one degree of freedom
    df = max(1.0, (alike + 1) * sized - 1)
    known = max(1.0, spread.clusters - 1)
    beyond = expected_power(effect * math.sqrt(sized), noise, turned, known, df, alpha)
    return min(beyond, _enough_differ(level, spread, count))


def _turned(shift: float, spread: Spread, whole_clusters: bool) -> tuple[float, float]:
    """The variance of the mean that a fall by `shift` adds, and the probability that it leaves a cluster level.

    Whole clusters: a share shift / k of them, with the rate k = `turning` each, fails wholly, which has a variance of
    shift (k - shift) in units of a cluster. Single examples: discordant pairs have a variance of at least
    shift (1 - shift) (Connor 1987); and a cluster falls by so much the more, the higher its rate is.
    """
    total = math.fsum(spread.sizes)
    shares = math.fsum((size / total) ** 2 for size in spread.sizes)
    if whole_clusters:
        turning = max(spread.turning, shift)
        return shift * (turning - shift) * shares, 1 - shift / turning
    unequal = shift**2 * (spread.turning / spread.rate - 1) * (shares - 1 / total)
    level = fmean((1 - shift) ** size for size in spread.sizes)
    return shift * (1 - shift) / total + max(0.0, unequal), level


def minimum_detectable_effect(
    spread: Spread, alpha: float = ALPHA, whole_clusters: bool = False, clusters: int | None = None
) -> float | None:
    """The smallest true difference of rates found with 80 % probability at `alpha`; None: a difference of 1 is not.

    In a large sample, (z_{1-alpha/2} + z_{power}) * SE: Miller (2024). See `power_of` for the other two.
    """

    def power(step: int) -> float:
        return power_of(step / STEPS, spread, alpha, clusters, whole_clusters)

    if power(STEPS) < POWER:
        return None
    # bisect, because loading scipy's root finders costs every report half a second
    return bisect_left(range(STEPS), POWER, lo=1, key=power) / STEPS


def detectable(
    spread: Spread, alpha: float = ALPHA, clusters: int | None = None
) -> tuple[float | None, float | None]:
    """`minimum_detectable_effect` if single examples change, and if whole clusters do: never the smaller of the two.

    The second is None also where every example is a cluster.
    """
    single = minimum_detectable_effect(spread, alpha, clusters=clusters)
    if single is None or not spread.grouped:
        return single, None
    whole = minimum_detectable_effect(spread, alpha, True, clusters)
    return single, None if whole is None else max(single, whole)


def expected_power(effect: float, se: float, turned: float, known: float, df: float, alpha: float) -> float:
    """P(|T| > t) for T = (effect / SE + Z) / U, Z normal, U² chi-squared over its `df`; averaged over the true SE.

    SE² = se² / V² + `turned`, where V² is chi-squared over its `known` degrees of freedom. With infinitely many, T is
    the noncentral t; with few, the result is the expected power of Julious & Owen (2006).
    """
    from scipy import special

    (v, weight_v), (u, weight_u) = _root_chi_squared(known), _root_chi_squared(df)
    centre = (effect * v / (se**2 + turned * v**2) ** 0.5)[:, None]
    bound = t_quantile(1 - alpha / 2, df) * u[None, :]
    return float(weight_v @ (special.ndtr(centre - bound) + special.ndtr(-centre - bound)) @ weight_u)


def _enough_differ(level: float, spread: Spread, clusters: int) -> float:
    """P(at least six of `clusters` differ), averaged over the true number (Jeffreys' posterior, beta).

    A cluster that did not differ stays so with probability `level`.
    """
    from scipy import special

    alike, weights = _chance_alike(len(spread.sizes) - spread.differing, spread.differing)
    return float(weights @ special.bdtrc(FEW_CLUSTERS - 1, clusters, 1 - level * alike))


@lru_cache(maxsize=1024)
def _chance_alike(alike: float, differing: float) -> tuple[Any, Any]:
    """Points and weights (arrays) of an expectation over the probability that a cluster does not differ."""
    from scipy import special

    y, weights = _normal()
    return special.betaincinv(alike + 0.5, differing + 0.5, special.ndtr(y)), weights


@cache
def _normal() -> tuple[Any, Any]:
    """Points and weights (arrays) of an expectation over the standard normal."""
    from scipy import special

    y, weights = special.roots_hermitenorm(NODES)
    return y, weights / weights.sum()


@lru_cache(maxsize=1024)
def _root_chi_squared(df: float) -> tuple[Any, Any]:
    """Points and weights (arrays) of an expectation over sqrt(chi-squared / df), which is 1 for infinite df."""
    from scipy import special

    y, weights = _normal()
    if math.isinf(df):
        return 0 * y + 1, weights
    tail = special.ndtr(-abs(y))  # the nearer tail: beyond eight standard deviations 1 - p loses all digits
    low, high = special.gammaincinv(df / 2, tail), special.gammainccinv(df / 2, tail)
    return (2 / df * (low * (y < 0) + high * (y >= 0))) ** 0.5, weights
