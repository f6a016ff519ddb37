"""Containers are created ahead for each spec, never more than will be taken, and a failed one is tried again."""

import threading

import pytest

from bakeoff.backends.base import SandboxError, SandboxSpec
from bakeoff.backends.docker.pool import ContainerPool
from bakeoff.record.evidence import DockerFacts
from bakeoff.record.trial import ResourceLimits

LIMITS = ResourceLimits(cpus=1.0, memory_bytes=2**29, pids=128, disk_bytes=2**28, network="none")
SMALL = SandboxSpec("run", "image", LIMITS)
LARGE = SandboxSpec("run", "image", LIMITS.model_copy(update={"memory_bytes": 2**30}))


class Daemon:
    """Creates and removes names."""

    def __init__(self) -> None:
        self.created: list[str] = []
        self.removed: list[str] = []
        self.away = False
        self.lock = threading.Lock()

    def create(self, spec: SandboxSpec) -> str:
        with self.lock:
            if self.away:
                raise SandboxError(DockerFacts(error_kind="unavailable"))
            self.created.append(f"{'small' if spec == SMALL else 'large'}-{len(self.created)}")
            return self.created[-1]

    def pool(self) -> ContainerPool:
        return ContainerPool(self.create, self.removed.append)


def test_each_spec_gets_its_own_containers_and_no_more_are_created_than_are_taken() -> None:
    daemon = Daemon()
    pool = daemon.pool()
    pool.expect(SMALL, count=3, ahead=2)
    pool.expect(LARGE, count=1, ahead=2)
    taken = [pool.take(spec) for spec in (LARGE, SMALL, SMALL, SMALL)]
    pool.drain()
    assert [name.partition("-")[0] for name in taken] == ["large", "small", "small", "small"]
    assert sorted(taken) == sorted(daemon.created)


def test_a_container_that_nobody_expected_is_created_when_it_is_taken() -> None:
    daemon = Daemon()
    assert daemon.pool().take(SMALL) == "small-0"


def test_a_container_that_could_not_be_created_ahead_is_tried_again() -> None:
    daemon = Daemon()
    daemon.away = True
    pool = daemon.pool()
    pool.expect(SMALL, count=2, ahead=2)
    pool._executor().submit(lambda: None).result()
    with pytest.raises(SandboxError):
        pool.take(SMALL)
    daemon.away = False
    assert pool.take(SMALL) == "small-0"


def test_a_drained_pool_has_removed_everything_it_was_given() -> None:
    daemon = Daemon()
    pool = daemon.pool()
    for n in range(20):
        pool.discard(f"container-{n}")
    pool.drain()
    assert len(daemon.removed) == 20
    pool.discard("late")
    pool.drain()
    assert daemon.removed[-1] == "late"
