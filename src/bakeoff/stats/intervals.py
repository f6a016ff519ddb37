"""Means of clustered 0s and 1s, and intervals for them.

References:
    Miller 2024, *Adding Error Bars to Evals*, arXiv:2411.00640.
    Cameron & Miller 2015, *A Practitioner's Guide to Cluster-Robust Inference*, J. Human Resources 50(2).
    Bell & McCaffrey 2002, *Bias Reduction in Standard Errors for Linear Regression with Multi-Stage Samples*,
        Survey Methodology 28.
    Imbens & Kolesár 2016, *Robust Standard Errors in Small Samples*, Review of Economics and Statistics 98.
    Wilson 1927, *Probable Inference, the Law of Succession, and Statistical Inference*, JASA 22.
    Korn & Graubard 1998, *Confidence Intervals for Proportions with Small Expected Number of Positive Counts
        Estimated from Survey Data*, Survey Methodology 24.
    Dean & Pagano 2015, *Evaluating Confidence Interval Methods for Binomial Proportions in Clustered Surveys*,
        J. Survey Statistics and Methodology 3.
    Franco, Little, Louis & Slud 2019, *Comparative Study of Confidence Intervals for Proportions in Complex
        Sample Surveys*, J. Survey Statistics and Methodology 7.
    Kish 1965, *Survey Sampling*, Wiley.
    Hoeffding 1956, *On the Distribution of the Number of Successes in Independent Trials*, Annals of
        Mathematical Statistics 27.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist, fmean
from typing import Literal

CONFIDENCE = 0.95
ZERO = 1e-12  # a standard error below it is rounding
# Clusters' worth of caution about the spread that was seen: with 2, coverage stays from 95 % up (docs/statistics.md)
CAUTION = 2.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A proportion with its 95 % interval.

    `method` says where the interval comes from: `wilson` (of all trials), `wilson-effective` (Wilson's with the
    effective number of trials, see `estimate`) or `wilson-clusters`: every trial ended alike, or there is one
    cluster, so that each cluster counts as one trial, the most cautious reading.
    """

    mean: float
    low: float
    high: float
    se: float | None  # clustered; None with a single cluster
    trials: int
    clusters: int
    method: Literal["wilson", "wilson-effective", "wilson-clusters"]


def t_two_sided(t: float, df: float) -> float:
    """P(|T| > |t|) for Student's t with `df` > 0 degrees of freedom."""
    from scipy import special  # 30 MiB: only where numbers are judged, never while containers are measured

    return min(1.0, 2 * float(special.stdtr(df, -abs(t))))


@cache
def t_quantile(probability: float, df: float) -> float:
    """The t below which lies `probability`, for `df` > 0 degrees of freedom."""
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


def clustered_se(values: Sequence[float], clusters: Sequence[str]) -> float | None:
    """The clustered standard error of the mean of `values`; None with fewer than two clusters.

    sqrt(sum over clusters of (sum of the cluster's residuals)^2 / (1 - the cluster's share)) / n: Miller
    (2024), equation 4, with the correction CR2 of Bell & McCaffrey (2002). Of clusters of one size that is
    the usual G / (G - 1); one that holds many of the examples draws the mean to itself, and its residuals
    tell less than they should.
    """
    mean = fmean(values)
    sums: dict[str, float] = defaultdict(float)
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] += value - mean
    if len(sums) < 2:
        return None
    shares = _shares(clusters)
    return math.sqrt(math.fsum(s * s / (1 - shares[c]) for c, s in sums.items())) / len(values)


def equivalent_clusters(clusters: Sequence[str]) -> float:
    """How many clusters of one size would tell as much of the spread; their number where all have one size.

    One more than the degrees of freedom of Bell & McCaffrey (2002; Imbens & Kolesár 2016), those of a mean
    of independent values: 1 / (sum of h² + (sum of a)² - sum of a²), h the clusters' shares, a = h² / (1 - h).
    One cluster: 1.
    """
    shares = list(_shares(clusters).values())
    if len(shares) < 2:
        return 1.0
    pull = [h * h / (1 - h) for h in shares]
    inverse = math.fsum(h * h for h in shares) + math.fsum(pull) ** 2 - math.fsum(a * a for a in pull)
    return 1 + 1 / inverse


def _shares(clusters: Sequence[str]) -> dict[str, float]:
    return {cluster: size / len(clusters) for cluster, size in Counter(clusters).items()}


def estimate(values: Sequence[float], clusters: Sequence[str]) -> Estimate | None:
    """The mean of 0s and 1s with its 95 % interval; None when there are none. See `Estimate.method`.

    Mean ± t · SE covers too rarely near 0 and 1 (`docs/statistics.md`). Wilson's interval holds there, given
    the effective number of trials (among the best in Dean & Pagano 2015 and in Franco et al. 2019). What the
    spread says of that number, p (1 - p) / SE², is a guess where few clusters differ, and too large a one
    where hardly any fails; t for clusters - 1 in the place of z does not repair it. As Franco et al. (2019)
    found, a better estimate of the number itself does: see `_effective`.
    """
    if not values:
        return None
    mean, n, g = fmean(values), len(values), len(set(clusters))
    se = clustered_se(values, clusters)
    if n == g:
        return Estimate(mean, *wilson(mean, n), se, n, g, "wilson")
    if se is None or mean in (0.0, 1.0):
        return Estimate(mean, *wilson(mean, _kish(clusters)), se, n, g, "wilson-clusters")
    return Estimate(mean, *wilson(mean, _effective(mean, se, clusters)), se, n, g, "wilson-effective")


def estimate_errors(values: Sequence[float], examples: Sequence[str]) -> Estimate | None:
    """The rate of infrastructure errors (1: an error) on these examples, with its 95 % interval; None of none.

    A score speaks of requests beyond the dataset; this rate, of this dataset in this box. So repetitions count
    in full: trials with unequal chances vary less than equal ones would (Hoeffding 1956), and Wilson's
    interval of all trials is wide enough. But where errors do pile up on single examples (a memory limit),
    the effective number of trials of Korn & Graubard (1998), p (1 - p) / SE² with the standard error clustered
    by example, is the smaller one and is taken.
    """
    if not values:
        return None
    mean, n, g = fmean(values), len(values), len(set(examples))
    se = clustered_se(values, examples)
    if n == g or se is None or se < ZERO:
        return Estimate(mean, *wilson(mean, n), se, n, g, "wilson")
    effective = min(float(n), mean * (1 - mean) / se**2)
    return Estimate(mean, *wilson(mean, effective), se, n, g, "wilson-effective")


def _kish(clusters: Sequence[str]) -> float:
    """How many clusters of one size give so sure a mean: 1 / sum of the squared shares (Kish 1965)."""
    return 1 / math.fsum(share * share for share in _shares(clusters).values())


def _effective(mean: float, se: float, clusters: Sequence[str]) -> float:
    """The number of independent trials that would say as much; `mean` lies between 0 and 1, both excluded.

    Between two numbers, on the logarithmic scale: that of the clusters, each counted as one trial, and that
    of Korn & Graubard (1998), p (1 - p) / SE². The second one weighs as many clusters as know of the spread,
    4 p (1 - p) G (at p = 1/2 all of them, near 0 and 1 hardly any), the first one `CAUTION`.
    """
    sure = _kish(clusters)
    n = float(len(clusters))
    seen = n if se < ZERO else min(n, mean * (1 - mean) / se**2)
    known = 4 * mean * (1 - mean) * sure
    weight = known / (known + CAUTION)
    return float(sure ** (1 - weight) * seen**weight)
