"""Whether trials with several attempts score differently from the others, which would bias the score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bakeoff.stats import ALPHA, holm
from bakeoff.stats.exact import fisher_p


@dataclass(frozen=True, slots=True)
class Retried:
    """One candidate's judged trials: (passed, judged) of those with several attempts and with one."""

    again: tuple[int, int]
    once: tuple[int, int]
    p_adjusted: float | None  # Fisher's exact test, Holm over the candidates; None: nothing to compare

    @property
    def differs(self) -> bool:
        """Whether the two groups differ significantly."""
        return self.p_adjusted is not None and self.p_adjusted < ALPHA


def tested(groups: Mapping[str, tuple[Sequence[int], Sequence[int]]]) -> dict[str, Retried]:
    """Each candidate's (passed, judged) re-attempted and other trials, tested.

    Repetitions of an example are treated as independent, which makes p slightly too small. A false
    warning costs only a second look.
    """
    p_values = {
        name: fisher_p(again[0], again[1] - again[0], once[0], once[1] - once[0])
        for name, (again, once) in groups.items()
        if again[1] and once[1]
    }
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    return {
        name: Retried((again[0], again[1]), (once[0], once[1]), adjusted.get(name))
        for name, (again, once) in groups.items()
    }
