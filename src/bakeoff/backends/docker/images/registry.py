"""Pulling an image, pinned by digest. What the registry or the daemon said is what the user reads."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docker import DockerClient
from docker.auth import resolve_repository_name
from docker.errors import APIError, DockerException, InvalidRepository
from requests.exceptions import ConnectionError, RequestException, Timeout  # noqa: A004 - of the engine's socket

from bakeoff.backends.base import Say
from bakeoff.backends.docker import connection
from bakeoff.backends.docker.connection import DAEMON_GONE
from bakeoff.backends.docker.images.progress import progress
from bakeoff.backends.docker.podman import short_name
from bakeoff.config.cache import cache_dir
from bakeoff.errors import InputError, UnfitEnvironment
from bakeoff.text.redact import redact

if TYPE_CHECKING:
    from docker.models.images import Image

# For a registry to say which digest a tag has. A name that does not resolve fails at once.
DIGEST_SECONDS = 8
# For the next piece of a pull.
PULL_SECONDS = 60
# A registry that did not answer is not asked again for this long.
SILENCE_SECONDS = 3600.0

# What the daemon or docker-py says -> what to do. The first row that matches.
HINTS = (
    (
        r"credentials store error|docker-credential|credential helper",
        "Install the credential helper that ~/.docker/config.json names (credsStore), or remove it there.",
    ),
    (r"no space left", "Free space for Docker: `docker system df`."),
    (r"no matching manifest|match the specified platform", "Choose an image for this architecture."),
    (r"toomanyrequests|too many requests|\b429\b|rate limit", "Wait, or log in: `docker login {registry}`."),
    (r"proxyconnect|proxy authentication|\b407\b", "Correct the proxy settings of the Docker daemon."),
    (
        r"x509|certificate|http response to https client",
        "Give the daemon the registry's certificate (/etc/docker/certs.d), or list it as insecure.",
    ),
    (
        r"unauthorized|denied|authentication required|no basic auth credentials|\b40[13]\b",
        "Log in: `docker login {registry}`; and check the name.",
    ),
    (r"not found|manifest unknown|\b404\b|name unknown", "Check the image's name and tag."),
)
# The registry was not reached at all.
SILENCE = (
    r"no such host|connection refused|i/o timeout|no route to host|network is unreachable|handshake timeout|"
    r"server misbehaving|client\.timeout|temporary failure|deadline exceeded|connection reset|context canceled|"
    r"timed out"
)


class NotPulled(UnfitEnvironment):
    """The registry did not give the image. `silent`: it was not reached at all. `hint` is always there."""

    hint: str

    def __init__(self, problem: str, *, hint: str, silent: bool = False) -> None:
        self.silent = silent
        super().__init__(problem, hint=hint)


def pull(client: DockerClient, reference: str, say: Say) -> Image:
    """Ask the registry for the digest, then pull exactly that, and tag it as it was asked for.

    Some engines answer no question about a digest that they would pull all the same (through a mirror, or Podman), so
    that question's failure decides nothing: the tag is pulled, and pinned by the digest that it brought.

    Raises:
        InputError: `reference` is no image's name.
        NotPulled: with what the registry or the daemon said.
    """
    try:
        registry, repository = resolve_repository_name(reference)
    except InvalidRepository as error:
        hint = "Write for example python:3.12-slim-bookworm."
        raise InputError(str(error), key="harness.base_image", hint=hint) from error
    silent = _silence(client, registry)
    if silent.exists() and time.time() - silent.stat().st_mtime < SILENCE_SECONDS:
        hint = f"Give Docker access to {registry}. To ask it again now, remove {silent}."
        raise NotPulled(
            f"the registry {registry} did not answer less than an hour ago", hint=hint, silent=True
        )
    try:
        try:
            image = _pull(client, reference, say, None)
        except DockerException as error:
            if isinstance(error, APIError):
                raise
            # docker-py asks the credential helper first, which the image may not need
            say(f"pulling {reference} without a login: {error}")
            image = _pull(client, reference, say, {})
    except DAEMON_GONE as error:
        if isinstance(error, ConnectionError) and not isinstance(error, Timeout):
            raise connection.explain(error, connection.target(os.environ)) from error
        said = redact(str(getattr(error, "explanation", None) or error))
        refused = explain(said, registry, repository)
        if refused.silent:
            silent.parent.mkdir(parents=True, exist_ok=True)
            silent.touch()
        raise refused from error
    return image


def explain(said: str, registry: str, repository: str) -> NotPulled:
    """The failure of a pull, in the words of whoever refused it."""
    for signs, hint in HINTS:
        if re.search(signs, said, re.IGNORECASE):
            problem = f"{registry} did not give the image {repository}: {said}"
            return NotPulled(problem, hint=hint.format(registry=registry))
    silent = re.search(SILENCE, said, re.IGNORECASE) is not None
    problem = f"the registry {registry} does not answer" if silent else f"pulling {repository} failed"
    return NotPulled(f"{problem}: {said}", hint=f"Give Docker access to {registry}.", silent=silent)


def _pull(client: DockerClient, reference: str, say: Say, login: dict[str, str] | None) -> Image:
    name, tag = name_and_tag(reference)
    digest = _ask_digest(client, reference, login)
    say(f"pulling {reference}{f' ({digest[:19]})' if digest else ''}")
    wanted = digest or tag
    separator = "@" if digest or tag is None else ":"
    source = reference if tag is None else f"{name}{separator}{wanted}"
    layers: dict[str, tuple[int, int]] = {}

    def measure() -> tuple[int, int]:
        seen = list(layers.values())
        return sum(done for done, _ in seen), sum(total for _, total in seen)

    with _timeout(client, PULL_SECONDS), progress(say, f"pulling {reference}", measure):
        # docker-py's own `images.pull` drops the errors that come after the first byte
        for event in client.api.pull(source, stream=True, decode=True, auth_config=login):
            if problem := event.get("error"):
                raise APIError(problem)
            _count(event, layers)
    image = client.images.get(source)
    if digest and tag is not None:
        image.tag(name, tag=tag)
        image = client.images.get(source)
    _remember(image, name)
    return image


def _count(event: dict[str, Any], layers: dict[str, tuple[int, int]]) -> None:
    """What an event of a pull says of a layer's bytes: how many came, of how many."""
    detail = event.get("progressDetail") or {}
    if event.get("status") == "Downloading" and "total" in detail:
        layers[event["id"]] = detail.get("current", 0), detail["total"]
    elif event.get("status") == "Download complete" and event.get("id") in layers:
        total = layers[event["id"]][1]
        layers[event["id"]] = total, total


