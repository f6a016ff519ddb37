"""What the LangSmith API accepts: its published request schemas as strict models, and the multipart bodies it takes.

Stricter than the service, so that a mistake of ours cannot pass: an unknown field is an error here, where the service
would drop it silently. Facts are from the API reference (api.smith.langchain.com) and the client's own source.
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
RunType = Literal["tool", "chain", "llm", "retriever", "embedding", "prompt", "parser"]
DATA = ("inputs", "outputs", "extra", "error", "events", "serialized")  # a run's parts that may be sent apart


class ApiError(Exception):
    """An answer that is not a success: its HTTP status and its body."""

    def __init__(self, status: int, body: JsonDict) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body


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


Moment = Annotated[datetime, AfterValidator(_utc)]
Score = Annotated[float | int | bool | None, AfterValidator(_precision)]
Value = float | int | bool | str | JsonDict | None


class Strict(BaseModel):
    """No unknown fields, no coercion."""

    model_config = ConfigDict(extra="forbid", strict=True)


class SessionCreate(Strict):
    """POST /sessions."""

    name: str = Field(min_length=1)
    id: UUID | None = None
    start_time: Moment | None = None
    end_time: Moment | None = None
    extra: JsonDict | None = None
    description: str | None = None
    default_dataset_id: UUID | None = None
    reference_dataset_id: UUID | None = None
    trace_tier: Literal["longlived", "shortlived"] | None = None
    # Sent by the client for the progress bar, kept by the service, never returned as they are.
    num_examples: int | None = None
    num_repetitions: int | None = None
    evaluator_keys: list[str] | None = None
    tag_value_ids: list[UUID] | None = None


class SessionUpdate(Strict):
    """PATCH /sessions/{id}: null is "as it was"."""

    name: str | None = None
    description: str | None = None
    default_dataset_id: UUID | None = None
    end_time: Moment | None = None
    extra: JsonDict | None = None
    trace_tier: Literal["longlived", "shortlived"] | None = None


class DatasetCreate(Strict):
    """POST /datasets."""

    name: str = Field(min_length=1)
    id: UUID | None = None
    description: str | None = None
    created_at: Moment | None = None
    inputs_schema_definition: JsonDict | None = None
    outputs_schema_definition: JsonDict | None = None
    externally_managed: bool | None = None
    transformations: list[JsonDict] | None = None
    extra: JsonDict | None = None
    data_type: Literal["kv", "llm", "chat"] = "kv"
    tag_value_ids: list[UUID] | None = None


class DatasetUpdate(Strict):
    """PATCH /datasets/{id}: only fields that are given change."""

    name: str | None = None
    description: str | None = None
    inputs_schema_definition: JsonDict | None = None
    outputs_schema_definition: JsonDict | None = None
    transformations: list[JsonDict] | None = None
    metadata: JsonDict | None = None
    baseline_experiment_id: UUID | None = None


class VersionTag(Strict):
    """PUT /datasets/{id}/tags."""

    as_of: Moment | str
    tag: str = Field(min_length=1)


class AttachmentOperations(Strict):
    """What becomes of attachments that an example has: those neither kept nor renamed go."""

    rename: dict[str, str] = {}
    retain: list[str] = []


class ExampleInfo(Strict):
    """The part `{example_id}` of an upload or update."""

    metadata: JsonDict | None = None
    split: str | list[str] | None = None
    created_at: Moment | None = None
    modified_at: Moment | None = None
    source_run_id: UUID | None = None
    use_source_run_io: bool = False
    use_source_run_attachments: list[str] | None = None


class ExampleCreate(ExampleInfo):
    """POST /examples and /examples/bulk, of deployments without the multipart endpoints."""

    dataset_id: UUID
    id: UUID | None = None
    inputs: JsonDict | None = None
    outputs: JsonDict | None = None


class ExampleUpdate(Strict):
    """PATCH /examples/{id}; in bulk with `id`."""

    id: UUID | None = None
    dataset_id: UUID | None = None
    inputs: JsonDict | None = None
    outputs: JsonDict | None = None
    metadata: JsonDict | None = None
    split: str | list[str] | None = None
    overwrite: bool = False


class ExamplesDelete(Strict):
    """POST /v1/platform/datasets/examples/delete."""

    example_ids: list[UUID] = Field(max_length=1000)
    hard_delete: Literal[True]


class RunFields(Strict):
    """What a run may have, created or updated."""

    id: UUID
    trace_id: UUID | None = None
    dotted_order: str | None = None
    parent_run_id: UUID | None = None
    name: str | None = None
    run_type: RunType | None = None
    start_time: Moment | None = None
    end_time: Moment | None = None
    session_id: UUID | None = None
    session_name: str | None = None
    reference_example_id: UUID | None = None
    tags: list[str] | None = None
    inputs: JsonDict | None = None
    outputs: JsonDict | None = None
    extra: JsonDict | None = None
    error: str | None = None
    events: list[JsonDict] | None = None
    serialized: JsonDict | None = None
    status: str | None = None


class RunCreate(RunFields):
    """A run to create."""

    name: str = Field(min_length=1)
    run_type: RunType
    start_time: Moment


class BatchCreate(RunCreate):
    """In a batch nothing is derived for the sender."""

    trace_id: UUID
    dotted_order: str


class RunBatch(Strict):
    """POST /runs/batch."""

    post: list[JsonDict] = []
    patch: list[JsonDict] = []


class RunsQuery(Strict):
    """POST /runs/query."""

    id: list[UUID] | None = None
    trace: UUID | None = None
    parent_run: UUID | None = None
    run_type: RunType | None = None
    session: list[UUID] | None = None
    reference_example: list[UUID] | None = None
    start_time: Moment | None = None
    end_time: Moment | None = None
    error: bool | None = None
    is_root: bool | None = None
    filter: str | None = None
    cursor: str | None = None
    limit: int = Field(100, ge=1, le=100)
    select: list[str] | None = None
    order: Literal["asc", "desc"] = "desc"
    skip_pagination: bool | None = None
    skip_prev_cursor: bool = False
    session_id: UUID | None = None  # sent by `Client.read_run`; means nothing to the service


class ExperimentQuery(Strict):
    """POST /datasets/{id}/runs."""

    session_ids: list[UUID] = Field(min_length=1)
    offset: int = Field(0, ge=0)
    limit: int | None = Field(None, ge=1)
    preview: bool = False
    comparative_experiment_id: UUID | None = None
    filters: dict[str, list[str]] | None = None
    example_ids: list[UUID] | None = None


class FeedbackSource(Strict):
    """Who gave feedback."""

    type: Literal["api", "model", "app", "auto_eval"]
    metadata: JsonDict | None = None
    user_id: UUID | str | None = None
    user_name: str | None = None


class FeedbackConfig(Strict):
    """How a feedback key is to be read."""

    type: Literal["continuous", "categorical", "freeform"]
    min: float | int | None = None
    max: float | int | None = None
    categories: list[JsonDict] | None = None


class FeedbackCreate(Strict):
    """POST /feedback, and the part `feedback.{id}` of an ingestion."""

    key: str = Field(min_length=1, max_length=180)
    id: UUID | None = None
    created_at: Moment | None = None
    modified_at: Moment | None = None
    score: Score = None
    value: Value = None
    comment: str | None = None
    correction: JsonDict | str | None = None
    feedback_group_id: UUID | None = None
    comparative_experiment_id: UUID | None = None
    run_id: UUID | None = None
    session_id: UUID | None = None
    trace_id: UUID | None = None
    start_time: Moment | None = None
    feedback_source: FeedbackSource | None = None
    feedback_config: FeedbackConfig | None = None
    error: bool | None = None
    extra: JsonDict | None = None
    extend_trace_retention: bool = True


class FeedbackUpdate(Strict):
    """PATCH /feedback/{id}."""

    score: Score = None
    value: Value = None
    comment: str | None = None
    correction: JsonDict | str | None = None
    feedback_config: FeedbackConfig | None = None


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
        case None | "identity":
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
    """One part of a multipart body."""

    name: str
    content_type: str
    content_length: int | None  # as declared
    data: bytes

    @property
    def mime_type(self) -> str:
        """Without parameters."""
        return self.content_type.split(";")[0].strip()


def parts(body: bytes, content_type: str) -> Iterator[Part]:
    """The parts of a multipart/form-data body, in order.

    Raises:
        ApiError: 400, it is none, it is cut off, or a part is not what its headers say.
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
        yield Part(name, headers["Content-Type"], length, data)


