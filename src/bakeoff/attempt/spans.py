"""The harness's own OpenTelemetry spans, kept unread."""

from __future__ import annotations

from bakeoff.attempt.protocol import SpansExported
from bakeoff.record.base import JsonDict
from bakeoff_runner import wire


class SpanSink:
    """Spans up to a bound; what is over it is left out and costs the trial nothing."""

    def __init__(self, *, wanted: bool) -> None:
        self.exports: list[JsonDict] = []  # as store.py writes them
        self._left = wire.MAX_SPANS if wanted else 0

    def take(self, event: SpansExported) -> None:
        self._left -= len(event.content_type) + len(event.encoding) + len(event.body)
        if self._left >= 0:
            self.exports.append(
                {"content_type": event.content_type, "encoding": event.encoding, "body": event.body}
            )
