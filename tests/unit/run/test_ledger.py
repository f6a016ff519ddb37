"""The host-wide ledger: no capacity is promised twice, and the dead do not hold any."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bakeoff.backends.base import Capacity
from bakeoff.errors import BackendUnavailable, UnfitEnvironment
from bakeoff.run import ledger as ledger_module
from bakeoff.run.ledger import Claim, Ledger, fits

ROOM = Capacity(cpus=2.0, memory_bytes=1000, cores=(0, 1))


def claim(name: str = "a", cpus: float = 0.5, memory: int = 100, pinned: int = 0) -> Claim:
    return Claim(name, cpus, memory, pinned)


def never() -> bool:
    return False


@pytest.mark.parametrize(
    ("held", "wanted", "granted"),
    [
        ([], claim(), True),
        ([claim(cpus=1.5)], claim(), True),
        ([claim(cpus=1.6)], claim(), False),
        ([claim(memory=900)], claim(), True),
        ([claim(memory=901)], claim(), False),
        ([claim(cpus=0.1)] * 19, claim(cpus=0.1, memory=1), False),  # memory: 1,900 of 1,000
    ],
)
def test_a_claim_fits_or_waits(held: list[Claim], wanted: Claim, granted: bool) -> None:
    assert (fits(wanted, held, ROOM) is not None) is granted


def test_sums_of_tenths_do_not_lose_a_slot_to_rounding() -> None:
    held = [claim(str(n), cpus=0.1, memory=1) for n in range(9)]
    assert fits(claim(cpus=0.1, memory=1), held, Capacity(1.0, 1000)) is not None


def test_pinned_cores_are_given_once() -> None:
    first = fits(claim(pinned=1), [], ROOM)
    assert first.cores == (0,)
    second = fits(claim("b", pinned=1), [first], ROOM)
    assert second.cores == (1,)
    assert fits(claim("c", pinned=1), [first, second], ROOM) is None


def test_two_runs_share_one_host(tmp_path: Path) -> None:
    with Ledger("engine", "run-1", ROOM, tmp_path) as one, Ledger("engine", "run-2", ROOM, tmp_path) as two:
        assert one.claim(claim("x", cpus=1.5), never) is not None
        assert two.others() == [claim("x", cpus=1.5)]
        granted = threading.Event()

        def second() -> None:
            assert two.claim(claim("y", cpus=1.0), never) is not None
            granted.set()

        thread = threading.Thread(target=second)
        thread.start()
        assert not granted.wait(0.4)
        one.release("x")
        assert granted.wait(60)
        thread.join()


def test_other_engines_have_ledgers_of_their_own(tmp_path: Path) -> None:
    with (
        Ledger("engine-1", "run-1", ROOM, tmp_path) as one,
        Ledger("engine-2", "run-2", ROOM, tmp_path) as two,
    ):
        one.claim(claim(cpus=2.0), never)
        assert two.claim(claim(cpus=2.0), never) is not None


def test_a_stopped_run_waits_no_longer(tmp_path: Path) -> None:
    with Ledger("engine", "run", ROOM, tmp_path) as ledger:
        ledger.claim(claim(cpus=2.0), never)
        stop = threading.Event()
        threading.Timer(0.2, stop.set).start()
        assert ledger.claim(claim("b"), stop.is_set) is None


def test_a_killed_run_lets_go_and_the_next_one_removes_what_it_left(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from bakeoff.run.ledger import *; "
        "ledger = Ledger('engine', 'dead', Capacity(2.0, 1000), Path(sys.argv[1])); ledger.__enter__(); "
        "ledger.claim(Claim('x', 2.0, 1000), lambda: False); print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    with Ledger("engine", "alive", ROOM, tmp_path) as ledger:
        assert len(ledger.others()) == 1
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert ledger.claim(claim(cpus=2.0), never) is not None
        swept: list[str] = []

        def unreachable(run_id: str) -> None:
            raise BackendUnavailable("the engine went away")

        with pytest.raises(BackendUnavailable):
            ledger.clear_abandoned(unreachable)
        with Ledger("another-engine", "alive", ROOM, tmp_path) as elsewhere:
            elsewhere.clear_abandoned(swept.append)
        assert swept == []
        ledger.clear_abandoned(swept.append)
        ledger.clear_abandoned(swept.append)
        assert swept == ["dead"]


def test_many_threads_never_hold_more_than_there_is(tmp_path: Path) -> None:
    most, lock, held = 0.0, threading.Lock(), 0.0

    def work(name: str, ledger: Ledger) -> None:
        nonlocal most, held
        for turn in range(10):
            assert ledger.claim(claim(f"{name}-{turn}", cpus=0.75, memory=10), never) is not None
            with lock:
                held += 0.75
                most = max(most, held)
            time.sleep(0.002)
            with lock:
                held -= 0.75
            ledger.release(f"{name}-{turn}")

    with Ledger("engine", "run-1", ROOM, tmp_path) as one, Ledger("engine", "run-2", ROOM, tmp_path) as two:
        threads = [threading.Thread(target=work, args=(f"t{n}", (one, two)[n % 2])) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert most == 1.5


def test_every_user_may_read_it_and_nobody_else_may_write_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with Ledger("engine", "run", ROOM, tmp_path) as ledger:
            assert ledger.claim(claim(), never) is not None
            paths = [path for path in tmp_path.rglob("*") if path.stat().st_mode & 0o777]
            modes = {path.name: path.stat().st_mode & 0o777 for path in paths}
    finally:
        os.umask(before)
    assert modes == {f"bakeoff-{os.geteuid()}": 0o755, "bakeoff.lock": 0o644, "engine.run.json": 0o644}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("root's")
    path.chmod(0o600)
    return path


def entered(shared: Path) -> None:
    with Ledger("engine", "run", ROOM, shared) as ledger:
        assert ledger.claim(claim(), never) is not None


@pytest.mark.parametrize("name", ["bakeoff.lock", "bakeoff-{uid}/engine.run.json"])
@pytest.mark.parametrize("how", ["symbolic", "hard"])
def test_a_link_is_neither_followed_nor_changed(tmp_path: Path, secret: Path, name: str, how: str) -> None:
    shared = tmp_path / "shared"
    place = shared / name.format(uid=os.geteuid())
    place.parent.mkdir(parents=True)
    place.symlink_to(secret) if how == "symbolic" else place.hardlink_to(secret)
    with pytest.raises(UnfitEnvironment, match=re.escape(str(place))):
        entered(shared)
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == ("root's", 0o600)


def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path, secret: Path) -> None:
    home = tmp_path / "shared" / f"bakeoff-{os.geteuid()}"
    home.mkdir(parents=True)
    home.chmod(0o777)
    with pytest.raises(UnfitEnvironment, match="another user"):
        entered(tmp_path / "shared")
    home.rmdir()
    home.symlink_to(secret.parent)
    with pytest.raises(UnfitEnvironment, match="another user"):
        entered(tmp_path / "shared")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")
def test_files_of_another_user_are_refused_and_never_counted(tmp_path: Path) -> None:
    stranger = tmp_path / "bakeoff-12345"
    stranger.mkdir()
    forged = stranger / "engine.forged.json"
    forged.write_text(
        '[{"trial_id": "x", "cpus": 99, "memory_bytes": 1, "cores": []}]'
    )  # root's, not 12345's
    os.mkfifo(stranger / "engine.pipe.json")
    with forged.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        entered(tmp_path)
    home = tmp_path / f"bakeoff-{os.geteuid()}"
    os.chown(home, 12345, 12345)
    with pytest.raises(UnfitEnvironment, match="another user"):
        entered(tmp_path)


def test_a_machine_lock_that_is_never_released_is_an_error_and_no_deadlock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "LOCK_SECONDS", 0.1)
    entered(tmp_path)
    with (tmp_path / "bakeoff.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UnfitEnvironment, match="held"):
            entered(tmp_path)


def test_a_second_process_of_the_same_run_is_refused_and_blocks_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "CLEARING_SECONDS", 0.1)
    with Ledger("engine", "run", ROOM, tmp_path):
        with pytest.raises(UnfitEnvironment, match=r"run\.json"):
            entered(tmp_path)
        with Ledger("engine", "another", ROOM, tmp_path) as other:
            assert other.claim(claim(), never) is not None


def test_a_run_waits_while_another_removes_what_it_left_when_it_was_killed(tmp_path: Path) -> None:
    clearing = Ledger("engine", "run", ROOM, tmp_path)
    clearing.__enter__()
    threading.Timer(0.3, clearing.__exit__, (None, None, None)).start()
    entered(tmp_path)


def test_half_written_claims_of_another_run_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    with Ledger("engine", "other", ROOM, tmp_path), Ledger("engine", "mine", ROOM, tmp_path) as mine:
        [path] = tmp_path.glob("*/*.other.json")
        path.write_text('[{"trial_id": "a", "cp')
        with pytest.raises(UnfitEnvironment, match=r"other\.json"):
            mine.claim(claim(), never)


def test_a_ledger_that_cannot_be_kept_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnfitEnvironment, match="ledger"), Ledger("e", "run", ROOM, tmp_path / "file"):
        pass
