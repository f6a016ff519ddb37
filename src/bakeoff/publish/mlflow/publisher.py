"""MLflow: one run per candidate, with parameters, metrics with intervals, and the run directory's files.

A run is found again by its tags, and only what it lacks is sent. Its status is RUNNING until everything has arrived and
has been read back, then FINISHED. Times are those of the bake-off, so that a number that is sent twice is one point.
"""

from __future__ import annotations

import json
import math
import shlex
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bakeoff.config.clients import quiet, variables
from bakeoff.config.targets import MLflow
from bakeoff.errors import InputError, NotPublished
from bakeoff.publish.mlflow import fields, files, server
from bakeoff.publish.mlflow.fields import Fields
from bakeoff.publish.mlflow.files import INDEX, RESOURCES, Artifact, Entry, Index, TrialFiles
from bakeoff.publish.mlflow.server import ADDRESS, FIRST, LOGS, RETRIES, Dataset, Server, ServerFailure
from bakeoff.publish.source import Source
from bakeoff.publish.table import Publication, Say
from bakeoff.record.trial import ResourceLimits
from bakeoff.report.data import CandidateReport
from bakeoff.text import escape, redact

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Run

RUN_TAG, CANDIDATE_TAG = "bakeoff.run_id", "bakeoff.candidate"
CHECKPOINT = 50  # files: a publication that is cut off sends at most this many again
KEPT = "what has arrived stays, and is not sent twice."
DIGEST_CHARACTERS = 36  # of a dataset: MLflow's limit


@dataclass
class _Counts:
    """What was sent and what was there before: runs, parameters, metrics, tags, datasets, files."""

    sent: Counter[str] = field(default_factory=Counter)
    present: Counter[str] = field(default_factory=Counter)

    def add(self, what: str, sent: int, wanted: int) -> None:
        self.sent[what] += sent
        self.present[what] += wanted - sent


@dataclass
class _Trials:
    """One candidate's trials: where their files are, and the limits that they ran under."""

    files: list[TrialFiles] = field(default_factory=list)
    effective: Counter[ResourceLimits] = field(default_factory=Counter)


def publish(source: Source, settings: MLflow, environ: Mapping[str, str], say: Say) -> Publication:
    """Publish a run to an MLflow server; see `table.Publisher`."""
    url = _address(settings, environ)
    trials = _trials(source)
    counts, warnings = _Counts(), []
    warnings += [
        f"{name} is not in the run directory, so it was not published; "
        f"`bakeoff report {shlex.quote(str(source.run.path))}` makes it"
        for name in files.missing_reports(source.run)
    ]
    complete: list[str] = []
    with (
        quiet(*LOGS),
        variables(server.settings(environ, RETRIES)),
        tempfile.TemporaryDirectory(prefix="bakeoff-mlflow-") as scratch,
    ):
        there = Server(url, redact.secrets_of(environ))
        try:
            with variables(server.settings(environ, FIRST)):
                there.probe()
            experiment = _experiment(there, settings.experiment or source.harness)
            shared = files.of_run(source.run)
            for candidate in source.candidates:
                mine = trials.get(candidate.name, _Trials())
                sent = fields.of(source, candidate, mine.effective)
                say(f"mlflow: {escape.line(candidate.name)}: {len(mine.files)} trials")
                resources = fields.resources(source, candidate, mine.effective)
                artifacts = [*shared, files.generated(RESOURCES, resources, Path(scratch))]
                artifacts += files.of_trials(source.run, mine.files)
                run = _CandidateRun(source, candidate, sent, artifacts, Path(scratch))
                warnings += run.publish(there, experiment.experiment_id, counts, say)
                complete.append(candidate.name)
        except ServerFailure as failure:
            if not there.changed:
                raise InputError(failure.problem, key="mlflow", hint=failure.hint) from failure
            hint = f"{failure.hint} Then publish again: {KEPT}" if failure.hint else f"Publish again: {KEPT}"
            raise NotPublished(_missing(source, complete, failure), hint=hint) from failure
    where = f"{there.shown}/#/experiments/{experiment.experiment_id}/runs"
    return Publication(where, dict(counts.sent), dict(counts.present), warnings)


def _missing(source: Source, complete: Sequence[str], failure: ServerFailure) -> str:
    lacking = [each.name for each in source.candidates if each.name not in complete]
    there = f"{len(complete)} of {len(source.candidates)} candidates' runs are whole at MLflow"
    return f"{there}, {escape.line(', '.join(lacking))} not: {failure.problem}"


