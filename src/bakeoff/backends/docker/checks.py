"""What a Docker host has and lacks, for `bakeoff doctor`. Whether limits hold is proven: see `proof`."""

from __future__ import annotations

from collections.abc import Iterator

from docker import DockerClient

from bakeoff.backends.base import Check
from bakeoff.backends.docker.images import base_image, image
from bakeoff.config.schema import Config, Harness
from bakeoff.errors import InputError
from bakeoff.record.base import JsonDict

# The first kernel whose cgroup v2 has memory.peak.
MEMORY_PEAK_KERNEL = (5, 19)


def check(client: DockerClient, info: JsonDict, config: Config | None) -> Iterator[Check]:
    """Every check of the host, cheapest first.

    Args:
        client: the engine.
        info: its /info.
        config: what is to run there, if that is known.
    """
    version, api = info.get("ServerVersion"), client.api.api_version
    yield Check.ok("docker", f"Engine {version}, API {api}, {info.get('Driver')}")
    yield from kernel(info)
    yield from images(client, config, str(info.get("Architecture")))


def kernel(info: JsonDict) -> Iterator[Check]:
    """What the engine has to measure and to guard trials with, from Docker's /info."""
    version = str(info.get("CgroupVersion") or "?")
    yield Check.ok("cgroup", f"version {version}, driver {info.get('CgroupDriver')}")
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
