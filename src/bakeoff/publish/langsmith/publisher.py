"""LangSmith: one experiment a candidate, every trial a run with its model and tool calls, linked to its example.

    find       which dataset and experiments there are: whatever is refused is refused before anything is written
    dataset    examples by content                                                     langsmith_dataset
    begin      each experiment, with the resource configuration                        langsmith_experiment
    trials     what is not there yet, in batches; then all is asked for again          langsmith_runs
    finish     the scores of the whole, and the end time, once everything is there

Nothing is remembered here: what is missing is asked of the service, so that any machine can go on.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

from bakeoff.clients import chunks
from bakeoff.datasets.langsmith.account import Account, Unavailable
from bakeoff.errors import InputError, NotPublished
from bakeoff.publish.langsmith import dataset, experiment, runs
from bakeoff.publish.langsmith.client import Connection, connect
from bakeoff.publish.langsmith.dataset import Settled
from bakeoff.publish.langsmith.experiment import Experiment
from bakeoff.publish.langsmith.runs import Place, Traced
from bakeoff.publish.langsmith.settings import Settings
from bakeoff.publish.source import Source
from bakeoff.publish.table import Publication, Say
from bakeoff.record.base import JsonDict
from bakeoff.record.trial import TrialRecord

ROUNDS = 3  # of asking what is missing and sending it
PATIENCE_SECONDS = 60.0  # for what was accepted to be readable, in each round
STEP_SECONDS = 0.25  # doubles while waiting
BATCHES = 5  # requests' worth of runs held in memory
PROGRESS = 1000  # trials between two lines


def publish(source: Source, settings: Settings, environ: Mapping[str, str], say: Say) -> Publication:
    """Publish a run to LangSmith; see `table.Publisher`."""
    try:
        account = Account.of(settings, environ)
    except Unavailable as error:
        raise InputError(error.problem, key="--to langsmith", hint=error.hint) from None
    with connect(account) as connection:
        found = dataset.find(connection, source, settings)
        for candidate in source.candidates:
            experiment.find(connection, source, candidate, found.there.id if found.there else None)
        settled = dataset.settle(connection, source, found)
        counts = _Counts(warnings=list(settled.warnings))
        counts.add("examples", settled.sent, settled.present)
        effective = source.effective_limits()
        for candidate in source.candidates:
            begun = experiment.begin(connection, source, candidate, settled, effective)
            counts.add("experiments", int(begun.fresh), int(not begun.fresh))
            _Trials(connection, source, settled, begun, counts, say).publish()
            done = experiment.finish(connection, source, begun)
            counts.add("feedback", done["sent"], done["present"])
        where = connection.url_of(settled.id)
    return Publication(where, counts.sent, counts.present, counts.warnings)


@dataclass
class _Counts:
    """What was sent and what had been there."""

    sent: Counter[str] = field(default_factory=Counter)
    present: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)

    def add(self, what: str, sent: int, present: int) -> None:
        self.sent[what] += sent
        self.present[what] += present


@dataclass
class _Batch:
    """Whole trials that are held together. `sizes`: of each run by its id, in bytes."""

    trials: int = 0
    runs: list[JsonDict] = field(default_factory=list)
    feedback: list[JsonDict] = field(default_factory=list)
    sizes: dict[UUID, int] = field(default_factory=dict)

    def add(self, traced: Traced, sizes: Mapping[UUID, int]) -> None:
        self.trials += 1
        self.runs += traced.runs
        self.feedback += traced.feedback
        self.sizes |= sizes

    @property
    def bytes(self) -> int:
        return sum(self.sizes.values())


@dataclass
class _Missing:
    """What of a batch cannot be read there."""

    runs: list[JsonDict]
    feedback: list[JsonDict]

    def __bool__(self) -> bool:
        return bool(self.runs or self.feedback)


class _Trials:
    """One experiment's trials on their way."""

    def __init__(
        self,
        connection: Connection,
        source: Source,
        dataset: Settled,
        experiment: Experiment,
        counts: _Counts,
        say: Say,
    ) -> None:
        self._connection, self._source, self._dataset = connection, source, dataset
        self._experiment, self._counts, self._say = experiment, counts, say
        self._inputs = {row["id"]: row["inputs"] for row in source.examples()}
        self._too_large: set[str] = set()

    def publish(self) -> None:
        """Send what is missing until nothing is. Raises NotPublished."""
        for number in range(1, ROUNDS + 1):
            sent = self._round(first=number == 1)
            if not sent.total() and not (number == 1 and self._experiment.fresh):
                break
        else:
            raise NotPublished(
                f"{sent['runs']} runs and {sent['feedback']} entries of feedback of {self._experiment.name} were "
                "accepted by LangSmith and cannot be read there"
            )
        if self._too_large:
            self._counts.warnings.append(
                f"inputs and outputs of some model calls of {len(self._too_large)} trials of "
                f"{self._experiment.name} are more than LangSmith takes in one request and were left out"
            )

    def _round(self, *, first: bool) -> Counter[str]:
        """Go through all trials once; returns how much was sent."""
        total: Counter[str] = Counter()
        done, deadline = 0, time.monotonic() + (0 if first else PATIENCE_SECONDS)
        for batch in self._batches():
            missing = _Missing(batch.runs, batch.feedback)
            try:
                if not (first and self._experiment.fresh):
                    missing = self._missing(missing, deadline)
                self._send(missing, batch.sizes)
            except NotPublished as error:
                raise NotPublished(
                    f"{error.problem}; {done} of {self._experiment.candidate.n} trials of {self._experiment.name} "
                    f"had been {'sent' if first else 'read back'}, and no end time is set on it",
                    hint=error.hint,
                ) from error
            total.update(runs=len(missing.runs), feedback=len(missing.feedback))
            if first:
                self._counts.add("runs", len(missing.runs), len(batch.runs) - len(missing.runs))
                self._counts.add(
                    "feedback", len(missing.feedback), len(batch.feedback) - len(missing.feedback)
                )
            before, done = done, done + batch.trials
            if first and before // PROGRESS != done // PROGRESS:
                self._say(
                    f"langsmith: {self._experiment.name}: {done} of {self._experiment.candidate.n} trials"
                )
        return total

    def _batches(self) -> Iterator[_Batch]:
        """Whole trials, a few requests' worth at a time."""
        most_runs, most_bytes = BATCHES * self._connection.batch_runs, self._most_bytes
        batch = _Batch()
        for trial in self._source.trials(self._experiment.candidate.name):
            traced, sizes = self._traced(trial)
            if batch.trials and (
                batch.bytes + sum(sizes.values()) > most_bytes
                or len(batch.runs) + len(traced.runs) > most_runs
            ):
                yield batch
                batch = _Batch()
            batch.add(traced, sizes)
        if batch.trials:
            yield batch

    @property
    def _most_bytes(self) -> int:
        """Of one request: the parts' headers take some too."""
        return self._connection.batch_bytes // 2

    def _traced(self, trial: TrialRecord) -> tuple[Traced, dict[UUID, int]]:
        example, version = self._dataset.examples[trial.example_id]
        place = Place(
            self._source.run_id, self._experiment.id, example, version, self._inputs[trial.example_id]
        )
        traced = runs.of(self._source.timeline(trial), place)
        fitted, sizes = [], {}
        for run in traced.runs:
            kept, sizes[run["id"]], cut = runs.fitted(run, self._most_bytes)
            fitted.append(kept)
            if cut:
                self._too_large.add(trial.trial_id)
        return replace(traced, runs=fitted), sizes

    def _missing(self, wanted: _Missing, deadline: float) -> _Missing:
        """What cannot be read, also not at the deadline: what was accepted takes a moment to be readable."""
        step = STEP_SECONDS
        missing = self._ask(wanted)
        while missing and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(step, left))
            step *= 2
            missing = self._ask(missing)
        return missing

    def _ask(self, wanted: _Missing) -> _Missing:
        there = self._connection.present_runs(self._experiment.id, [run["id"] for run in wanted.runs])
        roots = list(dict.fromkeys(entry["trace_id"] for entry in wanted.feedback))
        given = self._connection.present_feedback(roots)
        return _Missing(
            [run for run in wanted.runs if run["id"] not in there],
            [entry for entry in wanted.feedback if entry["feedback_id"] not in given],
        )

    def _send(self, missing: _Missing, sizes: Mapping[UUID, int]) -> None:
        """Runs before feedback: a service without the multipart endpoint refuses feedback on what it does not have."""
        held = count = 0
        for run in missing.runs:
            size = sizes[run["id"]]
            if count and (count == self._connection.batch_runs or held + size > self._most_bytes):
                self._connection.flush()
                held = count = 0
            with self._connection.asking():
                self._connection.client.create_run(**run)
            held, count = held + size, count + 1
        self._connection.flush()
        for entries in chunks(missing.feedback, self._connection.batch_runs):
            for entry in entries:
                self._connection.give(**entry)
            self._connection.flush()
