"""Fisher's exact test of two proportions.

Reference: Fisher 1935, *The Logic of Inductive Inference*, J. Royal Statistical Society 98(1).
"""

from __future__ import annotations

import math

ROUNDING = 1e-7  # relative; tables this close in probability are equally likely (as in R and scipy)


def fisher_p(a: int, b: int, c: int, d: int) -> float:
    """The two-sided p-value of the table [[a, b], [c, d]] of counts: the chance, margins fixed, of any table
    that is as unlikely as this one or more.

    Works in logarithms, so large counts do not overflow; the work grows with the smallest margin.
    """
    n, row, column = a + b + c + d, a + b, a + c

    def log_choose(of: int, k: int) -> float:
        return math.lgamma(of + 1) - math.lgamma(k + 1) - math.lgamma(of - k + 1)

    def log_p(x: int) -> float:
        return log_choose(column, x) + log_choose(n - column, row - x) - log_choose(n, row)

    bound = log_p(a) + ROUNDING
    tables = map(log_p, range(max(0, row + column - n), min(row, column) + 1))
    return min(1.0, math.fsum(math.exp(each) for each in tables if each <= bound))
