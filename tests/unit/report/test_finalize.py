"""The end of a run: written and printed by a process of its own, so that the orchestrator stays small."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bakeoff.report import finalize
from tests.fakes import synthetic


def closed(directory: Path, style: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "bakeoff.report.finalize", str(directory), style]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_result_is_printed_as_asked_and_the_reports_are_written(tmp_path: Path) -> None:
    run = synthetic.run_directory(tmp_path)
    table, as_json = (closed(run.path, style) for style in ("table", "json"))
    assert [done.returncode for done in (table, as_json)] == [0, 0]
    assert "steady" in table.stdout
    assert str(run.path / "report.md") in table.stdout
    assert json.loads(as_json.stdout)["run_id"] == run.run_id
    assert (run.path / "report.md").stat().st_size > 1000


@pytest.mark.slow
def test_its_exit_code_is_the_runs_and_no_file_of_the_users_stands_in_for_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stormy = synthetic.run_directory(tmp_path, synthetic.trials(infra_rate=0.5))
    (tmp_path / "json.py").write_text("raise SystemExit('taken for the standard library')")
    monkeypatch.chdir(tmp_path)
    assert finalize.close(stormy.path, "quiet") == 3
    assert capfd.readouterr().out == ""
    missing = closed(tmp_path / "nowhere", "quiet")
    assert missing.returncode == 2
    assert "hint" in missing.stderr


def test_the_orchestrator_loads_neither_scipy_nor_plots() -> None:
    code = (
        "import sys, bakeoff.cli, bakeoff.run.run, bakeoff.run.progress, bakeoff.report.finalize;"
        "print(sorted({'numpy', 'scipy', 'matplotlib'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
