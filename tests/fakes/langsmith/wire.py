"""What the LangSmith API accepts: its published request schemas as strict models, and the multipart bodies it takes.

Stricter than the service, so that a mistake cannot pass: an unknown field is an error here, where the service would
drop it silently. Facts are from the API reference (api.smith.langchain.com) and the client's source.
"""

import gzip
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.parser import HeaderParser
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

import zstandard
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

JsonDict = dict[str, Any]
DATA = ("inputs", "outputs", "extra", "error", "events", "serialized")  # a run's parts that may be sent apart


class ApiError(Exception):
    """An answer that is not a success: its HTTP status and its body."""

    def __init__(self, status: int, body: JsonDict) -> None:
        super().__init__(status, body)
        self.status, self.body = status, body


def refused(status: int, detail: str) -> ApiError:
    """As the Python side of the service words it."""
    return ApiError(status, {"detail": detail})


def rejected(status: int, error: str) -> ApiError:
    """As the ingestion side of the service words it."""
    return ApiError(status, {"error": error})


def _utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _precision(value: float | int | bool | None) -> float | int | bool | None:
    """Scores are stored as decimal(9, 4): more is refused, not rounded."""
    if isinstance(value, float) and (value != value or round(value, 4) != value):
        raise ValueError("score must have at most 4 decimal places")
    if value is not None and abs(value) >= 100_000:
        raise ValueError("score must lie between -99999.9999 and 99999.9999")
    return value


def _storable(text: str) -> str:
    """Databases store neither NUL nor half a surrogate pair."""
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("text has a NUL or a lone surrogate")
    return text


def _all_storable(value: JsonDict) -> JsonDict:
    waiting: list[Any] = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            _storable(each)
        elif isinstance(each, list):
            waiting += each
        elif isinstance(each, dict):
            waiting += [*each, *each.values()]
    return value


Moment = Annotated[datetime, AfterValidator(_utc)]
Score = Annotated[float | int | bool | None, AfterValidator(_precision)]
Text = Annotated[str, AfterValidator(_storable)]
Object = Annotated[JsonDict, AfterValidator(_all_storable)]


class Strict(BaseModel):
    """No unknown fields, no coercion."""

    model_config = ConfigDict(extra="forbid", strict=True)


class SessionCreate(Strict):
    """POST /sessions."""

    name: Text = Field(min_length=1)
    id: UUID | None = None
    start_time: Moment | None = None
    extra: Object | None = None
    description: Text | None = None
    reference_dataset_id: UUID | None = None
    # For the progress bar: kept by the service, never returned as they are.
    num_examples: int | None = None
    num_repetitions: int | None = None
    evaluator_keys: list[str] | None = None


class SessionUpdate(Strict):
    """PATCH /sessions/{id}: null is "as it was"."""

    name: None = None
    description: Text | None = None
    end_time: Moment | None = None
    extra: Object | None = None


class DatasetCreate(Strict):
    """POST /datasets."""

    name: Text = Field(min_length=1)
    description: Text | None = None
    created_at: Moment | None = None
    extra: Object | None = None
    data_type: Literal["kv"] = "kv"
    transformations: None = None


class DatasetUpdate(Strict):
    """PATCH /datasets/{id}."""

    metadata: Object


class VersionTag(Strict):
    """PUT /datasets/{id}/tags."""

    as_of: Moment | str
    tag: str = Field(min_length=1)


class AttachmentOperations(Strict):
    """What becomes of attachments that an example has: those neither kept nor renamed go."""

    rename: dict[str, str] = {}
    retain: list[str] = []


class ExampleInfo(Strict):
    """The part `{example_id}` of an upload or update. What a user's dataset holds is not questioned."""

    metadata: JsonDict | None = None
    split: str | list[str] | None = None
    created_at: Moment | None = None
    use_source_run_io: Literal[False] = False


class ExampleBody(ExampleInfo):
    """One of POST or PATCH /examples/bulk, of deployments without the multipart endpoints."""

    dataset_id: UUID | None = None
    id: UUID
    inputs: JsonDict | None = None
    outputs: JsonDict | None = None


class RunCreate(Strict):
    """A whole run, as in a batch: nothing is derived for its sender."""

    id: UUID
    trace_id: UUID
    dotted_order: str
    parent_run_id: UUID | None = None
    name: Text = Field(min_length=1, max_length=128)
    run_type: Literal["tool", "chain", "llm", "retriever", "embedding", "prompt", "parser"]
    start_time: Moment
    end_time: Moment
    session_id: UUID
    session_name: None = None
    reference_example_id: UUID | None = None
    tags: list[Text] | None = None
    inputs: Object | None = None
    outputs: Object | None = None
    extra: Object | None = None
    error: Text | None = None
    events: list[Object] | None = None
    serialized: Object | None = None
    status: str | None = None


class RunBatch(Strict):
    """POST /runs/batch."""

    post: list[JsonDict] = []
    patch: list[JsonDict] = Field([], max_length=0)


class RunsQuery(Strict):
    """POST /runs/query."""

    id: list[UUID] | None = None
    session: list[UUID]
    is_root: bool | None = None
    cursor: str | None = None
    limit: int = Field(100, ge=1, le=100)
    select: list[str] | None = None
    order: Literal["asc", "desc"] = "desc"
    skip_pagination: bool | None = None
    skip_prev_cursor: bool = False


