"""A time limit for a call, enforced in the thread that makes the call: nothing moves to another thread.

A harness may keep objects that belong to a thread (a SQLite connection, a signal handler, thread-local state), so a
call runs where the framework would run it. A watchdog thread ends a call that is past its deadline, and tries again
every second until the call is over:

- it kills the processes that the call's thread has started since, with their descendants, so a wait for them returns;
- in the main thread, a signal interrupts whatever blocks, and its handler raises `ToolTimeout`;
- in any other thread, `ToolTimeout` is raised at the next bytecode. CPython cannot wake such a thread from a blocking
  call, so `time.sleep` is replaced, for these calls only, by a wait that the watchdog can end.

A worker thread that blocks in another way, such as on a lock, cannot be ended: it lasts until the trial's time limit.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

INTERRUPT = signal.SIGRTMAX - 2  # a number that no library uses
RETRY_SECONDS = 1.0

_sleep = time.sleep
_innermost: contextvars.ContextVar[LimitedCall | None] = contextvars.ContextVar("bakeoff_call", default=None)


class ToolTimeout(TimeoutError):  # noqa: N818 - reads as what happened
    """A tool call ran past `limits.tool_seconds`."""


class LimitedCall:
    """One call under a time limit. A call inside another one ends no later than that one.

    An interrupt may arrive at any bytecode of the call's thread. So nothing here takes a Python-level lock, which an
    exception between its parts would leave locked.

    Attributes:
        expired: the call went past its deadline, however it ended.
        over: nothing is to be interrupted any more.
    """

    def __init__(self, seconds: float) -> None:
        outer = _innermost.get()
        self.deadline = time.monotonic() + seconds
        if outer is not None:
            self.deadline = min(self.deadline, outer.deadline)
        self.expired = self.over = False
        self.in_main_thread = threading.current_thread() is threading.main_thread()
        self._until_expiry = threading.Lock()  # free once the call has expired
        self._until_expiry.acquire()
        self._being_interrupted = False
        self._thread, self._native_id = threading.get_ident(), threading.get_native_id()
        self._older_children = _children_of_thread(os.getpid(), self._native_id)

    def run(self, work: Callable[[], T], watchdog: Watchdog) -> T:
        """Do `work` in this thread.

        Raises:
            ToolTimeout: it was interrupted at its deadline, or at that of a call around it.
        """
        outer = _innermost.set(self)
        watchdog.start(self)
        try:
            return work()
        finally:
            self._end()
            _innermost.reset(outer)

    def sleep(self, seconds: float) -> None:
        """Sleep as part of this call, in a worker thread."""
        if not self.expired and self._until_expiry.acquire(timeout=seconds):
            self._until_expiry.release()  # for others who sleep in this call
        if self.expired:
            raise ToolTimeout

    def _end(self) -> None:
        """From its return on nothing interrupts the thread for this call."""
        while True:
            with contextlib.suppress(ToolTimeout):
                self.over = True
                while self._being_interrupted:
                    _sleep(0.001)
                if not self.in_main_thread:
                    _raise_in(self._thread, None)
                return

    def interrupt(self) -> None:
        """End what the call's thread is doing. The watchdog calls this, from its own thread."""
        self._being_interrupted = True
        if not self.over:
            self.expired = True
            if self._until_expiry.locked():
                self._until_expiry.release()
            for child in _children_of_thread(os.getpid(), self._native_id) - self._older_children:
                _kill_tree(child)
            if self.in_main_thread:
                signal.pthread_kill(self._thread, INTERRUPT)
            else:
                _raise_in(self._thread, ToolTimeout)
        self._being_interrupted = False


class Watchdog:
    """Holds every call to the same number of seconds, from one daemon thread."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._started: queue.SimpleQueue[LimitedCall] = queue.SimpleQueue()
        self._calls: list[LimitedCall] = []
        threading.Thread(target=self._watch, name="bakeoff-watchdog", daemon=True).start()

    def start(self, call: LimitedCall) -> None:
        self._started.put(call)

    def on_interrupt(self, *_: object) -> None:
        """The signal handler, in the main thread."""
        if any(call.in_main_thread and call.expired and not call.over for call in tuple(self._calls)):
            raise ToolTimeout

    def _watch(self) -> None:
        while True:
            next_deadline = min((call.deadline for call in self._calls), default=None)
            patience = None if next_deadline is None else max(0.0, next_deadline - time.monotonic())
            with contextlib.suppress(queue.Empty):
                self._calls.append(self._started.get(timeout=patience))
            now = time.monotonic()
            for call in self._calls:
                if call.deadline <= now and not call.over:
                    call.interrupt()
                    call.deadline = now + RETRY_SECONDS
            self._calls = [call for call in self._calls if not call.over]


def install(seconds: float) -> Watchdog:
    """Make a watchdog for this process; called once, in the main thread, before the harness is imported."""
    watchdog = Watchdog(seconds)
    signal.signal(INTERRUPT, watchdog.on_interrupt)
    time.sleep = _interruptible_sleep  # type: ignore[assignment]
    return watchdog


def _interruptible_sleep(seconds: float, /) -> None:
    """`time.sleep`, which in a worker thread ends when the call that it is part of expires."""
    call = _innermost.get()
    if call is None or seconds <= 0 or threading.current_thread() is threading.main_thread():
        _sleep(seconds)
    else:
        call.sleep(seconds)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Raise at the thread's next bytecode; None takes back what has not been raised yet."""
    value = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), value)


def _children_of_thread(pid: int, thread: int) -> set[int]:
    try:
        with open(f"/proc/{pid}/task/{thread}/children") as file:
            return {int(child) for child in file.read().split()}
    except OSError:
        return set()


def _kill_tree(pid: int) -> None:
    """Kill a process and its descendants: a grandchild that lives on keeps its parent's pipes open."""
    try:
        threads = [int(thread) for thread in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        threads = []
    descendants = [child for thread in threads for child in _children_of_thread(pid, thread)]
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    for child in descendants:
        _kill_tree(child)
