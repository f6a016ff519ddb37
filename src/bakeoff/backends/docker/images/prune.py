"""Removes images of bakeoff's own that nobody uses any more: each change of the source makes another one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from docker import DockerClient

from bakeoff.backends.docker.connection import DAEMON_GONE
from bakeoff.backends.docker.images.base_image import (
    LABEL_DIGEST,
    LABEL_RECIPE,
    STAND_IN_RECIPE,
    STAND_IN_REPOSITORY,
)
from bakeoff.backends.docker.podman import short_name

HARNESS, DEPENDENCIES = "bakeoff/harness", "bakeoff/dependencies"
# The project that an image was made for: one harness.yaml on one host.
LABEL_PROJECT = "bakeoff.project"
# The image of dependencies that a harness image is made on.
LABEL_DEPENDENCIES = "bakeoff.dependencies"
# Of each project: a run that was stopped, or a branch left for a moment, finds its image again.
KEPT = 5
_MADE_BY_BAKEOFF = {
    HARNESS: {LABEL_PROJECT},
    DEPENDENCIES: {LABEL_PROJECT},
    STAND_IN_REPOSITORY: {LABEL_DIGEST},
}


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


@dataclass(frozen=True, slots=True)
class OldImage:
    """One that has not been used for a while. `size`: bytes that no other image shares."""

    id: str
    name: str
    size: int
    last_used: datetime


def unused(client: DockerClient, since: datetime) -> list[OldImage]:
    """Images that bakeoff made, of whatever project, and that no run has used since: harnesses before what they are
    made on. An image that a container or another image needs is left out; so is each that bakeoff did not make.

    Raises:
        RequestException, DockerException: the engine does not answer.
    """
    needed = {item["ImageID"] for item in client.api.containers(all=True)}
    sizes = {
        one["Id"]: one["Size"] - max(one.get("SharedSize") or 0, 0) for one in client.df()["Images"] or []
    }
    found: list[OldImage] = []
    below: set[str] = set()
    for repository in (HARNESS, DEPENDENCIES, STAND_IN_REPOSITORY):
        for item in client.api.images(repository):
            inspected = client.api.inspect_image(item["Id"])  # type: ignore[no-untyped-call]
            labels = (inspected.get("Config") or {}).get("Labels") or {}
            names = [short_name(name) for name in inspected.get("RepoTags") or []]
            last = _time(_last_used(inspected))
            own = [name for name in names if name.startswith(f"{repository}:")]
            if not own or len(own) < len(names) or not _MADE_BY_BAKEOFF[repository] & labels.keys():
                continue
            if inspected["Id"] in needed or below & set(names) or last is None or last >= since:
                below.add(labels.get(LABEL_DEPENDENCIES, ""))
                continue
            if repository == STAND_IN_REPOSITORY and labels.get(LABEL_RECIPE) == STAND_IN_RECIPE:
                continue  # what the next set-up would build again
            found.append(OldImage(inspected["Id"], own[0], sizes.get(inspected["Id"], 0), last))
    return found


def remove(client: DockerClient, image: OldImage) -> bool:
    """Remove it; False where something uses it after all."""
    return _remove(client, image.id)


def _time(text: str) -> datetime | None:
    """Docker's time, whose nanoseconds Python does not read."""
    match = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\S*?(Z|[+-]\d\d:\d\d)$", text)
    return datetime.fromisoformat(match[1] + match[2].replace("Z", "+00:00")) if match else None


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
