"""What became of a request over OTLP, in either transport's hands; a server's words are hostile text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTracePartialSuccess

from bakeoff.text import escape
from bakeoff.text.redact import redact

# `address`, `nobody` and `key` are the user's to fix before anything can arrive
Trouble = Literal["address", "nobody", "key", "unreachable", "busy", "refused"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request was not taken: one clause in which `it` is the server. No secret and no address is in it."""

    trouble: Trouble
    reason: str


Verdict = tuple[Failure | None, str | None]  # why not taken; else what the server had to say

CLOSED = Failure("unreachable", "it closed the connection without an answer")
NO_HOST = Failure("nobody", "there is no host of that name")
TLS = Failure("address", "no TLS connection can be made: check http or https, and the certificate")
LATE = Failure("unreachable", "it did not answer in time")
REFUSED = Failure("nobody", "connection refused")

TRIES = 2  # of a server that never answered; one that has is tried again while a request's timeout lasts


class Witness(Protocol):
    """Sees every reply to an exporter of the SDK."""

    def forget(self) -> None:
        """Forget the last one: another request begins."""

    def verdict(self, secrets: Iterable[str]) -> Verdict:
        """What the last one says."""


class Patience:
    """Ends the tries of a server that never answered: its address is wrong, or it is not running."""

    def __init__(self, give_up: Callable[[], None]) -> None:
        self._give_up = give_up
        self._left = TRIES

    def answered(self) -> None:
        self._left = -1

    def unanswered(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._give_up()


def partial(said: ExportTracePartialSuccess, secrets: Iterable[str]) -> Verdict:
    """A partial success: with refused spans a failure, without them a message."""
    message = escape.line(redact(said.error_message, secrets))
    if said.rejected_spans > 0:
        why = f": {message}" if message else ""
        return Failure("refused", f"it refused {said.rejected_spans} spans of a request{why}"), None
    return None, message or None
