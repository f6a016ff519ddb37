"""What the LangSmith service keeps: datasets with every version of their examples, experiments, runs and feedback.

Writes that arrive before what they belong to (a child before its parent, feedback before its run) are held and appear
once it does; what was received once is not received again (409, and nothing of that request is kept).
"""

from __future__ import annotations

import base64
import json
import secrets
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4, uuid5

from tests.fakes.langsmith.wire import (
    DATA,
    DatasetCreate,
    DatasetUpdate,
    ExperimentQuery,
    FeedbackCreate,
    FeedbackUpdate,
    JsonDict,
    RunCreate,
    RunFields,
    RunsQuery,
    SessionCreate,
    SessionUpdate,
    dotted_order,
    refused,
    rejected,
)

RECEIVED = "Conflict: payload already received: payloads already received"


@dataclass
class Attachment:
    """Bytes beside an example or a run; fetched by an address that needs no key."""

    mime_type: str
    data: bytes
    token: str = field(default_factory=lambda: secrets.token_urlsafe(16))


@dataclass
class Example:
    """One version of an example."""

    id: UUID
    dataset_id: UUID
    name: str
    created_at: datetime
    modified_at: datetime
    inputs: JsonDict | None
    outputs: JsonDict | None
    metadata: JsonDict
    source_run_id: UUID | None = None
    attachments: dict[str, Attachment] = field(default_factory=dict)


@dataclass
class Dataset:
    """A dataset; `history` has each example's versions, None where it was deleted."""

    id: UUID
    name: str
    description: str | None
    data_type: str
    created_at: datetime
    modified_at: datetime
    metadata: JsonDict
    inputs_schema: JsonDict | None = None
    outputs_schema: JsonDict | None = None
    transformations: list[JsonDict] | None = None
    baseline_experiment_id: UUID | None = None
    history: dict[UUID, list[tuple[datetime, Example | None]]] = field(default_factory=dict)
    versions: list[datetime] = field(default_factory=list)
    tags: dict[str, datetime] = field(default_factory=dict)

    def examples(self, as_of: datetime | None = None) -> list[Example]:
        """Those that the dataset had at that moment, latest changed first."""
        now = [self.example(example_id, as_of) for example_id in self.history]
        return sorted(
            (each for each in now if each), key=lambda each: (each.modified_at, each.id), reverse=True
        )

    def example(self, example_id: UUID, as_of: datetime | None = None) -> Example | None:
        """One, as it was then; None: there was none."""
        past = [each for moment, each in self.history.get(example_id, []) if as_of is None or moment <= as_of]
        return past[-1] if past else None


@dataclass
class Session:
    """A project; an experiment, where it has a reference dataset."""

    id: UUID
    name: str
    start_time: datetime
    end_time: datetime | None
    extra: JsonDict | None
    description: str | None
    reference_dataset_id: UUID | None
    progress: JsonDict


@dataclass
class Run:
    """One run, with what was sent for it."""

    fields: RunFields
    session_id: UUID
    path: list[tuple[datetime, UUID]]
    received: float  # time.monotonic()
    patched: bool = False
    attachments: dict[str, Attachment] = field(default_factory=dict)

    @property
    def id(self) -> UUID:
        return self.fields.id


@dataclass
class Feedback:
    """One entry of feedback."""

    id: UUID
    fields: FeedbackCreate
    created_at: datetime
    modified_at: datetime
    received: float


@dataclass
class Ingestion:
    """One request of runs: it is kept whole or not at all."""

    posts: list[RunCreate] = field(default_factory=list)
    patches: list[RunFields] = field(default_factory=list)
    feedback: list[FeedbackCreate] = field(default_factory=list)
    attachments: dict[UUID, dict[str, Attachment]] = field(default_factory=dict)


