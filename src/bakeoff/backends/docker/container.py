"""One container: created with the pinned limits and all of the security boundary, attached, started, removed."""

from __future__ import annotations

import itertools
import queue
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Literal

import docker.errors
import requests.exceptions
from docker import APIClient
from docker.types import LogConfig, Ulimit

from bakeoff.backends.base import WORKDIR, Frame, OnFrozen, SandboxEnd, SandboxError, SandboxSpec
from bakeoff.backends.docker.connection import DAEMON_GONE
from bakeoff.backends.docker.pauses import PauseEvents
from bakeoff.record.base import JsonDict
from bakeoff.record.evidence import DockerFacts

# Users of harnesses, one for each sandbox: the kernel limits inotify, pipes, pending signals and more by user, so one
# sandbox could take them from another of the same user. The container's name carries the user's id, so that the engine
# itself keeps two runs from taking the same.
USERS = range(10001, 11001)
_next_user = itertools.count(random.randrange(len(USERS)))  # noqa: S311 - another run begins elsewhere
# The supervisor alone is root, so that the harness can neither signal it, trace it nor limit it. It needs no more than
# this to start the harness as another user without any capability, and to kill it.
SUPERVISOR = "0:0"
SUPERVISOR_CAPABILITIES = ["SETUID", "SETGID", "SETPCAP", "KILL"]
LABEL = "bakeoff"
STDERR = 2
FIRST_TO_GO = 1000  # oom_score_adj
# What every sandbox gets besides its limits. Else it is the daemon's or the base image's, which differ from host to
# host: up to a million files, cores of any size in /task, an init that the harness can kill the supervisor beside, a
# health check within the limits. The manifest and the fingerprint have it.
PINNED: JsonDict = {
    "ulimits": {"nofile": 16384, "core": 0, "nproc": 4096},  # the last one more, where the pids limit is more
    "init": False,
    "healthcheck": False,
    "stop_signal": "SIGTERM",
    "log_driver": "none",  # a flood must not fill the daemon's disk
    "shared_memory": f"{WORKDIR}/.shm",  # made by the supervisor: no /dev/shm of its own size
}

# The whole environment of a container: nothing of the host's goes in.
ENVIRONMENT = {
    "PATH": "/opt/venv/bin:/opt/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": WORKDIR,
    "TMPDIR": WORKDIR,
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "LANGSMITH_TRACING": "false",
}

# Where Podman would mount a writable tmpfs over a read-only root.
SEALED = ("/tmp", "/var/tmp", "/run")  # noqa: S108 - to be closed

Step = Literal["image", "create", "attach", "start", "run", "inspect"]
Kind = Literal["image", "start", "lost", "unavailable"]


def create(api: APIClient, spec: SandboxSpec, swap_bytes: int = 0, for_podman: bool = False) -> str:
    """Create a container and return its id. Not started, it holds no memory and no CPU.

    Args:
        api: the engine.
        spec: what to create.
        swap_bytes: what it may swap: see `host.swap_bytes`.
        for_podman: Podman mounts /task for root only, so the supervisor gives it to the user; and places of its own
            to write, unless something is mounted there.

    Raises:
        SandboxError: Docker refused or failed.
    """
    for _ in USERS:
        user = USERS[next(_next_user) % len(USERS)]
        try:
            made = _create(api, spec, user, swap_bytes, for_podman=for_podman)
        except docker.errors.ImageNotFound as error:
            raise _failed("image", "image", error) from error
        except docker.errors.APIError as error:
            if error.status_code != HTTPStatus.CONFLICT and "already in use" not in str(error.explanation):
                raise _failed("create", "start", error) from error
            taken = error
            continue
        except DAEMON_GONE as error:
            raise _failed("create", "start", error) from error
        return str(made["Id"])
    raise _failed("create", "start", taken)


