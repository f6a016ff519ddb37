"""Who was frozen from outside, and when: one stream of the engine's pause events.

A pause leaves no trace once it is over: not in the container's state, and in no counter of its cgroup that every
kernel has. Docker's events are the one source on cgroup v1 and v2, on this host and on others, and they name the
container. They come as they happen, so nothing is polled, and the clock is this process's own.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

from docker import APIClient

from bakeoff.backends.base import OnFrozen
from bakeoff.backends.docker.connection import DAEMON_GONE

# Before a stream that broke off is opened again.
REOPEN_SECONDS = 1.0


class PauseEvents:
    """A thread that listens between `start` and `stop`; while Docker is away it hears nothing.

    Args:
        api: the engine.
    """

    def __init__(self, api: APIClient) -> None:
        self._api = api
        self._listeners: dict[str, OnFrozen] = {}
        self._stream: Any = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="pause-events", daemon=True)
        self._starting = threading.Lock()

    def start(self) -> None:
        """Begin to listen; more than once is no more than once."""
        with self._starting:
            if self._thread.ident is None:
                self._thread.start()

    def stop(self) -> None:
        """Stop, without waiting for the thread."""
        self._over.set()
        self._cut()

    def add(self, container_id: str, on_frozen: OnFrozen) -> None:
        """Call `on_frozen` in the thread, from now on, when this container is paused or goes on."""
        self._listeners[container_id] = on_frozen

    def discard(self, container_id: str) -> None:
        """Undo `add`, where there was one."""
        self._listeners.pop(container_id, None)

    def _cut(self) -> None:
        stream = self._stream
        if stream is not None:
            with suppress(OSError, *DAEMON_GONE):  # the other side may have gone first
                stream.close()

    def _listen(self) -> None:
        while not self._over.is_set():
            try:
                self._stream = self._api.events(filters={"event": ["pause", "unpause"]}, decode=True)
                if self._over.is_set():  # `stop` came before there was a stream to cut
                    self._cut()
                for event in self._stream:
                    now = time.monotonic()
                    if (on_frozen := self._listeners.get(event["Actor"]["ID"])) is not None:
                        on_frozen(event["Action"] == "pause", now)
            except DAEMON_GONE:
                pass  # every request of the run meets the same daemon, and puts it on record
            self._over.wait(REOPEN_SECONDS)
