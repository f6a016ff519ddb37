"""What a process does to itself before it runs code that it does not trust."""

from __future__ import annotations

import ctypes
import sys

PR_SET_DUMPABLE = 4  # prctl(2)


def make_undumpable() -> None:
    """Close /proc/<this process>/{mem,fd,environ} to other processes of the same user, until the next exec."""
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def be_killed_first() -> None:
    """When memory runs out, the kernel must take this process or its children, never the supervisor."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
    except OSError:
        print("bakeoff: oom_score_adj cannot be raised here", file=sys.stderr)
