"""Gives up on a call that may never return: SDKs bound the wait for the next byte, not for a whole reply.

A provider, or a proxy before it, that sends a space or a comment now and then keeps such a wait alive for ever.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from bakeoff.gateway.policy.waiting import Cancelled

T = TypeVar("T")
LOOK_SECONDS = 0.25  # between looks at whether the attempt has ended


class Overdue(TimeoutError):  # noqa: N818
    """The whole reply did not come in time."""


def within(
    seconds: float, work: Callable[[], T], *, alive: Callable[[], float], cancelled: Callable[[], bool]
) -> T:
    """What `work` returns or raises. It runs in its own thread, which is left behind when it is given up.

    Args:
        seconds: that may pass, from the start or the last sign of life.
        work: the call.
        alive: `time.monotonic` of its last sign of life.
        cancelled: the caller has gone.

    Raises:
        Overdue: nothing came in that time.
        Cancelled: the caller has gone.
    """
    future: Future[T] = Future()
    context, began = contextvars.copy_context(), time.monotonic()
    body = threading.Thread(target=context.run, args=(_settle, future, work), name="model-call", daemon=True)
    body.start()
    try:
        while True:
            left = max(began, alive()) + seconds - time.monotonic()
            if left <= 0 and not future.done():
                raise Overdue(f"the reply was not whole within {seconds:g} s")
            try:
                return future.result(timeout=max(0.0, min(left, LOOK_SECONDS)))
            except TimeoutError:
                if future.done():  # in this very moment, or the timeout was the call's own
                    return future.result()
                if cancelled():
                    raise Cancelled from None
    finally:
        del future  # or it, its exception and this frame keep each other, and a reply of megabytes, alive


def _settle(future: Future[T], work: Callable[[], T]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
        future.set_exception(error.with_traceback(None))  # whose frames hold the reply
