"""How far a long step of the set-up is, as its user reads it."""

import threading
from pathlib import Path

import pytest

from bakeoff.backends.docker.images import progress
from tests.fakes.said import Said

MIB = 2**20


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.01)


@pytest.mark.parametrize(
    ("done", "total", "rate", "expected"),
    [
        (34 * MIB, 51 * MIB, 4.2 * MIB, "pulling: 34 MiB of 51 MiB, 4.2 MiB/s, 12.0 s so far"),
        (34 * MIB, None, 0.0, "pulling: 34 MiB, 0 B/s, 12.0 s so far"),
        (None, None, None, "pulling: 12.0 s so far"),
    ],
)
def test_a_line(done: int | None, total: int | None, rate: float | None, expected: str) -> None:
    assert progress.line("pulling", done, total, rate, 12.0) == expected


@pytest.mark.usefixtures("quick")
def test_a_long_step_is_followed_until_its_end() -> None:
    said, done = Said(), iter(range(0, 10**9, MIB))
    with progress.progress(said, "pulling", lambda: (next(done), 2**40)):
        said.wait_for("3 MiB of 1024 GiB, ")
    assert all(line.split(", ")[1].endswith("/s") for line in said.lines)
    count = len(said.lines)
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]
    assert len(said.lines) == count


def test_a_short_step_says_nothing() -> None:
    said = Said()
    with progress.progress(said, "pulling"):
        pass
    assert said.lines == []


def test_a_directory_counts_from_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(bytes(1000))
    measure = progress.growing(tmp_path)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "new").write_bytes(bytes(234))
    assert measure() == (234, None)
    (tmp_path / "old").unlink()
    assert measure() == (0, None), "what was there before may go"
