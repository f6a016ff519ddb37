"""Stopping early: a test at each of a few planned looks, whose errors add up to 5 % and no more.

A group sequential design. The error is spent over the looks as Lan & DeMets (1983) do with O'Brien & Fleming's (1979)
shape, so a first look needs overwhelming evidence and the last one hardly more than a run without looks. A look
compares its p-value with the p-value at the boundary (the significance-level approach: Jennison & Turnbull 2000,
section 4.4), so that it is the test of a run without looks, few clusters and clusters of different sizes included.

All pairs of candidates are tested, by Holm's correction of their sequential p-values (Liu & Anderson 2008): what a
decided pair no longer needs goes to the others, as in Ye et al. (2013). A candidate that is significantly worse than
another one is dropped, and its pairs are final.

The information at a look is taken as the share of the repetitions. The looks share their examples, so their
differences are more alike than this assumes, which makes the test cautious (Slepian 1962).

References:
    Lan & DeMets 1983, *Discrete Sequential Boundaries for Clinical Trials*, Biometrika 70.
    O'Brien & Fleming 1979, *A Multiple Testing Procedure for Clinical Trials*, Biometrics 35.
    Armitage, McPherson & Rowe 1969, *Repeated Significance Tests on Accumulating Data*, JRSS A 132.
    Jennison & Turnbull 1989, *Interim Analyses: the Repeated Confidence Interval Approach*, JRSS B 51.
    Jennison & Turnbull 2000, *Group Sequential Methods with Applications to Clinical Trials*, Chapman & Hall.
    Liu & Anderson 2008, *On Adaptive Extensions of Group Sequential Trials for Clinical Investigations*, JASA 103.
    Ye, Li, Liu & Yao 2013, *A Group Sequential Holm Procedure with Multiple Primary Endpoints*, Statistics in
        Medicine 32.
    Slepian 1962, *The One-Sided Barrier Problem for Gaussian Noise*, Bell System Technical Journal 41.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import combinations
from statistics import NormalDist

from bakeoff.stats.detectable import ALPHA
from bakeoff.stats.paired import Comparison, Levels, Pair, Sensitivity, compare, holm
from bakeoff.stats.scores import Counting, Outcome

MOST_LOOKS = 5
# A pair is futile if it would be distinguished in the end with a lower chance, from this share of the repetitions on.
FUTILE_BELOW = 0.1
FUTILE_FROM = 0.4
# Half of the intervals of Simpson's rule on one side of 0; boundaries are right to 1e-6.
HALF_STEPS = 24
# Levels at which `sequential_p` knows the boundaries, as quantiles: from 2 * 10^-11 to 0.6.
KNOTS = tuple(1.03 + 0.12 * step for step in range(48))
TINY = 1e-300
PerLook = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Looks:
    """How far a run has come that may stop early."""

    repetitions: tuple[int, ...]  # of each example, at each planned look
    pairs: int  # of all candidates: the correction is for so many
    taken: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)  # candidate -> the look that dropped it, 1-based

    @property
    def times(self) -> PerLook:
        """The share of the repetitions at each look."""
        return tuple(each / self.repetitions[-1] for each in self.repetitions)

    def of(self, first: str, second: str) -> int:
        """The last look that both candidates took part in, 1-based; 0: there was none."""
        return min(self.dropped.get(name, self.taken) for name in (first, second))


@dataclass(frozen=True, slots=True)
class LookResult:
    """What a look shows and decides."""

    pairs: tuple[Sensitivity, ...]  # of the candidates that were still in
    dropped: tuple[str, ...]  # significantly worse than another, in `score` and in `as_deployed`
    conditional_power: tuple[float | None, ...]  # of each pair; None: not known, or the pair is decided
    futile: bool  # whether no two that are still in are likely to be distinguished by the end


def planned(repetitions: int, most: int = MOST_LOOKS) -> tuple[int, ...]:
    """The repetitions at each look, evenly spread: 10 with 5 looks gives 2, 4, 6, 8, 10. One look: no early stop."""
    looks = min(most, repetitions)
    return tuple(math.ceil(look * repetitions / looks) for look in range(1, looks + 1))


def spent(time: float, alpha: float) -> float:
    """The two-sided error spent by the share `time` of the information, in (0, 1]: 4 (1 - Phi(z / sqrt(time))).

    z is the normal quantile at 1 - alpha / 4. Each side spends half of it, as O'Brien & Fleming's boundary does nearly.
    """
    return 4 * _above(-NormalDist().inv_cdf(alpha / 4) / math.sqrt(time))


@cache
def critical_values(times: PerLook, alpha: float) -> PerLook:
    """The normal quantile that |z| must reach at each look, by recursive integration (Armitage et al. 1969).

    Args:
        times: shares of the information, rising to at most 1.
        alpha: the two-sided error, all looks together.

    Between looks the statistic moves as Brownian motion. Its density is even, so one side is kept.
    """
    points, weights, density = [0.0], [0.5], [1.0]  # everything is at 0, half of it on this side
    found: list[float] = []
    before = 0.0
    for time in times:
        step = math.sqrt(time - before)
        left = spent(time, alpha) - (spent(before, alpha) if before else 0.0)
        masses = [(at, 2 * w * each) for at, w, each in zip(points, weights, density, strict=True)]
        bound = _bound(masses, step, left)
        found.append(bound / math.sqrt(time))
        points, weights = _simpson(bound)
        density = [_density(at, masses, step) for at in points]
        before = time
    return tuple(found)


def boundaries(times: PerLook, alpha: float) -> PerLook:
    """The two-sided p-value that a pair must stay below at each look; see `critical_values`."""
    return tuple(2 * _above(z) for z in critical_values(times, alpha))


def sequential_p(p_value: float, look: int, times: PerLook) -> float:
    """The smallest error `alpha` whose boundary this p-value reaches at this look: Liu & Anderson (2008).

    Args:
        p_value: two-sided, of the test at the look.
        look: 1-based.
        times: as in `critical_values`.

    Interpolated between known boundaries, right to three digits. Above 0.6 it is 1.
    """
    z = _quantile(p_value)
    known = _known(times)[look - 1]
    at = bisect_left(known, z)
    if at == 0:
        return 1.0
    at = min(at, len(known) - 1)
    share = min(1.0, (z - known[at - 1]) / (known[at] - known[at - 1]))
    return 4 * _above(KNOTS[at - 1] + share * (KNOTS[at] - KNOTS[at - 1]))


def conditional_power(p_value: float, time: float, critical: float) -> float:
    """The chance of crossing the last boundary if the trend so far goes on (Jennison & Turnbull 2000, section 10.2).

    Args:
        p_value: two-sided, of the test at this look.
        time: the share of the information at this look, below 1.
        critical: the normal quantile at the last look.
    """
    z = _quantile(p_value)
    expected = z * math.sqrt(time) + z * (1 - time) / math.sqrt(time)
    return _above((critical - expected) / math.sqrt(1 - time))


def sensitivities_at(
    outcomes: Sequence[Outcome], pairs: Sequence[Pair], looks: Looks
) -> tuple[Sensitivity, ...]:
    """These pairs under every way to count infrastructure errors, each at its last look.

    What ran after a pair's last look does not count in it. The interval is the repeated one, difference ± z_k SE
    (Jennison & Turnbull 1989), which holds the truth at all looks together in 95 % of runs. `p_value` is that of the
    test, to be compared with `boundary`; `p_adjusted` is Holm's, of the sequential p-values.

    Args:
        pairs: those to show; the correction is for all of the run.
    """
    by_way = {way: _compared(outcomes, pairs, looks, way) for way in Counting}
    return tuple(
        Sensitivity(*pair, {way: by_way[way][i] for way in Counting}) for i, pair in enumerate(pairs)
    )


def look(
    outcomes: Sequence[Outcome],
    candidates: Sequence[str],
    looks: Looks,
    doubtful: Collection[str] = (),
) -> LookResult:
    """The next look: who is dropped, and whether it is worth going on.

    Dropping is by significance alone. Stopping for futility is not binding: it spends no error, and the boundaries are
    as strict as if there was none.

    Args:
        outcomes: every trial so far of every candidate, each complete up to this look or the one that dropped it.
        candidates: all of the run.
        looks: before this one.
        doubtful: candidates about which nothing is decided at this look.
    """
    now = replace(looks, taken=looks.taken + 1)
    counted = sensitivities_at(outcomes, list(combinations(candidates, 2)), now)
    inside = tuple(
        pair for pair in counted if pair.first not in looks.dropped and pair.second not in looks.dropped
    )
    sure = [pair for pair in inside if pair.first not in doubtful and pair.second not in doubtful]
    dropped = {pair.worse for pair in sure if pair.worse}
    undecided = sum(pair.better is None for pair in counted)
    powers = tuple(_power(pair, now, undecided) if pair.better is None else None for pair in inside)
    rest = [
        power if pair in sure else None
        for pair, power in zip(inside, powers, strict=True)
        if pair.first not in dropped and pair.second not in dropped
    ]
    asked = FUTILE_FROM <= now.times[now.taken - 1] < 1
    futile = asked and bool(rest) and all(power is not None and power < FUTILE_BELOW for power in rest)
    return LookResult(inside, tuple(name for name in candidates if name in dropped), powers, futile)


def _compared(
    outcomes: Sequence[Outcome], pairs: Sequence[Pair], looks: Looks, way: Counting
) -> list[Comparison]:
    """With p-values that are corrected for the looks and for the pairs."""
    found = [_at_look(outcomes, *pair, looks, way) for pair in pairs]
    tested = [i for i, pair in enumerate(found) if pair.p_value is not None]
    alone = [sequential_p(found[i].p_value or 0.0, found[i].look or 0, looks.times) for i in tested]
    adjusted = holm([*alone, *[1.0] * (looks.pairs - len(alone))])
    for rank, each in enumerate(sorted(range(len(alone)), key=alone.__getitem__)):
        pair = found[tested[each]]
        bound = boundaries(looks.times, ALPHA / (looks.pairs - rank))[(pair.look or 0) - 1]
        found[tested[each]] = replace(pair, p_adjusted=adjusted[each], boundary=bound)
    return found


def _at_look(outcomes: Sequence[Outcome], first: str, second: str, looks: Looks, way: Counting) -> Comparison:
    number = looks.of(first, second)
    if number == 0:
        untested = compare(outcomes, first, second, way, looks.pairs)
        return replace(untested, low=None, high=None, p_value=None, p_adjusted=None, look=0)
    seen = [o for o in outcomes if o.repetition <= looks.repetitions[number - 1]]
    of_one, of_all = (boundaries(looks.times, ALPHA / m)[number - 1] for m in (1, looks.pairs))
    return replace(compare(seen, first, second, way, levels=Levels(of_one, of_all)), look=number)


def _power(pair: Sensitivity, looks: Looks, undecided: int) -> float | None:
    """The lower one of the conditional powers by which a winner is named; None: a look without a p-value."""
    p_values = [pair.by[way].p_value for way in (Counting.SCORE, Counting.AS_DEPLOYED)]
    time = looks.times[looks.taken - 1]
    if time >= 1 or None in p_values:
        return None
    last = critical_values(looks.times, ALPHA / undecided)[-1]
    return min(conditional_power(p, time, last) for p in p_values if p is not None)


# --- the integration


def _above(z: float) -> float:
    """P(Z > z), exact in the tail too."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def _quantile(p_value: float) -> float:
    """|z| at a two-sided p-value."""
    return -NormalDist().inv_cdf(max(p_value, TINY) / 2)


