"""The harness's own spans, as it exported them from its container: hostile until they went through here.

Only spans of the trial's trace are kept. None may have the id of one of bakeoff's, and one without a parent becomes a
child of the agent's span: a trace has one root, which is the trial.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from bakeoff.publish.otlp.values import pairs
from bakeoff.record.base import JsonDict
from bakeoff.text.escape import storable
from bakeoff.text.redact import masked

MAX_BYTES = 32 * 2**20  # of one export, unpacked
MAX_TEXT = 64 * 2**10  # characters of a name or an attribute
MAX_ENTRIES = 128  # attributes or events of a span: the limit of OpenTelemetry's SDKs
GZIP = zlib.MAX_WBITS | 16


def read(
    exports: Iterable[JsonDict],
    trace_id: bytes,
    agent: bytes,
    reserved: set[bytes],
    secrets: tuple[str, ...],
) -> Iterator[Span | None]:
    """The spans of one attempt; None for each that cannot be kept, and for an export that cannot be read.

    Args:
        exports: `{content_type, encoding, body}`, the body in base64.
        trace_id: the trial's.
        agent: id of the agent's span.
        reserved: ids that are taken; each span's is added, so that none comes twice.
        secrets: values that are masked in every text.
    """
    for export in exports:
        request = _request(export)
        if request is None:
            yield None
            continue
        for of_resource in request.resource_spans:
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    usable = span.trace_id == trace_id and len(span.span_id) == 8 and any(span.span_id)
                    if not usable or span.span_id in reserved:
                        yield None
                        continue
                    reserved.add(span.span_id)
                    yield _rebuilt(span, of_scope.scope.name, agent, secrets)


def _rebuilt(span: Span, scope: str, agent: bytes, secrets: tuple[str, ...]) -> Span:
    """A span of the known fields alone, bounded and masked."""

    def text(value: str) -> str:
        return str(storable(masked(value, secrets)[:MAX_TEXT]))

    def attributes(given: Sequence[KeyValue]) -> Iterator[KeyValue]:
        found = {text(each.key): _value(each.value, text) for each in islice(given, MAX_ENTRIES)}
        return pairs({key: value for key, value in found.items() if key})

    start = min(span.start_time_unix_nano, 2**63 - 1)
    has_parent = len(span.parent_span_id) == 8 and any(span.parent_span_id)
    return Span(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_span_id if has_parent else agent,
        name=text(span.name) or "span",
        kind=span.kind if span.kind in (2, 3, 4, 5) else Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=start,
        end_time_unix_nano=max(start, min(span.end_time_unix_nano, 2**63 - 1)),
        attributes=[
            *attributes(span.attributes),
            *pairs({"bakeoff.own": True, "otel.scope.name": text(scope)}),
        ],
        events=[
            Span.Event(
                name=text(event.name) or "event",
                time_unix_nano=event.time_unix_nano,
                attributes=attributes(event.attributes),
            )
            for event in islice(span.events, MAX_ENTRIES)
        ],
        status=Status(
            code=span.status.code if span.status.code in (1, 2) else Status.STATUS_CODE_UNSET,
            message=text(span.status.message),
        ),
        dropped_attributes_count=max(0, len(span.attributes) - MAX_ENTRIES),
        dropped_events_count=max(0, len(span.events) - MAX_ENTRIES),
    )


def _value(value: AnyValue, text: Callable[[str], str]) -> Any:
    """What every back end takes: a text, a number or a flag; anything deeper as JSON."""
    which = value.WhichOneof("value")
    if which == "string_value":
        return text(value.string_value)
    if which in ("bool_value", "int_value", "double_value"):
        return getattr(value, which)
    if which in ("array_value", "kvlist_value"):
        return text(json_format.MessageToJson(value, indent=None))
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
    """OTLP's JSON has ids in hexadecimal where protobuf's JSON has base64."""
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
