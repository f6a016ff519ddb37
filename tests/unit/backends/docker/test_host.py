"""Host facts and capacity, from a recorded answer of Docker's /info."""

import platform

import psutil
import pytest

from bakeoff.backends.base import Capacity
from bakeoff.backends.docker import host
from bakeoff.backends.docker.container import PINNED
from bakeoff.record.manifest import Host

INFO = {
    "NCPU": 4,
    "MemTotal": 16 * 2**30,
    "KernelVersion": "6.1.0-18-amd64",
    "OperatingSystem": "Debian GNU/Linux 12 (bookworm)",
    "Architecture": "x86_64",
    "CgroupVersion": "2",
    "CgroupDriver": "systemd",
    "ServerVersion": "20.10.24",
    "Driver": "overlay2",
    "DefaultRuntime": "runc",
    "SecurityOptions": ["name=seccomp,profile=default"],
}


def test_facts() -> None:
    facts = host.facts(INFO, "1.41")
    assert facts.cgroup_version == 2
    assert facts.docker_api_version == "1.41"
    assert (facts.cores, facts.memory_bytes) == (4, 16 * 2**30)


def test_unknown_facts_are_none() -> None:
    assert host.facts({}, "1.41") == Host(docker_api_version="1.41", sandbox=PINNED)


@pytest.mark.parametrize(
    ("driver", "version", "most"), [("systemd", "2", 4096), ("systemd", "1", 0), ("cgroupfs", "2", 0)]
)
def test_a_page_of_swap_where_systemd_would_forget_a_limit_of_none(
    driver: str, version: str, most: int
) -> None:
    assert host.swap_bytes({**INFO, "CgroupDriver": driver, "CgroupVersion": version}) == most


def test_room_keeps_a_headroom_and_counts_only_free_memory() -> None:
    share = int(16 * 2**30 * host.MEMORY_HEADROOM_SHARE)
    assert host.room(INFO, None) == Capacity(4.0, 16 * 2**30 - share, (0, 1, 2, 3))
    assert host.room(INFO, 2 * 2**30).memory_bytes == 2 * 2**30 - share
    assert host.room(INFO, 2**20).memory_bytes == 0
    small = INFO | {"MemTotal": 2 * 2**30}
    assert host.room(small, None).memory_bytes == 2 * 2**30 - host.MEMORY_HEADROOM_BYTES


def test_an_engine_is_local_when_its_kernel_is_ours() -> None:
    here = {"KernelVersion": platform.release(), "MemTotal": psutil.virtual_memory().total}
    assert host.is_local(here)
    assert not host.is_local(here | {"MemTotal": 1})
    assert not host.is_local(INFO)