def _bound(masses: Sequence[tuple[float, float]], step: float, left: float) -> float:
    """The bound on |B| that the motion passes with probability `left` in its next step of this standard deviation."""
    low, high = 0.0, 40.0
    for _ in range(50):
        middle = (low + high) / 2
        beyond = sum(m * (_above((middle - at) / step) + _above((middle + at) / step)) for at, m in masses)
        low, high = (middle, high) if beyond > left else (low, middle)
    return high


def _simpson(bound: float) -> tuple[list[float], list[float]]:
    """Points and weights of an integral from 0 to `bound`."""
    steps = 2 * HALF_STEPS
    size = bound / steps
    weights = [size / 3 * (4 if i % 2 else 2) for i in range(steps + 1)]
    weights[0] = weights[-1] = size / 3
    return [i * size for i in range(steps + 1)], weights


def _density(at: float, masses: Sequence[tuple[float, float]], step: float) -> float:
    """Of the motion after its next step, from masses on both sides of 0."""
    exp = math.exp
    scale = -0.5 / step**2
    total = sum(m * (exp(scale * (at - x) ** 2) + exp(scale * (at + x) ** 2)) for x, m in masses)
    return total / (2 * step * math.sqrt(2 * math.pi))


@cache
def _known(times: PerLook) -> list[list[float]]:
    """The critical values of each look at the levels of `KNOTS`."""
    found = [critical_values(times, 4 * _above(knot)) for knot in KNOTS]
    return [list(each) for each in zip(*found, strict=True)]
