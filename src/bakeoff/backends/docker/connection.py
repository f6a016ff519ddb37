"""Connecting to the Docker Engine that the user's `docker` command would talk to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException

from bakeoff.backends.docker import podman
from bakeoff.backends.docker.endpoint import Endpoint, find
from bakeoff.backends.docker.links import open_link
from bakeoff.errors import UnfitEnvironment
from bakeoff.record.base import JsonDict

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


class Client(docker.DockerClient):
    """docker-py's client, with one pool of connections, and the way to its engine, which `close` closes too."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._named, self._link = endpoint.named, open_link(endpoint)
        try:
            super().__init__(
                base_url=self._link.address or None, timeout=CONNECT_SECONDS, max_pool_size=POOL_SIZE
            )
        except (DockerException, OSError, ValueError) as error:
            refused = self._explain(error)
            self._link.close()
            raise refused from error
        self.api.timeout = REQUEST_SECONDS

    def info(self) -> JsonDict:
        """What the engine is and can do, in Docker's words where Podman answers."""
        info: JsonDict = super().info()
        return podman.in_dockers_words(info) if podman.answers(self.version()) else info

    def ask_anew(self) -> None:
        """Return if the engine answers on a new connection, which is given up after seconds.

        A daemon that hangs would keep one of the pool for a minute, and a way that has closed would stay so.

        Raises:
            UnfitEnvironment: it does not answer.
        """
        self._link.renew()
        try:
            docker.APIClient(base_url=self._link.address or None, timeout=CONNECT_SECONDS).close()
        except (DockerException, OSError) as error:
            raise self._explain(error) from error

    def close(self) -> None:
        super().close()
        self._link.close()

    def _explain(self, error: BaseException) -> UnfitEnvironment:
        return explain(error, self._named, self._link.problem())


def connect(environment: Mapping[str, str] | None = None) -> Client:
    """A client of the engine that the user's `docker` command would talk to (see `endpoint`).

    Args:
        environment: read instead of the process's environment variables.

    Raises:
        NoEngine: nothing listens at the local socket.
        UnfitEnvironment: an engine was named or found that cannot be used; `hint` says what to do.
    """
    client = Client(find(os.environ if environment is None else environment))
    if too_old := complaint_about_api(str(client.api.api_version)):
        client.close()
        raise too_old
    return client


def target(environment: Mapping[str, str]) -> str:
    """The engine that was asked for, in words, for messages; empty when nobody named one."""
    return find(environment).named


def complaint_about_api(version: str) -> UnfitEnvironment | None:
    """What is wrong with an engine of this API version, if anything."""
    if tuple(int(part) for part in version.split(".")[:2]) >= OLDEST_API:
        return None
    return UnfitEnvironment(
        f"this Docker Engine speaks API {version}; bakeoff needs {'.'.join(map(str, OLDEST_API))} or newer",
        hint="Upgrade Docker Engine to 20.10 or newer.",
    )


def explain(error: BaseException, named: str, on_the_way: tuple[str, str] | None = None) -> UnfitEnvironment:
    """The failure of a first request, as one sentence and its hint.

    Args:
        error: what docker-py raised; the cause is looked for in its whole chain.
        named: the engine that the user named (see `target`), or empty.
        on_the_way: what failed between here and the engine, and what to do (see `links`).
    """
    if on_the_way is not None:
        problem, hint = on_the_way
        return UnfitEnvironment(f"no Docker Engine answers at {named} ({problem})", hint=hint)
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
