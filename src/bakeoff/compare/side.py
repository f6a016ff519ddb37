"""One of the two runs, as far as a comparison needs it: a few numbers of each trial, and what is missing."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bakeoff import stats, verdict
from bakeoff.record.base import JsonDict, VerdictName
from bakeoff.record.manifest import Manifest
from bakeoff.record.store import RunDirectory
from bakeoff.record.trial import DEFAULT_PROFILE, TrialRecord
from bakeoff.text import figures


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial's numbers."""

    example_id: str
    repetition: int
    verdict: VerdictName
    cause: str | None
    died_inside: bool  # any of its attempts died inside its container
    unscored: bool  # its evaluators could not score its answer
    cost_usd: float | None
    working_seconds: float
    profile: str = DEFAULT_PROFILE

    @classmethod
    def of(cls, trial: TrialRecord) -> Trial:
        """What a comparison needs of a line of trials.jsonl."""
        return cls(
            example_id=sys.intern(trial.example_id),
            repetition=trial.repetition,
            verdict=trial.verdict,
            cause=sys.intern(trial.cause) if trial.cause else None,
            died_inside=verdict.died_inside(trial),
            unscored=verdict.unscored(trial),
            cost_usd=trial.usage.cost_usd,
            working_seconds=trial.seconds.working,
            profile=sys.intern(trial.profile),
        )

    def outcome(self, candidate: str, cluster: str) -> stats.Outcome:
        """For statistics."""
        return stats.Outcome(
            candidate,
            self.example_id,
            cluster,
            self.repetition,
            self.verdict,
            self.cause,
            self.died_inside,
            self.unscored,
            self.profile,
        )


@dataclass(frozen=True, slots=True)
class Side:
    """One run. `warnings`: what was damaged and is excluded."""

    label: str  # BASE or HEAD
    manifest: Manifest
    trials: Mapping[str, Sequence[Trial]]  # by candidate; the manifest's order
    warnings: Sequence[str]

    @property
    def examples(self) -> set[str]:
        """Ids of the examples that were to be run; where the manifest does not say, that have a trial."""
        planned = self.manifest.dataset.example_ids
        return set(planned) if planned else {t.example_id for own in self.trials.values() for t in own}

    def cluster(self, example_id: str) -> str | None:
        """The example's cluster, where this run knows the example."""
        return self.manifest.dataset.clusters.get(example_id)

    def facts(self, example_id: str) -> JsonDict:
        """What a gate's conditions may ask of an example."""
        data = self.manifest.dataset
        return {
            "id": example_id,
            "suite": data.suites.get(example_id),
            "cluster": self.cluster(example_id),
            "severity": data.severities.get(example_id),
        }

    def infra_rate(self, candidate: str) -> float | None:
        """Share of the candidate's trials that ended as infra errors; None of no trials."""
        own = self.trials.get(candidate, ())
        return sum(t.verdict == "infra_error" for t in own) / len(own) if own else None

    def doubts(self, candidates: Sequence[str]) -> list[str]:
        """Why this run's numbers of these candidates may not decide."""
        doubts = []
        manifest, finished = self.manifest, sum(map(len, self.trials.values()))
        if finished < manifest.trials_planned:
            doubts.append(
                f"{self.label} has a verdict on {finished} of {manifest.trials_planned} planned trials"
            )
        elif manifest.state != "finished":
            doubts.append(f"{self.label} is not finished: its state is {manifest.state}")
        most = manifest.config.infra.max_error_rate
        for name in candidates:
            rate = self.infra_rate(name)
            if rate is not None and rate > most:
                doubts.append(
                    f"{figures.percent(rate)} of {name}'s trials in {self.label} ended as infrastructure "
                    f"errors, and at most {figures.percent(most)} may"
                )
        return doubts


def read(run: RunDirectory, label: str) -> Side:
    """Read a run. Raises InputError when its files are damaged."""
    manifest = run.manifest()
    trials: dict[str, list[Trial]] = {name: [] for name in manifest.experiments}
    for record in run.trials():
        trials.setdefault(record.experiment, []).append(Trial.of(record))
    return Side(label, manifest, trials, [f"{label}: {each}" for each in run.warnings])
