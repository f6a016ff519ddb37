"""Means of clustered 0s and 1s, and intervals for them.

References:
    Miller 2024, *Adding Error Bars to Evals*, arXiv:2411.00640.
    Cameron & Miller 2015, *A Practitioner's Guide to Cluster-Robust Inference*, J. Human Resources 50(2).
    Wilson 1927, *Probable Inference, the Law of Succession, and Statistical Inference*, JASA 22.
    Abramowitz & Stegun 1964, *Handbook of Mathematical Functions*, 26.7.3 and 26.7.4.
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

    `method` says where the interval comes from: `wilson` (one trial a cluster), `clustered-t` (mean ± t · SE)
    or `wilson-clusters`: no spread was seen, so each cluster counts as one trial, the most cautious reading.
    """

    mean: float
    low: float
    high: float
    se: float | None  # clustered; None with a single cluster
    trials: int
    clusters: int
    method: Literal["wilson", "clustered-t", "wilson-clusters"]


def t_two_sided(t: float, df: int) -> float:
    """P(|T| > |t|) for `df` >= 1 degrees of freedom, by the finite series of Abramowitz & Stegun 26.7.3-4.

    The degrees of freedom here are always whole (clusters - 1), and this keeps scipy's 30 MiB out of the
    orchestrator, whose memory is no part of what is measured.
    """
    theta = math.atan2(abs(t), math.sqrt(df))
    sin, cos = math.sin(theta), math.cos(theta)
    odd = df % 2
    term = total = (cos if odd else 1.0) * (df > 1)
    for k in range(2 + odd, df - 1, 2):
        term *= cos * cos * (k - 1) / k
        total += term
    inside = (theta + sin * total) * 2 / math.pi if odd else sin * total
    return min(1.0, max(0.0, 1.0 - inside))


@cache
def t_quantile(probability: float, df: int) -> float:
    """The t below which lies `probability` (0.5 <= probability < 1), by bisection to the last bits."""
    tail = 2 * (1 - probability)
    low, high = 0.0, 1.0
    while t_two_sided(high, df) > tail:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if t_two_sided(middle, df) > tail else (low, middle)
    return high


def wilson(proportion: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's (1927) score interval of a proportion seen in `n` > 0 independent trials."""
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    centre = (proportion + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (proportion * (1 - proportion) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def clustered_se(values: Sequence[float], clusters: Sequence[str]) -> float | None:
    """The clustered standard error of the mean of `values`; None with fewer than two clusters.

    sqrt(G / (G - 1) * sum over clusters of (sum of the cluster's residuals)^2) / n: Miller (2024), equation
    4, with the correction for finitely many clusters of Cameron & Miller (2015).
    """
    mean = fmean(values)
    sums: dict[str, float] = defaultdict(float)
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] += value - mean
    if (g := len(sums)) < 2:
        return None
    return math.sqrt(g / (g - 1) * math.fsum(total * total for total in sums.values())) / len(values)


def estimate(values: Sequence[float], clusters: Sequence[str]) -> Estimate | None:
    """The mean of 0s and 1s with its 95 % interval; None when there are none. See `Estimate.method`."""
    if not values:
        return None
    mean, n, g = fmean(values), len(values), len(set(clusters))
    se = clustered_se(values, clusters)
    if n == g:
        return Estimate(mean, *wilson(mean, n), se, n, g, "wilson")
    if se is None or se < ZERO:
        return Estimate(mean, *wilson(mean, g), se, n, g, "wilson-clusters")
    half = t_quantile((1 + CONFIDENCE) / 2, g - 1) * se
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half), se, n, g, "clustered-t")
