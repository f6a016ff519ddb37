"""What the supervisor reports where the kernel says little."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from bakeoff.record.limits import KernelReport
from bakeoff_runner import cgroup
from bakeoff_runner.supervisor import DISK_MS, FILLING_MS, Supervisor

MIB = 2**20


@pytest.mark.parametrize(
    ("missing", "peaks"),
    [
        ({"memory.peak", "pids.peak"}, (90 * MIB, 7, ["memory_peak_bytes", "pids_peak"])),
        ({"memory.peak"}, (90 * MIB, 40, ["memory_peak_bytes"])),
        (set(), (120 * MIB, 40, [])),
    ],
)
def test_a_peak_that_the_kernel_does_not_keep_is_sampled_and_marked_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    missing: set[str],
    peaks: tuple[int, int, list[str]],
) -> None:
    files = {"cgroup.controllers": "memory pids", "memory.peak": f"{120 * MIB}", "pids.peak": "40"}
    for name in files.keys() - missing:
        (tmp_path / name).write_text(files[name])
    facts = cgroup.facts(str(tmp_path))
    monkeypatch.setattr(cgroup, "facts", lambda: dict(facts))
    in_use: Iterator[int] = iter([30 * MIB, 90 * MIB, 50 * MIB])
    monkeypatch.setattr(cgroup, "memory_current", lambda: next(in_use))
    monkeypatch.setattr(cgroup, "pids_current", lambda: 7)
    supervisor = Supervisor(0, 0, 0, 0)
    supervisor.workdir = str(tmp_path)
    supervisor.sample()
    supervisor.sample()
    read = KernelReport.of(supervisor.kernel()).facts
    assert (read.memory_peak_bytes, read.pids_peak, read.sampled) == peaks


@pytest.mark.parametrize(
    ("free", "files_free", "seen", "pace"),
    [
        ([90, 60, 80], 7, (40, False, False, False), DISK_MS),
        ([90, 9, 80], 7, (91, False, False, True), DISK_MS),
        ([90, 0, 80], 7, (100, True, False, True), DISK_MS),
        ([90, 30, 30], 7, (70, False, False, False), FILLING_MS),
        ([90, 90, 90], 0, (10, False, True, True), DISK_MS),
    ],
)
def test_a_disk_that_was_full_at_one_look_was_full(
    monkeypatch: pytest.MonkeyPatch, free: list[int], files_free: int, seen: tuple[object, ...], pace: int
) -> None:
    disk = {"f_blocks": 100, "f_frsize": 1, "f_files": 9, "f_ffree": files_free}
    looks = [SimpleNamespace(f_bfree=each, **disk) for each in free]
    monkeypatch.setattr(os, "statvfs", lambda _: looks.pop(0) if len(looks) > 1 else looks[0])
    supervisor = Supervisor(0, 0, 0, 0)
    for _ in free:
        supervisor.look_at_disk()
    read = KernelReport.of(supervisor.kernel()).facts
    assert (read.disk_peak_bytes, read.disk_full, read.inodes_full, read.disk_nearly_full) == seen
    assert supervisor.pace_ms == pace
