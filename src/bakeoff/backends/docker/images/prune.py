"""Removes harness images that edits have left behind: each change of the source makes another one."""

from __future__ import annotations

from typing import Any

from docker import DockerClient

from bakeoff.backends.docker.connection import DAEMON_GONE
from bakeoff.backends.docker.podman import short_name

HARNESS, DEPENDENCIES = "bakeoff/harness", "bakeoff/dependencies"
# The project that an image was made for: one harness.yaml on one host.
LABEL_PROJECT = "bakeoff.project"
# The image of dependencies that a harness image is made on.
LABEL_DEPENDENCIES = "bakeoff.dependencies"
# Of each project: a run that was stopped, or a branch left for a moment, finds its image again.
KEPT = 5


def prune(client: DockerClient, project: str) -> int:
    """Remove this project's images but the newest few and those that a container uses; returns how many.

    An image counts as used when it was made or taken for a run: `image.ensure` tags it again each time. A failure is
    not reported: an image that stays costs nothing but space.
    """
    try:
        used = {item["ImageID"] for item in client.api.containers(all=True)}
        images = [
            client.api.inspect_image(item["Id"])  # type: ignore[no-untyped-call]
            for item in client.api.images(HARNESS, filters={"label": f"{LABEL_PROJECT}={project}"})
        ]
        old = sorted(images, key=_last_used, reverse=True)[KEPT:]
        removed = sum(_remove(client, image["Id"]) for image in old if image["Id"] not in used)
        if removed:
            _prune_dependencies(client, project)
    except DAEMON_GONE:
        return 0
    return removed


def _last_used(image: dict[str, Any]) -> str:
    """A time as Docker writes it, which sorts as text. Podman keeps none of an image's tags: the year 1."""
    tagged = str((image.get("Metadata") or {}).get("LastTagTime") or "")
    return tagged if tagged > "0002" else str(image.get("Created") or "")


def _prune_dependencies(client: DockerClient, project: str) -> None:
    """Remove this project's images of dependencies that no harness image of any project is made on."""
    needed = {(item.get("Labels") or {}).get(LABEL_DEPENDENCIES) for item in client.api.images(HARNESS)}
    for item in client.api.images(DEPENDENCIES, filters={"label": f"{LABEL_PROJECT}={project}"}):
        if not needed & set(map(short_name, item.get("RepoTags") or [])):
            _remove(client, item["Id"])


def _remove(client: DockerClient, image_id: str) -> bool:
    try:
        client.api.remove_image(image_id)
    except DAEMON_GONE:  # in use after all, or gone already
        return False
    return True
