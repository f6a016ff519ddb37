"""One container: created with the pinned limits and all of the security boundary, attached, started, removed."""

from __future__ import annotations

import queue
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import docker.errors
import requests.exceptions
from docker import DockerClient
from docker.types import LogConfig

from bakeoff.record.evidence import DockerFacts
from bakeoff.record.trial import ResourceLimits

USER = "10001:10001"
WORKDIR = "/task"
LABEL = "bakeoff"
STDERR = 2
DAEMON_GONE = (requests.exceptions.RequestException, docker.errors.DockerException)

ENVIRONMENT = {  # the whole of it: nothing of the host's environment goes in
    "PATH": "/opt/venv/bin:/opt/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": WORKDIR,
    "TMPDIR": WORKDIR,
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "LANGSMITH_TRACING": "false",
}


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """What to create. All trials of a run have the same, so containers can be made ahead of their trial."""

    run_id: str
    image: str
    limits: ResourceLimits
    reserved_cpus: float = 0.0  # its share when CPUs are short, beside others' shares
    reserved_memory_bytes: int = 0  # what the kernel reclaims from it last
    command: tuple[str, ...] = ("/opt/venv/bin/python", "-I", "-m", "bakeoff_runner")


class ContainerFault(Exception):  # noqa: N818 - becomes DockerFacts, never a traceback
    """Docker refused or failed; `facts` say at which step."""

    def __init__(self, facts: DockerFacts) -> None:
        self.facts = facts
        super().__init__(facts.error)


