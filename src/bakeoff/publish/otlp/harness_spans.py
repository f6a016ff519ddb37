"""The harness's own spans, as it exported them from its container: hostile input until it went through here.

Only spans of the trial's own trace are kept, none that poses as one of bakeoff's, and none without a parent: a trace
has one root, which is the trial.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bakeoff.record.base import JsonDict

MAX_BYTES = 32 * 2**20  # of one export, unpacked
MAX_TEXT = 64 * 2**10  # characters of a name or an attribute
GZIP = zlib.MAX_WBITS | 16

KINDS: tuple[Literal["internal", "server", "client", "producer", "consumer"], ...] = (
    "internal",  # unspecified
    "internal",
    "server",
    "client",
    "producer",
    "consumer",
)
STATUSES: tuple[Literal["unset", "ok", "error"], ...] = ("unset", "ok", "error")


@dataclass(frozen=True, slots=True)
class OwnEvent:
    """One event of a span."""

    name: str
    time: int  # nanoseconds since 1970
    attributes: JsonDict


@dataclass(frozen=True, slots=True)
class OwnSpan:
    """One span. Its texts are the program's own: prompts may be in any of them."""

    name: str
    kind: Literal["internal", "server", "client", "producer", "consumer"]
    span_id: str
    parent_id: str
    start: int  # nanoseconds since 1970
    end: int
    attributes: JsonDict
    events: list[OwnEvent]
    status: Literal["unset", "ok", "error"]
    description: str


def read(
    exports: Iterable[JsonDict], trace_id: str, agent: str, reserved: set[str]
) -> Iterator[OwnSpan | None]:
    """The spans of one attempt, None for each that cannot be kept; an export that cannot be read is one of these.

    Args:
        exports: `{content_type, encoding, body}`, the body in base64.
        trace_id: the trial's.
        agent: id of the span that is the parent of those that name none.
        reserved: ids of bakeoff's own spans; those that come are added, so that none comes twice.
    """
    for export in exports:
        request = _request(export)
        if request is None:
            yield None
            continue
        for of_resource in request.resource_spans:
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    span_id = span.span_id.hex()
                    fits = span.trace_id.hex() == trace_id and len(span.span_id) == 8 and any(span.span_id)
                    if not fits or span_id in reserved:
                        yield None
                        continue
                    reserved.add(span_id)
                    yield _span(span, of_scope.scope.name, agent)


def _span(span: Any, scope: str, agent: str) -> OwnSpan:
    start = min(span.start_time_unix_nano, 2**63 - 1)
    parent = span.parent_span_id.hex()
    return OwnSpan(
        name=span.name[:MAX_TEXT] or "span",
        kind=KINDS[span.kind] if 0 <= span.kind < len(KINDS) else "internal",
        span_id=span.span_id.hex(),
        parent_id=parent if len(span.parent_span_id) == 8 and any(span.parent_span_id) else agent,
        start=start,
        end=max(start, min(span.end_time_unix_nano, 2**63 - 1)),
        attributes=_attributes(span.attributes) | {"otel.scope.name": scope[:MAX_TEXT]},
        events=[
            OwnEvent(event.name[:MAX_TEXT] or "event", event.time_unix_nano, _attributes(event.attributes))
            for event in span.events
        ],
        status=STATUSES[span.status.code] if 0 <= span.status.code < len(STATUSES) else "unset",
        description=span.status.message[:MAX_TEXT],
    )


def _attributes(pairs: Any) -> JsonDict:
    found = {pair.key[:MAX_TEXT]: _value(pair.value) for pair in pairs}
    return {key: value for key, value in found.items() if key and value is not None}


def _value(value: Any) -> Any:
    """What every back end takes: a text, a number, a flag, or texts; anything deeper as JSON."""
    which = value.WhichOneof("value")
    if which == "string_value":
        return value.string_value[:MAX_TEXT]
    if which in ("bool_value", "int_value", "double_value"):
        return getattr(value, which)
    if which in ("array_value", "kvlist_value"):
        return json_format.MessageToJson(value, indent=None)[:MAX_TEXT]
    return None


def _request(export: JsonDict) -> Any:
    """The export, unpacked and parsed; None where that cannot be done."""
    try:
        body = base64.b64decode(str(export.get("body") or ""), validate=True)
        encoding = str(export.get("encoding") or "").lower()
        if encoding == "gzip":
            unpack = zlib.decompressobj(GZIP)
            body = unpack.decompress(body, MAX_BYTES)
            if unpack.unconsumed_tail:
                return None
        elif encoding:
            return None
        if "json" in str(export.get("content_type")):
            return json_format.ParseDict(_base64_ids(json.loads(body)), ExportTraceServiceRequest())
        return ExportTraceServiceRequest.FromString(body)
    except (binascii.Error, zlib.error, DecodeError, json_format.ParseError, ValueError, RecursionError):
        return None


def _base64_ids(value: Any) -> Any:
    """OTLP's JSON has ids in hexadecimal, where protobuf's own has base64."""
    if isinstance(value, dict):
        return {
            key: base64.b64encode(bytes.fromhex(one)).decode()
            if key in ("traceId", "spanId", "parentSpanId") and isinstance(one, str)
            else _base64_ids(one)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [_base64_ids(one) for one in value]
    return value
