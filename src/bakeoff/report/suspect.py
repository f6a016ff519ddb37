"""Whether the harness, and not the models, is behind trials that a model's reply seems to have broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bakeoff.stats import ALPHA
from bakeoff.stats.exact import fisher_p
from bakeoff.text import figures

# Causes that blame a model for what happened inside the harness.
BROKEN = ("model.broke_harness", "model.killed_harness", "infra.harness_crash")


def harness(broken: Mapping[str, int], trials: Mapping[str, int], most: float) -> list[str]:
    """Why the run is in doubt, if a broken harness hits every candidate alike. Empty: it does not.

    One candidate alone cannot show whether it is the model or the harness, so it needs at least two. The highest and
    the lowest rate are compared by Fisher's exact test.

    Args:
        broken: trials that ended with a cause of `BROKEN`, by candidate.
        trials: all trials, by candidate.
        most: the share of trials that is tolerated, in [0, 1].
    """
    names = [name for name, count in trials.items() if count]
    if len(names) < 2:
        return []
    rates = {name: broken.get(name, 0) / trials[name] for name in names}
    low, high = min(names, key=rates.__getitem__), max(names, key=rates.__getitem__)
    if rates[low] <= most or _differ(low, high, broken, trials):
        return []
    share = f"{figures.percent(rates[low])} to {figures.percent(rates[high])}"
    return [
        f"the harness itself is the suspect: it broke in {share} of the trials of every candidate, so its failures "
        "say nothing about the models"
    ]


def _differ(low: str, high: str, broken: Mapping[str, int], trials: Mapping[str, int]) -> bool:
    few, many = broken.get(low, 0), broken.get(high, 0)
    return fisher_p(few, trials[low] - few, many, trials[high] - many) < ALPHA


def counted(causes: Sequence[tuple[str, str, int]]) -> dict[str, int]:
    """`BROKEN` trials by candidate, from (candidate, cause, count)."""
    found: dict[str, int] = {}
    for candidate, cause, count in causes:
        if cause in BROKEN:
            found[candidate] = found.get(candidate, 0) + count
    return found
