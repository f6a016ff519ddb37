"""Means of clustered 0s and 1s, and intervals for them.

References:
    Miller 2024, *Adding Error Bars to Evals*, arXiv:2411.00640.
    Cameron & Miller 2015, *A Practitioner's Guide to Cluster-Robust Inference*, J. Human Resources 50(2).
    Wilson 1927, *Probable Inference, the Law of Succession, and Statistical Inference*, JASA 22.
    Korn & Graubard 1998, *Confidence Intervals for Proportions with Small Expected Number of Positive Counts
        Estimated from Survey Data*, Survey Methodology 24.
    Dean & Pagano 2015, *Evaluating Confidence Interval Methods for Binomial Proportions in Clustered Surveys*,
        J. Survey Statistics and Methodology 3.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist, fmean
from typing import Literal

CONFIDENCE = 0.95
ZERO = 1e-12  # a standard error below it is rounding


@dataclass(frozen=True, slots=True)
class Estimate:
    """A proportion with its 95 % interval.

    `method` says where the interval comes from: `wilson` (one trial a cluster), `wilson-effective` (Wilson's
    with the effective number of trials, see `estimate`) or `wilson-clusters`: no spread was seen, so each
    cluster counts as one trial, the most cautious reading.
    """

    mean: float
    low: float
    high: float
    se: float | None  # clustered; None with a single cluster
    trials: int
    clusters: int
    method: Literal["wilson", "wilson-effective", "wilson-clusters"]


def t_two_sided(t: float, df: int) -> float:
    """P(|T| > |t|) for Student's t with `df` >= 1 degrees of freedom."""
    from scipy import special  # 30 MiB: only where numbers are judged, never while containers are measured

    return min(1.0, 2 * float(special.stdtr(df, -abs(t))))


@cache
def t_quantile(probability: float, df: int) -> float:
    """The t below which lies `probability`, for `df` >= 1 degrees of freedom."""
    from scipy import special

    return float(special.stdtrit(df, probability))


def wilson(proportion: float, n: float, z: float | None = None) -> tuple[float, float]:
    """Wilson's (1927) 95 % score interval of a proportion seen in `n` > 0 independent trials.

    Args:
        proportion: in [0, 1].
        n: trials; an effective number need not be whole.
        z: half-width in standard errors; None: the normal's.
    """
    z2 = (NormalDist().inv_cdf((1 + CONFIDENCE) / 2) if z is None else z) ** 2
    centre = (proportion + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (proportion * (1 - proportion) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def clustered_se(
    values: Sequence[float], clusters: Sequence[str], centre: float | None = None
) -> float | None:
    """The clustered standard error of the mean of `values`; None with fewer than two clusters.

    sqrt(G / (G - 1) * sum over clusters of (sum of the cluster's residuals)^2) / n: Miller (2024), equation
    4, with the correction for finitely many clusters of Cameron & Miller (2015). `centre` is what residuals
    are taken from; None: the mean.
    """
    origin = fmean(values) if centre is None else centre
    sums: dict[str, float] = defaultdict(float)
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] += value - origin
    if (g := len(sums)) < 2:
        return None
    return math.sqrt(g / (g - 1) * math.fsum(total * total for total in sums.values())) / len(values)


def estimate(values: Sequence[float], clusters: Sequence[str]) -> Estimate | None:
    """The mean of 0s and 1s with its 95 % interval; None when there are none. See `Estimate.method`.

    Mean ± t · SE covers too rarely near 0 and 1 (`docs/statistics.md`). Wilson's interval holds there, given
    the effective number of trials: that many independent ones would have the same standard error, p (1 - p) /
    SE² (Korn & Graubard 1998; Wilson's among the best in Dean & Pagano 2015), at most the real number. With t
    in the place of z, for clusters are few. The SE is taken around Laplace's mean, one pass and one failure
    more than there were clusters: few failing clusters understate their own spread.
    """
    if not values:
        return None
    mean, n, g = fmean(values), len(values), len(set(clusters))
    se = clustered_se(values, clusters)
    if n == g:
        return Estimate(mean, *wilson(mean, n), se, n, g, "wilson")
    if se is None or se < ZERO:
        return Estimate(mean, *wilson(mean, g), se, n, g, "wilson-clusters")
    cautious = clustered_se(values, clusters, (mean * g + 1) / (g + 2)) or se
    effective = min(float(n), mean * (1 - mean) / cautious**2)
    interval = wilson(mean, effective, t_quantile((1 + CONFIDENCE) / 2, g - 1))
    return Estimate(mean, *interval, se, n, g, "wilson-effective")
