"""The machine: facts for the manifest, what the Docker host can hold, and where bakeoff keeps its cache."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from bakeoff.errors import UnfitEnvironment

if TYPE_CHECKING:
    import docker

JsonDict = dict[str, Any]

# Left to the orchestrator (about 100 MiB), dockerd, containerd, one shim a container, and the page cache.
MEMORY_HEADROOM_BYTES = 512 * 2**20
MEMORY_HEADROOM_SHARE = 0.05  # of the host's memory, where that is more


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the Docker host can promise to containers altogether."""

    cpus: float
    memory_bytes: int


def facts(info: JsonDict, api: str) -> JsonDict:
    """The host, for the manifest, from Docker's /info and its API's version. Unknown values are None, never guesses.

    The processor's model is known only when the engine runs here; the rest is what the engine says.
    """
    return describe(info, api, _cpu_model() if is_local(info) else None)


def describe(info: JsonDict, api: str, cpu_model: str | None) -> JsonDict:
    """The manifest's `host` from the answer of Docker's /info (absent keys become None)."""
    version = info.get("CgroupVersion")
    return {
        "cpu_model": cpu_model,
        "cores": info.get("NCPU"),
        "memory_bytes": info.get("MemTotal"),
        "kernel": info.get("KernelVersion"),
        "os": info.get("OperatingSystem"),
        "architecture": info.get("Architecture"),
        "cgroup_version": int(version) if version else None,
        "cgroup_driver": info.get("CgroupDriver"),
        "docker_version": info.get("ServerVersion"),
        "docker_api_version": api,
        "storage_driver": info.get("Driver"),
        "runtime": info.get("DefaultRuntime"),
        "security_options": info.get("SecurityOptions") or [],
    }


def capacity(info: JsonDict) -> Capacity:
    """What the Docker host of this /info can hold now, less the headroom of `room`.

    When the engine runs on this machine, memory in use by other programs is left out too.
    """
    return room(info, psutil.virtual_memory().available if is_local(info) else None)


def room(info: JsonDict, available_bytes: int | None) -> Capacity:
    """The capacity from Docker's /info and, where known, the memory that is free now (bytes).

    Memory keeps a headroom (the constants above), since what is over-promised is paid for with OOM kills. CPU
    keeps none: it is compressible, the orchestrator needs a few per cent of one core, and a host that is too
    busy all the same is seen and recorded as contention.
    """
    total = int(info["MemTotal"])
    free = total if available_bytes is None else min(total, available_bytes)
    headroom = max(MEMORY_HEADROOM_BYTES, int(total * MEMORY_HEADROOM_SHARE))
    return Capacity(cpus=float(info["NCPU"]), memory_bytes=max(0, free - headroom))


def is_local(info: JsonDict) -> bool:
    """Whether the engine's kernel is this one: same release, and the same memory to the byte.

    A host name would not do: bakeoff may itself run in a container beside the engine.
    """
    same_kernel = info.get("KernelVersion") == platform.release()
    return same_kernel and info.get("MemTotal") == psutil.virtual_memory().total


def cache_dir() -> Path:
    """Where bakeoff keeps what it can make again; `$XDG_CACHE_HOME/bakeoff`, else `~/.cache/bakeoff`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bakeoff"


def need_cache() -> None:
    """Make the cache's directory, where there is none.

    Raises:
        UnfitEnvironment: it cannot be made.
    """
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnfitEnvironment(
            f"the cache {cache_dir()} cannot be made: {error.strerror or error}",
            hint="set XDG_CACHE_HOME to a directory that can be written",
        ) from error


def api_version(client: docker.DockerClient) -> str:
    """The version of Docker's API that this client and its engine agreed on."""
    return str(client.api.api_version)


def _cpu_model() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return platform.processor() or None
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, None) or platform.processor() or None
