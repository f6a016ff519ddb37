"""Podman behind Docker's API: where it answers otherwise than Docker does, or cannot do what Docker can."""

from __future__ import annotations

from bakeoff.record.base import JsonDict

# Go's word for a processor -> the kernel's, which Docker uses
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def answers(version: JsonDict) -> bool:
    """Whether the engine of this /version is Podman."""
    return any(str(each.get("Name")).startswith("Podman") for each in version.get("Components") or [])


def in_dockers_words(info: JsonDict) -> JsonDict:
    """Podman's /info as Docker would say it. Its own ID is a new one each time that it is asked for."""
    architecture = info.get("Architecture")
    return {
        **info,
        "ID": f"podman:{info.get('Name')}:{info.get('DockerRootDir')}",
        "Architecture": MACHINES.get(str(architecture), architecture),
        "ServerVersion": f"Podman {info.get('ServerVersion')}",
    }


def is_podman(info: JsonDict) -> bool:
    """Whether an /info comes from `in_dockers_words`."""
    return str(info.get("ServerVersion")).startswith("Podman ")


def short_name(name: str) -> str:
    """An image's name without the registry that Podman gives to an image that was made or loaded."""
    return name.removeprefix("localhost/")
