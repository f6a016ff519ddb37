"""The host-wide ledger of reservations: runs on one machine share a host's capacity and never promise it twice.

    /run/lock/bakeoff.lock                        orders the readers and writers of all users
    /run/lock/bakeoff-<uid>/<host>.<run>.json     one run's claims, locked for as long as the run lives

The kernel releases a lock when its run dies, however it dies: from then on its claims count no more, and the next run
removes the sandboxes that it left (`Ledger.clear_abandoned`). Each user has a directory of their own, and nobody writes
to, follows a link in, or changes the mode of what another user can replace. Where several machines drive one remote
host, each has a ledger of its own: keep such hosts to one driver.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from bakeoff.backends.base import Capacity
from bakeoff.errors import UnfitEnvironment

# Between looks at the ledger while another run holds the capacity.
WAIT_SECONDS = 0.25
# A reader holds the lock for milliseconds. Whoever holds it longer blocks every run on the machine.
LOCK_SECONDS = 30.0
# How long a run waits while another removes what it left when it was killed.
CLEARING_SECONDS = 20.0
# Places that every user can write to and that keep each user's files from the others. No TMPDIR: it may be a session's.
SHARED = (Path("/run/lock"), Path("/tmp"))  # noqa: S108
# What is read of one run's claims: enough for 10,000.
MOST_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Claim:
    """What one running trial was promised."""

    trial_id: str
    cpus: float
    memory_bytes: int
    # With `resources.pin`: how many cores of its own it asks for, and which it was given.
    pinned: int = 0
    cores: tuple[int, ...] = ()


def fits(wanted: Claim, claims: list[Claim], capacity: Capacity) -> Claim | None:
    """The claim with its cores, where it can be granted beside the others, or None."""
    if sum(c.cpus for c in claims) + wanted.cpus > capacity.cpus + 1e-9:
        return None
    if sum(c.memory_bytes for c in claims) + wanted.memory_bytes > capacity.memory_bytes:
        return None
    taken = {core for claim in claims for core in claim.cores}
    free = [core for core in capacity.cores if core not in taken]
    return replace(wanted, cores=tuple(free[: wanted.pinned])) if len(free) >= wanted.pinned else None


class Ledger:
    """One run's part of the ledger; a context manager.

    Args:
        host_id: which host; `Backend.host_id`.
        run_id: whose claims.
        capacity: what the host has to promise.
        directory: where ledgers are kept, shared by every run on the machine.
    """

    def __init__(self, host_id: str, run_id: str, capacity: Capacity, directory: Path | None = None) -> None:
        self.capacity = capacity
        self._shared = directory or _shared()
        self._home = self._shared / f"bakeoff-{os.geteuid()}"
        self._host = "".join(c for c in host_id if c.isalnum())[:40] or "host"
        self._own = self._home / f"{self._host}.{run_id}.json"
        self._claims: dict[str, Claim] = {}
        self._lock = threading.Lock()
        self._released = threading.Condition(self._lock)
        self._turn = threading.Lock()
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        with self._writing():
            _own_directory(self._home)
        deadline = time.monotonic() + CLEARING_SECONDS
        while (file := self._held()) is None:
            if time.monotonic() > deadline:
                raise _HeldError(
                    f"another process holds {self._own}",
                    hint=f"`fuser {self._own}` names it; wait for its end",
                )
            time.sleep(WAIT_SECONDS)
        self._file = file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            with self._ordered():
                if error is None:  # else its sandboxes may be left: the next run looks
                    self._own.unlink(missing_ok=True)
                self._file.close()
            self._file = None

    def claim(self, wanted: Claim, stopped: Callable[[], bool]) -> Claim | None:
        """Wait until the claim fits beside all others, and write it down; None when `stopped` while waiting."""
        # One waiter of a run at a time reads the ledger; the others wait for their turn.
        with self._turn:
            while not stopped():
                with self._lock:
                    if (granted := self._try(wanted)) is not None:
                        return granted
                    self._released.wait(WAIT_SECONDS)  # another run's release is seen at the next look
        return None

    def release(self, trial_id: str) -> None:
        """Drop a claim."""
        with self._lock:
            if self._claims.pop(trial_id, None) is not None:
                with self._ordered():
                    self._write()
                self._released.notify_all()

    def others(self) -> list[Claim]:
        """The claims of other runs that are alive."""
        with self._ordered():
            return list(self._others())

    def clear_abandoned(self, sweep: Callable[[str], object]) -> None:
        """Remove what this user's dead runs left on the host.

        Args:
            sweep: removes the sandboxes of the run of that id. What it raises leaves the rest to the next call.
        """
        with self._ordered():
            dead = [path for path in self._home.glob(f"{self._host}.*.json") if self._is_dead(path)]
        for path in dead:
            run_id = path.name.removeprefix(f"{self._host}.").removesuffix(".json")
            with suppress(_HeldError), Ledger(self._host, run_id, self.capacity, self._shared):
                sweep(run_id)

    def _held(self) -> IO[str] | None:
        """The run's own file, locked; None: another process has it."""
        with self._ordered():
            file = _open(self._own, os.O_RDWR | os.O_CREAT, owner=os.geteuid())
            try:
                # Without waiting: whoever waited here would hold the machine's lock, and block every other run.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                return None
            os.fchmod(file.fileno(), 0o644)  # other users' runs read it, whatever the umask
        return file

    def _is_dead(self, path: Path) -> bool:
        try:
            with _open(path, os.O_RDONLY, owner=os.geteuid()) as file:
                return _abandoned(file)
        except (FileNotFoundError, _ForeignError):
            return False

    def _try(self, wanted: Claim) -> Claim | None:
        with self._ordered():
            granted = fits(wanted, [*self._claims.values(), *self._others()], self.capacity)
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
        for path in self._shared.glob(f"bakeoff-*/{self._host}.*.json"):
            owner = path.parent.name.removeprefix("bakeoff-")
            if path == self._own or not owner.isdecimal():
                continue
            try:
                with _open(path, os.O_RDONLY, owner=int(owner)) as file:
                    if not _abandoned(file):
                        yield from _claims(path, file.read(MOST_BYTES))
            except (FileNotFoundError, _ForeignError):
                continue  # it ended just now; or it is not what that user's bakeoff wrote

    @contextmanager
    def _ordered(self) -> Iterator[None]:
        """Hold the machine's lock. Whoever made the file: nothing is ever written to it."""
        path = self._shared / "bakeoff.lock"
        with self._writing():
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
                os.fchmod(descriptor, 0o644)
                file: IO[str] = os.fdopen(descriptor)
            except FileExistsError:
                file = _open(path, os.O_RDONLY, owner=None)
            with file:
                _lock(file, path)
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


