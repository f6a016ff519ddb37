"""Reading a cgroup's files, on recordings of real kernels (tests/unit/cgroups/record.py made them)."""

import json
from pathlib import Path
from typing import Any

import pytest

from bakeoff.record.limits import KernelReport, mismatches
from bakeoff.record.trial import ResourceLimits
from bakeoff_runner import cgroup

RECORDINGS = Path(__file__).parent / "cgroups"
MIB = 2**20
ASKED = ResourceLimits(cpus=0.1, memory_bytes=128 * MIB, pids=32, disk_bytes=16 * MIB, network="none")
DISK = {"disk_limit_bytes": 16 * MIB}  # no cgroup's business: the supervisor adds it


def recorded(tmp_path: Path, name: str, changed: dict[str, str | None] | None = None) -> dict[str, Any]:
    """The facts that are read from a recording, in which some files read otherwise or (None) are missing."""
    recording = json.loads((RECORDINGS / f"{name}.json").read_text())
    files = {**recording["cgroup"], "proc/meminfo": recording["meminfo"]} | (changed or {})
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        if text is not None:
            (tmp_path / path).write_text(text)
    return cgroup.facts(str(tmp_path), str(tmp_path / "proc"))


TIMES = {
    "v1": {"cpu_seconds": 0.337399191, "throttled_seconds": 1.432212453},
    "v2": {"cpu_seconds": 9.888434, "throttled_seconds": 93.628397},
}


@pytest.mark.parametrize(("version", "limit_hits"), [(1, None), (2, 1)])
def test_each_version_as_recorded(tmp_path: Path, version: int, limit_hits: int | None) -> None:
    name = f"v{version}"
    assert recorded(tmp_path, name) == {
        "cgroup_version": version,
        "memory_peak_bytes": 128 * MIB,
        "memory_limit_bytes": 128 * MIB,
        "swap_limit_bytes": 0,
        "oom_kills": 1,
        "memory_limit_hits": limit_hits,
        **TIMES[name],
        "cpus_limit": 0.1,
        "pids_peak": 32,
        "pids_limit": 32,
        "pids_refused": 1,
    }

    assert mismatches(ASKED, KernelReport.of(recorded(tmp_path, name) | DISK).limits) == []


UNLIMITED = str(2**63 - 4096) + "\n"  # as version 1 writes it
SWAP = {"proc/meminfo": "SwapTotal:        524284 kB\n"}
NO_SWAP = {"proc/meminfo": "SwapTotal:             0 kB\n"}
SWAP_FOUND = ["swap: asked none, effective 536866816"]


@pytest.mark.parametrize(
    ("name", "changed", "found"),
    [
        # Docker drops the limit where it believes that the kernel has none
        ("v2", {"memory.swap.max": "max\n"} | SWAP, SWAP_FOUND),
        ("v2", {"memory.swap.max": None} | SWAP, SWAP_FOUND),
        ("v1", {"memory/memory.memsw.limit_in_bytes": UNLIMITED} | SWAP, SWAP_FOUND),
        ("v1", {"memory/memory.memsw.limit_in_bytes": None} | SWAP, SWAP_FOUND),
        # one page, which systemd does not forget
        ("v2", {"memory.swap.max": "4096\n"} | SWAP, []),
        # which harms nobody where there is nothing to swap to
        ("v2", {"memory.swap.max": "max\n"} | NO_SWAP, []),
        ("v1", {"memory/memory.memsw.limit_in_bytes": None} | NO_SWAP, []),
        ("v2", {"memory.swap.max": None, "proc/meminfo": None}, ["swap: asked none, effective not known"]),
        ("v2", {"memory.max": "max\n"}, ["memory: asked 134217728, effective no limit"]),
        ("v1", {"memory/memory.limit_in_bytes": UNLIMITED}, ["memory: asked 134217728, effective no limit"]),
        ("v2", {"cpu.max": "max 100000\n"}, ["cpus: asked 0.1, effective no limit"]),
        ("v1", {"cpu/cpu.cfs_quota_us": "-1\n"}, ["cpus: asked 0.1, effective no limit"]),
        ("v2", {"pids.max": "max\n"}, ["pids: asked 32, effective no limit"]),
        ("v1", {"pids/pids.max": "64\n"}, ["pids: asked 32, effective 64"]),
    ],
)
def test_a_limit_that_is_not_held_is_found(
    tmp_path: Path, name: str, changed: dict[str, str | None], found: list[str]
) -> None:
    assert mismatches(ASKED, KernelReport.of(recorded(tmp_path, name, changed) | DISK).limits) == found


@pytest.mark.parametrize(("page", "found"), [(4096, 0), (65536, 0), (2**21, 1)])
def test_a_size_that_the_kernel_rounds_down_to_its_page_holds(tmp_path: Path, page: int, found: int) -> None:
    """Pages have 64 KiB on some arm64 kernels. A huge page is no page that limits are rounded to."""
    asked = ASKED.model_copy(update={"memory_bytes": 128 * MIB - 1})
    rounded = str(asked.memory_bytes // page * page)
    facts = recorded(tmp_path, "v2", {"memory.max": rounded}) | DISK
    assert len(mismatches(asked, KernelReport.of(facts).limits)) == found


def test_what_an_older_kernel_does_not_count_is_none_and_not_zero(tmp_path: Path) -> None:
    """Version 2 once had no memory.peak and no pids.peak; version 1 once did not count its OOM kills."""
    facts = recorded(tmp_path / "v2", "v2", {"memory.peak": None, "pids.peak": None})
    assert (facts["memory_peak_bytes"], facts["pids_peak"]) == (None, None)
    changed: dict[str, str | None] = {"memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n"}
    assert recorded(tmp_path / "v1", "v1", changed)["oom_kills"] is None


@pytest.mark.parametrize(("name", "memory", "pids"), [("v1", 5578752, 1), ("v2", 11444224, 1)])
def test_what_is_in_use_now(tmp_path: Path, name: str, memory: int, pids: int) -> None:
    recorded(tmp_path, name)
    assert cgroup.memory_current(str(tmp_path)) == memory
    assert cgroup.pids_current(str(tmp_path)) == pids
