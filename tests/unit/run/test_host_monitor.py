"""The written rule on contention, and the sampling behind the report's worst moments."""

import time

import pytest

from bakeoff.record.evidence import KernelFacts
from bakeoff.run.host_monitor import HostMonitor, contended


def kernel(waited: float | None, cpu: float | None, throttled: float = 0.0) -> KernelFacts:
    return KernelFacts(waited_seconds=waited, cpu_seconds=cpu, throttled_seconds=throttled)


@pytest.mark.parametrize(
    ("facts", "steal", "expected"),
    [
        (kernel(6.0, 2.0), 0.0, True),  # ready for most of the time, and below half of its floor of 5 CPU seconds
        (kernel(4.9, 2.0), 0.0, False),  # not ready often enough to blame anybody
        (kernel(6.0, 2.5), 0.0, False),  # a share that the noise of a full host explains
        (kernel(9.0, 2.0, throttled=5.0), 0.0, False),  # the quota took it, not a neighbour
        (kernel(0.0, 0.1), 0.0, False),  # it slept
        (kernel(None, 2.0), 0.0, False),  # the kernel does not say
        (kernel(6.0, None), 0.0, False),
        (kernel(0.0, 9.0), 20.0, True),  # the hypervisor took it
        (kernel(0.0, 9.0), 19.9, False),
        (kernel(0.0, 9.0), None, False),
    ],
)  # fmt: skip
def test_the_rule(facts: KernelFacts, steal: float | None, expected: bool) -> None:
    assert contended(facts, steal, seconds=10.0, reserved_cpus=0.5) is expected


def test_what_the_start_waited_for_takes_nothing_from_the_agent() -> None:
    slow_start = kernel(6.0, 2.0).model_copy(
        update={"startup_waited_seconds": 5.9, "startup_cpu_seconds": 1.0}
    )
    assert not contended(slow_start, 0.0, seconds=10.0, reserved_cpus=0.5)
    fast_start = kernel(6.0, 3.0).model_copy(
        update={"startup_waited_seconds": 0.5, "startup_cpu_seconds": 1.0}
    )
    assert contended(fast_start, 0.0, seconds=10.0, reserved_cpus=0.5)


def test_what_two_cpus_were_reserved_for_and_one_thread_used_is_no_denial() -> None:
    assert not contended(kernel(6.0, 5.0), 0.0, seconds=10.0, reserved_cpus=2.0)


def test_an_attempt_of_no_length_is_never_contended() -> None:
    assert not contended(kernel(1.0, 0.0), 0.0, seconds=0.0, reserved_cpus=0.5)


@pytest.mark.slow
def test_the_host_is_sampled_while_it_runs() -> None:
    begin = time.monotonic()
    deadline = begin + 60.0
    with HostMonitor() as monitor:
        while ((worst := monitor.worst()) is None or worst.samples < 2) and time.monotonic() < deadline:
            time.sleep(0.05)
        facts = monitor.during(begin, time.monotonic())
    assert facts.cpu_percent_max is not None
    assert 0.0 <= facts.cpu_percent_max <= 100.0
    assert facts.memory_available_min_bytes is not None
    assert facts.memory_available_min_bytes > 0
    assert worst.samples >= 2
    assert monitor.during(begin - 100, begin - 50).cpu_percent_max is None


def test_a_remote_host_is_not_guessed_at() -> None:
    with HostMonitor(local=False) as monitor:
        pass
    assert monitor.worst() is None
    assert monitor.during(0.0, time.monotonic()).load_max is None
