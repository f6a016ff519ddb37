"""`bakeoff show` and `bakeoff report`: everything is told, and hostile text is shown, not obeyed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from bakeoff.cli.report import report
from bakeoff.cli.show import show
from bakeoff.errors import InputError
from bakeoff.record.store import RunDirectory
from tests.fakes import synthetic

ESC = "\x1b]0;owned\x07\x1b[2J"


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    made.command("show")(show)
    made.command("report")(report)
    return made


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return synthetic.run_directory(tmp_path, synthetic.trials(infra_rate=0.1))


def invoke(app: typer.Typer, *arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "160"}, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_run_shows_scores_causes_and_failing_trials(app: typer.Typer, run: RunDirectory) -> None:
    shown = invoke(app, "show", str(run.path))
    failing = [record for record in run.trials() if record.verdict != "passed"]
    assert "steady simulated" in shown
    assert "infra.oom_killed" in shown
    assert "the kernel killed a process in the container for memory" in shown
    assert failing[0].trial_id in shown
    assert f"of {len(failing)} shown" in shown or f"{len(failing)} shown" in shown
    assert invoke(app, "show", "latest", "--out", str(run.path.parent)) == shown


def test_a_run_as_json_is_one_object(app: typer.Typer, run: RunDirectory) -> None:
    assert json.loads(invoke(app, "show", str(run.path), "--json"))["run_id"] == run.run_id


def hostile_trial(run: RunDirectory) -> str:
    record = synthetic.trial(
        "steady",
        "evil",
        verdict="failed",
        cause="model.wrong_answer",
        because=f"it said {ESC}",
        output=f"answer {ESC} [bold red]x[/]",
        earlier=["infra.provider_unavailable"],
    )
    run.append(record)
    run.write_log(record.trial_id, 2, "\n".join(f"line {n} {ESC}" for n in range(50)))
    call = {
        "tool_call_id": "c1",
        "function_name": f"get_order{ESC}",
        "arguments": {},
        "extra": {
            "malformed": True,
            "outcome": "malformed",
            "raw_arguments": '{"order_id": ',
            "seconds": 0.25,
        },
    }
    run.write_trajectory(
        record.trial_id,
        {
            "steps": [
                {"step_id": 1, "source": "user", "message": f"Where is A-17? {ESC}"},
                {
                    "step_id": 2,
                    "source": "agent",
                    "message": "[link=http://evil]looking[/link]",
                    "tool_calls": [call],
                    "observation": {
                        "results": [
                            {"source_call_id": "c1", "content": f"shipped{ESC}", "extra": {"error": "late"}},
                            {"content": "unasked"},
                        ]
                    },
                    "extra": {"started": 0.5, "seconds": 1.25},
                },
            ]
        },
    )
    return record.trial_id


def test_a_trial_shows_everything_known_and_obeys_nothing(app: typer.Typer, run: RunDirectory) -> None:
    trial_id = hostile_trial(run)
    shown = invoke(app, "show", str(run.path), trial_id)
    assert "\x1b" not in shown
    assert "\x07" not in shown
    for expected in (
        "model.wrong_answer",
        "answer ␛]0;owned␇␛[2J [bold red]x[/]",
        "Where is A-17?",
        "[link=http://evil]looking[/link]",
        'get_order␛]0;owned␇␛[2J({"order_id": )',
        "malformed arguments",
        "← shipped",
        "late",
        "unasked",
        "attempt 1: infra_error infra.provider_unavailable",
        "attempt 2: failed model.wrong_answer it said",
        "kernel.memory_limit_bytes",
        "log, last 20 of 50 lines",
        "line 49",
        "512 MiB",
    ):
        assert expected in shown, expected
    assert "line 29 " not in shown


def test_a_trial_as_json(app: typer.Typer, run: RunDirectory) -> None:
    loaded = json.loads(invoke(app, "show", str(run.path), hostile_trial(run), "--json"))
    assert loaded["trial"]["cause"] == "model.wrong_answer"
    assert len(loaded["trajectory"]["steps"]) == 2


def test_a_trial_without_trajectory_says_so(app: typer.Typer, run: RunDirectory) -> None:
    assert "no trajectory was written" in invoke(app, "show", str(run.path), "steady/case-000/1")
    assert "no trajectory was written" in invoke(app, "show", str(run.path), "steady__case-000__1")


@pytest.mark.parametrize("asked", ["steady/case-00/1", "stedy/case-000/1", "case-000/1"])
def test_an_unknown_trial_suggests_the_nearest(app: typer.Typer, run: RunDirectory, asked: str) -> None:
    with pytest.raises(InputError) as caught:
        invoke(app, "show", str(run.path), asked)
    assert "steady/case-0" in (caught.value.hint or "")


@pytest.mark.slow
def test_the_report_is_made_again_and_its_path_printed(app: typer.Typer, run: RunDirectory) -> None:
    paths = [Path(line) for line in invoke(app, "report", str(run.path)).split()]
    assert paths == [run.path / "report.md", run.path / "report.html"]
    first = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink()
    invoke(app, "report", str(run.path))
    assert [path.read_bytes() for path in paths] == first
