"""OTLP over gRPC."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # read at import; else it writes to stderr

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from bakeoff.publish.otlp.destination import Destination
from bakeoff.publish.otlp.replies import (
    CLOSED,
    LATE,
    NO_HOST,
    NO_TLS,
    REFUSED,
    Failure,
    Reply,
    partial_success,
)

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
NOT_GRPC = Failure("address", "it does not speak gRPC; for OTLP over HTTP give --protocol http/protobuf")
CODES: Mapping[grpc.StatusCode, Failure] = {
    grpc.StatusCode.UNAUTHENTICATED: Failure("key", "it wants another key (UNAUTHENTICATED)"),
    grpc.StatusCode.PERMISSION_DENIED: Failure("key", "it wants another key (PERMISSION_DENIED)"),
    grpc.StatusCode.UNIMPLEMENTED: Failure("address", "it has no OTLP trace service (UNIMPLEMENTED)"),
    grpc.StatusCode.UNAVAILABLE: Failure("unreachable", "it is unavailable (UNAVAILABLE)", retry=True),
    grpc.StatusCode.DEADLINE_EXCEEDED: LATE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Failure("busy", "it takes no more now, or nothing that large"),
}
RETRIED = (grpc.StatusCode.ABORTED, grpc.StatusCode.CANCELLED, grpc.StatusCode.DATA_LOSS)
# Found in the details of a status that gRPC's own library made, when no server answered. The first counts.
LOCAL_DETAILS: tuple[tuple[str, Failure], ...] = (
    ("http/?[12]|settings frame", NOT_GRPC),
    ("ssl|tls|handshak", NO_TLS),
    ("connection refused", REFUSED),
    ("errors resolving|dns resolution", NO_HOST),
    ("reset|closed", CLOSED),
)


class GrpcTransport:
    """Calls the trace service; messages go in and come out as bytes."""

    def __init__(self, to: Destination) -> None:
        parts = urlsplit(to.endpoint)
        compression = grpc.Compression.Gzip if to.compression == "gzip" else grpc.Compression.NoCompression
        if parts.scheme == "https":
            credentials = grpc.ssl_channel_credentials(*to.certificates())
            self._channel = grpc.secure_channel(parts.netloc, credentials, compression=compression)
        else:
            self._channel = grpc.insecure_channel(parts.netloc, compression=compression)
        self._export = self._channel.unary_unary(METHOD)
        self._metadata, self._secrets = tuple(to.headers.items()), to.secrets

    def send(self, request: bytes, seconds: float) -> Reply:
        try:
            reply = self._export(request, timeout=seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            return _failure(error.code(), error.details() or "")
        return partial_success(ExportTraceServiceResponse.FromString(reply).partial_success, self._secrets)

    def close(self) -> None:
        self._channel.close()


def _failure(code: grpc.StatusCode, details: str) -> Failure:
    """What a status other than OK means."""
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN):
        for pattern, failure in LOCAL_DETAILS:
            if re.search(pattern, details, re.IGNORECASE):
                return failure
    refused = Failure("refused", f"it refused the request ({code.name})", retry=code in RETRIED)
    return CODES.get(code, refused)
