"""What a run leaves on record however it ends, and who may write it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bakeoff.backends.fake import FakeBackend
from bakeoff.cli.init import write
from bakeoff.config.overrides import Overrides
from bakeoff.datasets import Dataset
from bakeoff.errors import InputError, UnfitEnvironment
from bakeoff.gateway.policy.spending import Spending
from bakeoff.record.manifest import Manifest
from bakeoff.record.store import RunDirectory
from bakeoff.run import manifest, plan
from bakeoff.run import run as runs
from bakeoff.run.progress import Display
from bakeoff.run.resume import only_writer
from bakeoff.run.run import _opened
from bakeoff.run.task import Task
from tests.fakes import synthetic
from tests.unit.run.bench import config


def task(resumed: RunDirectory | None = None) -> Task:
    rows = Dataset("d", [], {}, {}, places={})
    return Task(config(), rows, plan.profiles(config()), [], Overrides(), resumed)


def start() -> Manifest:
    return synthetic.manifest(state="running", finished_at=None)


def test_a_seed_of_0_is_applied_again_on_resume() -> None:
    like, given = start(), Overrides(seed=0, examples=("status-*",))
    asked = replace(task(), overrides=given)
    written = json.loads(manifest.at_start(asked, like.host, like.image, slots=1).model_dump_json())
    assert written["overrides"] == {"seed": 0, "examples": ["status-*"]}


def test_what_a_spent_budget_left_is_on_record_until_the_run_goes_on(tmp_path: Path) -> None:
    run = synthetic.run_directory(tmp_path, list(synthetic.trials())[:2], start())
    end = manifest.at_end(run, task(), finished=False, spending=Spending(1.0, 1.5), worst=None)
    run.update_manifest(**end)
    left = run.manifest().not_run
    assert (run.manifest().state, left.trials) == ("interrupted", 70)
    assert left.reason == "the budget of 1 USD is spent (1.5000 USD)"
    with _opened(task(resumed=run), start(), tmp_path, FakeBackend()) as again:
        assert again.manifest().not_run is None


def test_a_bug_leaves_the_run_interrupted_and_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), _opened(task(), start(), tmp_path, FakeBackend()) as run:
        print(1 / 0)
    closed = RunDirectory.open(run.path).manifest()
    assert closed.state == "interrupted"
    assert closed.finished_at is not None


def test_a_record_that_cannot_be_written_does_not_hide_the_bug(tmp_path: Path) -> None:
    def break_off() -> None:
        with _opened(task(), start(), tmp_path, FakeBackend()) as run:
            (run.path / "manifest.json").unlink()
            (run.path / "manifest.json").mkdir()
            print(1 / 0)

    with pytest.raises(ZeroDivisionError):
        break_off()


def test_a_resumed_run_is_made_whole_under_its_lock_and_says_what_was_damaged(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, start())
    run.append(synthetic.trial(repetition=1))
    with (run.path / "trials.jsonl").open("ab") as file:
        file.write(b"not json\n")
    (run.path / "examples.jsonl").write_bytes(b"\0\0")
    with _opened(task(resumed=run), start(), tmp_path, FakeBackend()) as again:
        assert [trial.repetition for trial in again.trials()] == [1]
        assert list(again.examples()) == list(task().dataset.rows(task().config.root))
        [note] = again.manifest().notes
        assert note.startswith("trials.jsonl:2: damaged")
        with pytest.raises(InputError, match="another process"), only_writer(run):
            pass  # the file that was locked first has been replaced
    with only_writer(run):
        pass


def test_a_second_resume_is_refused_and_sweeps_nothing(tmp_path: Path) -> None:
    backend = FakeBackend()
    with _opened(task(), start(), tmp_path, backend) as run:
        backend.left[run.run_id] = []
        with (
            pytest.raises(InputError, match="another process is running this run"),
            _opened(task(resumed=run), start(), tmp_path, backend),
        ):
            pass
        assert run.run_id in backend.left, "the sandboxes of the live run stay"
        assert run.manifest().state == "running"
    with _opened(task(resumed=run), start(), tmp_path, backend) as again:
        assert again.run_id not in backend.left


def test_the_rest_of_a_run_needs_the_same_box(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, start())
    other = start().model_copy(
        update={"fingerprint_parts": {**start().fingerprint_parts, "resources": "other", "image": "newer"}}
    )
    with (
        pytest.raises(InputError, match="have changed: resources, image"),
        _opened(task(resumed=run), other, tmp_path, FakeBackend()),
    ):
        pass


def test_a_run_goes_on_after_an_upgrade_of_bakeoff_and_its_notes_say_so(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, start())
    upgraded = start().model_copy(
        update={
            "fingerprint_parts": {**start().fingerprint_parts, "image": "newer", "sandbox": "newer"},
            "bakeoff_version": "9.9",
        }
    )
    with _opened(task(resumed=run), upgraded, tmp_path, FakeBackend()) as again:
        assert [note for note in again.manifest().notes if "upgraded" in note and "bakeoff 9.9" in note]
    with _opened(task(resumed=run), start(), tmp_path, FakeBackend()) as again:
        assert len(again.manifest().notes) == len(start().notes) + 1, "nothing more to note"


# --- the end: a process of its own, so that the orchestrator stays small


@pytest.mark.slow
def test_the_result_is_printed_as_asked_and_the_reports_are_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = synthetic.run_directory(tmp_path)
    assert runs.report(run, "table") == 0
    table = capfd.readouterr().out
    assert "steady" in table
    assert str(run.path / "report.md") in table
    assert runs.report(run, "json") == 0
    assert json.loads(capfd.readouterr().out)["run_id"] == run.run_id
    assert (run.path / "report.md").stat().st_size > 1000


@pytest.mark.slow
def test_the_exit_code_is_the_runs_and_no_file_of_the_user_takes_the_place_of_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stormy = synthetic.run_directory(tmp_path, synthetic.trials(infra_rate=0.5))
    (tmp_path / "json.py").write_text("raise SystemExit('taken for the standard library')")
    monkeypatch.chdir(tmp_path)
    assert runs.report(stormy, "quiet") == 3
    assert capfd.readouterr().out == ""
    assert runs.report(RunDirectory(tmp_path / "nowhere"), "quiet") == 2
    assert "hint" in capfd.readouterr().err


@pytest.mark.slow
def test_the_orchestrator_loads_neither_scipy_nor_plots() -> None:
    code = (
        "import sys, bakeoff.cli, bakeoff.run.run, bakeoff.run.progress;"
        "print(sorted({'numpy', 'scipy', 'matplotlib'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- the proof, before anything is written


def project(tmp_path: Path) -> Task:
    write(tmp_path)
    return runs.plan(tmp_path / "harness.yaml", Overrides())


def test_limits_that_do_not_hold_refuse_the_run_before_its_first_trial(tmp_path: Path) -> None:
    asked, backend = project(tmp_path), FakeBackend()
    backend.unfit = UnfitEnvironment("the limits of a trial do not hold here: cpus")
    with pytest.raises(UnfitEnvironment, match="do not hold") as caught:
        runs.execute(asked, backend, Display(), tmp_path / "runs")
    assert caught.value.exit_code == 4
    [(spec, _)] = backend.proved
    assert spec.limits == asked.profiles[0].limits
    assert spec.reserved_memory_bytes == asked.profiles[0].reserved_memory_bytes
    assert backend.opened == []
    assert not (tmp_path / "runs").exists()


def test_only_the_cpus_that_a_sandbox_may_use_are_promised(tmp_path: Path) -> None:
    asked, backend = project(tmp_path), FakeBackend()
    pinned = replace(asked, profiles=[asked.profiles[0].model_copy(update={"pin": True})])
    backend.cores = (2, 5)  # as a cpuset above the containers, or CPUs that are offline, leave it
    before = runs.check(pinned, backend)
    admitted = runs.prove(pinned, backend, start().image, before)
    assert (admitted.capacity.cpus, admitted.capacity.cores) == (2.0, (2, 5))
    assert admitted.slots < before.slots
    assert [cores for _, cores in backend.proved] == [1]


def test_a_ceiling_above_the_cpus_of_a_sandbox_is_refused(tmp_path: Path) -> None:
    asked, backend = project(tmp_path), FakeBackend()
    resources = asked.config.resources.model_copy(update={"cpus": 2.0})
    large = replace(asked, config=asked.config.model_copy(update={"resources": resources}))
    backend.cores = (2,)
    with pytest.raises(InputError, match="2 CPUs are more than the 1 of this host"):
        runs.prove(large, backend, start().image, runs.check(large, backend))
