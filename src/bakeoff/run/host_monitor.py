"""Samples the host while trials run, and says by a written rule whether an attempt was denied what it was promised.

The rule (`contended`): an attempt ran on a contended host when it got less than half of its reserved floor although it
was ready to run for at least half of its time, the quota's own throttling not counted; or when a fifth of the
machine's CPU time or more was stolen by the hypervisor while it ran. A contended host excuses one thing only, a time
limit, the trial's or a tool's; so what counts is the time from the agent's start: a slow start takes nothing from the
agent.

Half of the floor, since agents that all use what they can get just about their floor. At most half of one CPU, since
the waiting is known for one thread, which cannot use more than one CPU.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import psutil

from bakeoff.record.evidence import HostFacts, KernelFacts
from bakeoff.record.manifest import HostWorst

SAMPLE_SECONDS = 1.0
# Samples that are kept: two hours, longer than any attempt.
KEPT = 7200
# Share of the attempt's time in which it was ready to run and did not run.
STARVED_SHARE = 0.5
# Of its floor, of which less is a denial.
DENIED_SHARE = 0.5
# Of the machine's CPU time, mean over the attempt.
STOLEN_PERCENT = 20.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The host at one moment."""

    at: float  # monotonic
    cpu_percent: float  # of all cores, since the sample before
    steal_percent: float
    memory_available_bytes: int
    swap_used_bytes: int
    load: float  # one-minute load average


def contended(kernel: KernelFacts, steal_percent: float | None, seconds: float, reserved_cpus: float) -> bool:
    """The rule above.

    Args:
        kernel: what the kernel counted for the attempt's container.
        steal_percent: mean over the attempt, where known.
        seconds: the agent's working time; where the agent never started, the time that its start took.
        reserved_cpus: the floor it was promised.
    """
    if (steal_percent or 0.0) >= STOLEN_PERCENT:
        return True
    if kernel.waited_seconds is None or kernel.cpu_seconds is None or seconds <= 0:
        return False
    ran = kernel.cpu_seconds - (kernel.startup_cpu_seconds or 0.0)
    throttled = (kernel.throttled_seconds or 0.0) - (kernel.startup_throttled_seconds or 0.0)
    waited = kernel.waited_seconds - (kernel.startup_waited_seconds or 0.0) - throttled
    return waited >= STARVED_SHARE * seconds and ran < DENIED_SHARE * min(reserved_cpus, 1.0) * seconds


class HostMonitor:
    """A thread that samples this machine once a second while it is entered.

    It sees the machine that runs bakeoff. Where the sandboxes run on another one, use `HostMonitor(local=False)`: it
    then knows nothing and says so with None.
    """

    def __init__(self, *, local: bool = True) -> None:
        self._local = local
        self._samples: deque[Sample] = deque(maxlen=KEPT)
        self._worst: HostWorst | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="host-monitor", daemon=True)

    def __enter__(self) -> Self:
        if self._local:
            psutil.cpu_times_percent()  # the first call sets the mark that the next one measures from
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def during(self, begin: float, end: float) -> HostFacts:
        """The worst between two moments of `time.monotonic`, without the judgement on contention."""
        seen = [sample for sample in list(self._samples) if begin <= sample.at <= end + SAMPLE_SECONDS]
        if not seen:
            return HostFacts()
        return HostFacts(
            cpu_percent_max=max(s.cpu_percent for s in seen),
            steal_percent_mean=sum(s.steal_percent for s in seen) / len(seen),
            memory_available_min_bytes=min(s.memory_available_bytes for s in seen),
            swap_used_max_bytes=max(s.swap_used_bytes for s in seen),
            load_max=max(s.load for s in seen),
        )

    def worst(self) -> HostWorst | None:
        """The worst moments of the run, for the manifest; None where nothing was sampled."""
        return self._worst

    def _sample(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            sample = _look()
            self._samples.append(sample)
            self._worst = _alone(sample).worse(self._worst)


def _alone(sample: Sample) -> HostWorst:
    return HostWorst(
        cpu_percent_max=sample.cpu_percent,
        load_max=sample.load,
        memory_available_min_bytes=sample.memory_available_bytes,
        samples=1,
        steal_percent_max=sample.steal_percent,
        swap_used_max_bytes=sample.swap_used_bytes,
    )


def _look() -> Sample:
    times = psutil.cpu_times_percent()
    return Sample(
        at=time.monotonic(),
        cpu_percent=100.0 - times.idle - getattr(times, "iowait", 0.0),
        steal_percent=getattr(times, "steal", 0.0),
        memory_available_bytes=psutil.virtual_memory().available,
        swap_used_bytes=psutil.swap_memory().used,
        load=psutil.getloadavg()[0],
    )
