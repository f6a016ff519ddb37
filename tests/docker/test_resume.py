"""Nothing is lost: a run that is killed at any moment is resumed to the very verdicts of an undisturbed one."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.docker.project import COMMAND, Project, call

pytestmark = pytest.mark.docker

KILLS = 30
EXAMPLES = 16


def build(project: Project) -> None:
    project.config["candidates"] = [
        {"name": "good", "model": "simulated:skill=0.8"},
        {"name": "poor", "model": "simulated:skill=0.4"},
    ]
    for n in range(EXAMPLES):
        project.row(f"row-{n:02}", call("wait", "waited", seconds=0), answer=f"done {n}")


def lines(project: Project) -> list[dict]:
    [path] = (project.root / "runs").glob("*/trials.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def resume(project: Project, run: str = "latest", *, cwd: Path | None = None) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*COMMAND, "run", "--quiet", "--resume", run],
        cwd=cwd or project.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def verdicts(trials: list[dict]) -> dict[str, tuple[str, str | None]]:
    return {trial["trial_id"]: (trial["verdict"], trial["cause"]) for trial in trials}


@pytest.mark.slow
def test_thirty_kills_lose_nothing(tmp_path_factory: pytest.TempPathFactory, project: Project) -> None:
    undisturbed = Project(tmp_path_factory.mktemp("undisturbed"))
    for each in (undisturbed, project):
        build(each)
    whole = undisturbed.bake()
    assert whole.run is not None, whole.stderr
    dice = random.Random(7)
    process = project.start()
    kills = torn = 0
    while kills < KILLS:
        time.sleep(dice.uniform(0.2, 3.0))
        if process.poll() is not None:
            break
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        kills += 1
        for path in (project.root / "runs").glob("*/trials.jsonl"):
            if dice.random() < 0.3:  # a power loss may tear the last line
                with path.open("ab") as file:
                    file.write(b'{"trial_id": "good/row-00/1", "verd')
                torn += 1
        begun = list((project.root / "runs").glob("*/manifest.json"))
        process = resume(project) if begun else project.start()
    stdout, stderr = process.communicate(timeout=300)
    if process.returncode != 0:
        stdout, stderr = resume(project).communicate(timeout=300)
    trials = lines(project)
    assert kills >= 5, "the run was over before it could be disturbed"
    assert len(trials) == 2 * EXAMPLES, stdout + stderr
    assert len({trial["trial_id"] for trial in trials}) == 2 * EXAMPLES
    assert verdicts(trials) == verdicts([json.loads(t.model_dump_json()) for t in whole.run.trials()])
    [manifest] = (project.root / "runs").glob("*/manifest.json")
    assert json.loads(manifest.read_text())["state"] == "finished"


def stopped(project: Project) -> None:
    """Start a run and interrupt it in its middle."""
    process = project.start()
    while process.poll() is None:
        time.sleep(0.1)
        if any(path.read_text().count("\n") >= 2 for path in (project.root / "runs").glob("*/trials.jsonl")):
            break
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130, stderr


def test_a_changed_run_is_refused_by_name_and_an_unchanged_one_goes_on_from_any_directory(
    project: Project, tmp_path: Path
) -> None:
    build(project)
    checks = project.root / "resume_checks.py"
    checks.write_text("def lenient(**_):\n    return 1.0\n")
    project.config["evaluators"].append({"use": "resume_checks:lenient", "threshold": 0.5})
    stopped(project)
    before = lines(project)
    assert 2 <= len(before) < 2 * EXAMPLES
    harness, rows = project.root / "harness.yaml", project.root / "rows.jsonl"
    agent = project.root / "faulty_agent/agent.py"

    def refused(path: Path, old: str, new: str) -> str:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        process = resume(project)
        _, stderr = process.communicate(timeout=300)
        path.write_text(text)
        assert process.returncode == 2, stderr
        return stderr

    assert "resources.memory" in refused(harness, "256MiB", "300MiB")
    assert "dataset" in refused(rows, "done 3", "done three")
    assert "source" in refused(agent, "You do as you are told.", "You do as you like.")
    assert "evaluator resume_checks:lenient" in refused(checks, "1.0", "0.9")
    (tmp_path / "elsewhere").mkdir()
    [run] = (project.root / "runs").glob("*/manifest.json")
    for code in (0, 2):  # a finished run is not run again
        process = resume(project, str(run.parent), cwd=tmp_path / "elsewhere")
        _, stderr = process.communicate(timeout=300)
        assert process.returncode == code, stderr
    assert "finished" in stderr
    assert lines(project)[: len(before)] == before
    assert len(lines(project)) == 2 * EXAMPLES


@pytest.mark.alone
def test_two_runs_at_once_share_the_host(tmp_path_factory: pytest.TempPathFactory, project: Project) -> None:
    """Each alone could run two trials at once; together they must not run more than two."""
    other = Project(tmp_path_factory.mktemp("other"))
    for each in (project, other):
        each.config["resources"]["reserve"] = {"cpus": (os.cpu_count() or 1) / 2, "memory": "128MiB"}
        for n in range(4):
            each.row(f"row-{n}", call("wait", "waited", seconds=1.5))
    running = [project.start(), other.start()]
    most = 0
    while any(process.poll() is None for process in running):
        most = max(most, len(project.containers() + other.containers()))
        time.sleep(0.1)
    for process, each in zip(running, (project, other), strict=True):
        process.communicate()
        assert process.returncode == 0
        assert {trial["verdict"] for trial in lines(each)} == {"passed"}
    assert most == 2
