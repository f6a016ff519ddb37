"""The Docker host: facts for the manifest, and what it can promise to containers."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

import psutil

from bakeoff.backends.base import Capacity
from bakeoff.backends.docker.container import PINNED
from bakeoff.record.base import JsonDict
from bakeoff.record.limits import MOST_SWAP_BYTES
from bakeoff.record.manifest import Host

# Left to the orchestrator (about 100 MiB), dockerd, containerd, one shim a container, and the page cache.
MEMORY_HEADROOM_BYTES = 512 * 2**20
# The same as a share of the host's memory, where that is more.
MEMORY_HEADROOM_SHARE = 0.05


def facts(info: JsonDict, api_version: str) -> Host:
    """The manifest's `host`, from Docker's /info. Unknown values are None, never guesses.

    The processor's model is known only when the engine runs here; the rest is what the engine says.
    """
    version = info.get("CgroupVersion")
    return Host(
        cpu_model=_cpu_model() if is_local(info) else None,
        cores=info.get("NCPU"),
        memory_bytes=info.get("MemTotal"),
        kernel=info.get("KernelVersion"),
        os=info.get("OperatingSystem"),
        architecture=info.get("Architecture"),
        cgroup_version=int(version) if version else None,
        cgroup_driver=info.get("CgroupDriver"),
        docker_version=info.get("ServerVersion"),
        docker_api_version=api_version,
        storage_driver=info.get("Driver"),
        runtime=info.get("DefaultRuntime"),
        security_options=info.get("SecurityOptions") or [],
        sandbox=PINNED,
    )


def capacity(info: JsonDict, promised_bytes: int = 0) -> Capacity:
    """What the Docker host of this /info can promise to all runs together, less the headroom of `room`.

    When the engine runs on this machine, memory in use by other programs is left out too. What other runs were
    promised, used or not, is not subtracted twice.
    """
    whole = room(info, None)
    if not is_local(info):
        return whole
    free = room(info, psutil.virtual_memory().available).memory_bytes + promised_bytes
    return replace(whole, memory_bytes=min(whole.memory_bytes, free))


def room(info: JsonDict, available_bytes: int | None) -> Capacity:
    """The capacity from Docker's /info and, where known, the memory that is free now (bytes).

    Memory keeps a headroom (the constants above), since over-promised memory is paid for with OOM kills. CPU keeps
    none: it is compressible, the orchestrator needs a few per cent of one core, and a host that is too busy all the
    same is seen and recorded as contention.
    """
    total = int(info["MemTotal"])
    free = total if available_bytes is None else min(total, available_bytes)
    headroom = max(MEMORY_HEADROOM_BYTES, int(total * MEMORY_HEADROOM_SHARE))
    return Capacity(float(info["NCPU"]), max(0, free - headroom), tuple(range(int(info["NCPU"]))))


def swap_bytes(info: JsonDict) -> int:
    """What a container may swap on the engine of this /info, so that the limit holds for as long as it runs.

    None at all, but for systemd on cgroup v2. There runc keeps a limit of 0 from systemd, which at the next
    `systemctl daemon-reload` (each upgrade of a package makes one) lifts what it does not know (moby#51446). It knows
    a limit of one page.
    """
    kept_by_systemd = info.get("CgroupDriver") == "systemd" and str(info.get("CgroupVersion")) == "2"
    return MOST_SWAP_BYTES if kept_by_systemd else 0


def is_local(info: JsonDict) -> bool:
    """Whether the engine's kernel is this one: same release, and the same memory to the byte.

    A host name would not do: bakeoff may itself run in a container beside the engine.
    """
    same_kernel = info.get("KernelVersion") == platform.release()
    return same_kernel and info.get("MemTotal") == psutil.virtual_memory().total


def _cpu_model() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return platform.processor() or None
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, None) or platform.processor() or None
