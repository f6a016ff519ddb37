"""The endpoints of the LangSmith API that the client calls for datasets, experiments, runs and feedback."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID, uuid4

from tests.fakes.langsmith.state import WHOLE, Attachment, Dataset, Example, Ingestion
from tests.fakes.langsmith.wire import (
    DATA,
    ApiError,
    AttachmentOperations,
    BatchCreate,
    DatasetCreate,
    DatasetUpdate,
    ExampleCreate,
    ExampleInfo,
    ExamplesDelete,
    ExampleUpdate,
    ExperimentQuery,
    FeedbackCreate,
    FeedbackUpdate,
    JsonDict,
    Part,
    RunBatch,
    RunCreate,
    RunFields,
    RunsQuery,
    SessionCreate,
    SessionUpdate,
    VersionTag,
    parse,
    parts,
    refused,
    rejected,
    uuids,
)

if TYPE_CHECKING:
    from tests.fakes.langsmith.server import Info, Reply, Request

    Route = Callable[..., Any]

Item = TypeVar("Item")
Sent = TypeVar("Sent", bound=RunFields)

ROUTES: list[tuple[str, re.Pattern[str], Route, frozenset[str]]] = []


def route(method: str, path: str, *query: str) -> Callable[[Route], Route]:
    """Register an endpoint: `{}` in its path is a UUID; other query parameters than these are refused."""
    pattern = re.compile(path.replace("{}", "([^/]+)"))

    def register(function: Route) -> Route:
        ROUTES.append((method, pattern, function, frozenset(query)))
        return function

    return register


def answer(request: Request, multipart: Info) -> Reply:
    """Find the endpoint and call it.

    Raises:
        ApiError: whatever is wrong with the request.
    """
    from tests.fakes.langsmith.server import Reply

    allowed = []
    for method, pattern, function, query in ROUTES:
        found = pattern.fullmatch(request.path)
        if not found:
            continue
        if method != request.method:
            allowed.append(method)
            continue
        if not multipart.examples_multipart and request.path.startswith("/platform/"):
            break
        if not multipart.use_multipart_endpoint and request.path == "/runs/multipart":
            break
        if unknown := set(request.query) - query:
            raise refused(422, f"unknown query parameters: {', '.join(sorted(unknown))}")
        given = function(request, *map(_path_uuid, found.groups()))
        return given if isinstance(given, Reply) else Reply(given)
    if allowed:
        raise refused(405, "Method Not Allowed")
    raise refused(404, "Not Found")


def _path_uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise refused(422, f"path: {text!r} is not a UUID") from None


def _one(request: Request, name: str) -> str | None:
    values = request.query.get(name)
    return values[-1] if values else None


def _metadata_filter(request: Request) -> JsonDict:
    text = _one(request, "metadata")
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise refused(422, "query parameter metadata: not a JSON object")
    return found


def _page(request: Request, found: Sequence[Item]) -> Sequence[Item]:
    """The page that limit and offset ask for: 1 to 100 rows."""
    try:
        offset, limit = int(_one(request, "offset") or 0), int(_one(request, "limit") or 100)
    except ValueError:
        raise refused(422, "query parameters limit and offset: not a number") from None
    if offset < 0 or not 1 <= limit <= 100:
        raise refused(422, "query parameter limit must be 1 to 100, offset not below 0")
    return found[offset : offset + limit]


def _contains(whole: JsonDict | None, wanted: JsonDict) -> bool:
    return all((whole or {}).get(key) == value for key, value in wanted.items())


# tenant


@route("GET", "/settings")
def read_settings(request: Request) -> JsonDict:
    tenant = request.state.tenant_id
    return {"id": tenant, "display_name": "Test", "created_at": datetime(2026, 1, 1, tzinfo=UTC)}


# sessions


@route("POST", "/sessions", "upsert")
def create_session(request: Request) -> JsonDict:
    upsert = (_one(request, "upsert") or "").lower() == "true"
    return request.state.session_json(
        request.state.create_session(parse(SessionCreate, request.body), upsert=upsert)
    )


SESSION_FILTERS = (
    "id",
    "name",
    "name_contains",
    "reference_dataset",
    "reference_free",
    "metadata",
    "dataset_version",
)


@route("GET", "/sessions", "limit", "offset", "include_stats", *SESSION_FILTERS)
def list_sessions(request: Request) -> list[JsonDict]:
    wanted, datasets = uuids(request.query, "id"), uuids(request.query, "reference_dataset")
    name, part = _one(request, "name"), _one(request, "name_contains")
    free, metadata = _one(request, "reference_free"), _metadata_filter(request)
    found = [
        each
        for each in request.state.sessions.values()
        if (wanted is None or each.id in wanted)
        and (datasets is None or each.reference_dataset_id in datasets)
        and (name is None or each.name == name)
        and (part is None or part.lower() in each.name.lower())
        and (free is None or (each.reference_dataset_id is None) == (free.lower() == "true"))
        and _contains((each.extra or {}).get("metadata"), metadata)
    ]
    found.sort(key=lambda each: each.start_time, reverse=True)
    return [request.state.session_json(each, stats=_stats(request)) for each in _page(request, found)]


def _stats(request: Request) -> bool:
    return (_one(request, "include_stats") or "").lower() == "true"


@route("GET", "/sessions/{}", "include_stats", "limit")
def read_session(request: Request, session_id: UUID) -> JsonDict:
    return request.state.session_json(request.state.session(session_id), stats=_stats(request))


@route("PATCH", "/sessions/{}")
def update_session(request: Request, session_id: UUID) -> JsonDict:
    session = request.state.session(session_id)
    return request.state.session_json(
        request.state.update_session(session, parse(SessionUpdate, request.body))
    )


@route("DELETE", "/sessions/{}")
def delete_session(request: Request, session_id: UUID) -> None:
    request.state.delete_session(request.state.session(session_id))


# datasets


@route("POST", "/datasets")
def create_dataset(request: Request) -> JsonDict:
    return request.state.dataset_json(request.state.create_dataset(parse(DatasetCreate, request.body)))


@route("GET", "/datasets", "limit", "offset", "id", "name", "name_contains", "data_type", "metadata")
def list_datasets(request: Request) -> list[JsonDict]:
    wanted, metadata = uuids(request.query, "id"), _metadata_filter(request)
    name, part, types = _one(request, "name"), _one(request, "name_contains"), request.query.get("data_type")
    found = [
        each
        for each in request.state.datasets.values()
        if (wanted is None or each.id in wanted)
        and (name is None or each.name == name)
        and (part is None or part.lower() in each.name.lower())
        and (types is None or each.data_type in types)
        and _contains(each.metadata, metadata)
    ]
    return [request.state.dataset_json(each) for each in _page(request, found)]


@route("GET", "/datasets/{}", "limit")
def read_dataset(request: Request, dataset_id: UUID) -> JsonDict:
    return request.state.dataset_json(request.state.dataset(dataset_id))


@route("PATCH", "/datasets/{}")
def update_dataset(request: Request, dataset_id: UUID) -> JsonDict:
    dataset = request.state.dataset(dataset_id)
    return request.state.dataset_json(
        request.state.update_dataset(dataset, parse(DatasetUpdate, request.body))
    )


@route("DELETE", "/datasets/{}")
def delete_dataset(request: Request, dataset_id: UUID) -> None:
    request.state.delete_dataset(request.state.dataset(dataset_id))


@route("GET", "/datasets/{}/versions", "limit", "offset", "search", "example")
def list_versions(request: Request, dataset_id: UUID) -> Sequence[JsonDict]:
    dataset = request.state.dataset(dataset_id)
    found = request.state.versions_json(dataset)
    if search := _one(request, "search"):
        found = [each for each in found if any(search in tag for tag in each["tags"] or ())]
    if examples := uuids(request.query, "example"):
        changed = {moment for moment, _ in dataset.history.get(examples[0], [])}
        found = [each for each in found if each["as_of"] in changed]
    return _page(request, found)


@route("GET", "/datasets/{}/version", "as_of", "tag")
def read_version(request: Request, dataset_id: UUID) -> JsonDict:
    dataset = request.state.dataset(dataset_id)
    as_of, tag = _one(request, "as_of"), _one(request, "tag")
    if (as_of is None) == (tag is None):
        raise refused(422, "exactly one of as_of and tag is required")
    moment = request.state.version_at(dataset, as_of or tag or "")
    return request.state.version_json(dataset, moment)


@route("PUT", "/datasets/{}/tags")
def tag_version(request: Request, dataset_id: UUID) -> JsonDict:
    dataset = request.state.dataset(dataset_id)
    body = parse(VersionTag, request.body)
    moment = request.state.moment(dataset, body.as_of) if isinstance(body.as_of, str) else body.as_of
    moment = moment or (dataset.versions[-1] if dataset.versions else None)
    if moment not in dataset.versions or body.tag == "latest":
        raise refused(404, f"Dataset version {body.as_of} not found, or {body.tag!r} cannot be set")
    dataset.tags[body.tag] = moment
    return request.state.version_json(dataset, moment)


@route("GET", "/datasets/{}/splits", "as_of")
def list_splits(request: Request, dataset_id: UUID) -> list[str]:
    dataset = request.state.dataset(dataset_id)
    examples = dataset.examples(request.state.moment(dataset, _one(request, "as_of")))
    return sorted({split for each in examples for split in each.metadata["dataset_split"]})


@route("POST", "/datasets/{}/runs")
def experiment_rows(request: Request, dataset_id: UUID) -> list[JsonDict]:
    dataset = request.state.dataset(dataset_id)
    return request.state.experiment_rows(dataset, parse(ExperimentQuery, request.body))


# examples

EXAMPLE_FIELDS = frozenset(
    "id created_at modified_at name dataset_id source_run_id metadata inputs outputs attachment_urls".split()
)


def _select(request: Request) -> list[str]:
    select = request.query.get("select", [])
    if unknown := set(select) - EXAMPLE_FIELDS:
        raise refused(422, f"query parameter select: {', '.join(sorted(unknown))}")
    return select


@route(
    "GET",
    "/examples",
    *(
        "limit",
        "offset",
        "id",
        "dataset",
        "as_of",
        "metadata",
        "splits",
        "select",
        "exclude_default_fields",
        "inline_s3_urls",
        "order",
    ),
)
def list_examples(request: Request) -> list[JsonDict]:
    wanted, datasets = uuids(request.query, "id"), uuids(request.query, "dataset")
    if wanted is None and datasets is None:
        raise refused(422, "one of the query parameters id and dataset is required")
    as_of, splits, metadata = _one(request, "as_of"), request.query.get("splits"), _metadata_filter(request)
    select = _select(request)
    chosen: Iterable[Dataset] = (
        [request.state.dataset(each) for each in datasets] if datasets else request.state.datasets.values()
    )
    found = [
        example
        for dataset in chosen
        for example in dataset.examples(request.state.moment(dataset, as_of))
        if (wanted is None or example.id in wanted)
        and (splits is None or set(splits) & set(example.metadata["dataset_split"]))
        and _contains(example.metadata, metadata)
    ]
    defaults = (_one(request, "exclude_default_fields") or "").lower() != "true"
    return [request.state.example_json(each, select, defaults=defaults) for each in _page(request, found)]


@route("GET", "/examples/{}", "as_of", "dataset")
def read_example(request: Request, example_id: UUID) -> JsonDict:
    if as_of := _one(request, "as_of"):
        for dataset in request.state.datasets.values():
            if example_id in dataset.history:
                example = dataset.example(example_id, request.state.moment(dataset, as_of))
                if example:
                    return request.state.example_json(example, WHOLE)
        raise refused(404, f"Example {example_id} not found")
    return request.state.example_json(request.state.find_example(example_id)[1], WHOLE)


@route("POST", "/platform/datasets/{}/examples")
def upload_examples(request: Request, dataset_id: UUID) -> Reply:
    """New examples, each of several parts: all of them or none."""
    dataset = request.state.dataset(dataset_id)
    changes = []
    for example_id, fields in _example_parts(request).items():
        if example_id in dataset.history:
            raise rejected(409, f"example {example_id} already exists")
        if fields.inputs is None and not fields.info.use_source_run_io:
            raise rejected(422, f"example {example_id}: {example_id}.inputs is required")
        if fields.operations is not None:
            raise rejected(422, f"example {example_id}: attachments_operations is for updates")
        changes.append(partial(_new_example, dataset, example_id, fields))
    return _written(request, dataset, changes)


@route("PATCH", "/platform/datasets/{}/examples")
def update_examples(request: Request, dataset_id: UUID) -> Reply:
    """Fields that are not sent stay; so do attachments, unless attachments_operations says which."""
    dataset = request.state.dataset(dataset_id)
    changes = []
    for example_id, fields in _example_parts(request).items():
        before = dataset.example(example_id)
        if before is None:
            raise rejected(404, f"example {example_id} not found")
        if fields.operations:
            named = {*fields.operations.retain, *fields.operations.rename}
            if unknown := named - set(before.attachments):
                raise rejected(422, f"example {example_id} has no attachments {sorted(unknown)}")
        changes.append(partial(_changed_example, before, fields))
    return _written(request, dataset, changes)


def _written(request: Request, dataset: Dataset, changes: Sequence[Callable[[datetime], Example]]) -> Reply:
    from tests.fakes.langsmith.server import Reply

    made: list[Example] = []

    def noted(change: Callable[[datetime], Example], now: datetime) -> Example:
        made.append(change(now))
        return made[-1]

    if not changes:
        raise rejected(422, "no examples in the request")
    now = request.state.write_examples(dataset, [partial(noted, change) for change in changes])
    return Reply({"count": len(made), "example_ids": [each.id for each in made], "as_of": now}, status=201)


class _ExampleParts:
    """What was sent for one example."""

    def __init__(self) -> None:
        self.info = ExampleInfo()
        self.has_info = False
        self.inputs: JsonDict | None = None
        self.outputs: JsonDict | None = None
        self.operations: AttachmentOperations | None = None
        self.attachments: dict[str, Attachment] = {}


def _example_parts(request: Request) -> dict[UUID, _ExampleParts]:
    found: dict[UUID, _ExampleParts] = {}
    for part in parts(request.body, request.content_type):
        key, _, rest = part.name.partition(".")
        try:
            mine = found.setdefault(UUID(key), _ExampleParts())
        except ValueError:
            raise rejected(422, f"part {part.name!r} does not begin with an example's id") from None
        kind, _, name = rest.partition(".")
        if kind == "attachment":
            if not name or part.content_length is None:
                raise rejected(422, f"part {part.name!r}: an attachment has a name and a length")
            mine.attachments[name] = Attachment(part.mime_type, part.data)
        elif part.mime_type != "application/json":
            raise rejected(422, f"part {part.name!r} is not application/json")
        elif rest == "":
            mine.info, mine.has_info = parse(ExampleInfo, part.data), True
        elif rest in ("inputs", "outputs"):
            setattr(mine, rest, _object(part))
        elif rest == "attachments_operations":
            mine.operations = parse(AttachmentOperations, part.data)
        else:
            raise rejected(422, f"part {part.name!r} is unknown")
    if missing := [str(key) for key, mine in found.items() if not mine.has_info]:
        raise rejected(422, f"the part {missing[0]} is missing")
    return found


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


def _split(split: str | list[str] | None, before: list[str]) -> list[str]:
    return before if split is None else [split] if isinstance(split, str) else split


def _new_example(dataset: Dataset, example_id: UUID, sent: _ExampleParts, now: datetime) -> Example:
    split = _split(sent.info.split, (sent.info.metadata or {}).get("dataset_split") or ["base"])
    return Example(
        id=example_id,
        dataset_id=dataset.id,
        name=f"#{str(example_id)[:4]} @ {dataset.name}",
        created_at=sent.info.created_at or now,
        modified_at=now,
        inputs=sent.inputs,
        outputs=sent.outputs,
        metadata={**(sent.info.metadata or {}), "dataset_split": split},
        source_run_id=sent.info.source_run_id,
        attachments=sent.attachments,
    )


def _changed_example(before: Example, sent: _ExampleParts, now: datetime) -> Example:
    metadata = before.metadata if sent.info.metadata is None else sent.info.metadata
    kept = before.attachments
    if (operations := sent.operations) is not None:
        kept = {name: each for name, each in kept.items() if name in operations.retain}
        kept |= {new: before.attachments[old] for old, new in operations.rename.items()}
    return Example(
        id=before.id,
        dataset_id=before.dataset_id,
        name=before.name,
        created_at=before.created_at,
        modified_at=now,
        inputs=before.inputs if sent.inputs is None else sent.inputs,
        outputs=before.outputs if sent.outputs is None else sent.outputs,
        metadata={
            **metadata,
            "dataset_split": _split(sent.info.split, before.metadata["dataset_split"]),
        },
        source_run_id=before.source_run_id,
        attachments=kept | sent.attachments,
    )


def _legacy(body: ExampleCreate | ExampleUpdate) -> _ExampleParts:
    sent = _ExampleParts()
    sent.info = ExampleInfo(metadata=body.metadata, split=body.split)
    sent.inputs, sent.outputs = body.inputs, body.outputs
    return sent


def _create_legacy(request: Request, bodies: Sequence[ExampleCreate]) -> list[JsonDict]:
    for body in bodies:
        dataset = request.state.dataset(body.dataset_id)
        if body.inputs is None:
            raise refused(422, "inputs: Field required")
        if body.id in dataset.history:
            raise refused(409, f"example {body.id} already exists")
    made = []
    for dataset_id in dict.fromkeys(body.dataset_id for body in bodies):
        dataset = request.state.dataset(dataset_id)
        mine = [(body.id or uuid4(), body) for body in bodies if body.dataset_id == dataset_id]
        changes = [partial(_new_example, dataset, key, _legacy(body)) for key, body in mine]
        request.state.write_examples(dataset, changes)
        made += [request.state.example_json(request.state.find_example(key)[1]) for key, _ in mine]
    return made


@route("POST", "/examples")
def create_example(request: Request) -> JsonDict:
    return _create_legacy(request, [parse(ExampleCreate, request.body)])[0]


@route("POST", "/examples/bulk")
def create_examples(request: Request) -> list[JsonDict]:
    return _create_legacy(request, [parse(ExampleCreate, each) for each in _array(request)])


@route("PATCH", "/examples/bulk")
def update_examples_bulk(request: Request) -> JsonDict:
    bodies = [parse(ExampleUpdate, each) for each in _array(request)]
    for body in bodies:
        if body.id is None:
            raise refused(422, "id: Field required")
        _update_legacy(request, body.id, body)
    return {"message": f"{len(bodies)} examples updated"}


@route("PATCH", "/examples/{}")
def update_example(request: Request, example_id: UUID) -> JsonDict:
    _update_legacy(request, example_id, parse(ExampleUpdate, request.body))
    return {"message": "Example updated"}


def _update_legacy(request: Request, example_id: UUID, body: ExampleUpdate) -> None:
    dataset, before = request.state.find_example(example_id)
    request.state.write_examples(dataset, [partial(_changed_example, before, _legacy(body))])


def _array(request: Request) -> list[bytes]:
    try:
        found = json.loads(request.body)
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise refused(422, "body: not a JSON array")
    return [json.dumps(each).encode() for each in found]


@route("DELETE", "/examples/{}")
def delete_example(request: Request, example_id: UUID) -> None:
    request.state.delete_examples([example_id])


@route("DELETE", "/examples", "example_ids")
def delete_examples(request: Request) -> None:
    wanted = uuids(request.query, "example_ids")
    if not wanted:
        raise refused(422, "query parameter example_ids: Field required")
    request.state.delete_examples(wanted)


@route("POST", "/platform/datasets/examples/delete")
def hard_delete_examples(request: Request) -> JsonDict:
    body = parse(ExamplesDelete, request.body)
    request.state.erase_examples(body.example_ids)
    return {"count": len(body.example_ids), "example_ids": body.example_ids}


# runs


@route("POST", "/runs")
def create_run(request: Request) -> Reply:
    """Without trace_id and dotted_order they are made here, as the service does for single runs."""
    from tests.fakes.langsmith.server import Reply

    body = parse(RunCreate, request.body)
    if body.dotted_order is None:
        parent = request.state.runs.get(body.parent_run_id) if body.parent_run_id else None
        if body.parent_run_id and parent is None:
            raise rejected(422, f"run {body.id}: parent_run_id {body.parent_run_id} not found")
        prefix = f"{parent.fields.dotted_order}." if parent else ""
        start = f"{body.start_time.astimezone(UTC):%Y%m%dT%H%M%S%fZ}"
        trace = parent.fields.trace_id if parent else body.id
        body = body.model_copy(update={"trace_id": trace, "dotted_order": f"{prefix}{start}{body.id}"})
    request.state.ingest(Ingestion(posts=[body]))
    return Reply({"message": "Run created"}, status=202, runs=1)


@route("PATCH", "/runs/{}")
def update_run(request: Request, run_id: UUID) -> Reply:
    from tests.fakes.langsmith.server import Reply

    body = parse(RunFields, json.dumps({**json.loads(request.body), "id": str(run_id)}).encode())
    request.state.ingest(Ingestion(patches=[body]))
    return Reply({"message": "Run updated"}, status=202)


@route("POST", "/runs/batch")
def ingest_batch(request: Request) -> Reply:
    from tests.fakes.langsmith.server import Reply

    body = parse(RunBatch, request.body)
    posts = [parse(BatchCreate, json.dumps(each).encode()) for each in body.post]
    patches = [parse(RunFields, json.dumps(each).encode()) for each in body.patch]
    request.state.ingest(Ingestion(posts=list(posts), patches=patches))
    return Reply({"message": "Runs batch ingested"}, status=202, runs=len(posts))


@route("POST", "/runs/multipart")
def ingest_multipart(request: Request) -> Reply:
    """Parts `post|patch.{run}[.{field}]`, `feedback.{id}` and `attachment.{run}.{name}`."""
    from tests.fakes.langsmith.server import Reply

    runs: dict[tuple[str, UUID], JsonDict] = {}
    batch = Ingestion()
    for part in parts(request.body, request.content_type):
        if part.content_length is None:
            raise rejected(400, f"part {part.name}: Content-Length or a length parameter is required")
        event, _, rest = part.name.partition(".")
        key, _, name = rest.partition(".")
        try:
            run_id = UUID(key)
        except ValueError:
            raise rejected(422, f"part {part.name!r}: {key!r} is not a UUID") from None
        if event in ("post", "patch") and not name:
            runs.setdefault((event, run_id), {}).update(_object(part))
        elif event in ("post", "patch") and name in DATA:
            runs.setdefault((event, run_id), {})[name] = _json(part)
        elif event == "feedback" and not name:
            batch.feedback.append(_feedback(part, run_id))
        elif event == "attachment" and name and "." not in name:
            batch.attachments.setdefault(run_id, {})[name] = Attachment(part.mime_type, part.data)
        else:
            raise rejected(422, f"part {part.name!r} is unknown")
    for (event, run_id), fields in runs.items():
        if fields.get("id") != str(run_id):
            raise rejected(422, f"{event}.{run_id}: id {fields.get('id')} is another")
        encoded = json.dumps(fields).encode()
        if event == "post":
            batch.posts.append(_about(run_id, BatchCreate, encoded))
        else:
            batch.patches.append(_about(run_id, RunFields, encoded))
    request.state.ingest(batch)
    return Reply({"message": "Accepted"}, status=202, runs=len(batch.posts))


def _about(run_id: UUID, model: type[Sent], body: bytes) -> Sent:
    """Parsed; an error says which of the request's runs is wrong."""
    try:
        return parse(model, body)
    except ApiError as error:
        raise ApiError(error.status, {"error": f"run {run_id}", **error.body}) from None