class State:
    """All that the service knows. Not thread-safe: its server serialises."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.tenant_id = UUID("11111111-1111-4111-8111-111111111111")
        self.ingest_delay = 0.0  # seconds until what was accepted can be read
        self.datasets: dict[UUID, Dataset] = {}
        self.sessions: dict[UUID, Session] = {}
        self.runs: dict[UUID, Run] = {}
        self.feedback: dict[UUID, Feedback] = {}
        self._children: dict[UUID, list[Run]] = {}  # by parent, which need not be there yet
        self._feedback_of: dict[UUID, list[Feedback]] = {}  # by run, likewise
        self._named: Counter[str] = Counter()
        self._last = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """Strictly later than whenever before, so that no two versions are the same."""
        self._last = max(datetime.now(UTC), self._last + timedelta(microseconds=1))
        return self._last

    def new_id(self, name: str) -> UUID:
        """For what is made without one: of its name and how often that was made, so that servers can be compared."""
        self._named[name] += 1
        return uuid5(self.tenant_id, f"{name} {self._named[name]}")

    # datasets

    def dataset(self, dataset_id: UUID) -> Dataset:
        """Raises: ApiError 404."""
        if dataset_id not in self.datasets:
            raise refused(404, f"Dataset with id {dataset_id} not found")
        return self.datasets[dataset_id]

    def create_dataset(self, body: DatasetCreate) -> Dataset:
        if any(each.name == body.name for each in self.datasets.values()):
            raise refused(409, "Dataset with this name already exists.")
        if body.id in self.datasets:
            raise refused(409, "Dataset with this id already exists.")
        now = self.now()
        made = Dataset(
            id=body.id or self.new_id(body.name),
            name=body.name,
            description=body.description,
            data_type=body.data_type,
            created_at=body.created_at or now,
            modified_at=now,
            metadata=(body.extra or {}).get("metadata") or {},
            inputs_schema=body.inputs_schema_definition,
            outputs_schema=body.outputs_schema_definition,
            transformations=body.transformations,
        )
        self.datasets[made.id] = made
        return made

    def update_dataset(self, dataset: Dataset, body: DatasetUpdate) -> Dataset:
        given = body.model_fields_set
        others = [each.name for each in self.datasets.values() if each is not dataset]
        if "name" in given and body.name in others:
            raise refused(409, "Dataset with this name already exists.")
        for name, attribute in (
            ("name", "name"),
            ("description", "description"),
            ("metadata", "metadata"),
            ("transformations", "transformations"),
            ("baseline_experiment_id", "baseline_experiment_id"),
            ("inputs_schema_definition", "inputs_schema"),
            ("outputs_schema_definition", "outputs_schema"),
        ):
            if name in given:
                setattr(dataset, attribute, getattr(body, name))
        dataset.modified_at = self.now()
        return dataset

    def delete_dataset(self, dataset: Dataset) -> None:
        """With its experiments, as the service does."""
        del self.datasets[dataset.id]
        for session in [each for each in self.sessions.values() if each.reference_dataset_id == dataset.id]:
            self.delete_session(session)

    def dataset_json(self, dataset: Dataset) -> JsonDict:
        sessions = [each for each in self.sessions.values() if each.reference_dataset_id == dataset.id]
        return {
            "id": dataset.id,
            "name": dataset.name,
            "description": dataset.description,
            "data_type": dataset.data_type,
            "created_at": dataset.created_at,
            "modified_at": dataset.modified_at,
            "metadata": dataset.metadata,
            "inputs_schema_definition": dataset.inputs_schema,
            "outputs_schema_definition": dataset.outputs_schema,
            "transformations": dataset.transformations,
            "externally_managed": False,
            "tenant_id": self.tenant_id,
            "example_count": len(dataset.examples()),
            "session_count": len(sessions),
            "last_session_start_time": max((each.start_time for each in sessions), default=None),
            "baseline_experiment_id": dataset.baseline_experiment_id,
        }

    def moment(self, dataset: Dataset, as_of: str | None) -> datetime | None:
        """What `as_of` says: a tag or a time; None for the latest.

        Raises:
            ApiError: 404, no such tag.
        """
        if as_of is None or as_of == "latest":
            return None
        if as_of in dataset.tags:
            return dataset.tags[as_of]
        try:
            moment = datetime.fromisoformat(as_of)
        except ValueError:
            raise refused(404, f"Dataset version with tag {as_of!r} not found") from None
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment

    def versions_json(self, dataset: Dataset) -> list[JsonDict]:
        """Newest first, with their tags."""
        return [self.version_json(dataset, moment) for moment in reversed(dataset.versions)]

    def version_json(self, dataset: Dataset, moment: datetime) -> JsonDict:
        tags = [tag for tag, tagged in dataset.tags.items() if tagged == moment]
        if moment == dataset.versions[-1]:
            tags.insert(0, "latest")
        return {"as_of": moment, "tags": tags or None}

    def version_at(self, dataset: Dataset, as_of: str) -> datetime:
        """The version that `as_of` falls into. Raises: ApiError 404."""
        moment = self.moment(dataset, as_of)
        past = [each for each in dataset.versions if moment is None or each <= moment]
        if not past:
            raise refused(404, f"Dataset version {as_of!r} not found")
        return past[-1]

    # examples

    def write_examples(self, dataset: Dataset, changes: Sequence[Callable[[datetime], Example]]) -> datetime:
        """One new version of the dataset, with all these changes."""
        now = self.now()
        for change in changes:
            example = change(now)
            dataset.history.setdefault(example.id, []).append((now, example))
        self._version(dataset, now)
        return now

    def _version(self, dataset: Dataset, now: datetime) -> None:
        dataset.versions.append(now)
        dataset.modified_at = now

    def find_example(self, example_id: UUID) -> tuple[Dataset, Example]:
        """Raises: ApiError 404."""
        for dataset in self.datasets.values():
            if example := dataset.example(example_id):
                return dataset, example
        raise refused(404, f"Example {example_id} not found")

    def delete_examples(self, example_ids: Iterable[UUID]) -> None:
        """From the latest version only: earlier ones keep them."""
        found = [self.find_example(example_id) for example_id in example_ids]
        for dataset in {dataset.id: dataset for dataset, _ in found}.values():
            now = self.now()
            for owner, example in found:
                if owner is dataset:
                    dataset.history[example.id].append((now, None))
            self._version(dataset, now)

    def erase_examples(self, example_ids: Sequence[UUID]) -> None:
        """From every version."""
        for dataset in self.datasets.values():
            for example_id in example_ids:
                dataset.history.pop(example_id, None)

    def example_json(
        self, example: Example, select: Sequence[str] = (), *, defaults: bool = True
    ) -> JsonDict:
        """Fields as the service gives them: all but `attachment_urls`, or those selected beside the default ones."""
        whole = {
            "id": example.id,
            "dataset_id": example.dataset_id,
            "name": example.name,
            "created_at": example.created_at,
            "modified_at": example.modified_at,
            "inputs": example.inputs,
            "outputs": example.outputs,
            "metadata": example.metadata,
            "source_run_id": example.source_run_id,
        }
        if not select:
            return whole
        whole["attachment_urls"] = self.attachments_json(example.attachments)
        kept = {"id", *select, *(ALWAYS if defaults else ())}
        return {name: value for name, value in whole.items() if name in kept}

    def attachments_json(self, attachments: dict[str, Attachment]) -> JsonDict:
        return {
            f"attachment.{name}": {
                "presigned_url": f"{self.url}/attachments/{each.token}",
                "mime_type": each.mime_type,
            }
            for name, each in attachments.items()
        }

    def attachment(self, token: str) -> Attachment | None:
        """By its address."""
        for dataset in self.datasets.values():
            for history in dataset.history.values():
                for _, example in history:
                    for each in example.attachments.values() if example else ():
                        if each.token == token:
                            return each
        for run in self.runs.values():
            for each in run.attachments.values():
                if each.token == token:
                    return each
        return None

    # sessions

    def session(self, session_id: UUID) -> Session:
        """Raises: ApiError 404."""
        if session_id not in self.sessions:
            raise refused(404, "Session not found")
        return self.sessions[session_id]

    def session_named(self, name: str) -> Session | None:
        return next((each for each in self.sessions.values() if each.name == name), None)

    def create_session(self, body: SessionCreate, *, upsert: bool = False) -> Session:
        there = self.session_named(body.name)
        if there and upsert:
            return self.update_session(there, SessionUpdate(extra=body.extra, description=body.description))
        if there or body.id in self.sessions:
            raise refused(409, "Session already exists.")
        if body.reference_dataset_id is not None:
            self.dataset(body.reference_dataset_id)
        start = body.start_time or self.now()
        if body.end_time and body.end_time < start:
            raise refused(422, "end_time is before start_time")
        made = Session(
            id=body.id or self.new_id(body.name),
            name=body.name,
            start_time=start,
            end_time=body.end_time,
            extra=body.extra,
            description=body.description,
            reference_dataset_id=body.reference_dataset_id,
            progress=body.model_dump(include={"num_examples", "num_repetitions", "evaluator_keys"}),
        )
        self.sessions[made.id] = made
        return made

    def update_session(self, session: Session, body: SessionUpdate) -> Session:
        if body.name is not None and body.name != session.name:
            if session.end_time is None and body.end_time is None:
                raise refused(422, "a session can be renamed once it has an end_time")
            if self.session_named(body.name):
                raise refused(409, "Session already exists.")
            session.name = body.name
        if body.end_time is not None:
            if body.end_time < session.start_time:
                raise refused(422, "end_time is before start_time")
            session.end_time = body.end_time
        if body.extra is not None:
            session.extra = body.extra
        if body.description is not None:
            session.description = body.description
        return session

    def delete_session(self, session: Session) -> None:
        """With its runs and feedback."""
        del self.sessions[session.id]
        gone = {run.id for run in self.runs.values() if run.session_id == session.id}
        for key in gone:
            del self.runs[key]
            self._children.pop(key, None)
            self._feedback_of.pop(key, None)
        self.feedback = {
            key: each
            for key, each in self.feedback.items()
            if each.fields.run_id not in gone and each.fields.session_id != session.id
        }

    def session_json(self, session: Session, *, stats: bool = False) -> JsonDict:
        body: JsonDict = {
            "id": session.id,
            "name": session.name,
            "start_time": session.start_time,
            "end_time": session.end_time,
            "extra": session.extra,
            "description": session.description,
            "tenant_id": self.tenant_id,
            "reference_dataset_id": session.reference_dataset_id,
            "default_dataset_id": None,
            "trace_tier": "longlived" if session.reference_dataset_id else "shortlived",
        }
        return body | self._session_stats(session) if stats else body

    def _session_stats(self, session: Session) -> JsonDict:
        runs = [run for run in self.visible_runs() if run.session_id == session.id]
        roots = [run for run in runs if run.fields.parent_run_id is None]
        took = [
            (run.fields.end_time - run.fields.start_time).total_seconds()
            for run in roots
            if run.fields.end_time and run.fields.start_time
        ]
        usage = [self._usage(run) for run in runs]
        given = [each for each in self.visible_feedback() if self.session_of(each) == session.id]
        starts = [run.fields.start_time for run in runs if run.fields.start_time]
        return {
            "run_count": len(roots),
            "latency_p50": statistics.median(took) if took else None,
            "latency_p99": sorted(took)[int(0.99 * (len(took) - 1))] if took else None,
            **{name: sum(each[name] for each in usage) for name in TOKENS},
            **{name: _cost(each[name] for each in usage) for name in COSTS},
            "last_run_start_time": max(starts, default=None),
            "error_rate": sum(run.fields.error is not None for run in roots) / len(roots) if roots else None,
            "feedback_stats": feedback_stats(each for each in given if each.fields.run_id is not None),
            "session_feedback_stats": feedback_stats(each for each in given if each.fields.run_id is None),
            "run_facets": [],
        }

    # runs

    def ingest(self, batch: Ingestion) -> None:
        """Keep a request's runs, feedback and attachments, all or none.

        Raises:
            ApiError: 400 or 422, one is not as it must be; 409, one was received before.
        """
        now = time.monotonic()
        posted: dict[UUID, Run] = {}
        names: dict[str, SessionCreate] = {}
        for body in batch.posts:
            if body.id in posted:
                raise rejected(422, f"run {body.id} is twice in one request")
            if body.id in self.runs:
                raise rejected(409, RECEIVED)
            path = dotted_order(body)
            _check_times(body)
            session_id = self._session_for(body, names)
            self._check_example(body, session_id)
            attachments = batch.attachments.get(body.id, {})
            posted[body.id] = Run(body, session_id, path, now, attachments=attachments)
        for key in batch.attachments:
            if key not in posted:
                raise rejected(422, f"attachment for run {key}, which is not in this request")
        for run in posted.values():
            self._check_parent(run, posted)
        patched = [self._patched(body, posted) for body in batch.patches]
        feedback = [self._new_feedback(body, posted) for body in batch.feedback]
        for create in names.values():
            self.create_session(create)
        self.runs |= posted
        for run in posted.values():
            if run.fields.parent_run_id:
                self._children.setdefault(run.fields.parent_run_id, []).append(run)
        for run, patch in patched:
            _apply(run, patch)
        for each in feedback:
            self._keep_feedback(each)

    def _session_for(self, body: RunFields, names: dict[str, SessionCreate]) -> UUID:
        """The run's project; one that is named and not there is made, one with an id must be there."""
        if body.session_id is not None:
            if body.session_id not in self.sessions:
                raise rejected(422, f"run {body.id}: session_id {body.session_id} is not a session")
            return body.session_id
        name = body.session_name or "default"
        if there := self.session_named(name):
            return there.id
        made = names.setdefault(name, SessionCreate(name=name, id=self.new_id(name)))
        assert made.id
        return made.id

    def _check_example(self, body: RunFields, session_id: UUID) -> None:
        """An experiment's run refers to an example of its dataset."""
        if body.reference_example_id is None:
            return
        session = self.sessions.get(session_id)
        dataset = (
            self.datasets.get(session.reference_dataset_id)
            if session and session.reference_dataset_id
            else None
        )
        if dataset is None or body.reference_example_id not in dataset.history:
            raise rejected(
                422,
                f"run {body.id}: reference_example_id {body.reference_example_id} is not in the project's dataset",
            )

    def _check_parent(self, run: Run, posted: dict[UUID, Run]) -> None:
        parent_id = run.fields.parent_run_id
        parent = (posted.get(parent_id) or self.runs.get(parent_id)) if parent_id else None
        if parent and (parent.path != run.path[:-1] or parent.session_id != run.session_id):
            raise rejected(
                400, f"run {run.id}: its dotted_order or project is not that of its parent {parent_id}"
            )

    def _patched(self, body: RunFields, posted: dict[UUID, Run]) -> tuple[Run, RunFields]:
        run = posted.get(body.id) or self.runs.get(body.id)
        if run is None:
            raise rejected(404, f"run {body.id} not found")
        if run.patched:
            raise rejected(409, RECEIVED)
        if body.dotted_order and body.dotted_order != run.fields.dotted_order:
            raise rejected(400, f"run {body.id}: dotted_order cannot change")
        start, end = body.start_time or run.fields.start_time, body.end_time
        if start and end and end < start:
            raise rejected(422, f"run {body.id}: end_time is before start_time")
        return run, body

    def is_visible(self, received: Run | Feedback) -> bool:
        """Can it be read: received long enough ago, and what it belongs to is there?"""
        if isinstance(received, Run):
            whole = all(each in self.runs for _, each in received.path)
        else:
            whole = received.fields.run_id is None or received.fields.run_id in self.runs
        return whole and received.received <= time.monotonic() - self.ingest_delay

    def visible_runs(self) -> list[Run]:
        """Those that can be read."""
        return [run for run in self.runs.values() if self.is_visible(run)]

    def held(self) -> list[UUID]:
        """Runs and feedback that wait for what they belong to."""
        runs = [run.id for run in self.runs.values() if any(each not in self.runs for _, each in run.path)]
        return runs + [
            each.id
            for each in self.feedback.values()
            if each.fields.run_id and each.fields.run_id not in self.runs
        ]

    def query_runs(self, body: RunsQuery) -> JsonDict:
        """A page of runs, and the cursor of the next."""
        if body.filter is not None:
            raise refused(422, "filter: this server has no filter language")
        if not any((body.session, body.id, body.parent_run, body.trace, body.reference_example)):
            raise refused(
                400,
                "At least one of 'session', 'id', 'parent_run', 'trace' or 'reference_example' must be specified",
            )
        for session_id in body.session or ():
            self.session(session_id)
        if body.id is None:
            candidates = list(self.runs.values())
        else:
            candidates = [self.runs[key] for key in dict.fromkeys(body.id) if key in self.runs]
        found = [run for run in candidates if _matches(run, body) and self.is_visible(run)]
        found.sort(key=lambda run: (run.path[-1][0], run.fields.dotted_order), reverse=body.order == "desc")
        offset = int(base64.b64decode(body.cursor)) if body.cursor else 0
        page = found[offset : offset + body.limit]
        more = offset + body.limit < len(found)
        following = base64.b64encode(str(offset + body.limit).encode()).decode() if more else None
        rows = [self.run_json(run) for run in page]
        if body.select is not None:
            select = {"id", *body.select}
            rows = [{key: value for key, value in row.items() if key in select} for row in rows]
        return {"runs": rows, "cursors": {"next": following}, "parsed_query": None}

    def run_json(self, run: Run) -> JsonDict:
        """As a client reads it; tokens and costs of a run are its own and its descendants'."""
        sent = run.fields
        usage = [self._usage(each) for each in self._with_descendants(run)]
        return {
            "id": run.id,
            "name": sent.name,
            "run_type": sent.run_type,
            "start_time": sent.start_time,
            "end_time": sent.end_time,
            "status": "error" if sent.error is not None else "success" if sent.end_time else "pending",
            "error": sent.error,
            "extra": sent.extra,
            "events": sent.events,
            "inputs": sent.inputs,
            "outputs": sent.outputs,
            "serialized": sent.serialized,
            "tags": sent.tags,
            "parent_run_id": sent.parent_run_id,
            "parent_run_ids": [each for _, each in run.path[:-1]],
            "trace_id": sent.trace_id,
            "dotted_order": sent.dotted_order,
            "session_id": run.session_id,
            "reference_example_id": sent.reference_example_id,
            "app_path": f"/o/{self.tenant_id}/projects/p/{run.session_id}/r/{run.id}",
            "first_token_time": next(
                (each["time"] for each in sent.events or () if each.get("name") == "new_token"), None
            ),
            "feedback_stats": feedback_stats(self.feedback_of(run.id)),
            "s3_urls": self.attachments_json(run.attachments) or None,
            "in_dataset": False,
            **{name: sum(each[name] for each in usage) for name in TOKENS},
            **{name: _cost(each[name] for each in usage) for name in COSTS},
        }

    def _with_descendants(self, run: Run) -> Iterator[Run]:
        yield run
        for child in self._children.get(run.id, ()):
            if self.is_visible(child):
                yield from self._with_descendants(child)

    def _usage(self, run: Run) -> JsonDict:
        """Of a model's run: from `usage_metadata` in its outputs or its metadata, as the service takes it."""
        sent = run.fields
        found: JsonDict = {}
        if sent.run_type == "llm":
            metadata = (sent.extra or {}).get("metadata") or {}
            found = metadata.get("usage_metadata") or (sent.outputs or {}).get("usage_metadata") or {}
        tokens = {
            "prompt_tokens": found.get("input_tokens") or 0,
            "completion_tokens": found.get("output_tokens") or 0,
        }
        return {
            **tokens,
            "total_tokens": found.get("total_tokens") or sum(tokens.values()),
            "prompt_cost": found.get("input_cost"),
            "completion_cost": found.get("output_cost"),
            "total_cost": found.get("total_cost"),
        }

    def experiment_rows(self, dataset: Dataset, body: ExperimentQuery) -> list[JsonDict]:
        """The examples that have runs in the experiments, each with those runs."""
        for session_id in body.session_ids:
            if self.session(session_id).reference_dataset_id != dataset.id:
                raise refused(404, f"Session {session_id} is no experiment of dataset {dataset.id}")
        runs: dict[UUID, list[Run]] = {}
        for run in self.visible_runs():
            example_id = run.fields.reference_example_id
            if example_id and run.session_id in body.session_ids and run.fields.parent_run_id is None:
                runs.setdefault(example_id, []).append(run)
        order = (
            sorted(runs)
            if body.example_ids is None
            else [each for each in sorted(runs) if each in body.example_ids]
        )
        rows = []
        for example_id in order[body.offset :][: body.limit]:
            last = next(each for _, each in reversed(dataset.history[example_id]) if each)
            mine = sorted(runs[example_id], key=lambda run: run.path[-1])
            rows.append(
                self.example_json(last)
                | {
                    "runs": [
                        self.run_json(run)
                        | {"feedbacks": [self.feedback_json(each) for each in self.feedback_of(run.id)]}
                        for run in mine
                    ]
                }
            )
        return rows

    # feedback

    def create_feedback(self, body: FeedbackCreate) -> Feedback:
        """One entry. Raises: ApiError 404, its run or project is not there; 409, its id is."""
        if body.run_id is not None and body.run_id not in self.runs:
            raise refused(404, f"Run {body.run_id} not found")
        made = self._new_feedback(body, {})
        self._keep_feedback(made)
        return made

    def _keep_feedback(self, made: Feedback) -> None:
        self.feedback[made.id] = made
        if made.fields.run_id:
            self._feedback_of.setdefault(made.fields.run_id, []).append(made)

    def delete_feedback(self, feedback: Feedback) -> None:
        del self.feedback[feedback.id]
        if feedback.fields.run_id:
            self._feedback_of[feedback.fields.run_id].remove(feedback)

    def _new_feedback(self, body: FeedbackCreate, posted: dict[UUID, Run]) -> Feedback:
        if body.id in self.feedback:
            raise rejected(409, RECEIVED)
        if body.run_id is None and body.session_id is None:
            raise refused(422, f"feedback {body.key!r}: one of run_id and session_id is required")
        if body.session_id is not None:
            self.session(body.session_id)
        run = (posted.get(body.run_id) or self.runs.get(body.run_id)) if body.run_id else None
        if run and body.session_id not in (None, run.session_id):
            raise refused(422, f"feedback {body.key!r}: session_id is not that of run {run.id}")
        if run and body.trace_id not in (None, run.fields.trace_id):
            raise refused(422, f"feedback {body.key!r}: trace_id is not that of run {run.id}")
        now = self.now()
        return Feedback(
            body.id or uuid4(), body, body.created_at or now, body.modified_at or now, time.monotonic()
        )

    def update_feedback(self, feedback: Feedback, body: FeedbackUpdate) -> Feedback:
        changes = {name: getattr(body, name) for name in body.model_fields_set}
        feedback.fields = feedback.fields.model_copy(update=changes)
        feedback.modified_at = self.now()
        return feedback

    def visible_feedback(self) -> list[Feedback]:
        return [each for each in self.feedback.values() if self.is_visible(each)]

    def feedback_of(self, run_id: UUID) -> list[Feedback]:
        return [each for each in self._feedback_of.get(run_id, ()) if self.is_visible(each)]

    def session_of(self, feedback: Feedback) -> UUID | None:
        run = self.runs.get(feedback.fields.run_id) if feedback.fields.run_id else None
        return run.session_id if run else feedback.fields.session_id

    def feedback_json(self, feedback: Feedback) -> JsonDict:
        sent = feedback.fields
        return {
            **sent.model_dump(exclude={"feedback_config", "error", "extend_trace_retention", "id"}),
            "id": feedback.id,
            "created_at": feedback.created_at,
            "modified_at": feedback.modified_at,
            "session_id": self.session_of(feedback),
            "is_root": sent.run_id is not None and sent.run_id == sent.trace_id,
        }

    # everything, for comparing

    def dump(self) -> JsonDict:
        """All there is, as plain JSON: equal before and after means that nothing was written."""
        whole = {
            "datasets": [
                self.dataset_json(dataset)
                | {
                    "versions": self.versions_json(dataset) if dataset.versions else [],
                    "examples": [
                        self.example_json(each, WHOLE)
                        for each in sorted(dataset.examples(), key=lambda each: each.id)
                    ],
                    "history": {
                        str(key): [
                            [moment, self.example_json(each, WHOLE) if each else None]
                            for moment, each in history
                        ]
                        for key, history in sorted(dataset.history.items())
                    },
                }
                for _, dataset in sorted(self.datasets.items())
            ],
            "sessions": [
                self.session_json(session) | {"progress": session.progress}
                for _, session in sorted(self.sessions.items())
            ],
            "runs": [
                run.fields.model_dump()
                | {"session_id": run.session_id, "attachments": sorted(run.attachments)}
                for _, run in sorted(self.runs.items())
            ],
            "feedback": [self.feedback_json(each) for _, each in sorted(self.feedback.items())],
        }
        plain: JsonDict = json.loads(json.dumps(whole, default=str, sort_keys=True))
        return plain

    def content(self) -> JsonDict:
        """The same without when it was written: equal where two servers were given the same."""
        scrubbed: JsonDict = _without(self.dump(), WHEN)
        return scrubbed


