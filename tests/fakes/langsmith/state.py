"""The LangSmith service: datasets with every version of their examples, experiments, runs and feedback.

What arrives before the things that it belongs to (a child before its parent, feedback before its run) is held, and
appears once those are there. What was received once is not received again: 409, and nothing of that request is kept.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid5

from tests.fakes.langsmith.wire import (
    DATA,
    ApiError,
    AttachmentOperations,
    DatasetCreate,
    DatasetUpdate,
    ExampleBody,
    ExampleInfo,
    ExperimentQuery,
    FeedbackCreate,
    FeedbackUpdate,
    JsonDict,
    Part,
    RunBatch,
    RunCreate,
    RunsQuery,
    SessionCreate,
    SessionUpdate,
    VersionTag,
    dotted_order,
    parse,
    parts,
    refused,
    rejected,
    uuids,
)

Item = TypeVar("Item")
Received = TypeVar("Received", "Run", JsonDict)
Route = Callable[..., Any]
ROUTES: list[tuple[str, re.Pattern[str], Route, frozenset[str]]] = []
RECEIVED = "Conflict: payload already received: payloads already received"
# Of a run, by the service: not by this one.
COMPUTED = (
    *("app_path", "feedback_stats", "first_token_time", "parent_run_ids", "s3_urls", "total_tokens"),
    *("prompt_tokens", "completion_tokens", "total_cost", "prompt_cost", "completion_cost"),
)
EXAMPLE_DEFAULTS = ("id", "created_at", "modified_at", "inputs", "name", "dataset_id")


def route(method: str, path: str, *query: str) -> Callable[[Route], Route]:
    """Register an endpoint: `{}` in its path is a UUID; other query parameters than these are refused."""
    pattern = re.compile(path.replace("{}", "([^/]+)"))

    def register(function: Route) -> Route:
        ROUTES.append((method, pattern, function, frozenset(query)))
        return function

    return register


@dataclass(frozen=True)
class Request:
    """One request. `path` is without the API's prefix."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes
    content_type: str

    def one(self, name: str) -> str | None:
        values = self.query.get(name)
        return values[-1] if values else None

    def page(self, found: Sequence[Item]) -> Sequence[Item]:
        """The page that limit and offset ask for: 1 to 100 rows."""
        try:
            offset, limit = int(self.one("offset") or 0), int(self.one("limit") or 100)
        except ValueError:
            raise refused(422, "query parameters limit and offset: not a number") from None
        if offset < 0 or not 1 <= limit <= 100:
            raise refused(422, "query parameter limit must be 1 to 100, offset not below 0")
        return found[offset : offset + limit]


@dataclass
class Reply:
    """JSON, or bytes of a type. `runs`: how many were taken in."""

    body: Any
    status: int = 200
    content_type: str = "application/json"
    runs: int = 0


@dataclass
class Attachment:
    """Bytes beside an example, fetched by an address that needs no key."""

    mime_type: str
    data: bytes
    token: str = field(default_factory=lambda: secrets.token_urlsafe(16))


@dataclass
class Example:
    """One version of an example: its fields, and its attachments by name."""

    row: JsonDict
    attachments: dict[str, Attachment]


@dataclass
class Dataset:
    """A dataset; `history` has each example's versions, None where it was deleted."""

    row: JsonDict
    history: dict[UUID, list[tuple[datetime, Example | None]]] = field(default_factory=dict)
    versions: list[datetime] = field(default_factory=list)
    tags: dict[str, datetime] = field(default_factory=dict)

    def example(self, example_id: UUID, as_of: datetime | None = None) -> Example | None:
        """One, as it was then; None: it was not there."""
        past = [each for moment, each in self.history.get(example_id, []) if as_of is None or moment <= as_of]
        return past[-1] if past else None

    def examples(self, as_of: datetime | None = None) -> list[Example]:
        """Those that the dataset had at that moment, latest changed first."""
        found = [each for key in self.history if (each := self.example(key, as_of))]
        return sorted(found, key=lambda each: (each.row["modified_at"], each.row["id"]), reverse=True)

    def moment(self, as_of: str | None) -> datetime | None:
        """What `as_of` says: a tag or a time; None for the latest. Raises ApiError 404 for an unknown tag."""
        if as_of is None or as_of == "latest":
            return None
        if as_of in self.tags:
            return self.tags[as_of]
        try:
            moment = datetime.fromisoformat(as_of)
        except ValueError:
            raise refused(404, f"Dataset version with tag {as_of!r} not found") from None
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment

    def version_json(self, moment: datetime) -> JsonDict:
        tags = [tag for tag, tagged in self.tags.items() if tagged == moment]
        return {"as_of": moment, "tags": ["latest"] * (moment == self.versions[-1]) + tags or None}