def _ask_digest(client: DockerClient, reference: str, login: dict[str, str] | None) -> str | None:
    try:
        with _timeout(client, DIGEST_SECONDS):
            answer = client.api.inspect_distribution(reference, auth_config=login)  # type: ignore[no-untyped-call]
        digest: str = answer["Descriptor"]["digest"]
    except (APIError, RequestException):
        return None
    return digest


def name_and_tag(reference: str) -> tuple[str, str | None]:
    """`registry:5000/name:tag` in two; `latest` where no tag is given, None where a digest is."""
    if "@" in reference:
        name = reference.partition("@")[0]
        return _without_tag(name)[0], None
    name, tag = _without_tag(reference)
    return name, tag or "latest"


def _without_tag(name: str) -> tuple[str, str]:
    head, slash, last = name.rpartition("/")
    base, _, tag = last.partition(":")
    return f"{head}{slash}{base}", tag


# --- which digest an image was pulled by ------------------------------------------------------------


def digest_of(attributes: dict[str, Any], reference: str) -> str | None:
    """The registry's digest of an image that was pulled; None for one that was made or loaded.

    Docker's containerd store gives every tag a digest, pulled or not: the image's id. There only this machine's own
    note of a pull, or a digest in the reference, shows that a registry has it.
    """
    named = (one.split("@", 1) for one in attributes.get("RepoDigests") or [])
    digests = {name: digest for name, digest in named if short_name(name) == name}
    name = name_and_tag(reference)[0]
    digest = digests.get(name) or next(iter(digests.values()), None)
    if "@" in reference and reference.partition("@")[2] in digests.values():
        return reference.partition("@")[2]
    if digest and digest == attributes["Id"] and not _note(digest).exists():
        return None
    return digest


def _remember(image: Image, name: str) -> None:
    for one in image.attrs.get("RepoDigests") or []:
        if one.partition("@")[0] == name:
            note = _note(one.partition("@")[2])
            note.parent.mkdir(parents=True, exist_ok=True)
            note.touch()


def _note(digest: str) -> Path:
    return cache_dir() / "pulled" / re.sub(r"\W", "-", digest)


def _silence(client: DockerClient, registry: str) -> Path:
    """The file whose age says when a registry was last silent; one for each engine, since networks differ."""
    key = hashlib.sha256(f"{client.info().get('ID')} {registry}".encode()).hexdigest()[:16]
    return cache_dir() / "silent-registries" / key


@contextmanager
def _timeout(client: DockerClient, seconds: int) -> Iterator[None]:
    """Bound the requests inside. Set-up has one thread, so no other request is touched."""
    before = client.api.timeout
    client.api.timeout = seconds
    try:
        yield
    finally:
        client.api.timeout = before
