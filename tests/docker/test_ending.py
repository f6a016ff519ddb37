"""A run that is told to end, in every way a user or a machine tells it, says so in its record and leaves nothing."""

import signal
import subprocess
import time

import pytest

from tests.docker.project import Project, call

pytestmark = pytest.mark.docker


def in_its_middle(project: Project) -> "subprocess.Popen[str]":
    """A run whose one container runs."""
    project.row("row", call("wait", "waited", seconds=15))
    process = project.start("--max-concurrency", "1")
    while not project.containers():
        assert process.poll() is None, project.finish(process).stderr
        time.sleep(0.1)
    return process


def test_a_second_ctrl_c_ends_at_once_and_leaves_the_true_state(project: Project) -> None:
    process = in_its_middle(project)
    [container] = project.containers()
    subprocess.run(
        ["docker", "pause", container], check=True, capture_output=True
    )  # it cannot obey the first
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(1.0)
    ended = project.finish(process)
    assert ended.code == 130, ended.stderr
    assert ended.run.manifest().state == "interrupted"
    assert ended.run.manifest().finished_at is not None
