"""Containers created ahead of their trials and removed behind them, off the trials' path."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from bakeoff.backends.base import SandboxSpec

# Threads that create and remove: more would take the CPU of the trials that run.
THREADS = 2


@dataclass
class _Stock:
    """The containers of one spec: those created ahead, and how many will still be taken."""

    made: deque[Future[str]] = field(default_factory=deque)
    wanted: int = 0


class ContainerPool:
    """A pool for each spec, filled in the background. A created container holds no memory and no CPU.

    Args:
        create: creates a container and returns its id.
        remove: removes the container of that id. Raises nothing.
    """

    def __init__(self, create: Callable[[SandboxSpec], str], remove: Callable[[str], None]) -> None:
        self._create, self._remove = create, remove
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._stocks: defaultdict[SandboxSpec, _Stock] = defaultdict(_Stock)

    def expect(self, spec: SandboxSpec, count: int, ahead: int) -> None:
        """`count` more will be taken; keep at most `ahead` created."""
        with self._lock:
            stock = self._stocks[spec]
            stock.wanted += count
            while len(stock.made) < min(ahead, stock.wanted):
                stock.made.append(self._make(spec))

    def take(self, spec: SandboxSpec) -> str:
        """The next container.

        Raises:
            SandboxError: Docker could not create it.
        """
        with self._lock:
            stock = self._stocks[spec]
            stock.wanted -= 1
            while stock.made and _failed(stock.made[0]):
                stock.made.popleft()  # it was tried in a world that may have changed since
            future = stock.made.popleft() if stock.made else self._make(spec)
            if stock.wanted > len(stock.made):
                stock.made.append(self._make(spec))
        return future.result()

    def discard(self, container_id: str) -> None:
        """Remove it, later."""
        with self._lock:
            self._executor().submit(self._remove, container_id)

    def drain(self) -> None:
        """Wait for what is being created and removed, and forget what was created ahead: `sweep` removes it."""
        with self._lock:
            threads, self._threads = self._threads, None
            self._stocks.clear()
        if threads is not None:
            threads.shutdown(wait=True)

    def _make(self, spec: SandboxSpec) -> Future[str]:
        return self._executor().submit(self._create, spec)

    def _executor(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="pool")
        return self._threads


def _failed(made: Future[str]) -> bool:
    return made.done() and made.exception() is not None
