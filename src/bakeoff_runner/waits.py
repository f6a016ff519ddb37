"""How long this container's threads stood ready to run and got no CPU: what a noisy neighbour, or the quota, takes.

/proc/<pid>/task/<tid>/schedstat: its second field is the time spent waiting on a run queue, in nanoseconds (the
kernel's Documentation/scheduler/sched-stats.rst). Threads that end between two samples lose their last piece, so the
sum is a floor.
"""

from __future__ import annotations

import os


class Waits:
    """The sum over all threads ever seen."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._known: dict[str, int] = {}  # task directory -> nanoseconds, the last reading

    def sample(self) -> None:
        """Read every thread there is now."""
        for pid in os.listdir(self._proc):
            if not pid.isdigit():
                continue
            tasks = f"{self._proc}/{pid}/task"
            try:
                for tid in os.listdir(tasks):
                    with open(f"{tasks}/{tid}/schedstat") as file:
                        self._known[tid] = max(self._known.get(tid, 0), int(file.read().split()[1]))
            except (OSError, IndexError, ValueError):
                continue  # it ended while we looked, or the kernel keeps no such counts

    @property
    def seconds(self) -> float | None:
        """Seconds waited so far; None where nothing could be read."""
        return sum(self._known.values()) / 1e9 if self._known else None
