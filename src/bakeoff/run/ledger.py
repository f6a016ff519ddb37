"""The host-wide ledger of reservations: runs on one machine share a Docker host's capacity and never promise it twice.

Each run holds one file of claims, locked for as long as the run lives; the kernel lets go of the lock when the run
dies, however it dies, and the next reader strikes its claims. One more lock orders the readers. Where several machines
drive one remote Docker host, each has a ledger of its own: keep such hosts to one driver.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from bakeoff.backends.base import Capacity
from bakeoff.errors import UnfitEnvironment

WAIT_SECONDS = 0.25  # between looks at the ledger while another run holds the capacity


@dataclass(frozen=True, slots=True)
class Claim:
    """What one running trial was promised."""

    trial_id: str
    cpus: float
    memory_bytes: int
    cores: tuple[int, ...] = ()  # of its own, with `resources.pin`


def fits(wanted: Claim, claims: list[Claim], room: Capacity, pinned: int = 0) -> Claim | None:
    """The claim as it can be granted beside the others (with its cores, where `pinned` asks for some), or None."""
    if sum(c.cpus for c in claims) + wanted.cpus > room.cpus + 1e-9:
        return None
    if sum(c.memory_bytes for c in claims) + wanted.memory_bytes > room.memory_bytes:
        return None
    taken = {core for claim in claims for core in claim.cores}
    free = [core for core in room.cores if core not in taken]
    if len(free) < pinned:
        return None
    return Claim(wanted.trial_id, wanted.cpus, wanted.memory_bytes, tuple(free[:pinned]))


class Ledger:
    """One run's hold on the ledger; a context manager.

    Args:
        engine_id: which Docker host; `docker info`'s ID.
        run_id: whose claims.
        room: what the host has to promise.
        directory: where ledgers are kept, shared by every run on the machine.
    """

    def __init__(self, engine_id: str, run_id: str, room: Capacity, directory: Path | None = None) -> None:
        self.room = room
        safe = "".join(c for c in engine_id if c.isalnum())[:40] or "engine"
        self._home = (directory or Path(tempfile.gettempdir())) / f"bakeoff-ledger-{safe}"
        self._own = self._home / f"{run_id}.json"
        self._claims: dict[str, Claim] = {}
        self._lock = threading.Lock()
        self._released = threading.Condition(self._lock)
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        if not self._home.exists():
            with self._writing():
                self._home.mkdir(parents=True, exist_ok=True)
                self._home.chmod(0o777)  # every user's runs share it
        with self._ordered():
            self._file = _open(self._own)
            fcntl.flock(self._file, fcntl.LOCK_EX)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            with self._ordered():
                self._own.unlink(missing_ok=True)
                self._file.close()
            self._file = None

    def claim(self, wanted: Claim, stopped: Callable[[], bool], *, pinned: int = 0) -> Claim | None:
        """Wait until the claim fits beside all others, and write it down; None when `stopped` while waiting."""
        while not stopped():
            with self._lock:
                granted = self._try(wanted, pinned)
                if granted is not None:
                    return granted
                self._released.wait(WAIT_SECONDS)  # another run's release is seen at the next look
        return None

    def release(self, trial_id: str) -> None:
        """Strike a claim."""
        with self._lock:
            if self._claims.pop(trial_id, None) is not None:
                with self._ordered():
                    self._write()
                self._released.notify_all()

    def others(self) -> list[Claim]:
        """The claims of other runs that are alive."""
        with self._ordered():
            return list(self._others())

    def _try(self, wanted: Claim, pinned: int) -> Claim | None:
        with self._ordered():
            granted = fits(wanted, [*self._claims.values(), *self._others()], self.room, pinned)
            if granted is not None:
                self._claims[wanted.trial_id] = granted
                self._write()
        return granted

    def _write(self) -> None:
        if self._file is None:
            raise RuntimeError("the ledger is used outside its context")
        self._file.seek(0)
        self._file.truncate()
        json.dump([asdict(claim) for claim in self._claims.values()], self._file)
        self._file.flush()

    def _others(self) -> Iterator[Claim]:
        for path in self._home.glob("*.json"):
            if path == self._own:
                continue
            try:
                with path.open() as file:
                    if _abandoned(file):
                        path.unlink(missing_ok=True)
                        continue
                    rows = json.loads(file.read() or "[]")
                claims = [Claim(r["trial_id"], r["cpus"], r["memory_bytes"], tuple(r["cores"])) for r in rows]
            except FileNotFoundError:
                continue  # it ended just now
            except (ValueError, TypeError, KeyError) as error:  # its disk was full, or somebody else wrote it
                raise UnfitEnvironment(
                    f"what a run on this machine holds cannot be read: {path}: {error}",
                    hint="end that run (`fuser` names it), or remove the file",
                ) from error
            yield from claims

    @contextmanager
    def _ordered(self) -> Iterator[None]:
        with self._writing(), _open(self._home / "lock") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn a refusal of the file system into a sentence the user can act on."""
        try:
            yield
        except OSError as error:
            raise UnfitEnvironment(
                f"cannot keep this machine's ledger of running trials in {self._home}: {error.strerror or error}",
                hint="free some space or make the directory writable; finished trials are safe",
            ) from error


def _open(path: Path) -> IO[str]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    if (status := os.fstat(descriptor)).st_uid == os.geteuid() and status.st_mode & 0o666 != 0o666:
        os.fchmod(descriptor, 0o666)  # whatever the umask took away: every user's runs share it
    return os.fdopen(descriptor, "r+")


def _abandoned(file: IO[str]) -> bool:
    """Whether the run that wrote it is gone: then nobody holds its lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