def _address(settings: MLflow, environ: Mapping[str, str]) -> str:
    """The server's address. Raises InputError if there is none, or it is not http or https."""
    url = settings.tracking_uri or environ.get(ADDRESS) or ""
    key = "publish.mlflow.tracking_uri" if settings.tracking_uri else ADDRESS
    hint = f"Give a server's address, like http://localhost:5000: --url, publish.mlflow.tracking_uri or {ADDRESS}."
    if not url:
        raise InputError("nothing says where MLflow is", key=key, hint=hint)
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InputError("is not the http or https address of an MLflow server", key=key, hint=hint)
    return url.rstrip("/")


def _trials(source: Source) -> dict[str, _Trials]:
    """Every candidate's trials, read once."""
    found: dict[str, _Trials] = {}
    for trial in source.trials():
        mine = found.setdefault(trial.experiment, _Trials())
        mine.files.append(TrialFiles(trial.trial_id, len(trial.attempts)))
        mine.effective[trial.resources.effective] += 1
    return found


def _experiment(server: Server, name: str) -> Experiment:
    """The experiment with this name; it is made if it is missing."""
    find = server.client.get_experiment_by_name
    found = server.ask(find, name)
    if found is None:
        try:
            server.change(server.client.create_experiment, name)
        except ServerFailure:
            # another process made it at this moment, or the answer was lost and MLflow's client asked again
            if server.ask(find, name) is None:
                raise
        found = server.ask(find, name)
    shown = repr(escape.line(name))
    if found is None:
        raise ServerFailure(f"the experiment {shown} was made and cannot be found")
    if found.lifecycle_stage != "active":
        raise ServerFailure(
            f"the experiment {shown} has been deleted at MLflow",
            f"`mlflow experiments restore --experiment-id {found.experiment_id}` restores it; or give another --name.",
        )
    if urlsplit(found.artifact_location or "").scheme in {"", "file"}:
        raise ServerFailure(
            f"the server takes no artifacts for the experiment {shown}: it keeps them in a directory of its own",
            "Start it with --serve-artifacts, then give another --name, since an experiment keeps its place.",
        )
    return found


