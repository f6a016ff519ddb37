"""Whether two profiles measure the same, within a margin that was chosen before the run.

References:
    Schuirmann 1987, *A Comparison of the Two One-Sided Tests Procedure and the Power Approach for Assessing the
        Equivalence of Average Bioavailability*, J. Pharmacokinetics and Biopharmaceutics 15.
    Lakens 2017, *Equivalence Tests: A Practical Primer for t Tests, Correlations, and Meta-Analyses*, Social
        Psychological and Personality Science 8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean
from typing import Literal

from bakeoff.stats.detectable import ALPHA, POWER
from bakeoff.stats.sweep.strata import Sum


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Two one-sided tests of 5 % on clean tasks: `high` against `low`."""

    low: str
    high: str
    margin: float
    difference: float | None  # high minus low; None: there is no clean task
    lower: float | None  # of the 90 % interval, which lies within the margin if the two are equivalent
    upper: float | None
    verdict: Literal["equivalent", "different", "not shown"]  # different: the 95 % interval excludes 0
    # Of each task, in all, for 80 % power if the two are equal. None: shown, or not known, or as many have run
    repetitions_needed: int | None


def equivalence(low: str, high: str, found: Sum | None, margin: float) -> Equivalence:
    """Whether the difference lies within ± `margin` (Schuirmann 1987): its 90 % interval does."""
    if found is None:
        return Equivalence(low, high, margin, None, None, None, "not shown", None)
    lower, upper = found.interval(1 - 2 * ALPHA)
    if -margin < lower and upper < margin:
        return Equivalence(low, high, margin, found.mean, lower, upper, "equivalent", None)
    verdict: Literal["different", "not shown"] = "different" if found.p_value < ALPHA else "not shown"
    needed = None if found.se is None else repetitions(margin, found.tasks, found.per_block, found.extra)
    more = needed if needed and needed * found.tasks > found.blocks else None
    return Equivalence(low, high, margin, found.mean, lower, upper, verdict, more)


def repetitions_for(margin: float, rates: Sequence[float], ran: int | None = None) -> int:
    """Repetitions of each task with which a sweep shows two truly equal profiles to be equivalent in four of five.

    Args:
        margin: in (0, 1].
        rates: the chance of a pass of each task.
        ran: from how many trials each rate is estimated, if it is: r trials show (r - 1) / r of p (1 - p).
    """
    if not rates:
        raise ValueError("no rates")
    shown = 1.0 if ran is None else (ran - 1) / ran if ran > 1 else 1.0
    return repetitions(margin, len(rates), 2 * fmean(p * (1 - p) for p in rates) / shown, 2.0)


def repetitions(margin: float, tasks: int, per_block: float, extra: float) -> int:
    """The smallest number of blocks of each task with 80 % power, at least 2, if the difference is 0.

    The power is 2 Φ(margin / SE - z) - 1, with z the normal quantile at 95 %, and SE as in `strata.stratified`:
    SE² = variance of a block / blocks + extra / blocks².
    """
    normal = NormalDist()
    se = margin / (normal.inv_cdf(1 - ALPHA) + normal.inv_cdf((1 + POWER) / 2))
    blocks = (per_block + math.sqrt(per_block**2 + 4 * extra * se**2)) / (2 * se**2)
    return max(2, math.ceil(blocks / tasks))
