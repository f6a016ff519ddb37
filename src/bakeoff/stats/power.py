"""What a sample of this kind could show: an effect, a margin, a rate of errors; and the sample that these need.

References:
    Miller 2024, *Adding Error Bars to Evals*, arXiv:2411.00640, sections on variance reduction and on power.
    Schuirmann 1987, *A Comparison of the Two One-Sided Tests Procedure and the Power Approach*, J. Pharmacokinetics and
        Biopharmaceutics 15.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist, fmean

from bakeoff.stats.detectable import (
    ALPHA,
    FEW_CLUSTERS,
    POWER,
    Spread,
    detectable,
    falling,
    minimum_detectable_effect,
    power_of,
)
from bakeoff.stats.intervals import ZERO, equivalent_clusters, wilson
from bakeoff.stats.paired import seen_se, spread_of
from bakeoff.stats.scores import Counting, Outcome

MOST = 10_000_000  # examples; a larger need is reported as unreachable


@dataclass(frozen=True, slots=True)
class Power:
    """What comparing two candidates on this run's examples can show of a true difference `effect`.

    None: unknown from this run (`why`), or, for the numbers needed, no number is enough.
    """

    first: str
    second: str  # the same name means a rerun of the candidate, as in a nightly job
    effect: float
    examples: int
    clusters: int
    repetitions: float  # judged trials of an example, on average
    detectable: float | None = None  # found with 80 % probability; None without `why`: no effect is
    power: float | None = None  # probability that `effect` is found
    examples_needed: int | None = None  # for 80 %, with the same repetitions
    repetitions_needed: int | None = None  # for 80 %, with the same examples
    detectable_at_best: float | None = None  # with unlimited repetitions of the same examples
    why: str = ""
    # If whole clusters change, instead of single examples; None also where every example is a cluster
    detectable_in_clusters: float | None = None
    power_in_clusters: float | None = None
    examples_needed_in_clusters: int | None = None


@dataclass(frozen=True, slots=True)
class Margin:
    """What it takes to show, on these examples, that two candidates differ by less than `margin`, if they are equal.

    At the one-sided level of 5 %, in four runs of five. Only repetitions vary: the examples are these.
    """

    first: str
    second: str
    margin: float
    no_worse: float | None = (
        None  # probability that this run's repetitions show `second` no worse by more than it
    )
    equivalent: float | None = None  # the same of both directions
    no_worse_repetitions: int | None = None  # of each example, for 80 %; None: unknown (`why`)
    equivalent_repetitions: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Bought:
    """What a budget buys for one comparison, all else as in this run, and what that could show.

    Either more repetitions of the same examples, or more examples with the same repetitions.
    """

    first: str
    second: str
    budget: float  # dollars, for the trials of both sides
    repetitions: int | None = None  # of the same examples; None: unknown (`why`)
    detectable: float | None = None  # with those; None also where no effect is
    detectable_in_clusters: float | None = None
    examples: int | None = None  # with the same repetitions
    detectable_by_examples: float | None = None
    detectable_by_examples_in_clusters: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Ground:
    """What one run says about a comparison."""

    known: Power
    spread: Spread | None
    one: float | None  # variance of the mean difference by one repetition; None: nothing ran twice
    endless: Spread | None  # with unlimited repetitions

    def with_repetitions(self, count: int) -> Spread | None:
        """`spread` with so many repetitions; None: unknown."""
        if self.endless is None or self.one is None:
            return None
        return replace(self.endless, se=math.sqrt(self.endless.se**2 + self.one / count))


def plan(outcomes: Sequence[Outcome], first: str, second: str, effect: float, alpha: float = ALPHA) -> Power:
    """The power of a comparison of `first` with `second`; the same name twice compares a candidate with its rerun.

    The variance of the mean difference has two parts: examples differ (only more examples help), and one
    example passes now and fails later (repetitions help too). The second part is p (1 - p) / (R - 1) for each
    candidate's rate p in R >= 2 repetitions. A rerun of the same candidate has only that part, twice, plus
    what the effect itself adds (`power_of`).
    """
    ground = _ground(outcomes, first, second, effect)
    known, spread = ground.known, ground.spread
    if spread is None:
        return known

    def needed(whole_clusters: bool) -> int | None:
        found = _smallest(lambda count: power_of(effect, spread, alpha, count, whole_clusters) >= POWER)
        return None if found is None else math.ceil(found * known.examples / known.clusters)

    repetitions_needed = None
    if ground.endless is not None and power_of(effect, ground.endless, alpha) > POWER:
        repetitions_needed = _smallest(
            lambda count: power_of(effect, ground.with_repetitions(count) or spread, alpha) >= POWER
        )
    single, whole = detectable(spread, alpha)
    known = replace(
        known,
        detectable=single,
        power=power_of(effect, spread, alpha),
        examples_needed=needed(False),
        repetitions_needed=repetitions_needed,
        detectable_at_best=None
        if ground.endless is None
        else minimum_detectable_effect(ground.endless, alpha),
    )
    if not spread.grouped:
        return known
    needs = [known.examples_needed, needed(True)]
    return replace(
        known,
        detectable_in_clusters=whole,
        power_in_clusters=min(known.power or 0.0, power_of(effect, spread, alpha, whole_clusters=True)),
        examples_needed_in_clusters=None if None in needs else max(need or 0 for need in needs),
    )


def margin(outcomes: Sequence[Outcome], first: str, second: str, within: float) -> Margin:
    """What it takes to show that `second` is no worse than `first` by more than `within`, or equal to within it."""
    judged, _ = _judged(outcomes, first, second)
    found = Margin(first, second, within)
    sides = [list(own.values()) for own in judged]
    if not sides[0]:
        return replace(found, why="no example has a verdict of both")
    part = _sum(_within(sides[0]), _within(sides[1]))
    if part is None:
        return replace(found, why="each example ran once, so the variation of a rerun is unknown")
    repetitions = fmean(len(values) for side in sides for values in side)
    one, se = part * repetitions, math.sqrt(part)
    return replace(
        found,
        no_worse=margin_power(within, se, both=False),
        equivalent=margin_power(within, se, both=True),
        no_worse_repetitions=margin_repetitions(within, one, both=False),
        equivalent_repetitions=margin_repetitions(within, one, both=True),
    )


def margin_power(within: float, se: float, both: bool) -> float:
    """The probability of showing that a difference is below `within` if it is 0, at the one-sided level of 5 %.

    One direction: z(within / SE - 1.645). Both, by two one-sided tests (Schuirmann 1987): twice that, less 1.
    """
    if se < ZERO:
        return 1.0
    once = NormalDist().cdf(within / se - NormalDist().inv_cdf(1 - ALPHA))
    return max(0.0, 2 * once - 1) if both else once


def margin_repetitions(within: float, one: float, both: bool) -> int | None:
    """The fewest repetitions with which `margin_power` is 80 %; None beyond `MOST`.

    Args:
        within: the margin, in (0, 1].
        one: the variance of the mean difference by one repetition of these examples: with rates p and n examples, the
            sum of mean p (1 - p) / n of both sides.
    """
    return _smallest(lambda count: margin_power(within, math.sqrt(one / count), both) >= POWER)


def below_repetitions(limit: float, rate: float, examples: int) -> int | None:
    """The fewest repetitions of `examples` that show a rate of errors below `limit` in four runs of five.

    Shown means that the one-sided 95 % bound of Wilson's interval of all trials lies below `limit`. The errors allowed
    are a whole number, so a few repetitions more may do a little worse.

    Args:
        limit: the rate that is to be shown to be an upper bound, in (0, 1].
        rate: the true rate. None is returned if it is not below `limit`, or if more than `MOST` trials are needed.
    """
    if rate >= limit:
        return None
    found = _smallest(lambda repetitions: _power_below(limit, rate, repetitions * examples) >= POWER)
    return None if found is None or found * examples > MOST else found


def _power_below(limit: float, rate: float, trials: int) -> float:
    """P(the bound lies below `limit`), with independent errors."""
    from scipy import special

    z = NormalDist().inv_cdf(1 - ALPHA)
    if wilson(0.0, trials, z)[1] >= limit:
        return 0.0
    most, too_many = 0, trials  # errors: the bound rises with them
    while most + 1 < too_many:
        middle = (most + too_many) // 2
        below = wilson(middle / trials, trials, z)[1] < limit
        most, too_many = (middle, too_many) if below else (most, middle)
    return float(special.bdtr(most, trials, rate))


def bought(
    outcomes: Sequence[Outcome],
    pair: tuple[str, str],
    dollars: float | None,
    budget: float,
    alpha: float = ALPHA,
) -> Bought:
    """What `budget` buys for a comparison of this pair.

    Args:
        dollars: the mean cost of one trial of the first plus one of the second; None: not known.
        budget: dollars, above 0.
    """
    ground = _ground(outcomes, *pair, 0.0)
    known, spread, found = ground.known, ground.spread, Bought(*pair, budget)
    if not dollars:
        why = "a trial costs nothing" if dollars == 0 else "the cost of a trial is not known"
        return replace(found, why=why)
    if spread is None:
        return replace(found, why=known.why)
    repetitions = int(budget / (dollars * known.examples))
    examples = int(budget / (dollars * known.repetitions))
    repeated = ground.with_repetitions(repetitions) if repetitions else None
    clusters = int(examples * known.clusters / known.examples)
    by_repetitions = detectable(repeated, alpha) if repeated else (None, None)
    by_examples = detectable(spread, alpha, clusters) if clusters else (None, None)
    return replace(
        found,
        repetitions=repetitions,
        detectable=by_repetitions[0],
        detectable_in_clusters=by_repetitions[1],
        examples=examples,
        detectable_by_examples=by_examples[0],
        detectable_by_examples_in_clusters=by_examples[1],
    )


def _ground(outcomes: Sequence[Outcome], first: str, second: str, effect: float) -> _Ground:
    judged, cluster_of = _judged(outcomes, first, second)
    shared = list(judged[0])
    n, g = len(shared), len({cluster_of[e] for e in shared})
    repetitions = fmean(len(values) for own in judged for values in own.values()) if shared else 0.0
    known = Power(first, second, effect, n, g, repetitions)
    if g < FEW_CLUSTERS:
        why = f"fewer than {FEW_CLUSTERS} clusters of examples have a verdict"
        return _Ground(replace(known, why=why), None, None, None)
    sides = [list(own.values()) for own in judged]
    within = _sum(_within(sides[0]), _within(sides[1]))
    clusters = [cluster_of[e] for e in shared]
    if first != second:
        spread = spread_of(outcomes, first, second)
    else:
        spread = None if within is None else _of_rerun(sides[0], clusters, within)
    if spread is None:
        why = "each example ran once, so the variation of a rerun is unknown"
        return _Ground(replace(known, why=why), None, None, None)
    if within is None:
        return _Ground(known, spread, None, None)
    # a rerun varies only by repetition; a part is never larger than the total
    part = spread.se**2 if first == second else min(within, spread.se**2)
    endless = replace(spread, se=math.sqrt(max(0.0, spread.se**2 - part)))
    return _Ground(known, spread, part * repetitions, endless)


def _judged(
    outcomes: Sequence[Outcome], first: str, second: str
) -> tuple[list[dict[str, list[float]]], dict[str, str]]:
    """Both candidates' values by example, of the examples that both have, in one order; and the examples' clusters."""
    judged: dict[str, dict[str, list[float]]] = {first: defaultdict(list), second: defaultdict(list)}
    cluster_of = {}
    for o in outcomes:
        if o.candidate in judged and (value := o.counted(Counting.SCORE)) is not None:
            judged[o.candidate][o.example_id].append(value)
            cluster_of[o.example_id] = o.cluster
    shared = sorted(judged[first].keys() & judged[second].keys())
    return [{e: judged[name][e] for e in shared} for name in (first, second)], cluster_of


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second


def _within(side: Sequence[list[float]]) -> float | None:
    """The part of a mean rate's variance that repetitions reduce; None if no example ran twice."""
    parts = [p * (1 - p) / (len(values) - 1) for values in side if len(values) > 1 for p in (fmean(values),)]
    return fmean(parts) / len(side) if parts else None


def _of_rerun(side: Sequence[list[float]], clusters: Sequence[str], variance: float) -> Spread:
    """The spread of an equally good rerun, from a candidate's repetitions; `variance` is that of their difference."""
    level: dict[str, float] = defaultdict(lambda: 1.0)  # chance that a cluster does not differ
    for values, cluster in zip(side, clusters, strict=True):
        level[cluster] *= _level(fmean(values), len(values))
    differing = math.fsum(1 - chance for chance in level.values())
    sizes = tuple(Counter(clusters).values())
    se = seen_se(math.sqrt(variance), len(sizes))
    rates = [fmean(values) for values in side]
    return Spread(se, equivalent_clusters(clusters), sizes, differing, 0.0, *falling(rates, clusters))


def _level(p: float, trials: int) -> float:
    """The probability that two sets of `trials` trials at rate p have equally many passes."""
    return math.fsum((math.comb(trials, k) * p**k * (1 - p) ** (trials - k)) ** 2 for k in range(trials + 1))


def _smallest(enough: Callable[[int], bool]) -> int | None:
    """The smallest integer from 1 for which the monotone `enough` holds; None beyond `MOST`."""
    high = 1
    while not enough(high):
        if (high := high * 2) > MOST:
            return None
    low = high // 2
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
