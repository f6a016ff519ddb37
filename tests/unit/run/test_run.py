"""What a run leaves on record however it ends, and what it says of itself before the first trial."""

from pathlib import Path

import pytest

from bakeoff.record.store import RunDirectory
from bakeoff.run.run import _closed_on_error
from tests.fakes.synthetic import manifest


def test_a_bug_leaves_the_run_interrupted_and_is_not_hidden(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, manifest(state="running", finished_at=None))
    with pytest.raises(ZeroDivisionError), _closed_on_error(run):
        print(1 / 0)
    closed = RunDirectory.open(run.path).manifest()
    assert closed.state == "interrupted"
    assert closed.finished_at is not None


def test_a_record_that_cannot_be_written_does_not_hide_the_bug(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, manifest(state="running", finished_at=None))
    (run.path / "manifest.json").unlink()
    (run.path / "manifest.json").mkdir()
    with pytest.raises(ZeroDivisionError), _closed_on_error(run):
        print(1 / 0)
