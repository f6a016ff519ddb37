"""Planned differences between the profiles of a sweep, asked in an order fixed beforehand.

Reference: Maurer, Hothorn & Lehmacher 1995, *Multiple Comparisons in Drug Clinical Trials and Preclinical Assays*,
in Vollmar (ed.), Biometrie in der chemisch-pharmazeutischen Industrie 6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bakeoff.stats.detectable import ALPHA
from bakeoff.stats.scores import Outcome
from bakeoff.stats.sweep.blocks import Blocks
from bakeoff.stats.sweep.strata import Inference, Sum, weighted


@dataclass(frozen=True, slots=True)
class Contrast:
    """The score of `high` minus that of `low`, with its 95 % interval. None: no task, or nothing to estimate it by."""

    low: str
    high: str
    difference: float | None
    se: float | None
    lower: float | None
    upper: float | None
    p_value: float | None
    asked: bool  # False: the fixed sequence stopped before it, so its p-value decides nothing

    @property
    def shown(self) -> bool:
        """Whether the two differ, as far as one test of 5 % can show."""
        return self.asked and self.p_value is not None and self.p_value < ALPHA

    @classmethod
    def of(cls, low: str, high: str, found: Sum | None, asked: bool = True) -> Contrast:
        """`found` as the difference between `low` and `high`."""
        if found is None:
            return cls(low, high, None, None, None, None, None, asked)
        return cls(low, high, found.mean, found.se, *found.interval(), found.p_value, asked)


def difference(
    blocks: Blocks, low: int, high: int, value: Callable[[Outcome], float], inference: Inference
) -> Sum | None:
    """The rate of the experiment at index `high` minus that at `low`."""
    weights = [0.0] * len(blocks.experiments)
    weights[low], weights[high] = -1.0, 1.0
    return weighted(blocks.valued(value), weights, blocks.cluster_of, inference)


def fixed_sequence(
    blocks: Blocks, value: Callable[[Outcome], float], inference: Inference
) -> tuple[Contrast, ...]:
    """Ceiling minus floor, then each smaller level minus the floor, until one is not shown.

    Each is tested at 5 %, and all together make a false claim in at most 5 %, because a test counts only if all before
    it were significant (Maurer, Hothorn & Lehmacher 1995).
    """
    names: Sequence[str] = blocks.experiments
    made: list[Contrast] = []
    asked = True
    for high in range(len(names) - 1, 0, -1):
        found = difference(blocks, 0, high, value, inference)
        made.append(Contrast.of(names[0], names[high], found, asked))
        asked = made[-1].shown
    return tuple(made)
