"""What an OTLP server's replies mean, and the failures to get one. Pure; a server's words are hostile text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import grpc
import requests
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from bakeoff import escape
from bakeoff.gateway.redact import redact

# `address` and `key` are the user's to mend before anything can arrive
Trouble = Literal["address", "key", "unreachable", "busy", "refused"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request was not taken: one clause in which `it` is the server. No secret and no address is in it."""

    trouble: Trouble
    reason: str


Verdict = tuple[Failure | None, str | None]  # why not taken; else what the server had to say

CLOSED = Failure("unreachable", "it closed the connection without an answer")
NO_HOST = Failure("unreachable", "there is no host of that name")
TLS = Failure("address", "no TLS connection can be made: check http or https, and the certificate")
LATE = Failure("unreachable", "it did not answer in time")

HTTP_STATUS: Mapping[int, Failure] = {
    401: Failure("key", "it wants another key (HTTP 401)"),
    403: Failure("key", "it wants another key (HTTP 403)"),
    404: Failure("address", "it takes no traces at that path (HTTP 404)"),
    405: Failure("address", "it takes no traces at that path (HTTP 405)"),
    413: Failure("refused", "it takes no request that large (HTTP 413)"),
    415: Failure("address", "it takes no protobuf (HTTP 415)"),
} | {status: Failure("busy", f"it takes nothing now (HTTP {status})") for status in (429, 502, 503, 504)}

# found in the names and texts of an exception and of what caused it; the first that is there counts
HTTP_ERRORS: tuple[tuple[str, Failure], ...] = (
    ("BadStatusLine", Failure("address", "it does not speak HTTP; for OTLP over gRPC give --protocol grpc")),
    ("SSLError", TLS),
    ("NameResolutionError", NO_HOST),
    ("gaierror", NO_HOST),
    ("ConnectionRefusedError", Failure("unreachable", "connection refused")),
    ("ProxyError", Failure("unreachable", "the proxy makes no connection to it")),
    ("RemoteDisconnected", CLOSED),
    ("ConnectionResetError", CLOSED),
    ("BrokenPipeError", CLOSED),
    ("IncompleteRead", CLOSED),
    ("Timeout", LATE),
    ("timed out", LATE),
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
    ("connection refused", Failure("unreachable", "connection refused")),
    ("errors resolving", NO_HOST),
    ("dns resolution", NO_HOST),
    ("reset", CLOSED),
    ("closed", CLOSED),
)


def http_error(error: Exception) -> Failure:
    """What an exception of `requests` means. Its own text would name the address with whatever is in it."""
    text = " ".join(_chain(error))
    found = next((failure for sign, failure in HTTP_ERRORS if sign in text), None)
    if found is not None:
        return found
    if isinstance(error, requests.ConnectionError):
        return Failure("unreachable", "no connection can be made")
    return Failure("address", f"the request cannot be made ({type(error).__name__})")


def http_reply(status: int, headers: Mapping[str, str], body: bytes, secrets: Iterable[str]) -> Verdict:
    """What an HTTP reply means. Only OTLP's own reply, or an empty one, says that spans were taken."""
    if 300 <= status < 400:
        return Failure("address", f"it answers with a redirection (HTTP {status})"), None
    if not 200 <= status < 300:
        return HTTP_STATUS.get(status, Failure("refused", f"it refused the request (HTTP {status})")), None
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    try:
        if not body or kind in ("application/x-protobuf", "application/protobuf"):
            return partial(ExportTraceServiceResponse.FromString(body).partial_success, secrets)
        if kind == "application/json":
            return partial(_json_partial(body), secrets)
    except (DecodeError, ValueError, TypeError, AttributeError):
        return Failure("address", "what answers there does not speak OTLP: its reply cannot be read"), None
    shown = escape.line(kind or "no type", 60)
    return Failure("address", f"what answers there does not speak OTLP: it sent {shown}"), None


def grpc_error(code: grpc.StatusCode, details: str) -> Failure:
    """What a gRPC status other than OK means."""
    refused = Failure("refused", f"it refused the request ({code.name})")
    return no_grpc_answer(code, details) or GRPC_CODES.get(code, refused)


def no_grpc_answer(code: grpc.StatusCode, details: str) -> Failure | None:
    """Why no answer came, where gRPC's own library made up the status."""
    if code not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN):
        return None
    text = details.lower()
    return next((failure for sign, failure in GRPC_DETAILS if sign in text), None)


def partial(said: ExportTracePartialSuccess, secrets: Iterable[str]) -> Verdict:
    """A partial success: with refused spans a failure, without them a message."""
    message = escape.line(redact(said.error_message, secrets))
    if said.rejected_spans > 0:
        why = f": {message}" if message else ""
        return Failure("refused", f"it refused {said.rejected_spans} spans of a request{why}"), None
    return None, message or None


def _json_partial(body: bytes) -> ExportTracePartialSuccess:
    """Of a server that answers protobuf with JSON."""
    told: Any = json.loads(body).get("partialSuccess") or {}
    return ExportTracePartialSuccess(
        rejected_spans=int(told.get("rejectedSpans") or 0), error_message=str(told.get("errorMessage") or "")
    )


def _chain(error: BaseException) -> Iterator[str]:
    """The names and texts of an exception and of what caused it; urllib3 hides causes in arguments."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting and len(seen) < 20:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield type(one).__name__
        yield str(one)
        nested = [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]
        waiting += [each for each in nested if isinstance(each, BaseException)]
