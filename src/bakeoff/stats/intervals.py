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
    Pustejovsky & Tipton 2018, *Small-Sample Methods for Cluster-Robust Variance Estimation and Hypothesis Testing in
        Fixed Effects Models*, J. Business & Economic Statistics 36.
    Donner 1986, *A Review of Inference Procedures for the Intraclass Correlation Coefficient*, International
        Statistical Review 54.
    Kish 1965, *Survey Sampling*, Wiley.
    Hoeffding 1956, *On the Distribution of the Number of Successes in Independent Trials*, Annals of
        Mathematical Statistics 27.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from statistics import NormalDist, fmean
from typing import Literal

CONFIDENCE = 0.95
ZERO = 1e-12  # a standard error below it is rounding
# Clusters' worth of caution about the observed spread. With 2, coverage stays at 95 % or more (docs/statistics.md).
CAUTION = 2.0
LEAST_DF = 3.0  # below it, t's tails make an interval that says nothing


@dataclass(frozen=True, slots=True)
class Estimate:
    """A proportion with its 95 % interval.

    `method` says where the interval comes from: `wilson` (of all trials), `wilson-effective` (Wilson's with the
    effective number of trials, see `estimate`) or `wilson-clusters` (each cluster counts as one trial, because every
    trial ended alike or there is only one cluster).
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
    from scipy import special  # 30 MiB: never loaded while containers are measured

    return min(1.0, 2 * float(special.stdtr(df, -abs(t))))


@cache
def t_quantile(probability: float, df: float) -> float:
    """The quantile of Student's t at `probability`, for `df` > 0 degrees of freedom."""
    from scipy import special

    return float(special.stdtrit(df, probability))