@dataclass
class Run:
    """One run as it was sent, and its ids from the root to itself."""

    row: JsonDict
    path: list[UUID]


class State:
    """All that the service knows. Not thread-safe: its server handles one request at a time.

    Attributes:
        ingest_delay: seconds until accepted runs and feedback can be read.
        multipart: whether runs, and examples, are taken as multipart bodies.
    """

    def __init__(self, url: str, *, multipart_runs: bool = True, multipart_examples: bool = True) -> None:
        self.url = url
        self.tenant_id = UUID("11111111-1111-4111-8111-111111111111")
        self.ingest_delay = 0.0
        self.datasets: dict[UUID, Dataset] = {}
        self.sessions: dict[UUID, JsonDict] = {}
        self.runs: dict[UUID, Run] = {}
        self.feedback: dict[UUID, JsonDict] = {}
        self._feedback_of: dict[UUID | None, list[UUID]] = {}  # by run; None: of sessions
        self._received: dict[UUID, float] = {}  # time.monotonic(), of runs and feedback
        self._named: Counter[str] = Counter()
        self._last = datetime(2026, 1, 1, tzinfo=UTC)
        self._absent = {
            "/runs/multipart": not multipart_runs,
            "/platform/datasets/": not multipart_examples,
        }

    def answer(self, request: Request) -> Reply:
        """Find the endpoint and call it. Raises ApiError for whatever is wrong with the request."""
        allowed = False
        for method, pattern, function, query in ROUTES:
            found = pattern.fullmatch(request.path)
            if not found or any(
                gone and request.path.startswith(path) for path, gone in self._absent.items()
            ):
                continue
            allowed = True
            if method != request.method:
                continue
            if unknown := set(request.query) - query:
                raise refused(422, f"unknown query parameters: {', '.join(sorted(unknown))}")
            given = function(self, request, *map(_path_uuid, found.groups()))
            return given if isinstance(given, Reply) else Reply(given)
        raise refused(405, "Method Not Allowed") if allowed else refused(404, "Not Found")

    def now(self) -> datetime:
        """Strictly later than before, so that no two versions are the same."""
        self._last = max(datetime.now(UTC), self._last + timedelta(microseconds=1))
        return self._last

    def new_id(self, name: str) -> UUID:
        """Derived from the name and how often that was made, so that servers can be compared."""
        self._named[name] += 1
        return uuid5(self.tenant_id, f"{name} {self._named[name]}")

    # --- datasets

    def dataset(self, dataset_id: UUID) -> Dataset:
        if dataset_id not in self.datasets:
            raise refused(404, f"Dataset with id {dataset_id} not found")
        return self.datasets[dataset_id]

    def dataset_json(self, dataset: Dataset) -> JsonDict:
        sessions = [
            each for each in self.sessions.values() if each["reference_dataset_id"] == dataset.row["id"]
        ]
        return dataset.row | {"example_count": len(dataset.examples()), "session_count": len(sessions)}

    @route("POST", "/datasets")
    def create_dataset(self, request: Request) -> JsonDict:
        body = parse(DatasetCreate, request.body)
        if any(each.row["name"] == body.name for each in self.datasets.values()):
            raise refused(409, "Dataset with this name already exists.")
        now = self.now()
        row = body.model_dump(exclude={"extra"}) | {
            "id": self.new_id(body.name),
            "tenant_id": self.tenant_id,
            "created_at": body.created_at or now,
            "modified_at": now,
            "metadata": (body.extra or {}).get("metadata") or {},
        }
        self.datasets[row["id"]] = Dataset(row)
        return self.dataset_json(self.datasets[row["id"]])

    @route("GET", "/datasets", "limit", "offset", "name")
    def list_datasets(self, request: Request) -> list[JsonDict]:
        name = request.one("name")
        found = [each for each in self.datasets.values() if name in (None, each.row["name"])]
        return [self.dataset_json(each) for each in request.page(found)]

    @route("GET", "/datasets/{}", "limit")
    def read_dataset(self, request: Request, dataset_id: UUID) -> JsonDict:
        return self.dataset_json(self.dataset(dataset_id))

    @route("PATCH", "/datasets/{}")
    def update_dataset(self, request: Request, dataset_id: UUID) -> JsonDict:
        dataset = self.dataset(dataset_id)
        dataset.row |= parse(DatasetUpdate, request.body).model_dump() | {"modified_at": self.now()}
        return self.dataset_json(dataset)

    @route("DELETE", "/datasets/{}")
    def delete_dataset(self, request: Request, dataset_id: UUID) -> None:
        """With its experiments, as the service does."""
        self.dataset(dataset_id)
        del self.datasets[dataset_id]
        for key in [key for key, each in self.sessions.items() if each["reference_dataset_id"] == dataset_id]:
            self.delete_session(request, key)

    @route("GET", "/datasets/{}/versions", "limit", "offset", "example")
    def list_versions(self, request: Request, dataset_id: UUID) -> Sequence[JsonDict]:
        dataset = self.dataset(dataset_id)
        moments = dataset.versions
        if examples := uuids(request.query, "example"):
            changed = {moment for moment, _ in dataset.history.get(examples[0], [])}
            moments = [each for each in moments if each in changed]
        return request.page([dataset.version_json(each) for each in reversed(moments)])

    @route("GET", "/datasets/{}/version", "as_of", "tag")
    def read_version(self, request: Request, dataset_id: UUID) -> JsonDict:
        dataset, as_of, tag = self.dataset(dataset_id), request.one("as_of"), request.one("tag")
        if (as_of is None) == (tag is None):
            raise refused(422, "exactly one of as_of and tag is required")
        moment = dataset.moment(as_of or tag)
        past = [each for each in dataset.versions if moment is None or each <= moment]
        if not past:
            raise refused(404, f"Dataset version {as_of or tag!r} not found")
        return dataset.version_json(past[-1])

    @route("PUT", "/datasets/{}/tags")
    def tag_version(self, request: Request, dataset_id: UUID) -> JsonDict:
        dataset, body = self.dataset(dataset_id), parse(VersionTag, request.body)
        moment = dataset.moment(body.as_of) if isinstance(body.as_of, str) else body.as_of
        if moment not in dataset.versions or body.tag == "latest":
            raise refused(404, f"Dataset version {body.as_of} not found, or {body.tag!r} cannot be set")
        dataset.tags[body.tag] = moment
        return dataset.version_json(moment)

    @route("POST", "/datasets/{}/runs")
    def experiment_rows(self, request: Request, dataset_id: UUID) -> list[JsonDict]:
        """The examples that have runs in the experiments, each with those runs."""
        dataset, body = self.dataset(dataset_id), parse(ExperimentQuery, request.body)
        for session_id in body.session_ids:
            if self.session(session_id)["reference_dataset_id"] != dataset_id:
                raise refused(404, f"Session {session_id} is no experiment of dataset {dataset_id}")
        runs: dict[UUID, list[JsonDict]] = {}
        for run in sorted(self._visible(self.runs, self.runs), key=lambda each: each.row["start_time"]):
            example_id = run.row["reference_example_id"]
            if example_id and run.row["session_id"] in body.session_ids and len(run.path) == 1:
                runs.setdefault(example_id, []).append(_run_json(run))
        rows = []
        for key in sorted(runs)[body.offset :][: body.limit]:
            last = next(each for _, each in reversed(dataset.history[key]) if each)
            rows.append(self.example_json(last) | {"runs": runs[key]})
        return rows

    # --- examples

    def example_json(
        self, example: Example, select: Sequence[str] = (), *, defaults: bool = True
    ) -> JsonDict:
        """All fields but `attachment_urls`, or those selected beside the default ones."""
        if not select:
            return example.row
        urls = {
            f"attachment.{name}": {
                "presigned_url": f"{self.url}/attachments/{each.token}",
                "mime_type": each.mime_type,
            }
            for name, each in example.attachments.items()
        }
        whole = example.row | {"attachment_urls": urls}
        return {name: whole[name] for name in {"id", *select, *(EXAMPLE_DEFAULTS if defaults else ())}}

    @route("GET", "/attachments/.*")
    def read_attachment(self, request: Request) -> Reply:
        for dataset in self.datasets.values():
            for history in dataset.history.values():
                for _, example in history:
                    for each in example.attachments.values() if example else ():
                        if request.path == f"/attachments/{each.token}":
                            return Reply(each.data, content_type=each.mime_type)
        raise refused(404, "no such attachment")

    @route(
        "GET",
        "/examples",
        *("limit", "offset", "id", "dataset", "as_of", "metadata", "select", "exclude_default_fields"),
        "inline_s3_urls",
    )
    def list_examples(self, request: Request) -> list[JsonDict]:
        wanted, datasets = uuids(request.query, "id"), uuids(request.query, "dataset")
        if datasets is None:
            raise refused(422, "the query parameter dataset is required")
        select, metadata = request.query.get("select", []), json.loads(request.one("metadata") or "{}")
        if unknown := set(select) - {*EXAMPLE_DEFAULTS, "metadata", "outputs", "attachment_urls"}:
            raise refused(422, f"query parameter select: {', '.join(sorted(unknown))}")
        dataset = self.dataset(datasets[0])
        found = [
            each
            for each in dataset.examples(dataset.moment(request.one("as_of")))
            if (wanted is None or each.row["id"] in wanted)
            and metadata.items() <= each.row["metadata"].items()
        ]
        defaults = (request.one("exclude_default_fields") or "").lower() != "true"
        return [self.example_json(each, select, defaults=defaults) for each in request.page(found)]

    @route("GET", "/examples/{}")
    def read_example(self, request: Request, example_id: UUID) -> JsonDict:
        return self._latest(example_id)[1].row

    def _latest(self, example_id: UUID) -> tuple[Dataset, Example]:
        for dataset in self.datasets.values():
            if example := dataset.example(example_id):
                return dataset, example
        raise refused(404, f"Example {example_id} not found")

    @route("POST", "/platform/datasets/{}/examples")
    def upload_examples(self, request: Request, dataset_id: UUID) -> Reply:
        """New examples, each of several parts: all of them or none."""
        return self._create(self.dataset(dataset_id), _example_parts(request))

    @route("PATCH", "/platform/datasets/{}/examples")
    def update_examples(self, request: Request, dataset_id: UUID) -> Reply:
        return self._update(self.dataset(dataset_id), _example_parts(request))

    @route("POST", "/examples/bulk")
    def upload_examples_bulk(self, request: Request) -> list[JsonDict]:
        for dataset, sent in self._bulk(request):
            self._create(dataset, sent)
        return []

    @route("PATCH", "/examples/bulk")
    def update_examples_bulk(self, request: Request) -> JsonDict:
        for dataset, sent in self._bulk(request):
            self._update(dataset, sent)
        return {}

    def _bulk(self, request: Request) -> Iterable[tuple[Dataset, dict[UUID, _Sent]]]:
        """What was sent, by dataset."""
        found: dict[UUID, dict[UUID, _Sent]] = {}
        for each in json.loads(request.body):
            body = parse(ExampleBody, json.dumps(each).encode())
            info = ExampleInfo(metadata=body.metadata, split=body.split)
            dataset_id = body.dataset_id or self._latest(body.id)[0].row["id"]
            found.setdefault(dataset_id, {})[body.id] = _Sent(info, body.inputs, body.outputs)
        return [(self.dataset(dataset_id), sent) for dataset_id, sent in found.items()]

    def _create(self, dataset: Dataset, sent: dict[UUID, _Sent]) -> Reply:
        for key, each in sent.items():
            if key in dataset.history:
                raise rejected(409, f"example {key} already exists")
            if each.inputs is None:
                raise rejected(422, f"example {key}: {key}.inputs is required")
            if each.operations is not None:
                raise rejected(422, f"example {key}: attachments_operations is for updates")
        blank = Example({"inputs": None, "outputs": None, "metadata": {"dataset_split": ["base"]}}, {})
        return self._write(dataset, {key: (blank, each) for key, each in sent.items()})

    def _update(self, dataset: Dataset, sent: dict[UUID, _Sent]) -> Reply:
        """Fields that are not sent stay; so do attachments, unless attachments_operations says which."""
        changes = {}
        for key, each in sent.items():
            before = dataset.example(key)
            if before is None:
                raise rejected(404, f"example {key} not found")
            named = {*each.operations.retain, *each.operations.rename} if each.operations else set()
            if unknown := named - set(before.attachments):
                raise rejected(422, f"example {key} has no attachments {sorted(unknown)}")
            changes[key] = before, each
        return self._write(dataset, changes)

    def _write(self, dataset: Dataset, changes: dict[UUID, tuple[Example, _Sent]]) -> Reply:
        """One new version of the dataset, with all these changes."""
        if not changes:
            raise rejected(422, "no examples in the request")
        now = self.now()
        for key, (before, sent) in changes.items():
            old, info, kept = before.row, sent.info, before.attachments
            metadata = old["metadata"] if info.metadata is None else info.metadata
            split = info.split or metadata.get("dataset_split") or old["metadata"]["dataset_split"]
            if sent.operations is not None:
                kept = {name: each for name, each in kept.items() if name in sent.operations.retain}
                kept |= {new: before.attachments[name] for name, new in sent.operations.rename.items()}
            row = {
                "id": key,
                "dataset_id": dataset.row["id"],
                "name": f"#{str(key)[:4]} @ {dataset.row['name']}",
                "created_at": old.get("created_at") or info.created_at or now,
                "modified_at": now,
                "inputs": old["inputs"] if sent.inputs is None else sent.inputs,
                "outputs": old["outputs"] if sent.outputs is None else sent.outputs,
                "metadata": {**metadata, "dataset_split": [split] if isinstance(split, str) else split},
            }
            dataset.history.setdefault(key, []).append((now, Example(row, kept | sent.attachments)))
        self._version(dataset, now)
        return Reply({"count": len(changes), "example_ids": list(changes), "as_of": now}, status=201)

    def _version(self, dataset: Dataset, now: datetime) -> None:
        dataset.versions.append(now)
        dataset.row["modified_at"] = now

    @route("DELETE", "/examples", "example_ids")
    def delete_examples(self, request: Request) -> None:
        """From the latest version only: earlier ones keep them."""
        found = [(self._latest(key)[0], key) for key in uuids(request.query, "example_ids") or ()]
        now = self.now()
        for dataset, key in found:
            dataset.history[key].append((now, None))
        for dataset in {id(each): each for each, _ in found}.values():
            self._version(dataset, now)

    # --- sessions

    def session(self, session_id: UUID) -> JsonDict:
        if session_id not in self.sessions:
            raise refused(404, "Session not found")
        return self.sessions[session_id]

    @route("POST", "/sessions")
    def create_session(self, request: Request) -> JsonDict:
        body = parse(SessionCreate, request.body)
        if body.id in self.sessions or any(each["name"] == body.name for each in self.sessions.values()):
            raise refused(409, "Session already exists.")
        if body.reference_dataset_id is not None:
            self.dataset(body.reference_dataset_id)
        row = body.model_dump() | {
            "id": body.id or self.new_id(body.name),
            "tenant_id": self.tenant_id,
            "start_time": body.start_time or self.now(),
            "end_time": None,
        }
        self.sessions[row["id"]] = row
        return row

    @route("GET", "/sessions", "limit", "offset", "include_stats", "name", "reference_dataset")
    def list_sessions(self, request: Request) -> Sequence[JsonDict]:
        name, datasets = request.one("name"), uuids(request.query, "reference_dataset")
        found = [
            each
            for each in self.sessions.values()
            if name in (None, each["name"]) and (datasets is None or each["reference_dataset_id"] in datasets)
        ]
        return request.page(found)

    @route("GET", "/sessions/{}", "include_stats", "limit")
    def read_session(self, request: Request, session_id: UUID) -> JsonDict:
        return self.session(session_id)

    @route("PATCH", "/sessions/{}")
    def update_session(self, request: Request, session_id: UUID) -> JsonDict:
        session, body = self.session(session_id), parse(SessionUpdate, request.body)
        if body.end_time and body.end_time < session["start_time"]:
            raise refused(422, "end_time is before start_time")
        session |= body.model_dump(exclude_none=True)
        return session

    @route("DELETE", "/sessions/{}")
    def delete_session(self, request: Request, session_id: UUID) -> None:
        """With its runs and feedback."""
        self.session(session_id)
        del self.sessions[session_id]
        self.runs = {key: each for key, each in self.runs.items() if each.row["session_id"] != session_id}
        gone = [key for key, each in self.feedback.items() if each["session_id"] == session_id]
        for key in gone:
            self._feedback_of[self.feedback.pop(key)["run_id"]].remove(key)

    # --- runs

    @route("POST", "/runs/batch")
    def ingest_batch(self, request: Request) -> Reply:
        bodies = parse(RunBatch, request.body).post
        return self._ingest([parse(RunCreate, json.dumps(each).encode()) for each in bodies], [])

    @route("POST", "/runs/multipart")
    def ingest_multipart(self, request: Request) -> Reply:
        """Parts `post.{run}[.{field}]` and `feedback.{id}`."""
        runs: dict[UUID, JsonDict] = {}
        feedback = []
        for part in parts(request.body, request.content_type):
            if part.length is None:
                raise rejected(400, f"part {part.name}: Content-Length or a length parameter is required")
            event, _, rest = part.name.partition(".")
            key, _, name = rest.partition(".")
            run_id = _path_uuid(key)
            if event == "post" and not name:
                runs.setdefault(run_id, {}).update(_object(part))
            elif event == "post" and name in DATA:
                runs.setdefault(run_id, {})[name] = _json(part)
            elif event == "feedback" and not name:
                feedback.append(parse(FeedbackCreate, part.data))
                if feedback[-1].id != run_id or not feedback[-1].run_id or not feedback[-1].trace_id:
                    raise rejected(422, f"{part.name}: its id, run_id and trace_id are required")
            else:
                raise rejected(422, f"part {part.name!r} is unknown")
        for run_id, fields in runs.items():
            if fields.get("id") != str(run_id):
                raise rejected(422, f"post.{run_id}: id {fields.get('id')} is another")
        return self._ingest([_about(key, fields) for key, fields in runs.items()], feedback)

    def _ingest(self, bodies: Sequence[RunCreate], feedback: Sequence[FeedbackCreate]) -> Reply:
        """Keep a request's runs and feedback, all or none."""
        posted: dict[UUID, Run] = {}
        for body in bodies:
            if body.id in self.runs or body.id in posted:
                raise rejected(409, RECEIVED)
            path = [key for _, key in dotted_order(body)]
            if body.end_time < body.start_time:
                raise rejected(422, f"run {body.id}: end_time is before start_time")
            if body.session_id not in self.sessions:
                raise rejected(422, f"run {body.id}: session_id {body.session_id} is not a session")
            self._check_example(body)
            posted[body.id] = Run(body.model_dump(), path)
        for run in posted.values():
            parent = run.row["parent_run_id"]
            there = (posted.get(parent) or self.runs.get(parent)) if parent else None
            if there and (there.path, there.row["session_id"]) != (run.path[:-1], run.row["session_id"]):
                raise rejected(400, f"run {run.row['id']}: its path or project is not that of its parent")
        checked = [self._checked(each, posted) for each in feedback]
        self.runs |= posted
        self._received |= dict.fromkeys(posted, time.monotonic())
        for row in checked:
            self._keep(row)
        return Reply({"message": "Accepted"}, status=202, runs=len(posted))

    def _check_example(self, body: RunCreate) -> None:
        """An experiment's run refers to an example of its dataset."""
        dataset = self.datasets.get(self.sessions[body.session_id]["reference_dataset_id"] or body.session_id)
        if body.reference_example_id and (
            dataset is None or body.reference_example_id not in dataset.history
        ):
            raise rejected(422, f"run {body.id}: reference_example_id is not in the project's dataset")

    def _waits(self, item: Run | JsonDict) -> bool:
        """Whether something that a run or an entry of feedback belongs to is not there yet."""
        needed = item.path if isinstance(item, Run) else [item["run_id"]]
        return any(key is not None and key not in self.runs for key in needed)

    def held(self) -> list[UUID]:
        """Runs and feedback that wait for what they belong to."""
        return [key for items in (self.runs, self.feedback) for key in items if self._waits(items[key])]

    def _visible(self, items: dict[UUID, Received], keys: Iterable[UUID]) -> list[Received]:
        """Those that can be read: received long enough ago, and what they belong to is there."""
        ready = time.monotonic() - self.ingest_delay
        return [
            items[key]
            for key in keys
            if key in items and self._received[key] <= ready and not self._waits(items[key])
        ]

    @route("POST", "/runs/query")
    def query_runs(self, request: Request) -> JsonDict:
        """A page of runs, and the cursor of the next."""
        body = parse(RunsQuery, request.body)
        for session_id in body.session:
            self.session(session_id)
        found = [
            run
            for run in self._visible(self.runs, self.runs if body.id is None else dict.fromkeys(body.id))
            if run.row["session_id"] in body.session
            and (body.is_root is None or (len(run.path) == 1) == body.is_root)
        ]
        found.sort(
            key=lambda run: (run.row["start_time"], run.row["dotted_order"]), reverse=body.order == "desc"
        )
        offset = int(base64.b64decode(body.cursor)) if body.cursor else 0
        end = offset + body.limit
        following = base64.b64encode(str(end).encode()).decode() if end < len(found) else None
        rows = [_run_json(run) for run in found[offset:end]]
        if body.select is not None:
            if unknown := set(body.select) - {*RunCreate.model_fields, *COMPUTED}:
                raise refused(422, f"select: {', '.join(sorted(unknown))}")
            rows = [{key: row.get(key) for key in {"id", *body.select}} for row in rows]
        return {"runs": rows, "cursors": {"next": following}, "parsed_query": None}

    # --- feedback

    @route("POST", "/feedback")
    def create_feedback(self, request: Request) -> JsonDict:
        body = parse(FeedbackCreate, request.body)
        if body.run_id is not None and body.run_id not in self.runs:
            raise refused(404, f"Run {body.run_id} not found")
        row = self._checked(body, {})
        self._keep(row)
        return row

    def _checked(self, body: FeedbackCreate, posted: dict[UUID, Run]) -> JsonDict:
        if body.id in self.feedback:
            raise rejected(409, RECEIVED)
        if body.session_id is None:
            raise refused(422, f"feedback {body.key!r}: session_id is required")
        self.session(body.session_id)
        run = (posted.get(body.run_id) or self.runs.get(body.run_id)) if body.run_id else None
        if run and (body.session_id, body.trace_id) != (run.row["session_id"], run.row["trace_id"]):
            raise refused(
                422, f"feedback {body.key!r}: session_id or trace_id is not that of run {body.run_id}"
            )
        now = self.now()
        return body.model_dump() | {
            "created_at": body.created_at or now,
            "modified_at": body.modified_at or now,
        }

    def _keep(self, row: JsonDict) -> None:
        self.feedback[row["id"]] = row
        self._received[row["id"]] = time.monotonic()
        self._feedback_of.setdefault(row["run_id"], []).append(row["id"])

    @route("GET", "/feedback", "limit", "offset", "run", "session", "level")
    def list_feedback(self, request: Request) -> Sequence[JsonDict]:
        runs, sessions = uuids(request.query, "run"), uuids(request.query, "session")
        if runs is None and request.one("level") != "session":
            raise refused(422, "query parameters: run, or session and level=session")
        keys = [key for run in (runs or (None,)) for key in self._feedback_of.get(run, ())]
        found = [
            each
            for each in self._visible(self.feedback, keys)
            if sessions is None or each["session_id"] in sessions
        ]
        return request.page(sorted(found, key=lambda each: (each["created_at"], each["id"]), reverse=True))

    @route("PATCH", "/feedback/{}")
    def update_feedback(self, request: Request, feedback_id: UUID) -> JsonDict:
        if feedback_id not in self.feedback:
            raise refused(404, "Feedback not found")
        body = parse(FeedbackUpdate, request.body)
        self.feedback[feedback_id] |= body.model_dump(exclude_unset=True) | {"modified_at": self.now()}
        return self.feedback[feedback_id]

    # --- everything, for comparing

    def dump(self) -> JsonDict:
        """All there is, as plain JSON: equal before and after means that nothing was written."""
        whole = {
            "datasets": [
                self.dataset_json(dataset)
                | {
                    "versions": [dataset.version_json(each) for each in dataset.versions],
                    "examples": [_example_dump(each) for each in dataset.examples()],
                    "history": {
                        str(key): [[moment, _example_dump(each)] for moment, each in history]
                        for key, history in sorted(dataset.history.items())
                    },
                }
                for _, dataset in sorted(self.datasets.items())
            ],
            "sessions": [session for _, session in sorted(self.sessions.items())],
            "runs": [run.row for _, run in sorted(self.runs.items())],
            "feedback": [each for _, each in sorted(self.feedback.items())],
        }
        for dataset in whole["datasets"]:
            dataset["examples"].sort(key=lambda each: each["id"])
        plain: JsonDict = json.loads(json.dumps(whole, default=str, sort_keys=True))
        return plain

    def content(self) -> JsonDict:
        """The same without when it was written: equal where two servers were given the same."""
        scrubbed: JsonDict = _without_times(self.dump())
        return scrubbed


