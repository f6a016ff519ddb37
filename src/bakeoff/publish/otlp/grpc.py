"""OTLP over gRPC: the SDK's exporter, each of its replies, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from bakeoff.publish.otlp.destination import Destination
from bakeoff.publish.otlp.replies import (
    CLOSED,
    LATE,
    NO_HOST,
    REFUSED,
    TLS,
    Failure,
    Patience,
    Verdict,
    partial,
)

NO_GRPC = Failure("address", "it does not speak gRPC; for OTLP over HTTP give --protocol http/protobuf")
GRPC_CODES: Mapping[grpc.StatusCode, Failure] = {
    grpc.StatusCode.UNAUTHENTICATED: Failure("key", "it wants another key (UNAUTHENTICATED)"),
    grpc.StatusCode.PERMISSION_DENIED: Failure("key", "it wants another key (PERMISSION_DENIED)"),
    grpc.StatusCode.UNIMPLEMENTED: Failure("address", "it has no OTLP trace service (UNIMPLEMENTED)"),
    grpc.StatusCode.UNAVAILABLE: Failure("unreachable", "it is unavailable (UNAVAILABLE)"),
    grpc.StatusCode.DEADLINE_EXCEEDED: LATE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Failure("busy", "it takes no more now, or nothing that large"),
}
# found in the details of a status that gRPC's own library made up; the first that is there counts
GRPC_DETAILS: tuple[tuple[str, Failure], ...] = (
    ("http1", NO_GRPC),
    ("http/1", NO_GRPC),
    ("http2", NO_GRPC),
    ("http/2", NO_GRPC),
    ("settings frame", NO_GRPC),
    ("ssl", TLS),
    ("tls", TLS),
    ("handshak", TLS),
    ("connection refused", REFUSED),
    ("errors resolving", NO_HOST),
    ("dns resolution", NO_HOST),
    ("reset", CLOSED),
    ("closed", CLOSED),
)


def exporter(to: Destination, give_up: Callable[[], None]) -> tuple[OTLPSpanExporter, GrpcWitness]:
    """The SDK's, and who sees its replies; `give_up` is called where nothing ever answers."""
    witness = GrpcWitness(give_up)
    return _Exporter(to, witness), witness


class GrpcWitness(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc] # grpc has no types
    """An interceptor that keeps the last call."""

    def __init__(self, give_up: Callable[[], None]) -> None:
        self._patience = Patience(give_up)
        self._last: Any = None

    def forget(self) -> None:
        self._last = None

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        self._last = continuation(client_call_details, request)
        if _no_answer(self._last.code(), self._last.details() or ""):
            self._patience.unanswered()
        else:
            self._patience.answered()
        return self._last

    def verdict(self, secrets: Iterable[str]) -> Verdict:
        if self._last is None:
            return Failure("refused", "no request was seen to be made"), None
        code = self._last.code()
        if code is grpc.StatusCode.OK:
            return partial(self._last.result().partial_success, secrets)
        return _error(code, self._last.details() or ""), None


class _Exporter(OTLPSpanExporter):
    """The SDK's, with every call seen by a witness."""

    def __init__(self, to: Destination, witness: GrpcWitness) -> None:
        self._of = witness
        super().__init__(
            endpoint=to.endpoint,
            headers=tuple(to.headers.items()) or None,
            timeout=to.timeout,
            compression=grpc.Compression.Gzip if to.compression == "gzip" else grpc.Compression.NoCompression,
        )

    def _initialize_channel_and_stub(self) -> None:
        """The SDK calls this again when it connects anew. Should it no longer, no reply is seen and nothing is sent."""
        super()._initialize_channel_and_stub()  # type: ignore[no-untyped-call]
        self._channel = grpc.intercept_channel(self._channel, self._of)
        self._client: Any = TraceServiceStub(self._channel)  # type: ignore[no-untyped-call]


def _error(code: grpc.StatusCode, details: str) -> Failure:
    """What a gRPC status other than OK means."""
    refused = Failure("refused", f"it refused the request ({code.name})")
    return _no_answer(code, details) or GRPC_CODES.get(code, refused)


def _no_answer(code: grpc.StatusCode, details: str) -> Failure | None:
    """Why no answer came, where gRPC's own library made up the status."""
    if code not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN):
        return None
    text = details.lower()
    return next((failure for sign, failure in GRPC_DETAILS if sign in text), None)