def _create(api: APIClient, spec: SandboxSpec, user: int, swap_bytes: int, *, for_podman: bool) -> JsonDict:
    limits = spec.limits
    ulimits = {**PINNED["ulimits"], "nproc": max(PINNED["ulimits"]["nproc"], limits.pids or 0)}
    owner = "" if for_podman else f"uid={user},gid={user},"
    size = "" if limits.disk_bytes is None else f"size={limits.disk_bytes},"
    workdir = f"{size}mode=0700,{owner}nosuid,nodev,exec"
    host_config = api.create_host_config(
        mem_limit=limits.memory_bytes,
        memswap_limit=None if limits.memory_bytes is None else limits.memory_bytes + swap_bytes,
        nano_cpus=round((limits.cpus or 0) * 1e9),
        pids_limit=limits.pids,
        cpu_shares=max(2, round(spec.reserved_cpus * 1024)),
        mem_reservation=spec.reserved_memory_bytes,
        # Without a ceiling, what fills the host must go before anybody else
        oom_score_adj=FIRST_TO_GO if limits.memory_bytes is None else None,
        network_mode="none",
        cgroupns="private",  # whatever the daemon's default: version 2 would show the host's tree
        ipc_mode="none",
        init=PINNED["init"],
        read_only=True,
        tmpfs={WORKDIR: workdir, **(dict.fromkeys(SEALED, "ro,size=4096") if for_podman else {})},
        cap_drop=["ALL"],
        cap_add=[*SUPERVISOR_CAPABILITIES, *(["CHOWN"] if for_podman else [])],
        security_opt=["no-new-privileges"],
        ulimits=[Ulimit(name=name, soft=most, hard=most) for name, most in ulimits.items()],
        log_config=LogConfig(type=PINNED["log_driver"]),
    )
    made: JsonDict = api.create_container(
        spec.image,
        name=f"{LABEL}-{user}",
        command=[*spec.command, *([str(user)] if for_podman else [])],
        entrypoint=[],
        user=SUPERVISOR,
        working_dir=WORKDIR,
        environment=ENVIRONMENT,
        labels={LABEL: spec.run_id},
        healthcheck={"test": ["NONE"]},
        stop_signal=PINNED["stop_signal"],
        stdin_open=True,
        tty=False,
        host_config=host_config,
        use_config_proxy=False,  # or docker-py copies the user's proxy settings in
    )
    return made


def pin(api: APIClient, container_id: str, cores: tuple[int, ...]) -> None:
    """Give a container these cores and no others, before its start.

    Raises:
        SandboxError: Docker refused or failed.
    """
    try:
        api.update_container(container_id, cpuset_cpus=",".join(map(str, cores)))
    except DAEMON_GONE as error:
        raise _failed("create", "start", error, container_id) from error


def remove(api: APIClient, container_id: str) -> None:
    """Remove a container, running or not. A failure is left to the sweep at the end of the run."""
    with suppress(*DAEMON_GONE):
        api.remove_container(container_id, v=True, force=True)


def sweep(api: APIClient, run_id: str) -> int:
    """Remove every container that carries the run's label; returns how many there were.

    Raises:
        RequestException, DockerException: the daemon does not answer.
    """
    found = api.containers(all=True, filters={"label": f"{LABEL}={run_id}"})
    for item in found:
        remove(api, item["Id"])
    return len(found)


