"""OTLP over HTTP: the SDK's exporter, each of its replies, and what they mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import requests
from google.protobuf.message import DecodeError
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

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
from bakeoff.text import escape

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
    ("ConnectionRefusedError", REFUSED),
    ("ProxyError", Failure("nobody", "the proxy makes no connection to it")),
    ("RemoteDisconnected", CLOSED),
    ("ConnectionResetError", CLOSED),
    ("BrokenPipeError", CLOSED),
    ("IncompleteRead", CLOSED),
    ("Timeout", LATE),
    ("timed out", LATE),
)


def exporter(to: Destination, give_up: Callable[[], None]) -> tuple[OTLPSpanExporter, HttpWitness]:
    """The SDK's, and who sees its replies; `give_up` is called where nothing ever answers."""
    witness = HttpWitness(give_up)
    made = OTLPSpanExporter(
        endpoint=to.endpoint,
        headers=dict(to.headers),
        timeout=to.timeout,
        compression=Compression(to.compression),
        session=witness,
    )
    return made, witness


class HttpWitness(requests.Session):
    """A session that keeps the last reply."""

    def __init__(self, give_up: Callable[[], None]) -> None:
        super().__init__()
        self._patience = Patience(give_up)
        self._last: requests.Response | Exception | None = None

    def forget(self) -> None:
        self._last = None

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        try:
            self._last = super().send(request, **kwargs)
        except (requests.RequestException, OSError) as error:
            self._last = error
            self._patience.unanswered()
            raise
        self._patience.answered()
        return self._last

    def verdict(self, secrets: Iterable[str]) -> Verdict:
        if self._last is None:
            return Failure("refused", "no request was made"), None
        if isinstance(self._last, Exception):
            return _error(self._last), None
        return _reply(self._last.status_code, self._last.headers, self._last.content, secrets)


def _error(error: Exception) -> Failure:
    """What an exception of `requests` means. Its own text would name the address with whatever is in it."""
    text = " ".join(_chain(error))
    found = next((failure for sign, failure in HTTP_ERRORS if sign in text), None)
    if found is not None:
        return found
    if isinstance(error, requests.ConnectionError):
        return Failure("nobody", "no connection can be made")
    return Failure("address", f"the request cannot be made ({type(error).__name__})")


def _reply(status: int, headers: Mapping[str, str], body: bytes, secrets: Iterable[str]) -> Verdict:
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