WHEN = "created_at modified_at as_of versions history example_version dataset_version".split()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(each) for key, each in value.items() if key not in WHEN}
    return [_without_times(each) for each in value] if isinstance(value, list) else value


def _example_dump(example: Example | None) -> Any:
    if example is None:
        return None
    return example.row | {
        "attachments": {name: each.data.hex() for name, each in example.attachments.items()}
    }


def _run_json(run: Run) -> JsonDict:
    """As a client reads it."""
    status = "success" if run.row["error"] is None else "error"
    return run.row | {"status": status, "parent_run_ids": run.path[:-1]}


@dataclass
class _Sent:
    """What was sent for one example."""

    info: ExampleInfo = field(default_factory=ExampleInfo)
    inputs: JsonDict | None = None
    outputs: JsonDict | None = None
    operations: AttachmentOperations | None = None
    attachments: dict[str, Attachment] = field(default_factory=dict)


def _example_parts(request: Request) -> dict[UUID, _Sent]:
    found: dict[UUID, _Sent] = {}
    described = set()
    for part in parts(request.body, request.content_type):
        key, _, rest = part.name.partition(".")
        example_id = _path_uuid(key)
        mine = found.setdefault(example_id, _Sent())
        kind, _, name = rest.partition(".")
        if kind == "attachment":
            if not name or part.length is None:
                raise rejected(422, f"part {part.name!r}: an attachment has a name and a length")
            mine.attachments[name] = Attachment(part.mime_type, part.data)
        elif part.mime_type != "application/json":
            raise rejected(422, f"part {part.name!r} is not application/json")
        elif rest == "":
            mine.info = parse(ExampleInfo, part.data)
            described.add(example_id)
        elif rest in ("inputs", "outputs"):
            setattr(mine, rest, _object(part))
        elif rest == "attachments_operations":
            mine.operations = parse(AttachmentOperations, part.data)
        else:
            raise rejected(422, f"part {part.name!r} is unknown")
    if missing := found.keys() - described:
        raise rejected(422, f"the part {next(iter(missing))} is missing")
    return found


def _about(run_id: UUID, fields: JsonDict) -> RunCreate:
    """Parsed; an error says which of the request's runs is wrong."""
    try:
        return parse(RunCreate, json.dumps(fields).encode())
    except ApiError as error:
        raise ApiError(error.status, {"error": f"run {run_id}", **error.body}) from None


def _object(part: Part) -> JsonDict:
    found = _json(part)
    if not isinstance(found, dict):
        raise rejected(422, f"part {part.name!r} is not a JSON object")
    return found


def _json(part: Part) -> Any:
    try:
        return json.loads(part.data)
    except ValueError:
        raise rejected(400, f"part {part.name!r} is not JSON") from None


def _path_uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise refused(422, f"{text!r} is not a UUID") from None
