"""The faults to which the kernel is the witness, on another cgroup version: `bakeoff run` with a guest's Docker.

`make test-cgroup2`; with CGROUPS=1 the guest has version 1, for machines that have version 2 themselves.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cgroup2 import guest
from tests.cgroup2.scene import answered, docker, faults, patient, trials_in
from tests.docker.project import Outcome, call

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(1500)]

CGROUPS = int(os.environ.get("CGROUPS", "2"))

EXPECTED = {
    "harness-oom": ("infra_error", "infra.oom_killed"),
    "child-oom": ("infra_error", "infra.oom_killed"),
    "child-oom-survived": ("passed", None),
    "disk-full": ("infra_error", "infra.disk_full"),
    "pids": ("infra_error", "infra.pids_exhausted"),
    "fine": ("passed", None),
}


@dataclass(frozen=True)
class Both:
    """The same project on this machine's engine and on the guest's."""

    here: Outcome
    guest: Outcome
    paused: Outcome  # in the guest: one trial, whose container somebody pauses
    left_behind: str  # containers in the guest afterwards


@pytest.fixture(scope="module")
def both(native: Outcome, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """The second of two runs, and one with a pause."""
    there = faults(tmp_path_factory.mktemp("guest"))
    kind: guest.Kind = "cgroup2" if CGROUPS == 2 else "cgroup1"
    with guest.running(home, tmp_path_factory.mktemp("boot") / "console", kind) as machine:
        environment = {"DOCKER_HOST": machine.host}
        emulated = there.bake("--max-concurrency", "2", env=environment, timeout=900)
        paused = with_a_pause(tmp_path_factory.mktemp("paused"), machine.host)
        left = answered(machine.host, "ps", "--all", "--quiet")
    assert emulated.code == 0, emulated.stderr
    return Both(native, emulated, paused, left)


def with_a_pause(root: Path, host: str) -> Outcome:
    """A run of one trial, whose container is paused as soon as it is seen, and stays so."""
    made = patient(root)
    made.row("paused", call("wait", "waited", seconds=90))
    run, frozen, refused = made.start(env={"DOCKER_HOST": host}), False, ""
    while not frozen:
        assert run.poll() is None, f"over before it could be paused: {refused}\n{made.finish(run).stderr}"
        time.sleep(0.2)
        for container in trials_in(made, host):
            paused = docker(host, "pause", container)
            refused = paused.stderr
            frozen = paused.returncode == 0 or "already paused" in refused
    return made.finish(run)


@pytest.mark.parametrize("name", EXPECTED)
def test_each_fault_gets_its_cause_on_either_version(both: Both, name: str) -> None:
    for trial in (both.guest.trials()[name], both.here.trials()[name]):
        assert (trial.verdict, trial.cause) == EXPECTED[name], trial.attempts[-1].evidence


def test_no_trial_is_lost_and_no_container_left(both: Both) -> None:
    assert both.guest.trials().keys() == EXPECTED.keys()
    assert both.left_behind == ""


def test_a_pause_from_outside_is_seen_on_either_version(both: Both) -> None:
    trial = both.paused.trials()["paused"]
    evidence = trial.attempts[-1].evidence
    assert (trial.verdict, trial.cause) == ("infra_error", "infra.container_lost"), evidence
    assert (evidence.docker.paused_seconds or 0) >= 30


def test_the_record_says_which_version_it_was(both: Both) -> None:
    assert both.guest.run.manifest().host.cgroup_version == CGROUPS
    for trial in both.guest.trials().values():
        kernel = trial.attempts[-1].evidence.kernel
        assert (kernel.source, kernel.cgroup_version) == ("container", CGROUPS)


def test_the_kernel_holds_the_limits_that_were_asked_for(both: Both) -> None:
    for trial in both.guest.trials().values():
        assert trial.resources.effective == trial.resources.requested
        assert trial.attempts[-1].evidence.limits_mismatch == []


def test_the_kernel_counts_what_happened(both: Both) -> None:
    killed = {"harness-oom", "child-oom", "child-oom-survived"}
    for name, trial in both.guest.trials().items():
        seen, docker = trial.resources.observed, trial.attempts[-1].evidence.docker
        assert ((seen.oom_kills or 0) > 0) == (name in killed), name
        assert name in killed or not docker.oom_killed, (
            name
        )  # Docker hears of it by an event, perhaps too late
        assert seen.memory_peak_bytes is not None
        assert (seen.memory_peak_bytes > 255 * 2**20) == (name in killed), name
        assert 40 * 2**20 < seen.memory_peak_bytes <= 256 * 2**20, name
        assert (seen.cpu_seconds or 0) > 0.5, name
        assert seen.throttled_seconds is not None, name
        assert seen.pids_peak is not None
        assert (seen.pids_peak == 64) == (name == "pids"), name
    assert both.guest.trials()["disk-full"].resources.observed.disk_bytes == 16 * 2**20