def wilson(proportion: float, n: float, z: float | None = None) -> tuple[float, float]:
    """Wilson's (1927) 95 % score interval of a proportion seen in `n` > 0 independent trials.

    Args:
        proportion: in [0, 1].
        n: trials; an effective number need not be whole.
        z: half-width in standard errors; None: the normal quantile.
    """
    z2 = (NormalDist().inv_cdf((1 + CONFIDENCE) / 2) if z is None else z) ** 2
    centre = (proportion + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (proportion * (1 - proportion) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def clustered_se(values: Sequence[float], clusters: Sequence[str]) -> float | None:
    """The clustered standard error of the mean of `values`; None with fewer than two clusters.

    sqrt(sum over clusters of (sum of the cluster's residuals)^2 / (1 - the cluster's share)) / n: Miller
    (2024), equation 4, with the correction CR2 of Bell & McCaffrey (2002). For clusters of one size the correction is
    the usual G / (G - 1). A cluster with many of the examples pulls the mean towards itself, so its residuals are
    too small.
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
    """The number of clusters of one size that estimate the spread equally well; their count if all have one size.

    One more than the degrees of freedom of Bell & McCaffrey (2002; Imbens & Kolesár 2016), for a mean
    of independent values. One cluster: 1.
    """
    return 1 + spread_df(tuple(Counter(clusters).values()))


@lru_cache(maxsize=1024)
def spread_df(sizes: tuple[int, ...], correlation: float = 0.0) -> float:
    """Satterthwaite's degrees of freedom of `clustered_se` with clusters of these `sizes`; 0 for none or one.

    tr(O)² / tr(O²), where O is the covariance of the corrected residual sums of the clusters, if all values have one
    variance and those of one cluster have this `correlation`, in [0, 1]: Bell & McCaffrey (2002) for 0, Pustejovsky
    & Tipton (2018) otherwise. For clusters of one size it is their number - 1, whatever the correlation.
    """
    if len(set(sizes)) <= 1:
        return max(0.0, len(sizes) - 1.0)
    total = math.fsum(sizes)
    shares = [size / total for size in sizes]
    own = [size + size * (size - 1) * correlation for size in sizes]  # variance of a cluster's sum
    whole, weights = math.fsum(own), [1 / (1 - h) for h in shares]
    # Two residual sums have the covariance whole h h' - h v' - h' v, and one has the variance v more. So the sum of
    # the squares is made of three sums, and is linear in the number of clusters
    rows = list(zip(weights, shares, own, strict=True))
    hh = math.fsum(w * h * h for w, h, _ in rows)
    vv = math.fsum(w * v * v for w, _, v in rows)
    hv = math.fsum(w * h * v for w, h, v in rows)
    alone = [(w, v, whole * h * h - 2 * h * v) for w, h, v in rows]
    squares = (whole * hh) ** 2 + 2 * hh * vv - 4 * whole * hh * hv + 2 * hv**2
    squares += math.fsum(w * w * ((v + cross) ** 2 - cross**2) for w, v, cross in alone)
    return math.fsum(w * (v + cross) for w, v, cross in alone) ** 2 / squares


def within_correlation(values: Sequence[float], clusters: Sequence[str]) -> float:
    """The correlation of two values of one cluster, by analysis of variance (Donner 1986), bounded to [0, 1].

    0 if no cluster has two values, or all values are equal.
    """
    by: dict[str, list[float]] = defaultdict(list)
    for value, cluster in zip(values, clusters, strict=True):
        by[cluster].append(value)
    n, g, mean = len(values), len(by), fmean(values)
    if not 2 <= g < n:
        return 0.0
    means = {cluster: fmean(own) for cluster, own in by.items()}
    between = math.fsum(len(own) * (means[c] - mean) ** 2 for c, own in by.items()) / (g - 1)
    within = math.fsum((value - means[c]) ** 2 for c, own in by.items() for value in own) / (n - g)
    size = (n - math.fsum(len(own) ** 2 for own in by.values()) / n) / (g - 1)
    total = between + (size - 1) * within
    return 0.0 if total < ZERO**2 else min(1.0, max(0.0, (between - within) / total))


def difference_df(values: Sequence[float], clusters: Sequence[str]) -> float:
    """The degrees of freedom of t for a mean of paired differences: see `spread_df`.

    With the correlation that the differences show, and not 0, because a candidate may fail a whole kind of request.
    Clusters of one size: their number - 1. Others: not more than Bell & McCaffrey's, and, since the correlation is an
    estimate, not below `LEAST_DF` unless theirs is.
    """
    sizes = tuple(Counter(clusters).values())
    independent = spread_df(sizes)
    if len(set(sizes)) == 1:
        return independent
    return min(independent, max(LEAST_DF, spread_df(sizes, within_correlation(values, clusters))))


def _shares(clusters: Sequence[str]) -> dict[str, float]:
    return {cluster: size / len(clusters) for cluster, size in Counter(clusters).items()}


def estimate(values: Sequence[float], clusters: Sequence[str]) -> Estimate | None:
    """The mean of 0s and 1s with its 95 % interval; None for an empty sequence. See `Estimate.method`.

    Mean ± t · SE covers too rarely near 0 and 1 (`docs/statistics.md`). Wilson's interval is sound there, given
    the effective number of trials (among the best in Dean & Pagano 2015 and in Franco et al. 2019). The spread's
    estimate of that number, p (1 - p) / SE², is poor if few clusters differ and too large if hardly any fails;
    replacing z by t for clusters - 1 does not help. A better estimate of the number itself does, as Franco et al.
    (2019) found: see `_effective`.
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
    """The rate of infrastructure errors (1: an error) on these examples, with its 95 % interval; None without trials.

    A score is about requests beyond the dataset; this rate is about this dataset in this box. So repetitions count in
    full: trials with unequal chances vary less than trials with equal ones (Hoeffding 1956), and Wilson's interval of
    all trials is wide enough. If errors concentrate on single examples (a memory limit), the effective number of
    trials of Korn & Graubard (1998), p (1 - p) / SE² with the standard error clustered by example, is smaller and is
    used.
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
    """The number of clusters of one size that give an equally precise mean: 1 / sum of squared shares (Kish 1965)."""
    return 1 / math.fsum(share * share for share in _shares(clusters).values())


def _effective(mean: float, se: float, clusters: Sequence[str]) -> float:
    """The number of independent trials with equal information; `mean` lies strictly between 0 and 1.

    A weighted mean, on the logarithmic scale, of two numbers: the clusters, each counted as one trial, with weight
    `CAUTION`; and p (1 - p) / SE² (Korn & Graubard 1998), with the number of clusters that are informative about the
    spread as its weight, 4 p (1 - p) G (all of them at p = 1/2, hardly any near 0 and 1).
    """
    sure = _kish(clusters)
    n = float(len(clusters))
    seen = n if se < ZERO else min(n, mean * (1 - mean) / se**2)
    known = 4 * mean * (1 - mean) * sure
    weight = known / (known + CAUTION)
    return float(sure ** (1 - weight) * seen**weight)
