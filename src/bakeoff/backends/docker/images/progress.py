"""Says how far a long step of the set-up has come, and how fast it goes. A short one says nothing."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bakeoff.backends.base import Say
from bakeoff.text import figures

EVERY_SECONDS = 5.0

# Bytes done so far, and of how many; None where that cannot be known.
Measure = Callable[[], tuple[int | None, int | None]]


def unknown() -> tuple[None, None]:
    """Of a step that can only be waited for."""
    return None, None


@contextmanager
def progress(say: Say, step: str, measure: Measure = unknown) -> Iterator[None]:
    """Say every few seconds how far the step inside is.

    Args:
        say: gets one line each time, from another thread.
        step: what is done, as the line begins.
        measure: asked each time.
    """
    over = threading.Event()

    def watch() -> None:
        began = last = time.monotonic()
        before = 0
        while not over.wait(EVERY_SECONDS):
            (done, total), now = measure(), time.monotonic()
            rate = None if done is None else max(0, done - before) / (now - last)
            say(line(step, done, total, rate, now - began))
            before, last = done or 0, now

    watcher = threading.Thread(target=watch, name="progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def line(step: str, done: int | None, total: int | None, rate: float | None, seconds: float) -> str:
    """`pulling it: 34 MiB of 51 MiB, 4.2 MiB/s, 12.0 s so far`."""
    parts = []
    if done is not None:
        parts.append(figures.size(done) + (f" of {figures.size(total)}" if total else ""))
        parts.append(f"{figures.size(rate)}/s")
    return f"{step}: {', '.join([*parts, f'{figures.seconds(seconds)} so far'])}"


def growing(*places: Path) -> Measure:
    """Of a step that fills these directories, beside what is there now."""
    before = sum(map(_bytes_below, places))
    return lambda: (max(0, sum(map(_bytes_below, places)) - before), None)


def _bytes_below(place: Path) -> int:
    """Files come and go meanwhile, and some may be another user's."""
    found = 0
    for directory, _, names in os.walk(place):
        for name in names:
            with suppress(OSError):
                found += os.lstat(os.path.join(directory, name)).st_size  # noqa: PTH118 - ten thousand of them
    return found