class Container:
    """A created container. Every method raises `ContainerFault` and nothing else when Docker fails."""

    def __init__(self, client: DockerClient, container_id: str) -> None:
        self.api, self.id = client.api, container_id
        self._socket: Any = None
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    @classmethod
    def create(cls, client: DockerClient, spec: ContainerSpec) -> Container:
        """Create, not start: it holds no memory and no CPU yet."""
        limits = spec.limits
        workdir = f"size={limits.disk_bytes},mode=0700,uid=10001,gid=10001,nosuid,nodev,exec"
        try:
            host_config = client.api.create_host_config(
                mem_limit=limits.memory_bytes,
                memswap_limit=limits.memory_bytes,  # memory + swap: equal means no swap
                nano_cpus=round((limits.cpus or 0) * 1e9),
                pids_limit=limits.pids,
                cpu_shares=max(2, round(spec.reserved_cpus * 1024)),
                mem_reservation=spec.reserved_memory_bytes,
                network_mode="none",
                cgroupns="private",  # whatever the daemon's default: else version 2 shows the host's tree for our own
                ipc_mode="none",  # no /dev/shm: /task is the one writable place
                read_only=True,
                tmpfs={WORKDIR: workdir},
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                log_config=LogConfig(type="none"),  # a flood must not fill the daemon's disk
            )
            made = client.api.create_container(
                spec.image,
                command=list(spec.command),
                entrypoint=[],
                user=USER,
                working_dir=WORKDIR,
                environment=ENVIRONMENT,
                labels={LABEL: spec.run_id},
                stdin_open=True,
                tty=False,
                host_config=host_config,
                use_config_proxy=False,  # or docker-py copies the user's proxy settings in
            )
        except docker.errors.ImageNotFound as error:
            raise _fault("image", "image", error) from error
        except DAEMON_GONE as error:
            raise _fault("create", "start", error) from error
        return cls(client, made["Id"])

    def start(self) -> None:
        """Attach to its three streams, then start it."""
        streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        step: Any = "attach"
        try:
            self._socket = self.api.attach_socket(self.id, params=streams)
            threading.Thread(target=self._write, name="writer", daemon=True).start()
            step = "start"
            self.api.start(self.id)
        except docker.errors.NotFound as error:
            raise _fault(step, "lost", error, self.id) from error
        except DAEMON_GONE as error:
            raise _fault(step, "start", error, self.id) from error

    def pin(self, cores: tuple[int, ...]) -> None:
        """Give it these cores and no others; before its start. Nothing to do where there are none."""
        if not cores:
            return
        try:
            self.api.update_container(self.id, cpuset_cpus=",".join(map(str, cores)))
        except DAEMON_GONE as error:
            raise _fault("create", "start", error, self.id) from error

    def send(self, data: bytes) -> None:
        """Have it written to the container's stdin, without waiting: one that somebody froze takes nothing in."""
        self._outbox.put(data)

    def _write(self) -> None:
        while (data := self._outbox.get()) is not None:
            try:
                self._raw().sendall(data)
            except OSError:  # a closed stdin is no fault: the container's exit says more
                return

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """(stream, bytes) until the container's streams close: Docker's multiplexing has an 8-byte header a frame."""
        buffer = bytearray()
        while True:
            while len(buffer) >= 8:
                kind, size = struct.unpack_from(">BxxxL", buffer)
                if len(buffer) < 8 + size:
                    break
                yield kind, bytes(buffer[8 : 8 + size])
                del buffer[: 8 + size]
            try:
                data = self._raw().recv(256 * 1024)
            except OSError:
                return
            if not data:
                return
            buffer += data

    def end(self) -> tuple[DockerFacts, dict[str, Any]]:
        """Wait until it has exited, and read its state: the facts, and the HostConfig as Docker holds it."""
        try:
            self.api.wait(self.id, timeout=60)
            info = self.api.inspect_container(self.id)
        except docker.errors.NotFound as error:
            return _fault("run", "lost", error, self.id).facts, {}
        except DAEMON_GONE as error:
            return _fault("inspect", "unavailable", error, self.id).facts, {}
        state = info["State"]
        facts = DockerFacts(container_id=self.id, exit_code=state["ExitCode"], oom_killed=state["OOMKilled"])
        return facts, info["HostConfig"]

    def held(self) -> str | None:
        """How somebody outside holds it, `paused` or `stopped`; None: not at all, or Docker does not say.

        PID 1 takes a SIGSTOP from outside its container only (pid_namespaces(7)): no agent can stop it.
        """
        try:
            state = self.api.inspect_container(self.id)["State"]
            if state["Paused"]:
                return "paused"
            listed = self.api.top(self.id, ps_args="-eo pid,stat")["Processes"]
        except DAEMON_GONE:
            return None  # `end` meets the same daemon next; or it has no such `ps`
        stopped = any(row[0] == str(state["Pid"]) and row[1].startswith("T") for row in listed)
        return "stopped" if stopped else None

    def kill(self) -> None:
        """SIGKILL everything in it, frozen or not; gone already is as good."""
        try:
            self.api.kill(self.id)
        except DAEMON_GONE:
            return  # `end` meets the same daemon next and puts it on record

    def remove(self) -> None:
        """Remove it, running or not. A failure is left to the sweep by label at the end of the run."""
        self.close()
        try:
            self.api.remove_container(self.id, v=True, force=True)
        except DAEMON_GONE:
            return

    def close(self) -> None:
        """Close the attached streams; the supervisor inside takes that as the order to end."""
        if self._socket is None:
            return
        self._outbox.put(None)
        with suppress(OSError):  # wakes a thread that reads from it; the other side may have gone first
            self._raw().shutdown(socket.SHUT_RDWR)
        # docker-py hangs the HTTP response on the socket: closing that closes both and frees the pool's connection
        getattr(self._socket, "_response", self._socket).close()
        self._socket = None

    def _raw(self) -> Any:
        if self._socket is None:
            raise OSError("the container's streams are closed")
        return getattr(
            self._socket, "_sock", self._socket
        )  # docker-py gives a SocketIO, or a TLS socket itself


def sweep(client: DockerClient, run_id: str) -> int:
    """Remove every container that carries the run's label; returns how many there were."""
    found = client.api.containers(all=True, filters={"label": f"{LABEL}={run_id}"})
    for item in found:
        Container(client, item["Id"]).remove()
    return len(found)


def _fault(step: Any, kind: Any, error: Exception, container_id: str | None = None) -> ContainerFault:
    if isinstance(error, requests.exceptions.RequestException) and not isinstance(
        error, docker.errors.APIError
    ):
        kind = "unavailable"
    text = getattr(error, "explanation", None) or str(error)
    return ContainerFault(
        DockerFacts(container_id=container_id, failed_step=step, error=str(text)[:2000], error_kind=kind)
    )
