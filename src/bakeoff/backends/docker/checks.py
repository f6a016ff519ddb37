"""What a Docker host can enforce, has and lacks, for `bakeoff doctor`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from docker import DockerClient

from bakeoff.backends.base import Check
from bakeoff.backends.docker import host
from bakeoff.backends.docker.images import base_image, image
from bakeoff.config.schema import Config, Harness
from bakeoff.errors import InputError, UnfitEnvironment
from bakeoff.record.base import JsonDict

# The first kernel whose cgroup v2 has memory.peak.
MEMORY_PEAK_KERNEL = (5, 19)
# Free bytes where Docker keeps its images: below the first nothing runs, above the second all is well.
DISK = (2 * 2**30, 5 * 2**30)


def check(client: DockerClient, info: JsonDict, config: Config | None) -> Iterator[Check]:
    """Every check of the host, cheapest first.

    Args:
        client: the engine.
        info: its /info.
        config: what is to run there, if that is known.
    """
    version, api = info.get("ServerVersion"), client.api.api_version
    yield Check.ok("docker", f"Engine {version}, API {api}, {info.get('Driver')}")
    yield from limits(info)
    yield from images(client, config, info["Architecture"])
    if host.is_local(info):
        root = info["DockerRootDir"]
        yield Check.space("Docker", root, shutil.disk_usage(root).free, DISK)


def limits(info: JsonDict) -> Iterator[Check]:
    """Whether the engine can enforce the limits, and measure what they need, from Docker's /info."""
    version, driver = str(info.get("CgroupVersion") or "?"), info.get("CgroupDriver")
    if driver == "none":
        yield Check.failed(
            "cgroup",
            UnfitEnvironment(
                "the engine manages no cgroups (rootless on cgroup v1), so no limit would hold",
                hint="Use cgroup v2 with systemd delegation, or an engine that runs as root.",
            ),
        )
        return
    yield Check.ok("cgroup", f"version {version}, driver {driver}")
    needed = {"memory": "MemoryLimit", "pids": "PidsLimit", "cpu quota": "CpuCfsQuota"}
    missing = [name for name, key in needed.items() if not info.get(key)]
    if missing:
        yield Check.failed(
            "limits",
            UnfitEnvironment(
                f"the engine cannot enforce: {', '.join(missing)}",
                hint="Enable these cgroup controllers in the kernel (see `docker info`, last lines).",
            ),
        )
    else:
        yield Check.ok("limits", "memory, pids and CPU quota are enforced")
    if not info.get("SwapLimit"):
        yield Check.warning(
            "swap",
            "swap is not limited: where the host has some, no trial runs, since it would swap instead of being killed",
            "Boot with `swapaccount=1` (cgroup v1), or turn swap off: `sudo swapoff -a`.",
        )
    if version == "2" and kernel_version(str(info.get("KernelVersion"))) < MEMORY_PEAK_KERNEL:
        yield Check.warning(
            "kernel",
            f"{info.get('KernelVersion')} has no memory.peak: memory peaks are sampled, and may read low",
            "Use Linux 5.19 or newer.",
        )
    if not any("seccomp" in option for option in info.get("SecurityOptions") or []):
        yield Check.warning(
            "seccomp", "containers run without a seccomp filter", "Use an engine built with seccomp."
        )


def kernel_version(text: str) -> tuple[int, ...]:
    """`6.1.0-18-amd64` as (6, 1); a text that is no version as (), older than any."""
    parts = text.split(".")[:2]
    return tuple(int(part) for part in parts) if all(part.isdecimal() for part in parts) else ()


def images(client: DockerClient, config: Config | None, machine: str) -> Iterator[Check]:
    """Whether the base image and the harness image are there. Looks only."""
    reference = config.harness.base_image if config else Harness.model_fields["base_image"].default
    try:
        base = base_image.find(client, reference)
    except InputError as error:
        yield Check.failed("base image", error)
        return
    if base is None:
        yield Check.warning(
            "base image",
            f"{reference} is not here yet",
            "`bakeoff setup` gets it, or builds a stand-in where no registry answers.",
        )
        return
    yield Check.ok(
        "base image", f"{reference}: {base.kind}, Python {base.python_version}, {base.digest[:19]}"
    )
    if config is None:
        return
    try:
        made = image.find(client, config, machine)
    except InputError as error:
        yield Check.failed("harness image", error)
        return
    if made:
        packages = f"{len(made.packages)} packages"
        yield Check.ok("harness image", f"{made.reference}: Python {made.python}, {packages}, {made.id[:19]}")
    else:
        hint = "`bakeoff run` builds it; `bakeoff setup` does so now."
        yield Check.warning("harness image", "not made yet, or the harness has changed since", hint)
