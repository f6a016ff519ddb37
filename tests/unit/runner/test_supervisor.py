"""What the supervisor reports where the kernel says little."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bakeoff.record.limits import KernelReport
from bakeoff_runner import cgroup
from bakeoff_runner.supervisor import Supervisor

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
