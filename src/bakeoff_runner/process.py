"""What a process does to itself before it runs code that it does not trust."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

PR_SET_DUMPABLE, PR_CAPBSET_DROP = 4, 24  # prctl(2)
LAST_CAPABILITY = 63


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


def pipe_of(user: int) -> tuple[int, int]:
    """A pipe that processes of this user may open by its name in /proc, as /dev/stderr is one. For root."""
    os.seteuid(user)
    try:
        return os.pipe()
    finally:
        os.seteuid(0)


def become(user: int) -> None:
    """From root to a user (and the group of the same id) without capabilities; this leaves the process undumpable."""
    prctl = ctypes.CDLL(None).prctl
    for capability in range(LAST_CAPABILITY + 1):
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # an unknown one is refused
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)


def place_shared_memory(directory: str) -> None:
    """Make /dev/shm a part of this directory, so that it has its limit. For root, where there is no /dev/shm."""
    with contextlib.suppress(OSError):
        os.symlink(directory, "/dev/shm")  # noqa: S108 - where POSIX shared memory and semaphores are


def close_message_queues() -> None:
    """Close the queues that engines mount for everybody: a file made there is a queue. For root."""
    with contextlib.suppress(FileNotFoundError):
        os.chmod("/dev/mqueue", 0o700)
