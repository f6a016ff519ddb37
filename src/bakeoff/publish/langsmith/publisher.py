"""LangSmith: one experiment per candidate, every trial a run with its model and tool calls, linked to its example.

    look up    the dataset and the experiments: what must be refused is refused before anything is written
    update     the dataset's examples, by content
    begin      each experiment, with the resource configuration
    send       the trials that are missing, in batches, until all of them can be read back
    finish     the experiment's scores, then its end time

Nothing is kept on this machine. The service is asked what is missing, so that any machine can go on.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from bakeoff.config.clients import chunks
from bakeoff.config.targets import LangSmith
from bakeoff.datasets.langsmith.account import Account, Unavailable
from bakeoff.errors import InputError, NotPublished
from bakeoff.publish.langsmith import dataset, experiment, runs
from bakeoff.publish.langsmith.client import Connection, connect
from bakeoff.publish.langsmith.dataset import PublishedDataset
from bakeoff.publish.langsmith.experiment import Experiment
from bakeoff.publish.langsmith.runs import Place
from bakeoff.publish.source import Source
from bakeoff.publish.table import Publication, Say
from bakeoff.record.base import JsonDict

ROUNDS = 3  # of asking what is missing and sending it
READABLE_SECONDS = 60.0  # for what was accepted to become readable, in each round
POLL_SECONDS = 0.25  # between two questions; doubles
BATCH_REQUESTS = 5  # requests' worth of runs held in memory
SAY_EVERY = 1000  # trials


def publish(source: Source, settings: LangSmith, environ: Mapping[str, str], say: Say) -> Publication:
    """Publish a run to LangSmith; see `table.Publisher`."""
    try:
        account = Account.of(settings, environ)
    except Unavailable as error:
        raise InputError(error.problem, key="--to langsmith", hint=error.hint) from None
    with connect(account) as connection:
        lookup = dataset.look_up(connection, source, settings)
        for candidate in source.candidates:
            experiment.find(connection, source, candidate, lookup.id)
        published = dataset.update(connection, source, lookup)
        counts = _Counts(warnings=list(published.warnings))
        counts.add("examples", published.sent, published.present)
        effective = source.effective_limits()
        for candidate in source.candidates:
            begun = experiment.begin(connection, source, candidate, published, effective)
            counts.add("experiments", int(begun.fresh), int(not begun.fresh))
            _Trials(connection, source, published, begun, counts, say).publish()
            done = experiment.finish(connection, source, begun)
            counts.add("feedback", done["sent"], done["present"])
        where = connection.url_of(published.id)
    return Publication(where, dict(counts.sent), dict(counts.present), counts.warnings)


@dataclass
class _Counts:
    """What was sent and what was there before."""

    sent: Counter[str] = field(default_factory=Counter)
    present: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)

    def add(self, what: str, sent: int, present: int) -> None:
        self.sent[what] += sent
        self.present[what] += present


@dataclass
class _Batch:
    """Runs and feedback of some trials. `sizes`: of each run by its id, in bytes."""

    trials: int = 0
    runs: list[JsonDict] = field(default_factory=list)
    feedback: list[JsonDict] = field(default_factory=list)
    sizes: dict[UUID, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.runs or self.feedback)

    @property
    def bytes(self) -> int:
        return sum(self.sizes.values())

    def add(self, other: _Batch) -> None:
        self.trials += other.trials
        self.runs += other.runs
        self.feedback += other.feedback
        self.sizes |= other.sizes


@dataclass
class _Trials:
    """Sends one experiment's trials."""

    connection: Connection
    source: Source
    dataset: PublishedDataset
    experiment: Experiment
    counts: _Counts
    say: Say
    _too_large: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._inputs = {row["id"]: row["inputs"] for row in self.source.examples()}
        # a multipart body has headers too
        self._request_bytes = self.connection.batch_bytes // 2

    def publish(self) -> None:
        """Send what is missing until nothing is. Raises NotPublished."""
        for number in range(1, ROUNDS + 1):
            sent = self._round(first=number == 1)
            if not sent.total() and not (number == 1 and self.experiment.fresh):
                break
        else:
            raise NotPublished(
                f"{sent['runs']} runs and {sent['feedback']} entries of feedback of {self.experiment.name} were "
                "accepted by LangSmith and cannot be read there"
            )
        if self._too_large:
            self.counts.warnings.append(
                f"inputs and outputs of some model calls of {len(self._too_large)} trials of "
                f"{self.experiment.name} are more than LangSmith takes in one request and were left out"
            )

    def _round(self, *, first: bool) -> Counter[str]:
        """Go through all trials once; returns how much was sent."""
        name, total = self.experiment.name, self.experiment.candidate.n
        sent: Counter[str] = Counter()
        done, deadline = 0, time.monotonic() + (0 if first else READABLE_SECONDS)
        for batch in self._batches():
            try:
                missing = batch if first and self.experiment.fresh else self._missing(batch, deadline)
                self._send(missing)
            except NotPublished as error:
                raise NotPublished(
                    f"{error.problem}; {done} of {total} trials of {name} had been "
                    f"{'sent' if first else 'read back'}, and no end time is set on it",
                    hint=error.hint,
                ) from error
            for what in ("runs", "feedback"):
                wanted, lacking = len(getattr(batch, what)), len(getattr(missing, what))
                sent[what] += lacking
                if first:
                    self.counts.add(what, lacking, wanted - lacking)
            before, done = done, done + batch.trials
            if first and before // SAY_EVERY != done // SAY_EVERY:
                self.say(f"langsmith: {name}: {done} of {total} trials")
        return sent

    def _batches(self) -> Iterator[_Batch]:
        """All trials, a few requests' worth of them at a time."""
        batch, most_runs = _Batch(), BATCH_REQUESTS * self.connection.batch_runs
        for trial in self._source_trials():
            too_much = batch.bytes + trial.bytes > self._request_bytes
            if batch.trials and (too_much or len(batch.runs) + len(trial.runs) > most_runs):
                yield batch
                batch = _Batch()
            batch.add(trial)
        if batch.trials:
            yield batch

    def _source_trials(self) -> Iterator[_Batch]:
        for trial in self.source.trials(self.experiment.candidate.name):
            example, version = self.dataset.examples[trial.example_id]
            inputs = self._inputs[trial.example_id]
            deaths = self.experiment.candidate.scores.deaths
            place = Place(self.source.run_id, self.experiment.id, example, version, inputs, deaths)
            traced = runs.trace(self.source.timeline(trial), place)
            batch = _Batch(1, feedback=list(traced.feedback))
            for run in traced.runs:
                kept, batch.sizes[run["id"]], cut = runs.fitted(run, self._request_bytes)
                batch.runs.append(kept)
                if cut:
                    self._too_large.add(trial.trial_id)
            yield batch

    def _missing(self, batch: _Batch, deadline: float) -> _Batch:
        """What cannot be read by the deadline: what was accepted takes a moment to become readable."""
        poll, missing = POLL_SECONDS, self._unread(batch)
        while missing and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(poll, left))
            poll *= 2
            missing = self._unread(missing)
        return missing

    def _unread(self, batch: _Batch) -> _Batch:
        readable = self.connection.present_runs(self.experiment.id, [run["id"] for run in batch.runs])
        roots = list(dict.fromkeys(entry["trace_id"] for entry in batch.feedback))
        given = self.connection.present_feedback(roots)
        return _Batch(
            runs=[run for run in batch.runs if run["id"] not in readable],
            feedback=[entry for entry in batch.feedback if entry["feedback_id"] not in given],
            sizes=batch.sizes,
        )

    def _send(self, batch: _Batch) -> None:
        """Runs before feedback: a service without the multipart endpoint refuses feedback on runs that it lacks."""
        held = count = 0
        for run in batch.runs:
            size = batch.sizes[run["id"]]
            if count and (count == self.connection.batch_runs or held + size > self._request_bytes):
                self.connection.flush()
                held = count = 0
            with self.connection.errors():
                self.connection.client.create_run(**run)
            held, count = held + size, count + 1
        self.connection.flush()
        for entries in chunks(batch.feedback, self.connection.batch_runs):
            for entry in entries:
                self.connection.create_feedback(**entry)
            self.connection.flush()
