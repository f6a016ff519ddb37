"""Waiting that ends early when the attempt has ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_SLICE_SECONDS = 0.1


class Cancelled(Exception):  # noqa: N818
    """The attempt ended while its call waited."""


def wait(seconds: float, cancelled: Callable[[], bool]) -> bool:
    """Wait `seconds`, or until `cancelled()`. Returns whether it was cancelled.

    When `cancelled` is a `threading.Event`'s own `is_set`, the event itself is waited for and nothing is
    polled.
    """
    event = getattr(cancelled, "__self__", None)
    if isinstance(event, threading.Event) and cancelled == event.is_set:
        return event.wait(max(seconds, 0))
    deadline = time.monotonic() + seconds
    while not cancelled():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(left, _SLICE_SECONDS))
    return True
