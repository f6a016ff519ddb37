"""One profile of a sweep, as measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

from bakeoff.stats.detectable import ALPHA
from bakeoff.stats.intervals import Estimate, estimate, estimate_errors, wilson
from bakeoff.stats.scores import Outcome
from bakeoff.stats.sweep.strata import Inference, Values


@dataclass(frozen=True, slots=True)
class Level:
    """One profile of one candidate.

    `infra` is the share of all its trials that ended as infrastructure errors, whatever caused them: those of a limit
    are what the profile decides, and whoever runs the tasks has the others too.
    """

    experiment: str  # the name in `Outcome.candidate`
    trials: int
    infra: Estimate | None
    infra_upper: float | None  # one-sided 95 % bound of that share
    infra_trials: float  # behind it: the effective number of trials
    outside: int  # infrastructure errors that did not arise inside the sandbox, which no profile changes
    as_deployed: Estimate | None  # over all tasks, without blocks that an error from outside hit
    clean: Estimate | None  # over tasks of which no trial was killed under any profile


def level(experiment: str, outcomes: Sequence[Outcome], at: int, complete: Values, clean: Values) -> Level:
    """The level at index `at` of the values; `outcomes` are its own."""
    infra = _infra(outcomes, complete.inference)
    behind = 0.0 if infra is None else _behind(infra)
    return Level(
        experiment,
        len(outcomes),
        infra,
        None if infra is None else upper_bound(infra.mean, behind),
        behind,
        sum(not o.completed and not o.died_inside for o in outcomes),
        _score(complete, at),
        _score(clean, at),
    )


def upper_bound(share: float, trials: float) -> float:
    """Wilson's one-sided 95 % upper bound."""
    return wilson(share, trials, NormalDist().inv_cdf(1 - ALPHA))[1]


def lower_bound(share: float, trials: float) -> float:
    """Wilson's one-sided 95 % lower bound."""
    return wilson(share, trials, NormalDist().inv_cdf(1 - ALPHA))[0]


def _infra(outcomes: Sequence[Outcome], inference: Inference) -> Estimate | None:
    """On these tasks every trial counts in full: with unequal chances they vary less (Hoeffding 1956)."""
    values, tasks = [float(not o.completed) for o in outcomes], [o.example_id for o in outcomes]
    if inference == "tasks like these" or not values:
        return estimate_errors(values, tasks)
    mean, n = fmean(values), len(values)
    return Estimate(mean, *wilson(mean, n), None, n, len(set(tasks)), "wilson")


def _behind(infra: Estimate) -> float:
    """The effective number of trials behind a rate of errors."""
    if infra.method == "wilson" or not infra.se:
        return float(infra.trials)
    return min(float(infra.trials), infra.mean * (1 - infra.mean) / infra.se**2)


def _score(values: Values, at: int) -> Estimate | None:
    """The score with Wilson's interval at the effective number of trials, p (1 - p) / SE²."""
    if values.inference == "tasks like these":
        own = [(block[at], values.cluster_of[t]) for t, blocks in values.by_task.items() for block in blocks]
        return estimate([value for value, _ in own], [cluster for _, cluster in own])
    found = values.weighted({at: 1.0})
    if found is None:
        return None
    p, n = found.mean, found.blocks
    if p in (0.0, 1.0) or found.se is None:
        return Estimate(p, *wilson(p, n), found.se, n, found.tasks, "wilson")
    return Estimate(p, *wilson(p, p * (1 - p) / found.se**2), found.se, n, found.tasks, "wilson-effective")
