"""What the kernel counted for this cgroup, versions 1 and 2. Absent files give None, never zero.

Sources: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/{memory,pids,cpuacct}.rst.
"""

from __future__ import annotations

import os
from typing import Any

ROOT = "/sys/fs/cgroup"
UNLIMITED = 2**62  # cgroup v1 writes "no limit" as the largest page-aligned long


def _read(*parts: str) -> str | None:
    try:
        with open(os.path.join(*parts)) as file:
            return file.read().strip()
    except OSError:
        return None


def _integer(text: str | None) -> int | None:
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None  # "max"


def _limit(text: str | None) -> int | None:
    value = _integer(text)
    return None if value is None or value >= UNLIMITED else value


def _table(text: str | None) -> dict[str, int]:
    """A flat-keyed file: `key value` a line."""
    rows = (line.split() for line in (text or "").splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def _swap(limit: int | None, proc: str) -> int | None:
    """Bytes of swap within reach: the limit; where there is none, or it cannot be, all that the host has."""
    if limit is not None:
        return limit
    rows = (line.split() for line in (_read(proc, "meminfo") or "").splitlines())
    return next((int(row[1]) * 1024 for row in rows if row[:1] == ["SwapTotal:"]), None)


def version(root: str = ROOT) -> int:
    """2 where the unified hierarchy is mounted, else 1."""
    return 2 if _read(root, "cgroup.controllers") is not None else 1


def facts(root: str = ROOT, proc: str = "/proc") -> dict[str, Any]:
    """Limits and counters of this container's cgroup, bytes and seconds; `None` where the kernel does not say."""
    return _facts_v2(root, proc) if version(root) == 2 else _facts_v1(root, proc)


def _facts_v2(root: str, proc: str) -> dict[str, Any]:
    cpu = _table(_read(root, "cpu.stat"))
    quota, _, period = (_read(root, "cpu.max") or "max 100000").partition(" ")
    throttled = cpu.get("throttled_usec")
    return {
        "cgroup_version": 2,
        "memory_peak_bytes": _integer(_read(root, "memory.peak")),
        "memory_limit_bytes": _limit(_read(root, "memory.max")),
        "swap_limit_bytes": _swap(_limit(_read(root, "memory.swap.max")), proc),
        "oom_kills": _table(_read(root, "memory.events")).get("oom_kill"),
        "memory_limit_hits": _table(_read(root, "memory.events")).get("oom"),
        "cpu_seconds": cpu_seconds(root),
        "throttled_seconds": throttled / 1e6 if throttled is not None else None,
        "cpus_limit": int(quota) / int(period) if quota.isdigit() else None,
        "pids_peak": _integer(_read(root, "pids.peak")),
        "pids_limit": _limit(_read(root, "pids.max")),
        "pids_refused": _table(_read(root, "pids.events")).get("max"),
    }


def _facts_v1(root: str, proc: str) -> dict[str, Any]:
    def controller(name: str, file: str) -> str | None:
        # co-mounted controllers ("cpu,cpuacct") have a symlink for each name
        return _read(root, name, file)

    throttled = _table(controller("cpu", "cpu.stat")).get("throttled_time")
    quota = _integer(controller("cpu", "cpu.cfs_quota_us"))
    period = _integer(controller("cpu", "cpu.cfs_period_us"))
    memory = _limit(controller("memory", "memory.limit_in_bytes"))
    with_swap = _limit(controller("memory", "memory.memsw.limit_in_bytes"))
    swap = with_swap - memory if with_swap is not None and memory is not None else None
    return {
        "cgroup_version": 1,
        "memory_peak_bytes": _integer(controller("memory", "memory.max_usage_in_bytes")),
        "memory_limit_bytes": memory,
        "swap_limit_bytes": _swap(swap, proc),
        "oom_kills": _table(controller("memory", "memory.oom_control")).get("oom_kill"),
        # Version 1 cannot say: memory.failcnt is 0 after an OOM kill at the container's own limit (Linux 6.18).
        # The peak can.
        "memory_limit_hits": None,
        "cpu_seconds": cpu_seconds(root),
        "throttled_seconds": throttled / 1e9 if throttled is not None else None,
        "cpus_limit": quota / period if quota is not None and quota > 0 and period else None,
        "pids_peak": _integer(controller("pids", "pids.peak")),
        "pids_limit": _limit(controller("pids", "pids.max")),
        "pids_refused": _table(controller("pids", "pids.events")).get("max"),
    }


def cpu_seconds(root: str = ROOT) -> float | None:
    """CPU time that the cgroup used so far."""
    if version(root) == 2:
        usage = _table(_read(root, "cpu.stat")).get("usage_usec")
        return usage / 1e6 if usage is not None else None
    usage = _integer(_read(root, "cpuacct", "cpuacct.usage"))
    return usage / 1e9 if usage is not None else None


def pids_current(root: str = ROOT) -> int | None:
    """Processes and threads in the cgroup now."""
    return _integer(_read(root, "pids.current") or _read(root, "pids", "pids.current"))


def memory_current(root: str = ROOT) -> int | None:
    """Bytes charged to the cgroup now."""
    return _integer(_read(root, "memory.current") or _read(root, "memory", "memory.usage_in_bytes"))
