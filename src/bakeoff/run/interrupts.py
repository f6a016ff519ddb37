"""Ctrl-C, SIGTERM and a terminal that closes: the first stops a run in good order, the second at once.

A handler only passes the order on. The run then ends on its ordinary way, however many signals follow: sandboxes are
removed and the manifest is closed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from bakeoff.errors import Interrupted


@dataclass
class Interrupts:
    """How often the user has asked a run to stop."""

    presses: int = 0

    @property
    def urgent(self) -> bool:
        """Whether to skip what can be made later, such as the report."""
        return self.presses > 1


@contextmanager
def handled(
    stop: Callable[[], None], abandon: Callable[[], None], say: Callable[[str], None]
) -> Iterator[Interrupts]:
    """While this is entered, signals end the run. In another thread than the main one, nothing is handled.

    Args:
        stop: the first time: start no more trials, cancel those that run.
        abandon: the second time: kill what runs.
        say: prints a line for the user.
    """
    interrupts = Interrupts()

    def on_signal(number: int, frame: FrameType | None) -> None:
        interrupts.presses += 1
        if interrupts.presses == 1:
            stop()
            if number != signal.SIGHUP:  # then nobody is there to read it, and writing it fails
                with suppress(Interrupted):  # the terminal has gone: the run is stopping already
                    say("stopping: what runs is cancelled, what is finished is kept; again to stop at once")
        elif interrupts.presses == 2:
            abandon()

    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as `nohup` has it
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
