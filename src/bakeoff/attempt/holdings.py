"""What the attempts of this process hold in memory together, and which of them may hold more.

An agent decides how much it says, and many run at once. So what they hold is counted, and an attempt that wants more
than there is room for waits, free of charge, until others have ended. Its share it may always have, and one attempt at
a time may go beyond the room, up to its own bounds: so nobody waits for ever, nobody fails for what others hold, and an
attempt that holds little never waits.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

# Bytes that all attempts may hold together. What goes beyond: the shares, and one attempt.
ROOM_BYTES = 12 * 2**20
# What Python needs for a parsed value (a number, a text, a list, ...) beside its text.
VALUE_BYTES = 80
# From here on the work on what an attempt says is done for one attempt at a time: it takes a multiple for a moment.
HEAVY_BYTES = 256 * 2**10
# How often a waiting attempt looks whether it is still wanted.
LOOK_SECONDS = 0.2


# mallopt(3) of glibc: blocks of this size are given back when they are freed, and threads share this many heaps.
_M_MMAP_THRESHOLD, _BLOCK_BYTES = -3, 128 * 2**10
_M_ARENA_MAX, _HEAPS = -8, 2


def give_back_what_is_freed() -> None:
    """Or a process with many threads keeps a multiple of what it holds. Other C libraries than glibc are left alone."""
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _BLOCK_BYTES)
        mallopt(_M_ARENA_MAX, _HEAPS)


def _trim() -> None:
    """Give back what is free between blocks that are not."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


class Holdings:
    """The count of one process."""

    def __init__(self, room: int = ROOM_BYTES) -> None:
        self._room = room
        self._changed = threading.Condition()
        self._held: dict[Holding, int] = {}
        self._beyond: Holding | None = None  # the one that may go beyond the room until it ends
        self._working = threading.RLock()

    def join(self) -> Holding:
        """Count one more attempt."""
        holding = Holding(self)
        with self._changed:
            self._held[holding] = 0
        return holding

    def _fits(self, holding: Holding, wanted: int) -> bool:
        """Whether it may hold so much, which then counts. One that has left counts no more."""
        if holding not in self._held:
            return True
        if self._has_room(holding, wanted):
            self._held[holding] = wanted
            return True
        return False

    def _has_room(self, holding: Holding, wanted: int) -> bool:
        if wanted <= max(self._held[holding], self._room // max(1, len(self._held))):
            return True
        if sum(self._held.values()) - self._held[holding] + wanted <= self._room:
            return True
        self._beyond = self._beyond or holding
        return self._beyond is holding


class Holding:
    """One attempt's part. `leave` when its trial is written down."""

    def __init__(self, all_of_them: Holdings) -> None:
        self._all = all_of_them

    def fits(self, wanted: int) -> bool:
        """Whether there is room for this many bytes in all; they then count as held."""
        with self._all._changed:
            return self._all._fits(self, wanted)

    def wait(self, wanted: int, stopped: Callable[[], bool]) -> bool:
        """Wait until there is room. False: `stopped` before that."""
        with self._all._changed:
            while not self._all._fits(self, wanted):
                if stopped():
                    return False
                self._all._changed.wait(LOOK_SECONDS)
            return True

    def holds(self, count: int) -> None:
        """This is what it holds now, whether there was room or not."""
        with self._all._changed:
            if self in self._all._held:
                self._all._held[self] = count
                self._all._changed.notify_all()

    def leave(self) -> None:
        """It holds nothing any more. Idempotent."""
        with self._all._changed:
            held = self._all._held.pop(self, 0)
            if self._all._beyond is self:
                self._all._beyond = None
            self._all._changed.notify_all()
        if held >= HEAVY_BYTES:
            _trim()

    @contextmanager
    def working(self, size: int | None = None) -> Iterator[None]:
        """Work on so many bytes, or on all it holds: where that is much, no other attempt does so meanwhile."""
        size = self._all._held.get(self, 0) if size is None else size
        if size < HEAVY_BYTES:
            yield
            return
        with self._all._working:
            yield
