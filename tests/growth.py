"""How the time of some work grows with its size: a ratio within one process, so that no machine is too slow for it."""

from __future__ import annotations

import time
from collections.abc import Callable

TIMES = 8  # how much larger the large one is: work that is linear takes about so many times as long, quadratic 64 times
LINEAR = 3 * TIMES


def growth(work: Callable[[int], object], size: int) -> float:
    """How many times longer `work(8 * size)` takes than `work(size)`, in CPU time; the best of three.

    `size` is one for which the work takes some milliseconds.
    """
    return min(_seconds(work, TIMES * size) for _ in range(3)) / min(_seconds(work, size) for _ in range(3))


def _seconds(work: Callable[[int], object], size: int) -> float:
    began = time.thread_time()
    work(size)
    return time.thread_time() - began
