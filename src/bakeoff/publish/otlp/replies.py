"""What became of one OTLP request, over either transport. A server's words are hostile text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTracePartialSuccess

from bakeoff.text import escape
from bakeoff.text.redact import redact

# `address`, `absent` and `key` are for the user to fix before anything can arrive.
FailureKind = Literal["address", "absent", "key", "unreachable", "busy", "refused"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The server took every span. `message`: what it has to say about them."""

    message: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """The server did not take the request, or not all of it.

    Attributes:
        kind: what is to be done about it.
        reason: one clause in which `it` is the server, without a secret or an address.
        retry: whether the same request may succeed later.
        retry_after: seconds that the server asks to wait, if it does.
        answered: whether a server replied.
    """

    kind: FailureKind
    reason: str
    retry: bool = False
    retry_after: float | None = None
    answered: bool = True


Reply = Accepted | Failure

CLOSED = Failure("unreachable", "it closed the connection without an answer", retry=True, answered=False)
LATE = Failure("unreachable", "it did not answer in time", retry=True, answered=False)
NO_CONNECTION = Failure("absent", "no connection can be made", retry=True, answered=False)
NO_HOST = Failure("absent", "there is no host of that name", retry=True, answered=False)
REFUSED = Failure("absent", "connection refused", retry=True, answered=False)
NO_TLS = Failure(
    "address", "no TLS connection can be made: check http or https, and the certificate", answered=False
)


def partial_success(partial: ExportTracePartialSuccess, secrets: Sequence[str]) -> Reply:
    """A success of OTLP's: a failure if spans were rejected, else perhaps a message."""
    message = escape.line(redact(partial.error_message, secrets))
    if partial.rejected_spans > 0:
        reason = f"it refused {partial.rejected_spans} spans of a request"
        return Failure("refused", f"{reason}: {message}" if message else reason)
    return Accepted(message)