class ExperimentQuery(Strict):
    """POST /datasets/{id}/runs."""

    session_ids: list[UUID] = Field(min_length=1)
    offset: int = Field(0, ge=0)
    limit: int | None = Field(None, ge=1)
    preview: bool = False
    comparative_experiment_id: None = None
    filters: None = None


class FeedbackSource(Strict):
    """Who gave feedback."""

    type: Literal["api", "model", "app", "auto_eval"]
    metadata: Object | None = None
    user_id: None = None
    user_name: None = None


class FeedbackCreate(Strict):
    """POST /feedback, and the part `feedback.{id}` of an ingestion."""

    key: Text = Field(min_length=1, max_length=180)
    id: UUID
    created_at: Moment | None = None
    modified_at: Moment | None = None
    score: Score = None
    value: float | int | bool | Text | Object | None = None
    comment: Text | None = None
    correction: None = None
    feedback_group_id: None = None
    comparative_experiment_id: None = None
    run_id: UUID | None = None
    session_id: UUID | None = None
    trace_id: UUID | None = None
    start_time: Moment | None = None
    feedback_source: FeedbackSource | None = None
    feedback_config: None = None
    error: bool | None = None
    extra: Object | None = None
    extend_trace_retention: bool = True


class FeedbackUpdate(Strict):
    """PATCH /feedback/{id}."""

    score: Score = None
    value: None = None
    comment: Text | None = None


Sent = TypeVar("Sent", bound=Strict)


def parse(model: type[Sent], body: bytes) -> Sent:
    """The body as the endpoint's schema has it.

    Raises:
        ApiError: 422, naming every field that is missing, unknown or of the wrong type.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        problems = [
            {"loc": ["body", *each["loc"]], "msg": each["msg"], "type": each["type"]}
            for each in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise ApiError(422, {"detail": problems}) from None


def content(body: bytes, encoding: str | None) -> bytes:
    """The body without its Content-Encoding."""
    match encoding:
        case None:
            return body
        case "zstd":
            with zstandard.ZstdDecompressor().stream_reader(body) as reader:
                return reader.read()
        case "gzip":
            return gzip.decompress(body)
        case _:
            raise rejected(415, f"unsupported Content-Encoding {encoding!r}")


@dataclass(frozen=True)
class Part:
    """One part of a multipart body. `length`: as declared."""

    name: str
    mime_type: str
    length: int | None
    data: bytes


def parts(body: bytes, content_type: str) -> Iterator[Part]:
    """The parts of a multipart/form-data body, in order.

    Raises:
        ApiError: 400, it is another type, it is cut off, or a part is not what its headers say.
    """
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_boundary()
    if header.get_content_type() != "multipart/form-data" or not boundary:
        raise rejected(400, "expected multipart/form-data with a boundary")
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode())
    if len(pieces) < 2 or pieces[0] or pieces[-1].strip() != b"--":
        raise rejected(400, "the multipart body is cut off")
    for piece in pieces[1:-1]:
        head, separator, data = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if not separator:
            raise rejected(400, "a part without headers")
        headers = HeaderParser().parsestr(head.decode())
        name = headers.get_param("name", header="content-disposition")
        if not isinstance(name, str) or "Content-Type" not in headers:
            raise rejected(400, "every part needs a name and a Content-Type")
        if "Content-Encoding" in headers:
            raise rejected(400, f"part {name}: Content-Encoding is not allowed in a part")
        declared = headers.get("Content-Length") or headers.get_param("length")
        length = int(declared) if isinstance(declared, str) else None
        if length is not None and length != len(data):
            raise rejected(400, f"part {name}: {len(data)} bytes, declared {length}")
        yield Part(name, headers["Content-Type"].split(";")[0].strip(), length, data)


_DOTTED = re.compile(r"(\d{8}T\d{12}Z)([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


def dotted_order(run: RunCreate) -> list[tuple[datetime, UUID]]:
    """Start and id of each run from the root to this one.

    Raises:
        ApiError: 400, it contradicts the run's ids and times, in the service's words where they are known.
    """
    text = run.dotted_order
    found = [_DOTTED.fullmatch(piece) for piece in text.split(".")]
    path = [
        (datetime.strptime(each[1], "%Y%m%dT%H%M%S%fZ").replace(tzinfo=UTC), UUID(each[2]))
        for each in found
        if each
    ]
    parent = path[-2][1] if len(path) > 1 else None
    wrong = {
        f"{text!r} is not <time>Z<run id>[.<time>Z<run id>]...": len(path) != len(found),
        f"trace_id {run.trace_id} does not match first part": bool(path) and path[0][1] != run.trace_id,
        "run_id does not match last part": bool(path) and path[-1][1] != run.id,
        "must contain a single part for root runs": run.parent_run_id is None and len(path) > 1,
        "parent_run_id does not match second last part": parent != run.parent_run_id,
        "a run starts before its parent": any(earlier > later for (earlier, _), (later, _) in pairwise(path)),
        "start_time does not match last part": bool(path) and run.start_time != path[-1][0],
    }
    for problem, is_so in wrong.items():
        if is_so:
            raise rejected(400, f"invalid 'dotted_order' of run {run.id}: {problem}")
    return path


def uuids(query: Mapping[str, list[str]], name: str) -> list[UUID] | None:
    """A list parameter; None where it is not given."""
    try:
        return [UUID(text) for text in query[name]] if name in query else None
    except ValueError:
        raise refused(422, f"query parameter {name}: not a UUID") from None
