"""Planned differences between the profiles of a sweep, asked in an order fixed beforehand.

Reference: Maurer, Hothorn & Lehmacher 1995, *Multiple Comparisons in Drug Clinical Trials and Preclinical Assays:
A-Priori Ordered Hypotheses*, in Vollmar (ed.), Biometrie in der chemisch-pharmazeutischen Industrie 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bakeoff.stats.detectable import ALPHA
from bakeoff.stats.sweep.strata import Sum, Values


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
        lower, upper = (None, None) if found.se is None else found.interval()
        return cls(low, high, found.mean, found.se, lower, upper, found.p_value, asked)


def difference(values: Values, low: int, high: int) -> Sum | None:
    """The rate of the experiment at index `high` minus that at `low`."""
    return values.weighted({low: -1.0, high: 1.0})


def fixed_sequence(values: Values, experiments: Sequence[str]) -> tuple[Contrast, ...]:
    """Ceiling minus floor, then each smaller level minus the floor, until one is not shown.

    Each is tested at 5 %, and all together make a false claim in at most 5 %, because a test counts only if all before
    it were significant (Maurer, Hothorn & Lehmacher 1995).
    """
    made: list[Contrast] = []
    asked = True
    for high in range(len(experiments) - 1, 0, -1):
        found = difference(values, 0, high)
        made.append(Contrast.of(experiments[0], experiments[high], found, asked))
        asked = made[-1].shown
    return tuple(made)
