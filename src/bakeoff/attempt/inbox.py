"""What an attempt waits on: a bounded queue of events, each with the moment at which it came, and the clock."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Generic, Protocol, TypeVar

# Bytes of lines that wait to be read. A sandbox that writes faster is not read until some are.
MAX_WAITING_BYTES = 256 * 2**10

E = TypeVar("E")


class Timer(Protocol):
    """The time, and how it passes. Tests have one that jumps."""

    def now(self) -> float:
        """Seconds of a monotonic clock."""
        ...

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        """Wait for a notice on `condition`, which the caller holds, or for `timeout` seconds. May return early."""
        ...


class WallTimer:
    """The real time."""

    def now(self) -> float:
        return time.monotonic()

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        condition.wait(timeout)


class Inbox(Generic[E]):
    """Events from any thread, for one reader."""

    def __init__(self, timer: Timer) -> None:
        self._timer = timer
        self._events: deque[tuple[float, int, E]] = deque()
        self._bytes = 0
        self._closed = self._lossy = False
        self._changed = threading.Condition()

    def put(self, event: E, size: int = 0) -> None:
        """Add an event. One with a size waits while too many bytes are in front of it; a lossy inbox drops it."""
        with self._changed:
            while full := bool(size and self._bytes and self._bytes + size > MAX_WAITING_BYTES):
                if self._lossy:
                    break
                self._changed.wait()
            if not (full or self._closed):
                self._events.append((self._timer.now(), size, event))
                self._bytes += size
                self._changed.notify_all()

    def get(self, deadline: float | None) -> tuple[float, E] | None:
        """The next event and when it came. None: the deadline has passed, and no event came before it.

        Events that came later wait, so a sandbox that never stops writing cannot hold up a deadline.
        """
        with self._changed:
            while True:
                if self._events and (deadline is None or self._events[0][0] <= deadline):
                    at, size, event = self._events.popleft()
                    self._bytes -= size
                    self._changed.notify_all()
                    return at, event
                left = None if deadline is None else deadline - self._timer.now()
                if left is not None and left <= 0:
                    return None
                self._timer.wait(self._changed, left)

    @property
    def waiting(self) -> int:
        """Bytes that wait to be read."""
        return self._bytes

    @property
    def lossy(self) -> bool:
        return self._lossy

    def lose(self) -> None:
        """Nobody waits from now on: what finds no room is dropped."""
        with self._changed:
            self._lossy = True
            self._changed.notify_all()

    def close(self) -> None:
        """Drop what is there and what still comes."""
        with self._changed:
            self._closed = self._lossy = True
            self._events.clear()
            self._changed.notify_all()
