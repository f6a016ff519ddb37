"""Whether one candidate does something more often than another: what hits candidates alike may be left out of a score.

Reference: Fisher 1935, *The Logic of Inductive Inference*, J. Royal Statistical Society 98(1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bakeoff.stats.detectable import ALPHA
from bakeoff.text import figures


@dataclass(frozen=True, slots=True)
class Excess:
    """In how many of its trials a candidate did something, beside the other candidate that did it most rarely."""

    candidate: str
    count: int
    trials: int
    other: str
    other_count: int
    other_trials: int
    p: float  # the chance of this or more if it does it as often as the other, corrected for the choice of the other

    @property
    def beyond_noise(self) -> bool:
        """Whether it does it significantly more often."""
        return self.p < ALPHA

    def words(self, did: str) -> str:
        """The comparison as the beginning of a sentence; `did` is what the trials did."""
        return (
            f"{self.candidate}: {self.count} of {self.trials} trials {did}, against {self.other_count} of "
            f"{self.other_trials} of {self.other} ({figures.p_words(self.p)})"
        )


def excesses(counted: Mapping[str, tuple[int, int]]) -> dict[str, Excess]:
    """Every candidate against the other with the lowest rate; empty if fewer than two candidates have a trial.

    Fisher's exact test, one-sided, times the number of others (Bonferroni). Trials with unequal chances, as those of
    easy and hard examples, vary less than the test assumes, so it raises fewer false alarms than it may.

    Args:
        counted: (trials that did it, all trials) by candidate.
    """
    ran = {name: each for name, each in counted.items() if each[1]}
    found = {}
    for name, (count, trials) in ran.items():
        others = [(k / n, -n, other) for other, (k, n) in ran.items() if other != name]
        if not others:
            break
        _, _, other = min(others)
        k, n = ran[other]
        p = min(1.0, len(others) * fisher_p(count, trials - count, k, n - k))
        found[name] = Excess(name, count, trials, other, k, n, p)
    return found


def fisher_p(a: int, b: int, c: int, d: int) -> float:
    """The one-sided p-value of the table [[a, b], [c, d]] of counts: the chance, margins fixed, of `a` or more.

    Works in logarithms, so large counts do not overflow; the work grows with the smallest margin.
    """
    n, row, column = a + b + c + d, a + b, a + c

    def log_choose(of: int, k: int) -> float:
        return math.lgamma(of + 1) - math.lgamma(k + 1) - math.lgamma(of - k + 1)

    tables = (
        log_choose(column, x) + log_choose(n - column, row - x) - log_choose(n, row)
        for x in range(a, min(row, column) + 1)
    )
    return min(1.0, math.fsum(map(math.exp, tables)))
