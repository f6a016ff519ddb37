"""How long this container was ready to run and got no CPU: what a noisy neighbour, or the quota, takes.

/proc/<pid>/task/<tid>/schedstat gives each thread's time on a CPU and its time on a run queue, in nanoseconds (the
kernel's Documentation/scheduler/sched-stats.rst). A thread may wait because the container's other threads run. So
between two samples only that part counts in which none of them can have run: the longest that one thread ran or
waited, less all CPU time that the container used. Threads that end between two samples lose their last piece, so the
sum is a floor. Many threads cannot raise it: they wait for each other.
"""

from __future__ import annotations

import os

from bakeoff_runner import cgroup


class Waits:
    """The sum over all samples so far."""

    def __init__(self, proc: str = "/proc", root: str = cgroup.ROOT) -> None:
        self._proc, self._root = proc, root
        self._known: dict[str, int] = {}  # thread -> nanoseconds that it ran or waited, at the last sample
        self._used: float | None = None  # CPU seconds of the container, at the last sample
        self._waited: float | None = None

    @property
    def seconds(self) -> float | None:
        """Seconds waited so far; None where the kernel keeps no such counts."""
        return self._waited

    def sample(self) -> None:
        """Read every thread there is now."""
        used, threads = cgroup.cpu_seconds(self._root), self._threads()
        if used is None or not threads:
            return
        if self._used is None:
            self._waited = 0.0
        else:
            longest = max(self._since(tid, busy) for tid, busy in threads.items()) / 1e9
            self._waited = (self._waited or 0.0) + max(0.0, longest - (used - self._used))
        self._known, self._used = threads, used

    def _since(self, tid: str, busy: int) -> int:
        known = self._known.get(tid, 0)
        return busy - known if busy >= known else busy  # less than before: another thread has this id now

    def _threads(self) -> dict[str, int]:
        found = {}
        for pid in filter(str.isdigit, os.listdir(self._proc)):
            tasks = f"{self._proc}/{pid}/task"
            try:
                listed = os.listdir(tasks)
            except OSError:
                continue  # it ended while we looked
            for tid in listed:
                try:
                    with open(f"{tasks}/{tid}/schedstat") as file:
                        ran, waited, *_ = file.read().split()
                    found[tid] = int(ran) + int(waited)
                except (OSError, ValueError):
                    # Not forgotten: a thread that is overlooked once would count all its time again.
                    if tid in self._known:
                        found[tid] = self._known[tid]
        return found
