"""A finished run as publishers read it: complete, conclusive, and never all in memory."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bakeoff.errors import InputError
from bakeoff.record import timeline
from bakeoff.record.base import JsonDict
from bakeoff.record.manifest import Manifest
from bakeoff.record.store import RunDirectory
from bakeoff.record.timeline import Timeline
from bakeoff.record.trial import DEFAULT_PROFILE, ResourceLimits, TrialRecord

if TYPE_CHECKING:
    from bakeoff.report.data import CandidateReport, ReportData


@dataclass(frozen=True)
class Source:
    """One run, checked.

    Attributes:
        run: its directory. Publishers write only a journal there.
        report: the numbers of its reports: every target gets the same ones.
    """

    run: RunDirectory
    report: ReportData

    @property
    def manifest(self) -> Manifest:
        """What was run, on what."""
        return self.report.manifest

    @property
    def run_id(self) -> str:
        """The id that all others are derived from: the manifest's, since a directory can be renamed."""
        return self.manifest.run_id

    @property
    def harness(self) -> str:
        """The harness's name."""
        return self.manifest.config.name

    @property
    def profiles(self) -> list[str]:
        """Names of the run's profiles; none where it has the default one alone."""
        names = [profile.name for profile in self.manifest.profiles]
        return [] if names == [DEFAULT_PROFILE] else names

    @property
    def candidates(self) -> list[CandidateReport]:
        """Each candidate's numbers, in the order of harness.yaml."""
        order = list(self.manifest.experiments)
        return sorted(self.report.candidates, key=lambda each: order.index(each.name))

    @property
    def harness_file(self) -> Path:
        """Where harness.yaml should be; see `RunDirectory.harness_file`."""
        return self.run.harness_file(self.manifest)

    def examples(self) -> Iterator[JsonDict]:
        """The examples that were run; see `RunDirectory.examples`."""
        return self.run.examples()

    def file_of(self, path: str) -> Path:
        """Where an example's file was: `path` is relative to the harness file. It may be gone, or changed."""
        return self.harness_file.resolve().parent / path

    def trials(self, candidate: str | None = None) -> Iterator[TrialRecord]:
        """Every trial, or one candidate's; one in memory at a time."""
        return (trial for trial in self.run.trials() if candidate in (None, trial.experiment))

    def effective_limits(self) -> dict[str, Counter[ResourceLimits]]:
        """By candidate, the limits that were read back, and in how many trials."""
        found: dict[str, Counter[ResourceLimits]] = {each.name: Counter() for each in self.candidates}
        for trial in self.trials():
            found[trial.experiment][trial.resources.effective] += 1
        return found

    def timeline(self, trial: TrialRecord) -> Timeline:
        """What happened in the trial, when: its attempts, model calls and tool calls, from the trial's files."""
        return timeline.of(trial, self.run.trajectory(trial.trial_id), list(self.run.calls(trial.trial_id)))


def read(run: RunDirectory, *, allow_inconclusive: bool = False) -> Source:
    """The run, if it may be published.

    Raises:
        InputError: it is not finished, damaged, without its examples, or inconclusive and that is not allowed.
    """
    from bakeoff.report import data

    manifest = run.manifest()
    if manifest.state != "finished":
        raise InputError(
            f"this run is not finished (its state is {manifest.state})",
            file=str(run.path),
            hint=f"Finish it with `bakeoff run --resume {shlex.quote(str(run.path))}`; nothing was published.",
        )
    report = data.collect(run)
    if report.n != manifest.trials_due:
        raise InputError(
            f"this run is damaged: {report.n} of {manifest.trials_due} trials can be read whole",
            file=str(run.path),
            hint="Restore its trials.jsonl; nothing was published.",
        )
    for _ in run.examples():
        pass  # damage is an error before anything is sent
    if report.inconclusive and not allow_inconclusive:
        raise InputError(
            f"this run is inconclusive: {'; '.join(report.doubts)}",
            file=str(run.path),
            hint="Correct the cause and run again, or publish it, marked as such, with --allow-inconclusive.",
        )
    return Source(run, report)
