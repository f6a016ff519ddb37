"""OTLP over HTTP, with protobuf bodies."""

from __future__ import annotations

import email.utils
import gzip
import json
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from bakeoff.publish.otlp.destination import Destination
from bakeoff.publish.otlp.replies import (
    CLOSED,
    LATE,
    NO_CONNECTION,
    NO_HOST,
    NO_TLS,
    REFUSED,
    Failure,
    Reply,
    partial_success,
)
from bakeoff.text import escape

MAX_REPLY_BYTES = 4 * 2**20
PROTOBUF = "application/x-protobuf"
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")

COMPRESS: Mapping[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}

STATUS: Mapping[int, Failure] = {
    401: Failure("key", "it wants another key (HTTP 401)"),
    403: Failure("key", "it wants another key (HTTP 403)"),
    404: Failure("address", "it takes no traces at that path (HTTP 404)"),
    405: Failure("address", "it takes no traces at that path (HTTP 405)"),
    413: Failure("refused", "it takes no request that large (HTTP 413)"),
    415: Failure("address", "it takes no protobuf (HTTP 415)"),
}
RETRIED = (429, 502, 503, 504)

# The first that an exception, or one that it came from, is an instance of.
ERRORS: tuple[tuple[type[BaseException], Failure], ...] = (
    (ssl.SSLError, NO_TLS),
    (socket.gaierror, NO_HOST),
    (ConnectionRefusedError, REFUSED),
    (httpx.ProxyError, Failure("absent", "the proxy makes no connection to it", retry=True, answered=False)),
    (httpx.TimeoutException, LATE),
    (httpx.ConnectError, NO_CONNECTION),
    (httpx.NetworkError, CLOSED),
)
NOT_OTLP = "what answers there does not speak OTLP"
NOT_HTTP = Failure("address", "it does not speak HTTP; for OTLP over gRPC give --protocol grpc")


class HttpTransport:
    """POSTs requests; follows no redirection."""

    def __init__(self, to: Destination) -> None:
        self._endpoint, self._secrets = to.endpoint, to.secrets
        self._compress = COMPRESS[to.compression]
        headers = {"content-type": PROTOBUF, "user-agent": "bakeoff", **to.headers}
        if to.compression != "none":
            headers["content-encoding"] = to.compression
        # a proxy of the environment is not for this machine
        mounts: dict[str, httpx.BaseTransport | None] = {f"all://{host}": None for host in LOOPBACK}
        self._client = httpx.Client(headers=headers, verify=to.tls(), mounts=mounts)

    def send(self, request: bytes, seconds: float) -> Reply:
        deadline = time.monotonic() + seconds
        body = b""
        try:
            with self._client.stream(
                "POST", self._endpoint, content=self._compress(request), timeout=seconds
            ) as response:
                for piece in response.iter_bytes():
                    body += piece
                    if time.monotonic() > deadline:
                        return LATE
                    if len(body) > MAX_REPLY_BYTES:
                        return Failure(
                            "address", "what answers there does not speak OTLP: its reply has no end"
                        )
        except httpx.HTTPError as error:
            return _failure(error)
        except (httpx.InvalidURL, UnicodeError) as error:
            return Failure("address", f"the request cannot be made ({type(error).__name__})")
        return self._reply(response.status_code, response.headers, body)

    def close(self) -> None:
        self._client.close()

    def _reply(self, status: int, headers: Mapping[str, str], body: bytes) -> Reply:
        """What a response means. Only OTLP's own success, or an empty one, says that spans were accepted."""
        if not 200 <= status < 300:
            return _refusal(status, headers.get("retry-after"))
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            if not body or kind in (PROTOBUF, "application/protobuf"):
                partial = ExportTraceServiceResponse.FromString(body).partial_success
            elif kind == "application/json":
                partial = _json_partial(body)
            else:
                return Failure("address", f"{NOT_OTLP}: it sent {escape.line(kind or 'no type', 60)}")
        except (DecodeError, ValueError, TypeError, AttributeError, RecursionError):
            return Failure("address", f"{NOT_OTLP}: its reply cannot be read")
        return partial_success(partial, self._secrets)


def _refusal(status: int, retry_after: str | None) -> Failure:
    if 300 <= status < 400:
        return Failure("address", f"it answers with a redirection (HTTP {status})")
    if status in RETRIED:
        wait = _seconds(retry_after)
        return Failure("busy", f"it takes nothing now (HTTP {status})", retry=True, retry_after=wait)
    return STATUS.get(status, Failure("refused", f"it refused the request (HTTP {status})"))


def _failure(error: httpx.HTTPError) -> Failure:
    """What an exception of httpx means. Its text would name the address with whatever is in it."""
    chain = list(_chain(error))
    for kind, failure in ERRORS:
        if any(isinstance(each, kind) for each in chain):
            return failure
    if isinstance(error, httpx.RemoteProtocolError):
        return CLOSED if "disconnected" in str(error) else NOT_HTTP
    return Failure("address", f"the request cannot be made ({type(error).__name__})")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and what it came from."""
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__ or each.__context__


def _seconds(value: str | None) -> float | None:
    """Seconds, from either form of the header (RFC 9110, section 10.2.3). None: not given, or not readable."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _json_partial(body: bytes) -> ExportTracePartialSuccess:
    """Of a server that answers protobuf with JSON."""
    partial: Any = json.loads(body).get("partialSuccess") or {}
    return ExportTracePartialSuccess(
        rejected_spans=int(partial.get("rejectedSpans") or 0),
        error_message=str(partial.get("errorMessage") or ""),
    )