class Container:
    """A created container, as a `Sandbox`.

    Args:
        api: the engine.
        container_id: what `create` returned.
        pauses: where its pauses are heard.
        discard: called once with the id when it is closed.
    """

    def __init__(
        self, api: APIClient, container_id: str, pauses: PauseEvents, discard: Callable[[str], None]
    ) -> None:
        self._api, self._id, self._pauses, self._discard = api, container_id, pauses, discard
        self._socket: Any = None
        self._closed = False
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    @property
    def id(self) -> str:
        return self._id

    def start(self, on_frozen: OnFrozen) -> None:
        streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        step: Step = "attach"
        self._pauses.add(self._id, on_frozen)
        try:
            self._socket = self._api.attach_socket(self._id, params=streams)
            threading.Thread(target=self._write, name="writer", daemon=True).start()
            step = "start"
            self._api.start(self._id)
        except docker.errors.NotFound as error:
            raise _failed(step, "lost", error, self._id) from error
        except DAEMON_GONE as error:
            raise _failed(step, "start", error, self._id) from error

    def send(self, data: bytes) -> None:
        self._outbox.put(data)

    def _write(self) -> None:
        while (data := self._outbox.get()) is not None:
            try:
                self._raw().sendall(data)
            except OSError:  # a closed stdin is no failure: the container's exit says more
                return

    def frames(self) -> Iterator[Frame]:
        """Docker's multiplexing has an 8-byte header before each frame: the stream and the size."""
        buffer = bytearray()
        while True:
            while len(buffer) >= 8:
                kind, size = struct.unpack_from(">BxxxL", buffer)
                if len(buffer) < 8 + size:
                    break
                yield Frame("stderr" if kind == STDERR else "stdout", bytes(buffer[8 : 8 + size]))
                del buffer[: 8 + size]
            try:
                data = self._raw().recv(64 * 1024)
            except OSError:
                return
            if not data:
                return
            buffer += data
            del data  # the next may be long in coming

    def end(self) -> SandboxEnd:
        try:
            self._api.wait(self._id, timeout=60)
            info = self._api.inspect_container(self._id)
        except docker.errors.NotFound as error:
            return SandboxEnd(_failed("run", "lost", error, self._id).facts)
        except DAEMON_GONE as error:
            return SandboxEnd(_failed("inspect", "unavailable", error, self._id).facts)
        state = info["State"]
        facts = DockerFacts(container_id=self._id, exit_code=state["ExitCode"], oom_killed=state["OOMKilled"])
        return SandboxEnd(facts, info["HostConfig"]["NetworkMode"])

    def held(self) -> Literal["paused", "stopped"] | None:
        """PID 1 takes a SIGSTOP from outside its container only (pid_namespaces(7)): no agent can stop it."""
        try:
            state = self._api.inspect_container(self._id)["State"]
            if state["Paused"]:
                return "paused"
            listed = self._api.top(self._id, ps_args="-eo pid,stat")["Processes"]
        except DAEMON_GONE:
            return None  # `end` meets the same daemon next; or it has no such `ps`
        stopped = any(row[0] == str(state["Pid"]) and row[1].startswith("T") for row in listed)
        return "stopped" if stopped else None

    def kill(self) -> bool:
        try:
            self._api.kill(self._id)
        except docker.errors.APIError as error:
            # 404 and 409: it is gone, or does not run
            return not error.is_server_error()
        except DAEMON_GONE:
            return False
        return True

    def close(self) -> None:
        """The supervisor inside takes a closed stdin as the order to end."""
        if self._closed:
            return
        self._closed = True
        self._pauses.discard(self._id)
        self._outbox.put(None)
        if self._socket is not None:
            with suppress(OSError):  # wakes a thread that reads from it; the other side may have gone first
                self._raw().shutdown(socket.SHUT_RDWR)
            # docker-py hangs the HTTP response on the socket: closing that closes both and frees the connection
            getattr(self._socket, "_response", self._socket).close()
            self._socket = None
        self._discard(self._id)

    def _raw(self) -> Any:
        # docker-py gives its SocketIO, which `close` in another thread takes the socket from
        raw = getattr(self._socket, "_sock", None)
        if raw is None:
            raise OSError("the container's streams are closed")
        return raw


def _failed(step: Step, kind: Kind, error: Exception, container_id: str | None = None) -> SandboxError:
    unanswered = isinstance(error, requests.exceptions.RequestException)
    if unanswered and not isinstance(error, docker.errors.APIError):
        kind = "unavailable"
    text = str(getattr(error, "explanation", None) or error)[:2000]
    return SandboxError(DockerFacts(container_id=container_id, failed_step=step, error=text, error_kind=kind))
