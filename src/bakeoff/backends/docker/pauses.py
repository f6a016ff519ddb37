"""Who was frozen from outside, and when: one stream of Docker's pause events for all containers of a run.

A pause leaves no trace once it is over: not in the container's state, and in no counter of its cgroup that every
kernel has. Docker's events are the one witness on cgroup v1 and v2, on this host and on others, and they name the
container. They come as they happen, so nothing is polled, and the clock is this process's own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from docker import DockerClient

from bakeoff.backends.docker.container import DAEMON_GONE, LABEL

AGAIN_SECONDS = 1.0  # before a stream that broke off is asked for again
Tell = Callable[[str, bool, float], None]


class PauseWatch:
    """A thread that listens between `start` and `stop`; while Docker is away it hears nothing.

    Args:
        client: the engine.
        run_id: the label of the containers.
        tell: called in that thread with a container's id, whether it is frozen now, and `time.monotonic()`.
    """

    def __init__(self, client: DockerClient, run_id: str, tell: Tell) -> None:
        self._api, self._tell = client.api, tell
        self._filters = {"label": f"{LABEL}={run_id}", "event": ["pause", "unpause"]}
        self._stream: Any = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="pause-watch", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, without waiting: over ssh a stream cannot be cut, and ends with the process."""
        self._over.set()
        self._cut()

    def _cut(self) -> None:
        stream = self._stream
        if stream is not None:
            with suppress(OSError, *DAEMON_GONE):  # the other side may have gone first
                stream.close()

    def _listen(self) -> None:
        while not self._over.is_set():
            try:
                self._stream = self._api.events(filters=self._filters, decode=True)
                if self._over.is_set():  # `stop` came before there was a stream to cut
                    self._cut()
                for event in self._stream:
                    self._tell(event["Actor"]["ID"], event["Action"] == "pause", time.monotonic())
            except DAEMON_GONE:
                pass  # every request of the run meets the same daemon, and puts it on record
            self._over.wait(AGAIN_SECONDS)