_DOTTED = re.compile(r"(\d{8}T\d{12}Z)([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


def dotted_order(run: RunFields) -> list[tuple[datetime, UUID]]:
    """Start and id of each run from the root to this one.

    Raises:
        ApiError: 400, it contradicts the run's own ids and times, in the service's words where they are known.
    """
    text = run.dotted_order or ""
    found = [_DOTTED.fullmatch(piece) for piece in text.split(".")]
    path = [
        (datetime.strptime(each[1], "%Y%m%dT%H%M%S%fZ").replace(tzinfo=UTC), UUID(each[2]))
        for each in found
        if each
    ]
    if len(path) != len(found):
        raise rejected(400, f"invalid 'dotted_order': {text!r} is not <time>Z<run id>[.<time>Z<run id>]...")
    about = (
        f"for run_id:{run.id} trace_id:{run.trace_id} dotted_order:{text} parent_run_id:{run.parent_run_id}"
    )
    if path[0][1] != run.trace_id:
        raise rejected(
            400, f"invalid 'dotted_order': trace_id {run.trace_id} does not match first part {about}"
        )
    if path[-1][1] != run.id:
        raise rejected(400, f"invalid 'dotted_order': run_id does not match last part {about}")
    if run.parent_run_id is None and len(path) > 1:
        raise rejected(400, f"dotted_order must contain a single part for root runs {about}")
    if run.parent_run_id is not None and (len(path) < 2 or path[-2][1] != run.parent_run_id):
        raise rejected(400, f"invalid 'dotted_order': parent_run_id does not match second last part {about}")
    if any(earlier[0] > later[0] for earlier, later in pairwise(path)):
        raise rejected(400, f"invalid 'dotted_order': a run starts before its parent {about}")
    if run.start_time is not None and run.start_time != path[-1][0]:
        raise rejected(400, f"invalid 'dotted_order': start_time does not match last part {about}")
    return path


def uuids(query: Mapping[str, list[str]], name: str) -> list[UUID] | None:
    """A list parameter; None where it is not given."""
    try:
        return [UUID(text) for text in query[name]] if name in query else None
    except ValueError:
        raise refused(422, f"query parameter {name}: not a UUID") from None