ALWAYS = ("id", "created_at", "modified_at", "inputs", "name", "dataset_id")
WHOLE = (*ALWAYS, "outputs", "metadata", "source_run_id", "attachment_urls")
TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")
COSTS = ("prompt_cost", "completion_cost", "total_cost")


WHEN = frozenset(
    "created_at modified_at as_of versions history presigned_url example_version dataset_version".split()
)


def _without(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(each, names) for key, each in value.items() if key not in names}
    return [_without(each, names) for each in value] if isinstance(value, list) else value


def feedback_stats(feedback: Iterable[Feedback]) -> JsonDict:
    """By key: how many, the mean of the scores, and how often each value."""
    stats: JsonDict = {}
    for each in feedback:
        mine = stats.setdefault(each.fields.key, {"n": 0, "scores": [], "values": {}})
        mine["n"] += 1
        if each.fields.score is not None:
            mine["scores"].append(each.fields.score)
        if isinstance(each.fields.value, str):
            mine["values"][each.fields.value] = mine["values"].get(each.fields.value, 0) + 1
    for mine in stats.values():
        scores = mine.pop("scores")
        mine["avg"] = sum(scores) / len(scores) if scores else None
    return stats


def _cost(values: Iterable[Any]) -> str | None:
    """A decimal as text, as the service has it; None: no cost is known."""
    known = [Decimal(str(value)) for value in values if value is not None]
    return str(sum(known, Decimal())) if known else None


def _matches(run: Run, body: RunsQuery) -> bool:
    sent = run.fields
    return all(
        (
            body.session is None or run.session_id in body.session,
            body.trace is None or sent.trace_id == body.trace,
            body.parent_run is None or sent.parent_run_id == body.parent_run,
            body.run_type is None or sent.run_type == body.run_type,
            body.reference_example is None or sent.reference_example_id in body.reference_example,
            body.is_root is None or (sent.parent_run_id is None) == body.is_root,
            body.error is None or (sent.error is not None) == body.error,
            body.start_time is None or run.path[-1][0] >= body.start_time,
            body.end_time is None or run.path[-1][0] <= body.end_time,
        )
    )


def _check_times(body: RunFields) -> None:
    if body.start_time and body.end_time and body.end_time < body.start_time:
        raise rejected(422, f"run {body.id}: end_time is before start_time")


def _apply(run: Run, body: RunFields) -> None:
    names = (*DATA, "end_time", "tags", "status", "name")
    changes = {name: getattr(body, name) for name in names if getattr(body, name) is not None}
    run.fields = run.fields.model_copy(update=changes)
    run.patched = True
