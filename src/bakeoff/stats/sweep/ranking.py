"""Whether the order of two candidates holds from the smallest box to the largest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from bakeoff.stats.paired import holm
from bakeoff.stats.scores import Outcome
from bakeoff.stats.sweep.blocks import collect, deployed
from bakeoff.stats.sweep.contrasts import Contrast, difference
from bakeoff.stats.sweep.strata import inference_of
from bakeoff.text import figures


@dataclass(frozen=True, slots=True)
class Ranking:
    """Two candidates at the lowest and the highest level, as deployed.

    With more than two candidates, each test's p-value is Holm's over the pairs; intervals are of one pair each.
    """

    first: str
    second: str
    at_floor: Contrast  # first minus second
    at_ceiling: Contrast
    interaction: Contrast  # first minus second at the ceiling, minus the same at the floor
    sentence: str  # names are as the user wrote them: escape before printing


def rankings(
    outcomes: Sequence[Outcome],
    candidates: Sequence[str],
    levels: Sequence[str],
    name: Callable[[str, str], str],
) -> tuple[Ranking, ...]:
    """Every pair of candidates; none with fewer than two candidates or levels.

    Args:
        outcomes: those of all candidates and levels.
        candidates: their names.
        levels: their names, smallest box first.
        name: the experiment of a candidate and a level, as in `Outcome.candidate`.
    """
    if len(levels) < 2:
        return ()
    ends = levels[0], levels[-1]
    pairs = list(combinations(candidates, 2))
    tested = [_contrasts(outcomes, pair, ends, name) for pair in pairs]
    corrected = [_corrected([each[i] for each in tested]) for i in range(3)]
    return tuple(
        Ranking(
            pair[0],
            pair[1],
            floor,
            ceiling,
            interaction,
            _sentence(pair, ends, (floor, ceiling, interaction)),
        )
        for pair, floor, ceiling, interaction in zip(pairs, *corrected, strict=True)
    )


def _contrasts(
    outcomes: Sequence[Outcome],
    pair: tuple[str, str],
    ends: tuple[str, str],
    name: Callable[[str, str], str],
) -> list[Contrast]:
    """First minus second at the floor and at the ceiling, and the difference of the two."""
    experiments = [name(candidate, level) for level in ends for candidate in pair]
    blocks = collect(outcomes, experiments).complete()
    values = blocks.values(deployed, inference_of(blocks.by_task.values()))
    return [
        Contrast.of(experiments[1], experiments[0], difference(values, 1, 0)),
        Contrast.of(experiments[3], experiments[2], difference(values, 3, 2)),
        Contrast.of(*ends, values.weighted({0: -1.0, 1: 1.0, 2: 1.0, 3: -1.0})),
    ]


def _corrected(contrasts: Sequence[Contrast]) -> list[Contrast]:
    adjusted = iter(holm([c.p_value for c in contrasts if c.p_value is not None]))
    return [c if c.p_value is None else replace(c, p_value=next(adjusted)) for c in contrasts]


def _sentence(
    pair: tuple[str, str], ends: tuple[str, str], tested: tuple[Contrast, Contrast, Contrast]
) -> str:
    floor, ceiling, interaction = tested
    if floor.difference is None or ceiling.difference is None or interaction.difference is None:
        return f"{pair[0]} and {pair[1]} have no task in common that counts at {ends[0]} and at {ends[1]}."
    said = f"At {ends[0]} {_standing(pair, floor)}; at {ends[1]} {_standing(pair, ceiling)}."
    change = (
        f"{_points(interaction.difference)} between the two ({figures.p_words(interaction.p_value or 0.0)})"
    )
    both = floor.shown and ceiling.shown
    turned = floor.difference * ceiling.difference < 0
    if interaction.shown:
        decides = {
            (True, True): "The box decides who is ahead",
            (True, False): "The box changes the lead, and may decide who is ahead",
            (False, True): "The order holds, but the box changes the lead",
            (False, False): "The box changes the lead",
        }
        return f"{said} {decides[turned, both]}: the difference changes by {change}."
    if both and not turned:
        return f"{said} The order holds; the difference changes by {change}, not more than noise."
    return f"{said} Whether the box changes the order cannot be told: the difference changes by {change}."


def _standing(pair: tuple[str, str], c: Contrast) -> str:
    """Who leads at one level, by how much, and whether that is more than noise."""
    difference = c.difference or 0.0
    if not difference:
        return f"{pair[0]} and {pair[1]} are level"
    leader, other = pair if difference > 0 else pair[::-1]
    verb = "leads" if c.shown else "is ahead of"
    noise = "" if c.shown else ", not more than noise"
    return f"{leader} {verb} {other} by {_points(difference)} ({figures.p_words(c.p_value or 0.0)}{noise})"


def _points(difference: float) -> str:
    return f"{100 * abs(difference):.1f} points"