class _HeldError(UnfitEnvironment):
    """Another process holds the run's file."""


class _ForeignError(OSError):
    """What stands at that path was not made by the user who should have made it."""


def _shared() -> Path:
    """The first of `SHARED` that is safe to share: writable by all, and sticky."""
    for path in SHARED:
        try:
            mode = path.stat().st_mode
        except OSError:
            continue
        if stat.S_ISDIR(mode) and mode & 0o1777 == 0o1777 and os.access(path, os.W_OK):
            return path.resolve()
    from bakeoff.config.cache import cache_dir, require_cache

    require_cache()
    return cache_dir()


def _own_directory(path: Path) -> None:
    """Make this user's directory, or check that the one that is there is this user's alone.

    Raises:
        OSError: it is not.
    """
    try:
        path.mkdir(mode=0o755)
        path.chmod(0o755)  # whatever the umask: other users' runs read it
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise _ForeignError(f"{path} belongs to another user; remove it") from None


def _open(path: Path, flags: int, *, owner: int | None) -> IO[str]:
    """Open a regular file that this user may trust. Never follows a link, and never waits for a pipe.

    Raises:
        OSError: it is not there, or something else.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _ForeignError(error.errno, f"{error.strerror}: {path}") from error
    file = os.fdopen(descriptor, "r+" if flags & os.O_RDWR else "r")
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or owner not in (None, found.st_uid):
        file.close()
        raise _ForeignError(f"{path} was made by another user; remove it")
    return file


def _lock(file: IO[str], path: Path) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise UnfitEnvironment(
                    f"another process has held {path} for {LOCK_SECONDS:.0f} s",
                    hint=f"`fuser {path}` names it; end it",
                ) from None
            time.sleep(0.002)
        else:
            return


def _claims(path: Path, text: str) -> list[Claim]:
    try:
        return [
            Claim(row["trial_id"], row["cpus"], row["memory_bytes"], cores=tuple(row["cores"]))
            for row in json.loads(text or "[]")
        ]
    except (ValueError, TypeError, KeyError) as error:  # its disk was full, or another program wrote it
        raise UnfitEnvironment(
            f"what a run on this machine holds cannot be read: {path}: {error}",
            hint="end that run (`fuser` names it), or remove the file",
        ) from error


def _abandoned(file: IO[str]) -> bool:
    """Whether the run that wrote it is gone: then nobody holds its lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