@dataclass
class _CandidateRun:
    """One candidate's run: what it must have."""

    source: Source
    candidate: CandidateReport
    fields: Fields
    artifacts: Sequence[Artifact]
    scratch: Path

    def publish(self, server: Server, experiment_id: str, counts: _Counts, say: Say) -> list[str]:
        """Send what the run lacks; returns warnings. Raises ServerFailure."""
        run, made = self._run(server, experiment_id)
        run_id = run.info.run_id
        sizes = server.sizes(run_id)
        before = server.index(run_id) if INDEX in sizes else {}
        there = files.arrived(before, sizes, self.artifacts)
        lacking = _lacking(run, self.fields, self._dataset())
        missing = [each for each in self.artifacts if each.name not in there]
        counts.add("runs", int(made), 1)
        counts.add("parameters", len(lacking.params), len(self.fields.params))
        counts.add("metrics", len(lacking.metrics), len(self.fields.metrics))
        tags = len(self.fields.tags) + len(self.fields.first_tags)
        counts.add("tags", tags if made else len(lacking.tags), tags)  # it was made with some of them
        counts.add("datasets", int(lacking.dataset), 1)
        counts.add("files", len(missing), len(self.artifacts))
        if not missing and not lacking and self._ended(run):
            return lacking.differing
        if run.info.status != "RUNNING":
            server.change(server.client.update_run, run_id, status="RUNNING")
        self._send_fields(server, run, lacking)
        if missing:
            say(
                f"mlflow: {escape.line(self.candidate.name)}: {len(missing)} of {len(self.artifacts)} files to send"
            )
            self._send_files(server, run_id, before, there, missing)
        self._verify(server, run_id)
        server.change(server.client.set_terminated, run_id, "FINISHED", self._millis("finished_at"))
        return lacking.differing

    def _run(self, server: Server, experiment_id: str) -> tuple[Run, bool]:
        """The run, and whether it was made now.

        MLflow's client repeats a request whose answer was lost, so that there can be two runs. A finished one is kept,
        else the first by id, so that every publication keeps the same one.
        """
        found = self._found(server, experiment_id)
        made = not found
        if made:
            tags = {tag: self.fields.tags[tag] for tag in (RUN_TAG, CANDIDATE_TAG)} | dict(
                self.fields.first_tags
            )
            name = fields.run_name(self.source, self.candidate)
            server.change(server.client.create_run, experiment_id, self._millis("started_at"), tags, name)
            found = self._found(server, experiment_id)
        if not found:
            raise ServerFailure(f"the run of {escape.line(self.candidate.name)} was made and cannot be found")
        kept, *doubles = sorted(found, key=lambda run: (run.info.status != "FINISHED", run.info.run_id))
        for double in doubles:
            server.change(server.client.delete_run, double.info.run_id)
        return kept, made

    def _found(self, server: Server, experiment_id: str) -> list[Run]:
        run_id, candidate = (self.fields.tags[tag] for tag in (RUN_TAG, CANDIDATE_TAG))
        runs = server.runs(experiment_id, f"tags.`{RUN_TAG}` = '{run_id}'")
        return [run for run in runs if run.data.tags.get(CANDIDATE_TAG) == candidate]

    def _ended(self, run: Run) -> bool:
        return bool(run.info.status == "FINISHED" and run.info.end_time == self._millis("finished_at"))

    def _millis(self, moment: str) -> int:
        """A time of the run in milliseconds since the epoch, as MLflow counts."""
        value: datetime = getattr(self.source.manifest, moment)
        return round(value.timestamp() * 1000)

    def _dataset(self) -> Dataset:
        known = self.source.manifest.dataset
        digest = known.digest.removeprefix("sha256:")
        return Dataset(
            name=escape.line(known.path),
            digest=digest[:DIGEST_CHARACTERS],
            source=json.dumps({"uri": known.path, "sha256": digest}),
            profile=json.dumps({"num_rows": known.rows, "num_examples": len(known.example_ids)}),
        )

    def _send_fields(self, server: Server, run: Run, lacking: _Lacking) -> None:
        run_id, points = run.info.run_id, []
        for key, value in lacking.metrics.items():
            # a number that another version of bakeoff computes otherwise is the metric's next point
            known = key in run.data.metrics
            step = len(server.ask(server.client.get_metric_history, run_id, key)) if known else 0
            points.append((key, value, step))
        server.send_metrics(run_id, points, self._millis("finished_at"))
        server.send_params(run_id, lacking.params)
        server.send_tags(run_id, lacking.tags)
        if lacking.dataset:
            server.send_dataset(run_id, self._dataset())

    def _send_files(
        self, server: Server, run_id: str, before: Index, there: Index, files: Sequence[Artifact]
    ) -> None:
        index = dict(there)
        if before != index:
            self._send_index(server, run_id, index)
        for number, artifact in enumerate(files, start=1):
            path = artifact.local(self.scratch)
            size = path.stat().st_size
            server.upload(run_id, path, artifact.name)
            if artifact.pack:
                path.unlink()
            index[artifact.name] = Entry(artifact.digest, size)
            if number % CHECKPOINT == 0 or number == len(files):
                self._send_index(server, run_id, index)

    def _send_index(self, server: Server, run_id: str, index: Index) -> None:
        artifact = files.generated(INDEX, files.dumped(index), self.scratch)
        server.upload(run_id, artifact.local(self.scratch), INDEX)

    def _verify(self, server: Server, run_id: str) -> None:
        """Read everything back: an answer of 200 does not prove that something was kept."""
        lacking = _lacking(server.ask(server.client.get_run, run_id), self.fields, self._dataset())
        there = files.arrived(server.index(run_id), server.sizes(run_id), self.artifacts)
        absent = [each.name for each in self.artifacts if each.name not in there]
        gone = [
            *lacking.params,
            *lacking.metrics,
            *lacking.tags,
            *absent,
            *(["dataset"] if lacking.dataset else []),
        ]
        if gone:
            raise ServerFailure(f"the server took {escape.line(', '.join(gone))} and does not have it")


@dataclass(frozen=True)
class _Lacking:
    """What a run does not have yet."""

    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    dataset: bool
    differing: list[str]  # warnings about parameters with another value: MLflow never changes one

    def __bool__(self) -> bool:
        return bool(self.params or self.metrics or self.tags or self.dataset)


def _lacking(run: Run, fields: Fields, dataset: Dataset) -> _Lacking:
    params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
    differing = [
        f"MLflow's run {escape.line(run.info.run_name)} has the parameter {key} otherwise, which MLflow keeps"
        for key, value in fields.params.items()
        if params.get(key, value) != value
    ]
    inputs = run.inputs.dataset_inputs if run.inputs else []
    return _Lacking(
        params={key: value for key, value in fields.params.items() if key not in params},
        metrics={
            key: value
            for key, value in fields.metrics.items()
            if key not in metrics or not math.isclose(metrics[key], value, rel_tol=1e-12, abs_tol=1e-300)
        },
        tags={key: value for key, value in fields.tags.items() if tags.get(key) != value}
        | {key: value for key, value in fields.first_tags.items() if key not in tags},
        dataset=(dataset.name, dataset.digest)
        not in {(each.dataset.name, each.dataset.digest) for each in inputs},
        differing=differing,
    )
