"""What one provider allows all its candidates together: requests and tokens per minute, and concurrent calls.

The window slides, so that no sixty seconds hold more than the limit. Callers enter in the order in which they came. A
call's tokens are known only when it is over: until then an estimate counts.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bakeoff.config.schema import Rate
from bakeoff.gateway.policy.waiting import Cancelled

WINDOW_SECONDS = 60.0
_LOOK_SECONDS = 0.1  # how often a waiting caller looks whether it was cancelled
_UNTIL_NOTIFIED = float("inf")


@dataclass(slots=True)
class _Entry:
    """One call in the window."""

    when: float
    tokens: int
    counted: bool = True  # still in the window


class Limiter:
    """Rate limits of one provider. Threads share it. Without limits nobody waits."""

    def __init__(self, rate: Rate | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate or Rate(), clock
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()
        self._window: deque[_Entry] = deque()
        self._tokens = 0  # in the window
        self._out = 0

    @property
    def counts_tokens(self) -> bool:
        """Whether a caller should estimate its tokens."""
        return self._rate.tokens_per_minute is not None

    @contextmanager
    def turn(
        self, tokens: int, cancelled: Callable[[], bool], used: Callable[[], int | None] = lambda: None
    ) -> Iterator[None]:
        """Wait for a turn, and hold it. `tokens` is an estimate; afterwards `used()` gives the true number.

        Raises:
            Cancelled: the caller gave up waiting.
        """
        entry = self._enter(tokens, cancelled)
        try:
            yield
        finally:
            self._leave(entry, used())

    def _enter(self, tokens: int, cancelled: Callable[[], bool]) -> _Entry:
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                while (pause := self._pause(ticket, tokens)) > 0:
                    if cancelled():
                        raise Cancelled
                    self._changed.wait(min(pause, _LOOK_SECONDS))
                entry = _Entry(self._clock(), tokens)
                self._out += 1
                if self._rate.requests_per_minute or self._rate.tokens_per_minute:
                    self._window.append(entry)
                    self._tokens += tokens
                return entry
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def _leave(self, entry: _Entry, used: int | None) -> None:
        with self._changed:
            self._out -= 1
            if used is not None and entry.counted:
                self._tokens += used - entry.tokens
                entry.tokens = used
            self._changed.notify_all()

    def _pause(self, ticket: object, tokens: int) -> float:
        """Seconds until the next look; 0 when it is this caller's turn."""
        if self._queue[0] is not ticket:
            return _UNTIL_NOTIFIED
        rate, now = self._rate, self._clock()
        while self._window and self._window[0].when + WINDOW_SECONDS <= now:
            gone = self._window.popleft()
            gone.counted = False
            self._tokens -= gone.tokens
        if rate.concurrent is not None and self._out >= rate.concurrent:
            return _UNTIL_NOTIFIED
        many = rate.requests_per_minute is not None and len(self._window) >= rate.requests_per_minute
        # a single call larger than the limit goes when the window is empty, or it would wait for ever
        much = rate.tokens_per_minute is not None and self._tokens + tokens > rate.tokens_per_minute
        if self._window and (many or much):
            return self._window[0].when + WINDOW_SECONDS - now
        return 0.0
