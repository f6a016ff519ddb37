"""`bakeoff doctor` against the real engine."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from bakeoff.cli.doctor import doctor

pytestmark = pytest.mark.docker
app = typer.Typer()
app.command()(doctor)


def test_doctor_without_a_harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["--json"])
    answer = json.loads(result.stdout)
    states = {check["subject"]: check["state"] for check in answer["checks"]}
    assert result.exit_code == 0, result.stdout
    assert answer["ok"]
    assert (states["harness"], states["docker"], states["limits"]) == ("warning", "ok", "ok")


def test_doctor_names_line_key_and_hint(tmp_path: Path) -> None:
    harness = tmp_path / "harness.yaml"
    harness.write_text(
        "version: 1\n"
        "name: big\n"
        "harness: {prompt: Hello, tools: []}\n"
        "resources: {cpus: 4096}\n"
        "candidates: [{name: a, model: 'simulated:skill=1'}]\n"
        "dataset: absent.jsonl\n"
        "evaluators: [{final_answer: {match: contains}, threshold: 1.0}]\n"
    )
    result = CliRunner().invoke(app, [str(harness)])
    assert result.exit_code == 2, result.stdout
    assert "✗ resources.cpus" in result.stdout
    assert "✗ dataset" in result.stdout
    assert f"{harness}:6" in result.stdout.replace("\n", "")
