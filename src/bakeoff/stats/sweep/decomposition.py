"""How much of the difference between two profiles is infrastructure errors, and how much another way of working.

Reference: Kitagawa 1955, *Components of a Difference Between Two Rates*, JASA 50.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from bakeoff.stats.intervals import t_quantile
from bakeoff.stats.sweep.blocks import Block, Blocks, killed
from bakeoff.stats.sweep.strata import Inference, Values


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a difference.

    `low` and `high` are equal unless a task has no completed trial at one end: then its pass rate there may be
    anything, and they are for 0 and for 1.
    """

    low: float
    high: float
    lower: float | None  # of the 95 % interval of what lies between; None: not known
    upper: float | None


@dataclass(frozen=True, slots=True)
class Decomposition:
    """Ceiling minus floor, as deployed: `total` = `errors` + `behaviour`, task by task (Kitagawa 1955).

    A task's score is the share c of its trials that complete times their pass rate s. `errors` is mean(s) · Δc, the
    points that are lost to trials killed; `behaviour` is mean(c) · Δs, points from completed trials that end otherwise.
    """

    total: float
    errors: Part
    behaviour: Part


def decompose(blocks: Blocks, inference: Inference) -> Decomposition | None:
    """The last experiment minus the first; None without a block."""
    if not blocks.by_task or len(blocks.experiments) < 2:
        return None
    # A pass rate that nothing is known of raises `errors` at the floor, and lowers it at the ceiling
    errors_low, behaviour_high = _parts(blocks, (0.0, 1.0), inference)
    errors_high, behaviour_low = _parts(blocks, (1.0, 0.0), inference)
    return Decomposition(
        errors_low[0] + behaviour_high[0],
        _part(errors_low, errors_high),
        _part(behaviour_low, behaviour_high),
    )


Found = tuple[float, float | None]  # estimate, half the width of its interval
Unknown = tuple[float, float]  # at the floor, at the ceiling


def _part(low: Found, high: Found) -> Part:
    lower = None if low[1] is None else low[0] - low[1]
    upper = None if high[1] is None else high[0] + high[1]
    return Part(low[0], high[0], lower, upper)


def _parts(blocks: Blocks, unknown: Unknown, inference: Inference) -> tuple[Found, Found]:
    """`errors` and `behaviour`, where what has no completed trial would pass at the rate `unknown`."""
    terms = {task: _terms(own, unknown) for task, own in blocks.by_task.items()}
    found: list[Found] = []
    for part in (0, 1):
        # The jackknife's pseudo-values, one for each block: their variance is the part's
        pseudo = {
            task: [
                [r * terms[task][part] - (r - 1) * _terms(_without(own, i), unknown)[part], 0.0]
                for i in range(r)
            ]
            if (r := len(own)) > 1
            else [[terms[task][part], 0.0]]
            for task, own in blocks.by_task.items()
        }
        spread = Values(pseudo, blocks.cluster_of, inference).weighted({0: 1.0, 1: -1.0})
        half = None if spread is None or spread.se is None else t_quantile(0.975, spread.df) * spread.se
        found.append((fmean(each[part] for each in terms.values()), half))
    return found[0], found[1]


def _without(blocks: Sequence[Block], i: int) -> Sequence[Block]:
    return [*blocks[:i], *blocks[i + 1 :]]


def _terms(blocks: Sequence[Block], unknown: Unknown) -> tuple[float, float]:
    """One task's `errors` and `behaviour`."""
    (c_low, s_low), (c_high, s_high) = (_rates(blocks, end, unknown[end]) for end in (0, -1))
    return (s_low + s_high) / 2 * (c_high - c_low), (c_low + c_high) / 2 * (s_high - s_low)


def _rates(blocks: Sequence[Block], end: int, unknown: float) -> tuple[float, float]:
    """The share of trials that complete, and their pass rate."""
    completed = [block[end].value for block in blocks if not killed(block[end])]
    return len(completed) / len(blocks), fmean(completed) if completed else unknown
