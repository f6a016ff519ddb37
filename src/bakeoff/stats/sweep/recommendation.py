"""Which profile to use: the smallest with few infrastructure errors that still measures what the lowest one does."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bakeoff.stats.detectable import POWER
from bakeoff.stats.sweep.equivalence import Equivalence
from bakeoff.stats.sweep.levels import Level, lower_bound, upper_bound
from bakeoff.text import figures

MOST = 1000  # repetitions; a larger need is not said


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The profile to use, or why none can be named.

    `cannot say`: this sample is too small. `none`: it is large enough, and no profile qualifies, because even the
    largest has more infrastructure errors than the bound, or because the smallest below the bound measures another
    thing than the lowest profile.
    """

    verdict: Literal["level", "cannot say", "none"]
    experiment: str | None
    reason: str  # names are as the user wrote them: escape before printing
    repetitions_needed: int | None  # of each task, in all; None: not known, or nothing to wait for


def smallest_below(levels: Sequence[Level], infra_bound: float) -> str | None:
    """The smallest level shown to have fewer infrastructure errors than the bound; None: not even the largest is.

    From the largest down, until one is not shown: so the chance that any level is falsely shown stays at 5 %.
    """
    found = None
    for each in reversed(levels):
        if each.infra_upper is None or each.infra_upper >= infra_bound:
            break
        found = each.experiment
    return found


def recommend(
    levels: Sequence[Level], equivalences: Sequence[Equivalence], smallest: str | None, infra_bound: float
) -> Recommendation:
    """The smallest level shown below the bound, if its score on clean tasks is equivalent to the lowest level's.

    Args:
        levels: smallest first.
        equivalences: of each level but the lowest.
        smallest: see `smallest_below`.
        infra_bound: in (0, 1).
    """
    if smallest is None:
        return _not_below(levels, infra_bound)
    base, bound = levels[0].experiment, figures.percent(infra_bound)
    chosen = next(each for each in levels if each.experiment == smallest)
    few = (
        f"{smallest} is the smallest level shown to have fewer than {bound} infrastructure errors "
        f"(at most {figures.percent(chosen.infra_upper, 2)})"
    )
    if smallest == base:
        return Recommendation("level", smallest, f"{few}, and it is the smallest level of all.", None)
    against = next(each for each in equivalences if each.high == smallest)
    margin = _points(against.margin)
    if against.difference is None:
        why = (
            f"{few}, but no task completes under every level, so whether it measures the same cannot be said."
        )
        return Recommendation("cannot say", None, why, None)
    measured = (
        f"on the tasks that complete under every level it scores {_signed(against.difference)} against {base}, "
        f"90 % interval {figures.points(against.lower)} to {figures.points(against.upper)}"
    )
    if against.verdict == "equivalent":
        why = f"{few}, and it measures the same as {base} within {margin}: {measured}."
        return Recommendation("level", smallest, why, None)
    if against.verdict == "different":
        return _another_test(
            levels,
            equivalences,
            smallest,
            infra_bound,
            f"{few}, but it takes another test than {base}: {measured}.",
        )
    needed = against.repetitions_needed
    why = f"{few}, but whether it measures the same as {base} within {margin} cannot be said: {measured}."
    near = (
        "" if needed else " For two equal levels this was repeated often enough, so the two may well differ."
    )
    return Recommendation("cannot say", None, why + near + _would(needed), needed)


def _another_test(
    levels: Sequence[Level], equivalences: Sequence[Equivalence], smallest: str, infra_bound: float, said: str
) -> Recommendation:
    """The smallest level shown below the bound measures another thing; a smaller one may do, if it is below too."""
    different = {each.high for each in equivalences if each.verdict == "different"}
    names = [each.experiment for each in levels]
    for each in reversed(levels[: names.index(smallest)]):
        if each.infra is None or each.infra.mean >= infra_bound:
            break
        if each.experiment in different:
            continue
        needed = repetitions_below(infra_bound, each)
        may = (
            f" {each.experiment} may do: {figures.percent(each.infra.mean)} of its trials ended as infrastructure "
            f"errors, but the rate may be up to {figures.percent(each.infra_upper)}."
        )
        return Recommendation("cannot say", None, said + may + _would(needed), needed)
    return Recommendation("none", None, f"{said} Larger boxes change the score itself.", None)


def _not_below(levels: Sequence[Level], infra_bound: float) -> Recommendation:
    """No level was shown to be below the bound."""
    largest, bound = levels[-1], figures.percent(infra_bound)
    if largest.infra is None:
        return Recommendation("cannot say", None, f"{largest.experiment} has no trial.", None)
    seen = largest.infra
    ended = (
        f"{figures.percent(seen.mean)} of {seen.trials} trials at {largest.experiment}, the largest level, ended as "
        f"infrastructure errors"
    )
    causes = f" {largest.outside} of them came from outside the sandbox." if largest.outside else ""
    if lower_bound(seen.mean, largest.infra_trials) > infra_bound:
        return Recommendation("none", None, f"{ended}, which is above the bound of {bound}.{causes}", None)
    sure = (
        f"{ended}, but the rate may be up to {figures.percent(largest.infra_upper)}, which is not below {bound}."
        f"{causes}"
    )
    needed = repetitions_below(infra_bound, largest) if seen.mean < infra_bound else None
    return Recommendation("cannot say", None, sure + _would(needed), needed)


def repetitions_below(infra_bound: float, level: Level) -> int | None:
    """Repetitions of each task, in all, with which `level` is shown below the bound in four of five, if its rate stays.

    From the binomial distribution of the errors and Wilson's bound; None: more than `MOST`, or no trial to go by.
    """
    from scipy import special

    if level.infra is None:
        return None
    rate, tasks = level.infra.mean, level.infra.clusters
    start = max(1, math.ceil(level.trials / tasks))
    for repetitions in range(start, MOST):
        trials = repetitions * tasks
        most = _most_errors(infra_bound, trials)
        if most >= 0 and special.bdtr(most, trials, rate) >= POWER:
            return repetitions
    return None


def _most_errors(infra_bound: float, trials: int) -> int:
    """With how many errors at most the rate is shown below the bound; -1: not even with none."""
    possible = range(math.ceil(infra_bound * trials) + 1)
    return bisect_left(possible, infra_bound, key=lambda errors: upper_bound(errors / trials, trials)) - 1


def _would(needed: int | None) -> str:
    return (
        "" if needed is None else f" About {figures.count(needed, 'repetition')} of each task would show it."
    )


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"


def _signed(difference: float) -> str:
    return f"{figures.points(difference)} points"
