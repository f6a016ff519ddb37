"""Connecting to the Docker Engine that the user's `docker` command would talk to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import docker
from docker.context import ContextAPI
from docker.context.config import get_current_context_name
from docker.errors import DockerException
from requests.exceptions import RequestException

from bakeoff.errors import UnfitEnvironment

# Docker Engine 20.10: the first whose cgroup v2 support is whole.
OLDEST_API = (1, 41)
# Connections kept: one attached stream and one request for each of 32 trials.
POOL_SIZE = 64
# A host that takes longer to say hello is taken for dead.
CONNECT_SECONDS = 10
# Any later request; streams have no limit.
REQUEST_SECONDS = 60
# What docker-py raises when the daemon refuses or does not answer.
DAEMON_GONE = (RequestException, DockerException)


class NoEngine(UnfitEnvironment):
    """Nothing listens at the local socket: the one failure that `bakeoff setup` can fix."""


def connect(environment: Mapping[str, str] | None = None) -> docker.DockerClient:
    """A client of the engine that the user's `docker` command would talk to, with one pool of connections.

    Honours DOCKER_HOST, DOCKER_CONTEXT, the current context of Docker's configuration, DOCKER_TLS_VERIFY and
    DOCKER_CERT_PATH. The API version is the server's own.

    Args:
        environment: read instead of the process's environment variables.

    Raises:
        NoEngine: nothing listens at the local socket.
        UnfitEnvironment: an engine was named or found that cannot be used; `hint` says what to do.
    """
    environment = dict(os.environ if environment is None else environment)
    _refuse_unknown_context(environment)
    try:
        client = docker.from_env(
            environment=environment,
            timeout=CONNECT_SECONDS,
            max_pool_size=POOL_SIZE,
            use_ssh_client=True,  # the user's own ssh, with its keys and configuration
        )
    except (DockerException, OSError, ValueError) as error:
        raise explain(error, target(environment)) from error
    client.api.timeout = REQUEST_SECONDS
    if too_old := complaint_about_api(str(client.api.api_version)):
        client.close()
        raise too_old
    return client


def _refuse_unknown_context(environment: Mapping[str, str]) -> None:
    """docker-py takes the local socket when a context does not exist: that would be another engine."""
    name = environment.get("DOCKER_CONTEXT")
    if environment.get("DOCKER_HOST") or not name or ContextAPI.get_context(name) is not None:
        return
    raise UnfitEnvironment(
        f"DOCKER_CONTEXT names the context {name!r}, which does not exist",
        hint="See `docker context ls`; name one of those, or unset DOCKER_CONTEXT.",
    )


def target(environment: Mapping[str, str]) -> str:
    """The engine that was asked for, in words, for messages; empty when nobody named one."""
    if host := environment.get("DOCKER_HOST"):
        return f"DOCKER_HOST={host}"
    if (name := environment.get("DOCKER_CONTEXT")) and name != "default":
        return f"the Docker context {name!r}"
    name = get_current_context_name()
    return "" if name == "default" else f"the current Docker context {name!r}"


def complaint_about_api(version: str) -> UnfitEnvironment | None:
    """What is wrong with an engine of this API version, if anything."""
    if tuple(int(part) for part in version.split(".")[:2]) >= OLDEST_API:
        return None
    return UnfitEnvironment(
        f"this Docker Engine speaks API {version}; bakeoff needs {'.'.join(map(str, OLDEST_API))} or newer",
        hint="Upgrade Docker Engine to 20.10 or newer.",
    )


def explain(error: BaseException, named: str) -> UnfitEnvironment:
    """The failure of a first request, as one sentence and its hint.

    Args:
        error: what docker-py raised; the cause is looked for in its whole chain.
        named: the engine that the user named (see `target`), or empty.
    """
    causes = list(_chain(error))
    if denied := next((cause for cause in causes if isinstance(cause, PermissionError)), None):
        return UnfitEnvironment(
            f"no permission to talk to the Docker Engine ({denied.strerror})",
            hint="Run `sudo usermod -aG docker $USER`, log out and in again; or run as root.",
        )
    last_words = str(causes[-1])
    if named:
        return UnfitEnvironment(
            f"no Docker Engine answers at {named} ({last_words})",
            hint="Start that engine, or unset the variable or context that names it.",
        )
    if any(isinstance(cause, (FileNotFoundError, ConnectionRefusedError)) for cause in causes):
        return NoEngine(
            "no Docker Engine answers on this machine",
            hint="Run `bakeoff setup`, which installs and starts one where it may; or start Docker yourself "
            "(`sudo systemctl start docker`, or Docker Desktop).",
        )
    return UnfitEnvironment(
        f"the Docker Engine does not answer as it should ({last_words})", hint="See `docker version`."
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception, its causes, and those that requests and urllib3 wrap as arguments; outermost first."""
    queue, seen = [error], set[int]()
    while queue:
        current = queue.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = [current.__cause__, current.__context__, *current.args, getattr(current, "reason", None)]
        queue += [cause for cause in inner if isinstance(cause, BaseException)]
