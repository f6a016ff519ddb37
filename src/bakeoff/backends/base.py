"""The seams: `Backend` places sandboxes, `Sandbox` is one isolated place to run a harness.

The engine and the attempt know nothing else about where they run, so both are tested on `backends.fake`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from bakeoff.errors import BakeoffError, UnfitEnvironment
from bakeoff.record.evidence import DockerFacts
from bakeoff.record.manifest import Host, Image
from bakeoff.record.trial import ResourceLimits

if TYPE_CHECKING:
    from bakeoff.config.schema import Config

# The one writable directory of every sandbox, also its HOME.
WORKDIR = "/task"

# Called when someone outside freezes a sandbox (True) or lets it go on (False), with the moment of `time.monotonic()`.
OnFrozen = Callable[[bool, float], None]

# Prints one line about a step that takes time.
Say = Callable[[str], None]


class Frame(NamedTuple):
    """A piece of what a sandbox writes, as it arrives: not a line, not bounded."""

    stream: Literal["stdout", "stderr"]
    data: bytes


@dataclass(frozen=True, slots=True)
class SandboxEnd:
    """How a sandbox ended."""

    facts: DockerFacts
    network: str | None = None  # the network mode that it really had; None: not known


class SandboxError(Exception):
    """The backend refused or failed; `facts` say at which step. The only exception that a `Sandbox` raises."""

    def __init__(self, facts: DockerFacts) -> None:
        self.facts = facts
        super().__init__(facts.error)


class Sandbox(Protocol):
    """One isolated place to run a harness, created but not started. Raises `SandboxError` and nothing else."""

    @property
    def id(self) -> str:
        """Names it in the record and to the backend's own tools."""
        ...

    def start(self, on_frozen: OnFrozen) -> None:
        """Attach to its streams and start it. `on_frozen` may be called from any thread until `close`."""
        ...

    def send(self, data: bytes) -> None:
        """Queue bytes for its standard input, without waiting: a frozen sandbox reads nothing."""
        ...

    def frames(self) -> Iterator[Frame]:
        """What it writes, until its streams close."""
        ...

    def held(self) -> Literal["paused", "stopped"] | None:
        """How someone outside holds it right now; None: not at all, or the backend does not say."""
        ...

    def kill(self) -> bool:
        """SIGKILL everything in it, frozen or not. False: the backend did not answer, so it may still run."""
        ...

    def end(self) -> SandboxEnd:
        """Wait a bounded time for its exit and read its state. Does not raise: a failure is in the facts."""
        ...

    def close(self) -> None:
        """Close the streams and give it back: the backend removes it later, running or not. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a host can promise to sandboxes altogether. `cores`: the ids that one may be pinned to."""

    cpus: float
    memory_bytes: int
    cores: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Proof:
    """What a sandbox found where trials run, whose limits held."""

    cores: tuple[int, ...]  # ids of the CPUs that it may run on, and be pinned to
    disk_free_bytes: int  # where the host keeps images and sandboxes


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `bakeoff doctor`: what was looked at, what is so, and what to do about it."""

    subject: str
    state: Literal["ok", "warning", "failed"]
    says: str
    hint: str | None = None
    exit_code: int = 0

    @classmethod
    def ok(cls, subject: str, says: str) -> Check:
        """All is well."""
        return cls(subject, "ok", says)

    @classmethod
    def warning(cls, subject: str, says: str, hint: str) -> Check:
        """It runs, but a number may suffer."""
        return cls(subject, "warning", says, hint)

    @classmethod
    def failed(cls, subject: str, error: BakeoffError) -> Check:
        """It does not run."""
        return cls(subject, "failed", str(error), getattr(error, "hint", None), error.exit_code)

    @classmethod
    def space(cls, subject: str, place: str, free: int, bounds: tuple[int, int]) -> Check:
        """Free space at one place. `bounds`, in bytes: below the first it fails, below the second it warns."""
        least, enough = bounds
        subject, says = f"disk {subject}", f"{free / 2**30:.1f} GiB free at {place}"
        if free < least:
            return cls.failed(subject, UnfitEnvironment(says, hint=f"Free at least {least / 2**30:.1f} GiB."))
        if free < enough:
            return cls.warning(subject, says, f"{enough / 2**30:.0f} GiB would be safe.")
        return cls.ok(subject, says)


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What to create. Trials with equal specs may take each other's sandbox, so a backend can create some ahead."""

    run_id: str
    image: str
    limits: ResourceLimits
    reserved_cpus: float = 0.0  # its share when CPUs are short, beside others' shares
    reserved_memory_bytes: int = 0  # its part of what is promised; cgroups above it may not protect it
    command: tuple[str, ...] = ("/opt/venv/bin/python", "-I", "-m", "bakeoff_runner")


class Backend(Protocol):
    """Where sandboxes run. Every method may be called from any thread.

    Raises:
        BackendUnavailable: it does not answer. `open` raises a `SandboxError` instead, which is evidence.
    """

    @property
    def host_id(self) -> str:
        """Names the host: runs on one host share its capacity."""
        ...

    @property
    def local(self) -> bool:
        """Whether the sandboxes share this machine's kernel, so that its load is theirs."""
        ...

    def facts(self) -> Host:
        """The host, for the manifest. Unknown values are None, never guesses."""
        ...

    def capacity(self, promised_bytes: int = 0) -> Capacity:
        """What the host can promise now.

        Args:
            promised_bytes: memory that is promised to other runs. They may use it already, and it is not counted twice.
        """
        ...

    def checks(self, config: Config | None) -> Generator[Check, None, None]:
        """What the host has and lacks, for this configuration where there is one. Changes nothing."""
        ...

    def probe_image(self, config: Config | None) -> str | None:
        """An image that is there and can be asked to `prove`; None: none is there yet."""
        ...

    def prove(self, spec: SandboxSpec, pinned: int = 0) -> Proof:
        """Open one sandbox, pinned to so many cores, and read back that its limits hold. `spec.command` is not run.

        Raises:
            UnfitEnvironment: one does not hold, or the sandbox does not start; `hint` says what to do.
        """
        ...

    def prepare(self, config: Config, say: Say) -> Image:
        """The image for this harness, made if it is not there.

        Raises:
            InputError: the harness does not load in it; names the key.
            UnfitEnvironment: the image cannot be made here.
        """
        ...

    def expect(self, spec: SandboxSpec, count: int, at_once: int) -> None:
        """Announce that `count` such sandboxes will be opened, at most `at_once` of them together."""
        ...

    def open(self, spec: SandboxSpec, cores: tuple[int, ...] = ()) -> Sandbox:
        """One sandbox, pinned to these cores where there are some.

        Raises:
            SandboxError: it could not be created.
        """
        ...

    def await_return(self, stopping: threading.Event) -> None:
        """Return when the backend answers, or when `stopping` is set. For use after a failure.

        Raises:
            BackendUnavailable: it stays away.
        """
        ...

    def sweep(self, run_id: str) -> int:
        """Remove every sandbox of this run, opened or not; returns how many there were."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...
