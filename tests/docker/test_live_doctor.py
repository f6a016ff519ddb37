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
