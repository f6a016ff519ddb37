"""Who is behind trials without a verdict: the harness, where it hits every candidate alike, or one candidate alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from bakeoff import stats
from bakeoff.text import figures

# Causes that blame a model for what happened inside the harness.
BROKEN = ("model.broke_harness", "model.killed_harness", "infra.harness_crash")


def harness(broken: Mapping[str, int], trials: Mapping[str, int], most: float) -> list[str]:
    """Why the run is in doubt, if a broken harness hits every candidate alike. Empty: it does not.

    One candidate alone cannot show whether it is the model or the harness, so it needs at least two.

    Args:
        broken: trials that ended with a cause of `BROKEN`, by candidate.
        trials: all trials, by candidate.
        most: the share of trials that is tolerated, in [0, 1].
    """
    tested = stats.excesses({name: (broken.get(name, 0), n) for name, n in trials.items()}).values()
    rates = [each.count / each.trials for each in tested]
    if not rates or min(rates) <= most or any(each.beyond_noise for each in tested):
        return []
    share = f"{figures.percent(min(rates))} to {figures.percent(max(rates))}"
    return [
        f"the harness itself is the suspect: it broke in {share} of the trials of every candidate, so its failures "
        "say nothing about the models"
    ]


def candidates(
    scores: Sequence[stats.ScoreSet], lost: Mapping[str, stats.Excess], most: float
) -> Iterator[str]:
    """What one candidate alone does, named with its test, so that nothing vanishes from its score silently.

    Args:
        scores: of every candidate.
        lost: the test of its trials that ended as infrastructure errors, by candidate.
        most: the share of infrastructure errors that is tolerated, in [0, 1].
    """
    yield from (stats.deaths_are_failures(each.deaths) for each in scores if each.deaths is not None)
    yield from (
        f"{each.words('ended as infrastructure errors')}: more than noise, so what score leaves out does not hit the "
        "candidates alike; read all four scores."
        for each in lost.values()
        if each.beyond_noise
    )
    yield from (said for each in scores if (said := _off(each, most)))
    ran = [each for each in scores if each.trials]
    if len(ran) == 1 and ran[0].died_inside:
        yield (
            f"{ran[0].candidate}: {ran[0].died_inside} of {ran[0].trials} trials died inside their container. No other "
            "candidate shows whether it is the candidate or the box, so score does not count them as failures; "
            "as_deployed does."
        )


def _off(scores: stats.ScoreSet, most: float) -> str:
    """Said if what `score` leaves out could move it by more than its own noise; else empty.

    In a larger run the noise shrinks, and a bias by what is left out does not. Above `most` the run is in doubt anyway.
    """
    score, worst, best = (
        scores.by[way] for way in (stats.Counting.SCORE, stats.Counting.WORST_CASE, stats.Counting.BEST_CASE)
    )
    if score is None or worst is None or best is None or scores.infra_errors > most * scores.trials:
        return ""
    bias = max(score.mean - worst.mean, best.mean - score.mean)
    noise = (score.high - score.low) / 2 / stats.t_quantile(0.975, math.inf)
    if bias <= noise:
        return ""
    return (
        f"{scores.candidate}: infrastructure errors could move its score by {100 * bias:.1f} points, more than its "
        f"standard error ({100 * noise:.1f} points). Unless they hit trials at random, its interval is too narrow: "
        "read all four scores."
    )


def counted(causes: Sequence[tuple[str, str, int]]) -> dict[str, int]:
    """`BROKEN` trials by candidate, from (candidate, cause, count)."""
    found: dict[str, int] = {}
    for candidate, cause, count in causes:
        if cause in BROKEN:
            found[candidate] = found.get(candidate, 0) + count
    return found
