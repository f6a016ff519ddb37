"""Finding and starting Docker: what is decided, and how failures are explained."""

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from bakeoff.errors import UnfitEnvironment
from bakeoff.provision import docker_engine
from bakeoff.provision.docker_engine import Daemon, Machine

DEBIAN = Machine(
    platform="linux", distribution="debian", privilege=(), has_apt=True, has_dockerd=False, has_systemd=False
)


def changed(**changes: object) -> Machine:
    return Machine(**{name: getattr(DEBIAN, name) for name in Machine.__slots__} | changes)


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (DEBIAN, ["install", "dockerd"]),
        (changed(distribution="ubuntu", has_systemd=True), ["install", "systemd"]),
        (changed(privilege=("sudo", "-n")), ["install", "dockerd"]),
        (changed(has_dockerd=True), ["dockerd"]),
        (changed(has_dockerd=True, distribution="fedora", has_systemd=True), ["systemd"]),
    ],
)
def test_steps(machine: Machine, expected: list[str]) -> None:
    assert docker_engine.steps(machine) == expected


@pytest.mark.parametrize(
    ("machine", "hint"),
    [
        (changed(platform="darwin"), "Docker Desktop"),
        (changed(privilege=None), "    apt-get install docker.io\n    dockerd &\n"),
        (changed(privilege=None, has_dockerd=True, has_systemd=True), "systemctl enable --now docker"),
        (changed(distribution="fedora"), "docs.docker.com"),
        (changed(has_apt=False), "docs.docker.com"),
    ],
)
def test_steps_it_may_not_take_are_told_to_the_user(machine: Machine, hint: str) -> None:
    with pytest.raises(UnfitEnvironment) as caught:
        docker_engine.steps(machine)
    assert hint in (caught.value.hint or "")


def test_only_a_machine_without_systemd_mounts_its_own_cgroups() -> None:
    assert "cgroupfs-mount" in docker_engine.packages(DEBIAN)
    assert "cgroupfs-mount" not in docker_engine.packages(changed(has_systemd=True))


def test_stale_pid_files(tmp_path: Path) -> None:
    pid_file = tmp_path / "docker.pid"
    assert not docker_engine.is_stale(pid_file, "dockerd")  # none there: nothing to remove
    pid_file.write_text(str(os.getpid()))
    assert docker_engine.is_stale(pid_file, "dockerd")  # the id belongs to another program now
    assert not docker_engine.is_stale(pid_file, psutil.Process().name())
    pid_file.write_text("")
    assert docker_engine.is_stale(pid_file, "dockerd")


def test_stop_ends_nothing_that_bakeoff_did_not_start(tmp_path: Path) -> None:
    daemon = Daemon(state=tmp_path)
    assert not docker_engine.stop(daemon)
    # The id of a live process, but another process than the one that was recorded.
    daemon.record.write_text(f'{{"pid": {os.getpid()}, "created": 1.0}}')
    assert not docker_engine.stop(daemon)
    assert not daemon.record.exists()


def test_a_dockerd_that_ends_shows_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "dockerd"
    program.write_text("#!/bin/sh\necho 'failed to mount cgroup\033[2J'\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    daemon = Daemon(tmp_path / "no.sock", tmp_path / "no.pid", tmp_path / "no.cpid", (), tmp_path / "state")
    with pytest.raises(UnfitEnvironment) as caught:
        docker_engine.start(daemon, (), lambda line: None)
    assert "status 3" in str(caught.value)
    assert "failed to mount cgroup" in str(caught.value)
    assert "\033" not in str(caught.value)


def test_a_killed_engine_that_nobody_took_leave_of_is_stale(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "60"])
    pid_file = tmp_path / "docker.pid"
    pid_file.write_text(f"{process.pid}\n")
    assert not docker_engine.is_stale(pid_file, "sleep")
    os.kill(process.pid, signal.SIGKILL)
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert docker_engine.is_stale(pid_file, "sleep")
    process.wait()
