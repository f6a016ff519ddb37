"""Ctrl-C, SIGTERM and a terminal that closes: they end a command in good order, wherever they arrive.

While trials run, the first signal stops the run, the second at once: a handler only passes the order on, and the run
ends on its ordinary way, however many follow. At any other time a signal is a KeyboardInterrupt. Either way sandboxes
are removed and the manifest is closed.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from bakeoff.errors import Interrupted

# What asks a program to end: Ctrl-C, Ctrl-\, whoever supervises it, a terminal that closes.
ENDING = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
# Signals so soon after one that was obeyed belong to it: what it set off, such as removing sandboxes, is not cut short.
SAME_SECONDS = 3.0


def at_once() -> None:
    """From now on, what asks the process to end ends it, with the exit code of `Interrupted`.

    Only before there is anything to put in order: an exception in the middle of an import could show as a traceback.
    """
    for number in _ours():
        signal.signal(number, lambda *_: os._exit(Interrupted.exit_code))


def raised() -> None:
    """From now on, what asks the process to end raises KeyboardInterrupt in its main thread."""
    obeyed = -SAME_SECONDS

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal obeyed
        now = time.monotonic()
        if now - obeyed >= SAME_SECONDS:
            obeyed = now
            raise KeyboardInterrupt

    for number in _ours():
        signal.signal(number, on_signal)


def _ours() -> list[signal.Signals]:
    """Those that nobody has asked to be ignored, as `nohup` asks. Ctrl-C counts in a shell's background too."""
    return [
        number for number in ENDING if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN
    ]


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
    before = {number: signal.signal(number, on_signal) for number in _ours()}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
