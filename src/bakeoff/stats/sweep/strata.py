"""A weighted sum of pass rates and how it varies: on these very tasks, or on tasks like these.

On these tasks only the repetitions vary, so each task is a stratum. A block's value is the weighted sum of its trials,
for example the ceiling's minus the floor's. Its variance within the task includes no difference between tasks, and
nothing that hits all trials of a block alike.

References:
    Satterthwaite 1946, *An Approximate Distribution of Estimates of Variance Components*, Biometrics Bulletin 2.
    Bonett & Price 2012, *Adjusted Wald Confidence Interval for a Difference of Binomial Proportions Based on
        Paired Data*, J. Educational and Behavioral Statistics 37.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from bakeoff.stats.detectable import FEW_CLUSTERS
from bakeoff.stats.intervals import (
    CONFIDENCE,
    ZERO,
    clustered_se,
    equivalent_clusters,
    t_quantile,
    t_two_sided,
)
from bakeoff.stats.paired import sign_flip_p

MOST_DF = 1e6  # with which t is the normal

Inference = Literal["these tasks", "tasks like these"]


@dataclass(frozen=True, slots=True)
class Sum:
    """A weighted sum of rates: its mean over tasks, standard error and degrees of freedom."""

    mean: float
    se: float | None  # None: there is one cluster, which says nothing about others
    df: float
    p_value: float  # of a sum of 0, two-sided
    blocks: int
    tasks: int
    bounds: tuple[float, float]  # the smallest and the largest sum that there can be
    per_block: float  # variance of a block's value within its task, on average
    extra: float  # what is added to the variance of the mean, times blocks²

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """The two-sided interval; without a standard error everything that is possible."""
        if self.se is None:
            return self.bounds
        half = t_quantile((1 + confidence) / 2, self.df) * self.se
        low, high = max(self.bounds[0], self.mean - half), min(self.bounds[1], self.mean + half)
        # an interval without 0 would contradict an exact test
        return (min(low, 0.0), max(high, 0.0)) if self.p_value >= 1 - confidence else (low, high)


@dataclass(frozen=True, slots=True)
class Values:
    """What each trial is worth: by task, blocks x experiments, in [0, 1]."""

    by_task: Mapping[str, Sequence[Sequence[float]]]
    cluster_of: Mapping[str, str]
    inference: Inference

    def weighted(self, weights: Mapping[int, float]) -> Sum | None:
        """The mean over tasks of the weighted sum of the experiments' rates; None without a block.

        Where no task has two blocks, tasks count as a sample.

        Args:
            weights: by the experiment's index.
        """
        sums = {
            task: [math.fsum(w * block[i] for i, w in weights.items()) for block in blocks]
            for task, blocks in self.by_task.items()
        }
        if not sums:
            return None
        bounds = (
            math.fsum(w for w in weights.values() if w < 0),
            math.fsum(w for w in weights.values() if w > 0),
        )
        extra = math.fsum(w * w for w in weights.values())
        if self.inference == "these tasks" and any(len(each) > 1 for each in sums.values()):
            return stratified(list(sums.values()), extra, bounds)
        return _clustered(sums, extra, bounds, self.cluster_of)


def inference_of(tasks: Iterable[Sequence[object]]) -> Inference:
    """`these tasks` if at least half of the tasks have two blocks: see `stratified`."""
    often = [len(blocks) > 1 for blocks in tasks]
    return "these tasks" if often and 2 * sum(often) >= len(often) else "tasks like these"


def stratified(strata: Sequence[Sequence[float]], extra: float, bounds: tuple[float, float]) -> Sum:
    """The mean over strata of their means, each weighing the same; only the variation within strata counts.

    The variance is sum over tasks of s² / (tasks² · blocks), with s² of a task with one block the mean of the others',
    plus that of one more differing trial under each experiment, `extra` / blocks². A task that always passes or always
    fails has no variance to see, and a few trials more might show some (Bonett & Price 2012 add a differing pair each
    way). Degrees of freedom by Satterthwaite (1946), with the unbiased estimate of the squared variances.
    """
    n, total = len(strata), sum(map(len, strata))
    usual = fmean(_variance(each) for each in strata if len(each) > 1)
    parts = [(_variance(each) if len(each) > 1 else usual) / (n * n * len(each)) for each in strata]
    squares = math.fsum(
        part * part / (len(each) + 1) for part, each in zip(parts, strata, strict=True) if len(each) > 1
    )
    mean = fmean(map(fmean, strata))
    var = math.fsum(parts) + extra / total**2
    df = min(MOST_DF, var * var / squares) if squares else MOST_DF
    se = math.sqrt(var)
    return Sum(mean, se, df, t_two_sided(mean / se, df), total, n, bounds, usual, extra)


def _clustered(
    sums: Mapping[str, Sequence[float]],
    extra: float,
    bounds: tuple[float, float],
    cluster_of: Mapping[str, str],
) -> Sum:
    """As `compare` does it: clusters of tasks are a sample."""
    values, clusters = [fmean(each) for each in sums.values()], [cluster_of[task] for task in sums]
    se = clustered_se(values, clusters)
    total = sum(map(len, sums.values()))
    if se is None:
        return Sum(fmean(values), None, 1.0, 1.0, total, len(values), bounds, 0.0, extra)
    by_cluster: dict[str, float] = defaultdict(float)
    for value, cluster in zip(values, clusters, strict=True):
        by_cluster[cluster] += value
    differing = [total for total in by_cluster.values() if abs(total) > ZERO]
    mean, df = fmean(values), equivalent_clusters(clusters) - 1
    cautious = math.sqrt(se**2 + extra / total**2)
    if len(differing) < FEW_CLUSTERS:
        se, p = cautious, sign_flip_p(differing)
    elif se < ZERO:  # every cluster differs by the same amount
        se, p = cautious, 2.0 ** (1 - len(differing))
    else:
        p = t_two_sided(mean / se, df)
    # that of all blocks: not less than within a task
    per_block = _variance([value for each in sums.values() for value in each])
    return Sum(mean, se, df, p, total, len(values), bounds, per_block, extra)


def _variance(values: Sequence[float]) -> float:
    """The sample variance; `statistics.variance` does it in fractions, a hundred times slower."""
    mean = fmean(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
