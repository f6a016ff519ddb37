"""OTLP receivers on loopback, over HTTP and gRPC: they keep what they are sent, check it, and can be broken on purpose.

A request is checked as the specification and a back end with default settings would: content type, size on the wire,
valid ids and times, known kinds. https://opentelemetry.io/docs/specs/otlp/
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.fakes.http_server import Exchange, HttpServer

MAX_GRPC_BYTES = 4 * 2**20  # what a gRPC server takes unless it is told otherwise


@dataclass(frozen=True)
class Span:
    """One span as it arrived, with its resource's attributes."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str | None
    start: int
    end: int
    status: str
    description: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    events: int


@dataclass
class Reply:
    """How a request is answered; `action` is called before."""

    status: int = 200  # HTTP
    body: bytes = b""
    content_type: str = "application/x-protobuf"
    headers: dict[str, str] = field(default_factory=dict)
    code: grpc.StatusCode = grpc.StatusCode.OK
    rejected: int = 0
    message: str = ""
    action: Callable[[], None] | None = None
    cut: bool = False  # HTTP: no answer

    def partial_success(self) -> ExportTraceServiceResponse:
        answer = ExportTraceServiceResponse()
        if self.rejected or self.message:
            answer.partial_success.rejected_spans = self.rejected
            answer.partial_success.error_message = self.message
        return answer


@dataclass
class Receiver:
    """What both have in common.

    Attributes:
        requests: every request that was taken.
        raw: the same as bytes, unpacked.
        headers: of every request.
        plan: replies of the requests to come, in order; without one a request is taken.
        complaints: what was wrong with requests.
    """

    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    plan: list[Reply] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    url: str = ""

    def next(self) -> Reply:
        return self.plan.pop(0) if self.plan else Reply()

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        self.complaints += list(complaints(request))
        self.requests.append(request)
        self.raw.append(body)

    def spans(self) -> list[Span]:
        """Every span, in the order they came."""
        return [span for request in self.requests for span in read(request)]


def read(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for of_resource in request.resource_spans:
        resource = {each.key: value(each.value) for each in of_resource.resource.attributes}
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield Span(
                    name=span.name,
                    kind=ProtoSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex() or None,
                    start=span.start_time_unix_nano,
                    end=span.end_time_unix_nano,
                    status=Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
                    description=span.status.message,
                    attributes={each.key: value(each.value) for each in span.attributes},
                    resource=resource,
                    events=len(span.events),
                )


def value(any_value: Any) -> Any:
    which = any_value.WhichOneof("value")
    assert which is not None, "an attribute without a value"
    if which == "array_value":
        return [value(one) for one in any_value.array_value.values]
    assert which in ("string_value", "bool_value", "int_value", "double_value"), which
    return getattr(any_value, which)


def complaints(request: ExportTraceServiceRequest) -> Iterator[str]:
    """What a strict server has to say."""
    if not request.resource_spans:
        yield "an empty request"
    for of_resource in request.resource_spans:
        keys = [each.key for each in of_resource.resource.attributes]
        if len(keys) != len(set(keys)) or "service.name" not in keys:
            yield f"resource attributes {keys}"
        for of_scope in of_resource.scope_spans:
            if not of_scope.scope.name:
                yield "a scope without a name"
            for span in of_scope.spans:
                names = [each.key for each in span.attributes]
                if len(span.trace_id) != 16 or not any(span.trace_id):
                    yield f"trace id {span.trace_id.hex()}"
                if len(span.span_id) != 8 or not any(span.span_id):
                    yield f"span id {span.span_id.hex()}"
                if len(span.parent_span_id) not in (0, 8) or span.parent_span_id == span.span_id:
                    yield f"parent {span.parent_span_id.hex()}"
                if not span.name or span.kind == ProtoSpan.SPAN_KIND_UNSPECIFIED:
                    yield "no name or kind"
                if not 10**18 < span.start_time_unix_nano <= span.end_time_unix_nano:
                    yield f"{span.name}: times {span.start_time_unix_nano} {span.end_time_unix_nano}"
                if len(names) != len(set(names)) or len(names) > 128 or not all(names):
                    yield f"{span.name}: attributes {names}"
                if span.dropped_attributes_count or span.dropped_events_count:
                    yield f"{span.name}: dropped attributes"


class HttpReceiver(Receiver):
    """OTLP over HTTP while the `with` block lasts."""

    def __enter__(self) -> Self:
        self._server = HttpServer(self._answer, http_1_1=True).__enter__()
        self.url = self._server.url
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()

    def _answer(self, exchange: Exchange) -> None:
        headers = {key.lower(): text for key, text in exchange.headers.items()}
        reply = self.next()
        self.headers.append(headers)
        if reply.action:
            reply.action()
        if reply.cut:
            exchange.close_connection = True
            return
        if exchange.path != "/v1/traces":
            reply = Reply(404)
        if headers["content-type"] != "application/x-protobuf":
            reply = Reply(415)
        if reply.status == 200 and not reply.body:
            wire = exchange.body
            self.take(gzip.decompress(wire) if headers.get("content-encoding") == "gzip" else wire)
            reply.body = reply.partial_success().SerializeToString()
        exchange.say(reply.status, reply.body, {"content-type": reply.content_type, **reply.headers})


class GrpcReceiver(Receiver):
    """OTLP over gRPC while the `with` block lasts."""

    def __enter__(self) -> Self:
        receiver = self

        class Servicer(TraceServiceServicer):  # type: ignore[misc]
            def Export(self, request: Any, context: Any) -> ExportTraceServiceResponse:
                reply = receiver.next()
                receiver.headers.append({key: str(text) for key, text in context.invocation_metadata()})
                if reply.action:
                    reply.action()
                if reply.code is not grpc.StatusCode.OK:
                    context.abort(reply.code, reply.message or "broken on purpose")
                receiver.take(request.SerializeToString())
                return reply.partial_success()

        options = [("grpc.max_receive_message_length", MAX_GRPC_BYTES)]
        self._server = grpc.server(ThreadPoolExecutor(2), options=options)
        add_TraceServiceServicer_to_server(Servicer(), self._server)  # type: ignore[no-untyped-call]
        self.url = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0).wait()


def json_reply(**said: Any) -> Reply:
    """Of a server that answers with JSON."""
    return Reply(body=json.dumps(said).encode(), content_type="application/json")
