"""Whether infrastructure errors become rarer from level to level: an exact Cochran-Armitage test within blocks.

References:
    Cochran 1954, *Some Methods for Strengthening the Common χ² Tests*, Biometrics 10.
    Armitage 1955, *Tests for Linear Trends in Proportions and Frequencies*, Biometrics 11.
    Mantel 1963, *Chi-Square Tests with One Degree of Freedom: Extensions of the Mantel-Haenszel Procedure*, JASA 58.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from statistics import fmean
from typing import Any

from bakeoff.stats.detectable import ALPHA
from bakeoff.stats.sweep.blocks import Blocks


@dataclass(frozen=True, slots=True)
class Trend:
    """The linear trend of the share of infrastructure errors over the levels, which count as equally far apart."""

    slope: float  # change of the share from one level to the next, on average
    p_value: float  # two-sided

    @property
    def falls(self) -> bool:
        """Whether it falls by more than noise."""
        return self.slope < 0 and self.p_value < ALPHA


def trend(blocks: Blocks) -> Trend | None:
    """The trend on these tasks; None with one level or without a block.

    Every infrastructure error counts. Those from outside the sandbox hit the profiles of a block alike, since its
    trials run next to each other.
    """
    levels = len(blocks.experiments)
    if levels < 2 or not blocks.by_task:
        return None
    scores = [2 * level - (levels - 1) for level in range(levels)]  # whole numbers, centred
    errors = [[[not o.completed for o in b] for b in each] for each in blocks.by_task.values()]
    sums = [[sum(s for s, e in zip(scores, b, strict=True) if e) for b in each] for each in errors]
    slope = 2 * fmean(map(fmean, sums)) / sum(s * s for s in scores)
    counts = Counter(sum(b) for each in errors for b in each)
    return Trend(slope, permutation_p(sum(map(sum, sums)), counts, tuple(scores)))


def permutation_p(seen: int, counts: Counter[int], scores: tuple[int, ...]) -> float:
    """The exact two-sided p-value of the sum of the scores of all errors.

    If no level matters, the errors of a block may as well have hit any other of its levels. The sum's distribution over
    all these ways is the convolution of the blocks', computed by Fourier transform to about 1e-14.

    Args:
        seen: the sum; its distribution is symmetric about 0.
        counts: blocks by their number of errors.
        scores: of the levels, symmetric about 0.
    """
    import numpy as np

    most = sum(blocks * _sums(scores, errors)[0] for errors, blocks in counts.items())
    product: Any = 1.0
    for errors, blocks in counts.items():
        product = product * np.fft.rfft(_sums(scores, errors)[1], 2 * most + 1) ** blocks
    chances = np.fft.irfft(product, 2 * most + 1)  # of the sums from -most to most
    tails = chances[: most + 1 - abs(seen)].sum() + chances[most + abs(seen) :].sum()
    return float(min(1.0, max(0.0, tails)))


@lru_cache(maxsize=256)
def _sums(scores: tuple[int, ...], errors: int) -> tuple[int, list[float]]:
    """The largest sum of as many of the scores, all equally likely, and the chance of each sum from minus that on."""
    found = Counter(map(sum, combinations(scores, errors)))
    most, ways = max(found), sum(found.values())
    return most, [found[total] / ways for total in range(-most, most + 1)]
