"""What a container like a trial's says of its limits, against what was asked for."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bakeoff.backends.base import Frame, OnFrozen, Proof, SandboxEnd, SandboxError, SandboxSpec
from bakeoff.backends.docker import proof
from bakeoff.errors import UnfitEnvironment
from bakeoff.record.evidence import DockerFacts
from bakeoff.record.trial import ResourceLimits

LIMITS = ResourceLimits(cpus=1.0, memory_bytes=2**28, pids=64, disk_bytes=2**24, network="none")
SPEC = SandboxSpec("proof", "image", LIMITS)
HELD = {
    "cpus_limit": 1.0,
    "memory_limit_bytes": 2**28,
    "pids_limit": 64,
    "disk_limit_bytes": 2**24,
    "swap_limit_bytes": 0,
    "disk_free_bytes": 2**40,
    "cores": [1, 3],
}


class Box:
    """A sandbox that prints something and ends."""

    id = "box"

    def __init__(self, output: str, network: str = "none", exit_code: int = 0) -> None:
        self.output, self.network, self.exit_code = output, network, exit_code
        self.closed = False
        self.killed = threading.Event()

    def start(self, on_frozen: OnFrozen) -> None:
        pass

    def send(self, data: bytes) -> None:
        raise AssertionError("it is asked by its command")

    def frames(self) -> Iterator[Frame]:
        yield Frame("stdout", self.output.encode())

    def held(self) -> None:
        return None

    def kill(self) -> bool:
        self.killed.set()
        return True

    def end(self) -> SandboxEnd:
        return SandboxEnd(DockerFacts(container_id=self.id, exit_code=self.exit_code), self.network)

    def close(self) -> None:
        self.closed = True


def prove(*boxes: Box, pinned: int = 0, info: dict[str, Any] | None = None) -> Proof:
    waiting, cores = list(boxes), list[tuple[int, ...]]()

    def opened(spec: SandboxSpec, on: tuple[int, ...]) -> Box:
        assert spec.limits == LIMITS
        cores.append(on)
        return waiting.pop(0)

    try:
        return proof.prove(opened, SPEC, pinned, info or {})
    finally:
        assert all(box.closed for box in boxes)
        assert cores[1:] in ([], [(1,)])


def says(**changes: Any) -> Box:
    return Box("a warning of Python\n" + json.dumps(HELD | changes) + "\n")


def refused(box: Box, **info: Any) -> UnfitEnvironment:
    with pytest.raises(UnfitEnvironment) as caught:
        prove(box, info=info)
    assert caught.value.hint
    return caught.value


def test_where_all_limits_hold_the_cores_are_those_of_the_container() -> None:
    assert prove(says()) == Proof((1, 3), 2**40)


@pytest.mark.parametrize(
    ("changes", "problem", "hint"),
    [
        ({"memory_limit_bytes": None}, "memory: asked 268435456, effective no limit", "cgroup_enable=memory"),
        ({"cpus_limit": None}, "cpus: asked 1.0, effective no limit", "cgroup controllers"),
        ({"pids_limit": 128}, "pids: asked 64, effective 128", "cgroup controllers"),
        ({"disk_limit_bytes": 2**40}, "disk: asked 16777216", "cgroup controllers"),
        ({"swap_limit_bytes": 2**30}, "swap: asked none, effective 1073741824", "swapoff"),
    ],
)
def test_a_limit_that_does_not_hold_is_named(changes: dict[str, Any], problem: str, hint: str) -> None:
    error = refused(says(**changes))
    assert problem in str(error)
    assert hint in (error.hint or "")


def test_another_network_than_asked_for_is_refused() -> None:
    assert "network: asked none, effective bridge" in str(refused(Box(json.dumps(HELD), network="bridge")))


@pytest.mark.parametrize(
    ("info", "hint"),
    [
        ({"SecurityOptions": ["name=rootless"], "CgroupVersion": "2"}, "Delegate=cpu cpuset io memory pids"),
        ({"DefaultRuntime": "kata"}, "runc"),
    ],
)
def test_the_remedy_is_the_engines(info: dict[str, Any], hint: str) -> None:
    assert hint in (refused(says(cpus_limit=None), **info).hint or "")


@pytest.mark.parametrize(
    ("info", "name", "hint"),
    [
        ({"DefaultRuntime": "runsc"}, "gVisor", "Make runc"),
        ({"DefaultRuntime": "safe", "Runtimes": {"safe": {"path": "/usr/bin/runsc"}}}, "gVisor", "Make runc"),
        (
            {"SecurityOptions": ["name=rootless"], "CgroupVersion": "1"},
            "rootless",
            "unified_cgroup_hierarchy",
        ),
        (
            {"SecurityOptions": ["name=rootless"], "CgroupVersion": "2", "CgroupDriver": "none"},
            "rootless",
            "Delegate=cpu cpuset io memory pids",
        ),
    ],
)
def test_an_engine_that_can_hold_no_limit_is_refused_before_anything_starts(
    info: dict[str, Any], name: str, hint: str
) -> None:
    def opened(spec: SandboxSpec, cores: tuple[int, ...]) -> Box:
        raise AssertionError("nothing may start")

    with pytest.raises(UnfitEnvironment, match=name) as caught:
        proof.prove(opened, SPEC, 0, info)
    assert hint in (caught.value.hint or "")


def test_an_engine_that_may_hold_limits_is_asked() -> None:
    rootless = {"SecurityOptions": ["name=rootless"], "CgroupVersion": "2", "CgroupDriver": "systemd"}
    beside = {"DefaultRuntime": "runc", "Runtimes": {"runsc": {"path": "runsc"}}}
    for info in (rootless, beside):
        proof.refuse_unfit(info)


def test_what_docker_says_when_it_creates_none_is_what_the_user_reads() -> None:
    words = "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler"

    def opened(spec: SandboxSpec, cores: tuple[int, ...]) -> Box:
        raise SandboxError(DockerFacts(failed_step="create", error_kind="start", error=words))

    with pytest.raises(UnfitEnvironment, match="NanoCPUs can not be set"):
        proof.prove(opened, SPEC, 0, {})


@pytest.mark.parametrize("output", ["", "exec: python3: not found", "{}", "[]", "null"])
def test_a_container_that_says_something_else_is_refused(output: str) -> None:
    assert "does not run" in str(refused(Box(output, exit_code=127)))


def test_one_that_never_ends_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(Box):
        def frames(self) -> Iterator[Frame]:
            assert self.killed.wait(10)
            return iter(())

    monkeypatch.setattr(proof, "SECONDS", 0.01)
    assert "exit code 137" in str(refused(Stuck("", exit_code=137)))


def test_pinning_is_tried_on_cores_that_are_there() -> None:
    assert prove(says(), says(cores=[1]), pinned=1).cores == (1, 3)
    with pytest.raises(UnfitEnvironment, match=r"asked for the CPUs \(1,\) of its own and got \(1, 3\)"):
        prove(says(), says(), pinned=1)
    assert prove(says(), pinned=3).cores == (1, 3), "that so many are not there is admission's word"


def test_the_script_runs_alone(tmp_path: Path) -> None:
    script = proof.SCRIPT.replace("'/task'", repr(str(tmp_path)))
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, check=True)
    assert json.loads(done.stdout).keys() >= HELD.keys()
