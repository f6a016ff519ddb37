"""What a sweep of one candidate says: its levels, the differences between them, and which to use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from bakeoff.stats.scores import Outcome
from bakeoff.stats.sweep.blocks import Blocks, collect, deployed, killed
from bakeoff.stats.sweep.contrasts import Contrast, difference, fixed_sequence
from bakeoff.stats.sweep.decomposition import Decomposition, decompose
from bakeoff.stats.sweep.equivalence import Equivalence, equivalence
from bakeoff.stats.sweep.levels import Level, level
from bakeoff.stats.sweep.recommendation import Recommendation, recommend, smallest_below
from bakeoff.stats.sweep.strata import Inference, inference_of
from bakeoff.stats.sweep.trend import Trend, trend

MARGIN = 0.03  # points of score, as a share, that two profiles may differ by and still measure the same
INFRA_BOUND = 0.02  # share of trials


@dataclass(frozen=True, slots=True)
class SweepStudy:
    """One candidate under several profiles.

    All of it is about these very tasks in another box, unless `inference` says otherwise: with one repetition the
    noise of a task cannot be told from the difference between tasks, so tasks count as a sample.
    """

    levels: tuple[Level, ...]  # smallest box first
    tasks: int
    clean_tasks: int  # of which no trial was killed under any profile
    repetitions: float  # blocks of a task that count, on average
    inference: Inference
    trend: Trend | None  # None: one level, or no block
    deployed: tuple[Contrast, ...]  # over all tasks; ceiling minus floor first: see `fixed_sequence`
    clean: tuple[Contrast, ...]  # the same over clean tasks
    equivalences: tuple[Equivalence, ...]  # of each higher level with the lowest, on clean tasks
    # Ceiling minus floor had no trial been killed, if those would have favoured the floor, and the ceiling (Manski
    # 1990, *Nonparametric Bounds on Treatment Effects*, American Economic Review 80)
    bounds: tuple[float, float] | None
    decomposition: Decomposition | None
    smallest: str | None  # the smallest level shown below `infra_bound`
    recommendation: Recommendation


def study(
    outcomes: Sequence[Outcome],
    levels: Sequence[str],
    *,
    margin: float = MARGIN,
    infra_bound: float = INFRA_BOUND,
) -> SweepStudy:
    """Everything that a sweep says about one candidate.

    Args:
        outcomes: those of all levels; others are ignored.
        levels: the experiments' names, as in `Outcome.candidate`, smallest box first.
        margin: chosen before the run, in (0, 1]: by how much scores on clean tasks may differ and still be equivalent.
        infra_bound: in (0, 1): the share of infrastructure errors that a recommended level must stay below.

    Raises:
        ValueError: no level, or the same one twice.
    """
    if not levels or len(set(levels)) < len(levels):
        raise ValueError(f"levels {list(levels)}: at least one, each once")
    whole = collect(outcomes, levels)
    complete = whole.complete()
    clean = complete.of(whole.clean())
    inference = inference_of(complete.by_task.values())
    scores, clean_scores = complete.values(deployed, inference), clean.values(deployed, inference)
    own: dict[str, list[Outcome]] = {name: [] for name in levels}
    for o in outcomes:
        if o.candidate in own:
            own[o.candidate].append(o)
    measured = tuple(level(name, own[name], at, scores, clean_scores) for at, name in enumerate(levels))
    equivalences = tuple(
        equivalence(levels[0], levels[high], difference(clean_scores, 0, high), margin)
        for high in range(1, len(levels))
    )
    smallest = smallest_below(measured, infra_bound)
    return SweepStudy(
        levels=measured,
        tasks=len(complete.by_task),
        clean_tasks=len(clean.by_task),
        repetitions=complete.count / len(complete.by_task) if complete.by_task else 0.0,
        inference=inference,
        trend=trend(whole),
        deployed=fixed_sequence(scores, levels),
        clean=fixed_sequence(clean_scores, levels),
        equivalences=equivalences,
        bounds=_bounds(complete),
        decomposition=decompose(complete, inference),
        smallest=smallest,
        recommendation=recommend(measured, equivalences, smallest, infra_bound),
    )


def _bounds(blocks: Blocks) -> tuple[float, float] | None:
    """Ceiling minus floor, the killed trials failing at one end and passing at the other."""
    if not blocks.by_task or len(blocks.experiments) < 2:
        return None

    def rate(end: int, lost: float) -> float:
        return fmean(
            fmean(lost if killed(b[end]) else b[end].value for b in each) for each in blocks.by_task.values()
        )

    return rate(-1, 0.0) - rate(0, 1.0), rate(-1, 1.0) - rate(0, 0.0)
