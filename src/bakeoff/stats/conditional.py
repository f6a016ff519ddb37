"""Whether something rose between two runs of the very same examples: these are fixed, and only the trials vary.

A sample of examples answers another question (`paired`): what holds on requests like these. Here a claim is about
these examples alone, so what varies is how often each of them passes, and repetitions count in full. Within an example
the trials of both runs are exchangeable if nothing changed; that gives an exact test. The bounds rest on the variance
within examples, as that of a stratified sample does (Neyman 1923, 1934; Cochran 1977, chapter 5).

References:
    Neyman 1923, *On the Application of Probability Theory to Agricultural Experiments*, translated in Statistical
        Science 5 (1990): the variance between pairs bounds that within them.
    Neyman 1934, *On the Two Different Aspects of the Representative Method*, J. Royal Statistical Society 97.
    Mantel & Haenszel 1959, *Statistical Aspects of the Analysis of Data from Retrospective Studies of Disease*, J.
        National Cancer Institute 22.
    Satterthwaite 1946, *An Approximate Distribution of Estimates of Variance Components*, Biometrics Bulletin 2.
    Clopper & Pearson 1934, *The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial*,
        Biometrika 26.
    Cochran 1977, *Sampling Techniques*, 3rd edition, Wiley.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, fmean
from typing import Literal

from bakeoff.stats.detectable import POWER
from bakeoff.stats.intervals import CAUTION, CONFIDENCE, ZERO, clustered_se, t_quantile

# The variance of one trial at a rate of one half, which is the largest.
MOST_NOISE = 0.25
# As few trials as six examples that ran once on each side: with less, no measure can be told from noise.
LEAST_P = 2.0**-6

Values = Mapping[str, Sequence[float]]  # of the trials, by example
Method = Literal["repetitions", "pairs"]
_Sides = list[tuple[Sequence[float], Sequence[float]]]  # values of an example's trials, before and after


@dataclass(frozen=True, slots=True)
class Rise:
    """How much a mean rose on these very examples, each of which weighs the same.

    `rise`, `low`, `high` and `answerable` are differences of shares, or relative to the mean before (0.1 is 10 %). The
    bounds are one-sided, each of them right in 95 % of runs; together they are a 90 % interval.

    `method`: `repetitions` (the variance is that between repetitions of an example) or `pairs` (most examples ran once
    on a side, so the variance is that of the examples' differences, which is never too small).
    """

    examples: int
    before: float
    after: float
    rise: float | None  # None: from nothing to something
    low: float | None  # None: not known
    high: float | None
    p_rise: float  # one-sided, of no rise
    p_fall: float
    answerable: float | None  # where nothing changes, four runs of five show that the rise is below this
    method: Method

    @property
    def p_value(self) -> float:
        """Two-sided, of no change."""
        return min(1.0, 2 * min(self.p_rise, self.p_fall))


def rise_of_share(before: Values, after: Values) -> Rise | None:
    """How much a share rose, on the examples that have a trial on both sides; None: there is none.

    The test is exact: given how many trials of an example did it on both sides together, the number after is
    hypergeometric, and the numbers of all examples add up (Mantel & Haenszel 1959, without their approximation). The
    bounds are rise ± t · SE, SE² from the variance within examples and `CAUTION` examples of coin flips on top, without
    which a sample in which every example did always the same would be certain. df are Satterthwaite's, from the
    examples that varied.

    Args:
        before, after: 1 for a trial that did it, else 0, by example.
    """
    sides = _shared(before, after)
    if not sides:
        return None
    means = [(fmean(b), fmean(a)) for b, a in sides]
    rise = fmean(a - b for b, a in means)
    parts, method = _variances(sides)
    caution = CAUTION * MOST_NOISE * fmean(1 / len(b) + 1 / len(a) for b, a in sides)
    se, df = _se(parts, caution)
    p_rise, p_fall = _exact(sides)
    half = t_quantile(CONFIDENCE, df) * se
    return Rise(
        examples=len(sides),
        before=fmean(b for b, _ in means),
        after=fmean(a for _, a in means),
        rise=rise,
        low=max(-1.0, rise - half),
        high=min(1.0, rise + half),
        p_rise=p_rise,
        p_fall=p_fall,
        answerable=_known(half + _power() * se),
        method=method,
    )


def rise_of_mean(before: Values, after: Values) -> Rise | None:
    """How much a mean of something measured (seconds, dollars; never negative) rose, relative to the mean before.

    The bounds are those of the logarithm of the ratio (the delta method), and p is t's. No p is smaller than that of
    the most extreme of all orders of the trials; if that is above 1 in 64, bounds are not known.
    """
    sides = _shared(before, after)
    if not sides:
        return None
    b, a = fmean(fmean(b) for b, _ in sides), fmean(fmean(a) for _, a in sides)
    if max(a, b) <= 0:
        return Rise(len(sides), b, a, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, "repetitions")
    ratio = a / b if a > 0 and b > 0 else None
    scales = (b, a) if ratio else (max(a, b),) * 2
    parts, method = _variances([([v / scales[0] for v in b], [v / scales[1] for v in a]) for b, a in sides])
    se, df = _se(parts, 0.0)
    moved = math.log(ratio) if ratio else (a - b) / max(a, b)
    least = 1 / math.exp(math.fsum(_log_orders(len(b), len(a)) for b, a in sides))
    p_rise, p_fall = (max(least, _t_beyond(sign * moved, se, df)) for sign in (1, -1))
    half = t_quantile(CONFIDENCE, df) * se if se > ZERO else 0.0
    known = least <= LEAST_P and b > 0
    change = math.expm1 if ratio else float
    return Rise(
        examples=len(sides),
        before=b,
        after=a,
        rise=a / b - 1 if b > 0 else None,
        low=change(moved - half) if known else None,
        high=change(moved + half) if known else None,
        p_rise=p_rise if least <= LEAST_P else 1.0,
        p_fall=p_fall if least <= LEAST_P else 1.0,
        answerable=math.expm1(half + _power() * se) if known else None,
        method=method,
    )


@dataclass(frozen=True, slots=True)
class Share:
    """A share of trials against a bound. `low` and `high` are one-sided 95 % bounds of the true share."""

    share: float
    low: float
    high: float
    p_above: float  # of a true share that is at most the bound


def share_against(values: Sequence[float], examples: Sequence[str], bound: float) -> Share | None:
    """The share of 1s against `bound`, by the exact binomial test (Clopper & Pearson 1934); None without trials.

    If they concentrate on single examples, with the effective number of trials: see `intervals.estimate_errors`.
    """
    if not values:
        return None
    from scipy import special

    share, n = fmean(values), float(len(values))
    se = clustered_se(values, examples) if len(set(examples)) < n else None
    if se is not None and se > ZERO:
        n = min(n, share * (1 - share) / se**2)
    x = share * n
    low = float(special.betaincinv(x, n - x + 1, 1 - CONFIDENCE)) if x else 0.0
    high = float(special.betaincinv(x + 1, n - x, CONFIDENCE)) if x < n else 1.0
    above = float(special.betainc(x, n - x + 1, bound)) if x else 1.0
    return Share(share, low, high, above)


def noise_within(values: Values) -> float | None:
    """The mean variance of one trial within an example; None: no example ran twice."""
    known = [_variance(each) for each in values.values() if len(each) > 1]
    return fmean(known) if known else None


def _variance(values: Sequence[float]) -> float:
    mean = fmean(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _shared(before: Values, after: Values) -> _Sides:
    return [(before[e], after[e]) for e in before.keys() & after.keys() if before[e] and after[e]]


def _variances(sides: _Sides) -> tuple[list[float], Method]:
    """The estimated variance of each example's difference of means, and where it comes from."""
    known = [[_variance(each) for each in own if len(each) > 1] for own in zip(*sides, strict=True)]
    if min(map(len, known)) * 2 < len(sides):
        differences = [fmean(a) - fmean(b) for b, a in sides]
        mean, n = fmean(differences), len(sides)
        return [(d - mean) ** 2 * n / max(1, n - 1) for d in differences], "pairs"
    usual = [fmean(own) for own in known]  # of an example that ran once

    def part(each: Sequence[float], side: int) -> float:
        return (_variance(each) if len(each) > 1 else usual[side]) / len(each)

    return [part(b, 0) + part(a, 1) for b, a in sides], "repetitions"


def _se(parts: Sequence[float], caution: float) -> tuple[float, float]:
    """The standard error of the mean, and Satterthwaite's degrees of freedom: two for each example that varied."""
    whole, squares = math.fsum([*parts, caution]), math.fsum(part**2 for part in [*parts, caution])
    return math.sqrt(whole) / len(parts), max(1.0, 2 * whole**2 / squares) if squares else 1.0


def _exact(sides: _Sides) -> tuple[float, float]:
    """P(as many 1s after, or more) and P(as many, or fewer), if trials are exchangeable within examples."""
    import numpy as np

    chances, seen = np.ones(1), 0
    for b, a in sides:
        ones, n, m = round(math.fsum(b) + math.fsum(a)), len(b), len(a)
        seen += round(math.fsum(a)) - max(0, ones - n)
        if len(ways := _hypergeometric(n, m, ones)) > 1:
            chances = np.convolve(chances, ways)
    return min(1.0, float(chances[seen:].sum())), min(1.0, float(chances[: seen + 1].sum()))


@lru_cache(maxsize=1024)
def _hypergeometric(n: int, m: int, ones: int) -> list[float]:
    """The probabilities of each possible number of 1s among m, when n + m have `ones`."""
    possible = range(max(0, ones - n), min(m, ones) + 1)
    return [math.comb(m, k) * math.comb(n, ones - k) / math.comb(n + m, ones) for k in possible]


def _log_orders(n: int, m: int) -> float:
    """The logarithm of the number of ways to choose which m of n + m trials are those after."""
    return math.lgamma(n + m + 1) - math.lgamma(n + 1) - math.lgamma(m + 1)


def _t_beyond(moved: float, se: float, df: float) -> float:
    """P(T > moved / se)."""
    from scipy import special

    if se < ZERO:
        return 0.0 if moved > ZERO else 1.0
    return float(special.stdtr(df, -moved / se))


def _known(margin: float) -> float | None:
    return margin if margin < 1 else None


def _power() -> float:
    return NormalDist().inv_cdf(POWER)