def _feedback(part: Part, feedback_id: UUID) -> FeedbackCreate:
    body = parse(FeedbackCreate, part.data)
    if body.id != feedback_id:
        raise rejected(422, f"feedback.{feedback_id}: id {body.id} is another")
    if body.trace_id is None or body.run_id is None:
        raise rejected(422, f"feedback.{feedback_id}: trace_id and run_id are required")
    return body


@route("POST", "/runs/query")
def query_runs(request: Request) -> JsonDict:
    return request.state.query_runs(parse(RunsQuery, request.body))


@route("GET", "/runs/{}", "session_id", "start_time", "exclude_s3_stored_attributes", "exclude_serialized")
def read_run(request: Request, run_id: UUID) -> JsonDict:
    run = request.state.runs.get(run_id)
    if run is None or not request.state.is_visible(run):
        raise refused(404, "Run not found")
    return request.state.run_json(run)


# feedback


@route("POST", "/feedback")
def create_feedback(request: Request) -> JsonDict:
    return request.state.feedback_json(request.state.create_feedback(parse(FeedbackCreate, request.body)))


@route("GET", "/feedback", "limit", "offset", "run", "key", "session", "source", "level", "has_score")
def list_feedback(request: Request) -> list[JsonDict]:
    runs, sessions = uuids(request.query, "run"), uuids(request.query, "session")
    keys, level = request.query.get("key"), _one(request, "level")
    sources = request.query.get("source")
    if level not in (None, "run", "session"):
        raise refused(422, "query parameter level: run or session")
    state = request.state
    candidates = (
        state.visible_feedback()
        if runs is None
        else [each for run in runs for each in state.feedback_of(run)]
    )
    found = [
        each
        for each in candidates
        if (keys is None or each.fields.key in keys)
        and (sessions is None or state.session_of(each) in sessions)
        and (level is None or (each.fields.run_id is None) == (level == "session"))
        and (sources is None or (each.fields.feedback_source and each.fields.feedback_source.type in sources))
    ]
    found.sort(key=lambda each: (each.created_at, each.id), reverse=True)
    return [state.feedback_json(each) for each in _page(request, found)]


def _found(request: Request, feedback_id: UUID) -> Any:
    if feedback_id not in request.state.feedback:
        raise refused(404, "Feedback not found")
    return request.state.feedback[feedback_id]


@route("GET", "/feedback/{}", "include_user_names")
def read_feedback(request: Request, feedback_id: UUID) -> JsonDict:
    return request.state.feedback_json(_found(request, feedback_id))


@route("PATCH", "/feedback/{}")
def update_feedback(request: Request, feedback_id: UUID) -> JsonDict:
    feedback = _found(request, feedback_id)
    return request.state.feedback_json(
        request.state.update_feedback(feedback, parse(FeedbackUpdate, request.body))
    )


@route("DELETE", "/feedback/{}")
def delete_feedback(request: Request, feedback_id: UUID) -> None:
    request.state.delete_feedback(_found(request, feedback_id))
