"""An engine that hangs in mid-run, as by a deadlock or a stuck disk: it takes connections, and answers nothing."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from bakeoff.backends.docker.connection import connect
from tests.docker.engines import base_names, second_engine
from tests.docker.project import Outcome, Project, call

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(1500)]

ROWS = ("first", "second")
# It is asked who holds the container, and for three kills; it leaves each unanswered for a minute. Ten seconds are
# before each kill.
UNREACHABLE_SECONDS = 4 * 60.0 + 3 * 10.0
RETURN_SECONDS = 120.0  # for so long a run waits for its engine
SLACK_SECONDS = 60.0
# One run gives up on the engine; by then the other has lost its trial too, and still waits.
SHORT, LONG = 30.0, 160.0


def build(root: Path, seconds: float) -> Project:
    made = Project(root)
    made.config["harness"]["limits"] |= {"seconds": seconds, "tool_seconds": 20}
    made.config["infra"]["attempts"] = 2
    made.config["max_concurrency"] = 1
    for name in ROWS:
        made.row(name, call("wait", "waited", seconds=12))
    return made


def works(project: Project, process: "subprocess.Popen[str]") -> None:
    """Return when the agent of a trial has called its tool."""
    deadline = time.monotonic() + 300.0
    while not any(path.stat().st_size for path in project.root.glob("runs/*/calls/*.jsonl")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no agent called its tool"
        time.sleep(0.05)


def each_passed_once(outcome: Outcome) -> None:
    assert outcome.code == 0, outcome.stderr
    assert outcome.run is not None
    verdicts = [(trial.example_id, trial.verdict) for trial in outcome.run.trials()]
    assert sorted(verdicts) == [(name, "passed") for name in ROWS]


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("dockerd") is None, reason="needs root and dockerd")
def test_a_run_waits_for_a_hung_engine_and_stops_resumably(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    patient, hasty = build(tmp_path / "patient", LONG), build(tmp_path / "hasty", SHORT)
    with second_engine(tmp_path_factory.mktemp("hung") / "e") as engine:
        engine.load(*base_names())
        host = {"DOCKER_HOST": engine.environment["DOCKER_HOST"]}
        waits, stops = patient.start(env=host), hasty.start(env=host)
        daemon = int(engine.daemon.pid_file.read_text())
        try:
            works(patient, waits)
            works(hasty, stops)
            os.kill(daemon, signal.SIGSTOP)
            hung = time.monotonic()
            stopped = hasty.finish(stops, timeout=900)
            took = time.monotonic() - hung
        finally:
            os.kill(daemon, signal.SIGCONT)
        waited = patient.finish(waits, timeout=300)
        resumed = hasty.finish(hasty.start("--resume", "latest", env=host), timeout=300)
        client = connect(host)
        left = client.containers.list(all=True)
        client.close()
    assert stopped.code == 4, stopped.stderr
    assert "did not answer" in stopped.stderr
    assert took < SHORT + UNREACHABLE_SECONDS + RETURN_SECONDS + 3 * SLACK_SECONDS
    each_passed_once(resumed)
    each_passed_once(waited)
    lost = next(trial for trial in waited.trials().values() if len(trial.attempts) == 2).attempts[0]
    assert lost.cause == "infra.docker_unavailable"
    assert lost.evidence.clock.wall_seconds is not None
    assert lost.evidence.clock.wall_seconds < LONG + UNREACHABLE_SECONDS + SLACK_SECONDS
    assert left == []
