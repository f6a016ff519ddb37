"""What a sweep measured: each candidate under every profile, and how large a box each task needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bakeoff import stats
from bakeoff.record.manifest import Manifest
from bakeoff.record.trial import Profile, experiment_name
from bakeoff.text import figures

Peaks = Mapping[
    str, Mapping[str, float]
]  # example -> experiment -> highest memory peak of its trials, in bytes


@dataclass(frozen=True, slots=True)
class TaskNeed:
    """How large a box one task needs, over all candidates."""

    example_id: str
    peaks: Sequence[float | None]  # highest memory peak under each profile, in bytes; None: not measured
    killed: Sequence[int]  # trials under each profile of which an attempt died inside its container
    trials: int  # under each profile, at most

    @property
    def suffices(self) -> int | None:
        """Index of the smallest profile from which on no trial was killed. None: even under the largest one was."""
        last = max((at for at, count in enumerate(self.killed) if count), default=-1)
        return last + 1 if last + 1 < len(self.killed) else None

    @property
    def peak(self) -> float:
        """The highest of all."""
        return max((each for each in self.peaks if each is not None), default=0.0)


@dataclass(frozen=True, slots=True)
class Sweep:
    """The profiles are in the order of harness.yaml, from the smallest to the largest."""

    profiles: Sequence[Profile]
    studies: Mapping[str, stats.SweepStudy]  # by candidate
    rankings: Sequence[stats.Ranking]
    tasks: Sequence[TaskNeed]  # the hungriest first
    margin: float
    max_infra: float

    @property
    def decision(self) -> stats.Decision:
        """What the box does, and which one to use: the first sentence of the report. A sweep has no winner."""
        said = [_effect(name, study, self.profiles) for name, study in self.studies.items()]
        said += [each.sentence for each in self.rankings if each.interaction.shown]
        return stats.Decision(" ".join(said), (), None, None, (), (), (), ())

    @property
    def recommended(self) -> Profile | None:
        """The smallest profile that is recommended for every candidate; None: for one of them none is."""
        named = {
            experiment_name(name, profile.name): at
            for name in self.studies
            for at, profile in enumerate(self.profiles)
        }
        chosen = [study.recommendation.experiment for study in self.studies.values()]
        places = [named[each] for each in chosen if each is not None]
        return self.profiles[max(places)] if places and len(places) == len(chosen) else None


def collect(manifest: Manifest, outcomes: Sequence[stats.Outcome], peaks: Peaks) -> Sweep | None:
    """The sweep that a run was; None: it was none.

    Args:
        manifest: the run's.
        outcomes: of all trials, by experiment.
        peaks: see `Peaks`.
    """
    swept = manifest.config.sweep
    if swept is None:
        return None
    names = [profile.name for profile in manifest.profiles]
    candidates = [candidate.name for candidate in manifest.candidates]
    studies = {
        candidate: stats.study(
            outcomes,
            [experiment_name(candidate, name) for name in names],
            margin=swept.margin,
            infra_bound=swept.max_infra,
        )
        for candidate in candidates
    }
    rankings = stats.rankings(outcomes, candidates, names, experiment_name)
    return Sweep(
        manifest.profiles,
        studies,
        rankings,
        _needs(outcomes, names, candidates, peaks),
        swept.margin,
        swept.max_infra,
    )


def _needs(
    outcomes: Sequence[stats.Outcome], names: Sequence[str], candidates: Sequence[str], peaks: Peaks
) -> list[TaskNeed]:
    killed: dict[str, dict[str, int]] = {}
    trials: dict[str, dict[str, int]] = {}
    for o in outcomes:
        for counts, one in ((killed, int(o.died_inside)), (trials, 1)):
            own = counts.setdefault(o.example_id, dict.fromkeys(names, 0))
            own[o.profile] = own.get(o.profile, 0) + one

    def highest(example: str, name: str) -> float | None:
        own = peaks.get(example, {})
        return max((own[e] for c in candidates if (e := experiment_name(c, name)) in own), default=None)

    needs = [
        TaskNeed(
            example,
            [highest(example, name) for name in names],
            [killed[example][name] for name in names],
            max(own.values()),
        )
        for example, own in trials.items()
    ]
    return sorted(needs, key=lambda each: (-each.peak, each.example_id))


def _effect(candidate: str, study: stats.SweepStudy, profiles: Sequence[Profile]) -> str:
    floor, ceiling = study.levels[0], study.levels[-1]
    said = (
        f"{candidate}: from {profiles[0].name} to {profiles[-1].name}, infrastructure errors go from "
        f"{figures.score(floor.infra)} to {figures.score(ceiling.infra)}"
    )
    whole = study.deployed[0] if study.deployed else None
    if whole is not None and whole.difference is not None:
        noise = "more than noise" if whole.shown else "within noise"
        said += (
            f", and the score as deployed moves by {figures.points(whole.difference)} points, which is {noise} "
            f"({figures.p_words(whole.p_value)})"
        )
    return f"{said}. {_use(study, profiles)}"


def _use(study: stats.SweepStudy, profiles: Sequence[Profile]) -> str:
    advice = study.recommendation
    names = {level.experiment: profile.name for level, profile in zip(study.levels, profiles, strict=True)}
    if advice.experiment is not None:
        return f"Use {names[advice.experiment]}."
    if advice.verdict == "none":
        return "No profile can be recommended."
    more = advice.repetitions_needed
    would = "" if more is None else f"; about {figures.count(more, 'repetition')} of each task would"
    return f"This sample cannot say which profile to use{would}."
