"""One layer of an image: steps run in a container without network, and the result committed.

This works with every Docker API, needs no build context and leaves no wheel behind.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import docker.errors
from docker import DockerClient

from bakeoff.backends.base import Say
from bakeoff.backends.docker.connection import DAEMON_GONE
from bakeoff.backends.docker.container import ENVIRONMENT, LABEL, USERS
from bakeoff.backends.docker.images.probe import READABLE_LOG
from bakeoff.backends.docker.images.progress import progress
from bakeoff.errors import UnfitEnvironment
from bakeoff.harness.files import executable
from bakeoff.text.escape import last_lines

# Seconds for one request. Docker's containerd store compresses what it commits, at 12 MB/s or more.
BUILD_SECONDS = 900
# What containerd says of a layer that two containers commit at once (moby#44450)
ALREADY_THERE = "already exists"
# The time of every file, in seconds since 1970: 2020. Zip archives, which an agent may write, begin in 1980.
MODIFIED = 1_577_836_800


@dataclass(frozen=True, slots=True)
class Added:
    """What is put into a layer before its steps run. Names are absolute, without the first slash."""

    files: Mapping[str, Path]
    directories: Iterable[str] = ()
    links: Mapping[str, str] = field(default_factory=dict)


def inspect(client: DockerClient, reference: str) -> dict[str, Any] | None:
    """Docker's description of an image; None where there is none."""
    try:
        found: dict[str, Any] = client.api.inspect_image(reference)  # type: ignore[no-untyped-call]
    except docker.errors.ImageNotFound:
        return None
    return found


@dataclass(frozen=True, slots=True)
class Layer:
    """What runs on top of the image `below`, after what is added, to become the image `tag`."""

    below: str
    added: Added
    command: list[str]
    tag: str
    labels: Mapping[str, str]


def add(client: DockerClient, layer: Layer, say: Say) -> tuple[int, str]:
    """Run a layer's command, and commit the result if it ends with 0.

    Args:
        say: gets a line now and then while it takes long.

    Returns:
        The exit code and the output of the command.

    Raises:
        UnfitEnvironment: Docker refused or failed, with its own words.
    """
    try:
        with _patience(client):
            try:
                return _add(client, layer, say)
            except docker.errors.APIError as error:
                if ALREADY_THERE not in str(error):
                    raise
                # another set-up made the same layer just then
                return _add(client, layer, say)
    except DAEMON_GONE as error:
        said = last_lines(str(getattr(error, "explanation", None) or error))
        full = "no space left" in said.lower()
        hint = (
            "Free space for Docker: `docker system df`." if full else "See `docker info`, then run it again."
        )
        raise UnfitEnvironment(f"Docker could not build {layer.tag}: {said}", hint=hint) from error


def _add(client: DockerClient, layer: Layer, say: Say) -> tuple[int, str]:
    made = client.api.create_container(
        layer.below,
        command=layer.command,
        entrypoint=[],
        user="0",
        environment={**ENVIRONMENT, "HOME": "/root", "TMPDIR": "/tmp"},  # noqa: S108 - in the image
        labels={f"{LABEL}.build": layer.tag},
        host_config=client.api.create_host_config(network_mode="none", log_config=READABLE_LOG),
        use_config_proxy=False,
    )["Id"]
    try:
        with tempfile.TemporaryFile() as archive:
            _pack(layer.added, archive)
            size = archive.seek(0, os.SEEK_END)
            archive.seek(0)
            with progress(say, f"image: sending the files of {layer.tag}", lambda: (archive.tell(), size)):
                client.api.put_archive(made, "/", archive)
        with progress(say, f"image: installing {layer.tag}", lambda: (_written(client, made), None)):
            client.api.start(made)
            code = client.api.wait(made, timeout=BUILD_SECONDS)["StatusCode"]
        output = client.api.logs(made).decode("utf-8", "replace")
        if code == 0:
            repository, _, version = layer.tag.partition(":")
            named = [f"LABEL {name}={value}" for name, value in layer.labels.items()]
            changes = [f"USER {USERS[0]}:{USERS[0]}", "ENTRYPOINT []", *named]
            with progress(say, f"image: writing {layer.tag}"):
                client.api.commit(made, repository, version, changes=changes)
    finally:
        client.api.remove_container(made, v=True, force=True)
    return code, output


def _written(client: DockerClient, container: str) -> int | None:
    """Bytes that a container has written above its image."""
    try:
        [found] = client.api.containers(all=True, filters={"id": container}, size=True)
        return int(found.get("SizeRw", 0))
    except (ValueError, *DAEMON_GONE):
        return None


def _pack(added: Added, archive: IO[bytes]) -> None:
    """Write a tar: on disk, since wheels can be large."""
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in added.directories:
            entry = _entry(name, tarfile.DIRTYPE, 0o755)
            tar.addfile(entry)
        for name, path in added.files.items():
            entry = _entry(name, tarfile.REGTYPE, 0o755 if executable(path) else 0o644)
            entry.size = path.stat().st_size
            with path.open("rb") as content:
                tar.addfile(entry, content)
        for name, to in added.links.items():
            entry = _entry(name, tarfile.SYMTYPE, 0o777)
            entry.linkname = to
            tar.addfile(entry)


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, MODIFIED
    return entry


@contextmanager
def _patience(client: DockerClient) -> Iterator[None]:
    """Let the requests inside take long. Set-up has one thread, so no other request is touched."""
    before = client.api.timeout
    client.api.timeout = BUILD_SECONDS
    try:
        yield
    finally:
        client.api.timeout = before
