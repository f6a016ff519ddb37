"""The public surface: what `bakeoff` exports can be imported, stays light, and runs a bake-off."""

import subprocess
import sys
from pathlib import Path

import pytest

import bakeoff
from bakeoff.backends.fake import FakeBackend
from bakeoff.cli.init import write


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_every_exported_name_is_there_and_no_other() -> None:
    for name in bakeoff.__all__:
        assert getattr(bakeoff, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'walk'"):
        bakeoff.walk  # noqa: B018


def test_every_error_of_the_tree_is_a_bakeoff_error() -> None:
    assert issubclass(bakeoff.InputError, bakeoff.BakeoffError)
    assert issubclass(bakeoff.BackendUnavailable, bakeoff.UnfitEnvironment)


def test_importing_it_loads_nothing_else() -> None:
    loaded = python("import sys, bakeoff; print([m for m in sys.modules if m.startswith('bakeoff.')])")
    assert loaded == "['bakeoff.version']"


@pytest.mark.slow
@pytest.mark.parametrize("first", ["bakeoff", "bakeoff.run", "bakeoff.run.engine"])
def test_run_can_be_called_whatever_was_imported_first(first: str) -> None:
    assert python(f"import {first}, bakeoff; print(callable(bakeoff.run))") == "True"


@pytest.mark.slow
def test_a_run_from_python_leaves_a_run_directory_with_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    backend = FakeBackend()
    run = bakeoff.run("harness.yaml", trials=1, max_concurrency=2, out=tmp_path / "out", backend=backend)
    trials = list(run.trials())
    assert len(trials) == run.manifest().trials_planned > 0
    assert run.manifest().state == "finished"
    assert (run.path / "report.md").is_file()
    assert backend.left == {}


@pytest.mark.slow
def test_a_finished_run_whose_report_was_cut_off_gets_one_on_resume_and_no_other_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    run = bakeoff.run("harness.yaml", trials=1, max_concurrency=2, backend=FakeBackend())
    before = (run.path / "trials.jsonl").read_bytes()
    (run.path / "report.html").unlink()
    again = bakeoff.run("harness.yaml", resume=run.run_id, backend=FakeBackend())
    assert (again.path / "report.html").is_file()
    assert (again.path / "trials.jsonl").read_bytes() == before
    with pytest.raises(bakeoff.InputError, match="this run is finished"):
        bakeoff.run("harness.yaml", resume=run.run_id, backend=FakeBackend())


@pytest.mark.slow
def test_a_run_that_stops_early_is_finished_and_its_report_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    run = bakeoff.run("harness.yaml", trials=3, stop_early=True, max_concurrency=4, backend=FakeBackend())
    manifest = run.manifest()
    assert manifest.state == "finished"
    assert manifest.stop_early is not None
    assert manifest.stop_early.looks[-1].futile, "on the fake backend both answer alike"
    assert sum(1 for _ in run.trials()) == manifest.trials_due < manifest.trials_planned
    assert "It stopped at look 2 of 3" in (run.path / "report.md").read_text()
