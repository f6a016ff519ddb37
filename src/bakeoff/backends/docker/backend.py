"""Docker as a `Backend`: one engine, local or remote."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Generator
from functools import cached_property, partial

from bakeoff.backends.base import Backend, Capacity, Check, Proof, SandboxSpec, Say
from bakeoff.backends.docker import connection, container, host, podman
from bakeoff.backends.docker.connection import DAEMON_GONE, Client
from bakeoff.backends.docker.container import LABEL, Container
from bakeoff.backends.docker.pauses import PauseEvents
from bakeoff.backends.docker.pool import ContainerPool
from bakeoff.config.schema import Config, Harness
from bakeoff.errors import BackendUnavailable, InputError, UnfitEnvironment
from bakeoff.record.base import JsonDict
from bakeoff.record.manifest import Host, Image

# A daemon that went away is waited for this long, so that attempts are not spent on it.
RETURN_SECONDS = 120.0
RETRY_SECONDS = 1.0


def connect() -> Backend:
    """The engine that the user's `docker` command would talk to.

    Raises:
        UnfitEnvironment: it does not answer, or cannot be used; `hint` says what to do.
    """
    return DockerBackend(connection.connect())


class DockerBackend:
    """One Docker Engine. This backend owns the client."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._api = client.api
        self._pool = ContainerPool(self._create, partial(container.remove, self._api))
        self._pauses = PauseEvents(self._api)

    @cached_property
    def info(self) -> JsonDict:
        """Docker's /info, asked for once."""
        try:
            info: JsonDict = self.client.info()
        except DAEMON_GONE as error:
            raise connection.explain(error, connection.target(os.environ)) from error
        return info

    @property
    def host_id(self) -> str:
        return str(self.info["ID"])

    @property
    def local(self) -> bool:
        return host.is_local(self.info)

    def facts(self) -> Host:
        return host.facts(self.info, str(self._api.api_version))

    def capacity(self, promised_bytes: int = 0) -> Capacity:
        return host.capacity(self.info, promised_bytes)

    def checks(self, config: Config | None) -> Generator[Check, None, None]:
        from bakeoff.backends.docker import checks

        try:
            yield from checks.check(self.client, self.info, config)
        except DAEMON_GONE as error:
            raise connection.explain(error, connection.target(os.environ)) from error

    def probe_image(self, config: Config | None) -> str | None:
        from bakeoff.backends.docker.images import base_image

        reference = config.harness.base_image if config else Harness.model_fields["base_image"].default
        try:
            found = base_image.find(self.client, reference)
        except InputError:  # it is there and runs no Python: a line of `checks`, and an error of `prepare`
            return None
        return found.image_id if found else None

    def prove(self, spec: SandboxSpec, pinned: int = 0) -> Proof:
        from bakeoff.backends.docker import proof

        return proof.prove(self.open, spec, pinned, self.info)

    def prepare(self, config: Config, say: Say) -> Image:
        from bakeoff.backends.docker import proof
        from bakeoff.backends.docker.images import image

        proof.refuse_unfit(self.info)
        return image.ensure(self.client, config, self.info["Architecture"], say)

    def expect(self, spec: SandboxSpec, count: int, at_once: int) -> None:
        self._pool.expect(spec, count, at_once)

    def open(self, spec: SandboxSpec, cores: tuple[int, ...] = ()) -> Container:
        self._pauses.start()
        made = Container(self._api, self._pool.take(spec), self._pauses, self._pool.discard)
        if cores:
            try:
                container.pin(self._api, made.id, cores)
            except BaseException:
                made.close()
                raise
        return made

    def _create(self, spec: SandboxSpec) -> str:
        return container.create(self._api, spec, host.swap_bytes(self.info), podman.is_podman(self.info))

    def await_return(self, stopping: threading.Event) -> None:
        deadline = time.monotonic() + RETURN_SECONDS
        while time.monotonic() < deadline:
            try:
                self.client.ask_anew()
            except UnfitEnvironment:
                if stopping.wait(RETRY_SECONDS):
                    return
            else:
                return
        raise BackendUnavailable(
            f"the Docker Engine went away and did not answer for {RETURN_SECONDS:.0f} s",
            hint="Start it again; the trials finished so far are safe.",
        )

    def sweep(self, run_id: str) -> int:
        self._pool.drain()
        try:
            return container.sweep(self._api, run_id)
        except DAEMON_GONE as error:
            raise BackendUnavailable(
                "the Docker Engine went away; containers of this run may be left",
                hint=f"When it answers again: docker rm -f $(docker ps -aq --filter label={LABEL}={run_id})",
            ) from error

    def close(self) -> None:
        self._pauses.stop()
        self._pool.drain()
        self.client.close()
