"""Sends OTLP requests, and sends a request again while the server asks for that or does not answer.

https://opentelemetry.io/docs/specs/otlp/#failures
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol, Self

from bakeoff.publish.otlp.destination import Destination
from bakeoff.publish.otlp.replies import Accepted, Reply

# Of a server that never answered: its address is wrong, or it is not running.
FIRST_TRIES = 2
# Before the second try; doubles with each.
BACKOFF_SECONDS = 0.5


class Transport(Protocol):
    """OTLP over HTTP or gRPC."""

    def send(self, request: bytes, seconds: float) -> Reply:
        """Send an ExportTraceServiceRequest once, and wait for at most so many seconds."""
        ...

    def close(self) -> None: ...


class Sender:
    """A connection to one destination, closed at the end of a `with` block."""

    def __init__(self, to: Destination) -> None:
        self._timeout = to.timeout
        self._answered = False
        self._transport = _transport(to)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.close()

    def send(self, request: bytes) -> Reply:
        """Send an ExportTraceServiceRequest; what the last try brought."""
        deadline = time.monotonic() + self._timeout
        backoff, tries = BACKOFF_SECONDS, 0
        while True:
            reply = self._transport.send(request, max(deadline - time.monotonic(), 0.001))
            tries += 1
            self._answered = self._answered or isinstance(reply, Accepted) or reply.answered
            if isinstance(reply, Accepted) or not reply.retry:
                return reply
            wait = backoff if reply.retry_after is None else reply.retry_after
            if (tries == FIRST_TRIES and not self._answered) or time.monotonic() + wait >= deadline:
                return reply
            time.sleep(wait)
            backoff *= 2


def _transport(to: Destination) -> Transport:
    """The libraries of the other transport are not loaded."""
    if to.protocol == "grpc":
        from bakeoff.publish.otlp.grpc import GrpcTransport

        return GrpcTransport(to)
    from bakeoff.publish.otlp.http import HttpTransport

    return HttpTransport(to)
