"""The seams: `Backend` places sandboxes, `Sandbox` is one isolated place to run a harness.

The engine and the attempt know nothing else about where they run, so both are tested on `backends.fake`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from bakeoff.record.evidence import DockerFacts

# Called when somebody outside freezes a sandbox (True) or lets it go on (False), with the moment of `time.monotonic()`.
OnFrozen = Callable[[bool, float], None]


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
        """How somebody outside holds it right now; None: not at all, or the backend does not say."""
        ...

    def kill(self) -> bool:
        """SIGKILL everything in it, frozen or not. False: the backend did not answer, so it may still run."""
        ...

    def end(self) -> SandboxEnd:
        """Wait a bounded time for its exit and read its state. Does not raise: a failure is in the facts."""
        ...

    def close(self) -> None:
        """Close the streams; idempotent."""
        ...
