"""Docker's own word on who is frozen: heard as it happens, of this run's containers alone, and no thread is left."""

import subprocess
import threading
import time
import uuid
from collections.abc import Iterator

import docker
import pytest
from project import Project, call

from bakeoff.config import Harness
from bakeoff.sandbox import base_image, docker_engine
from bakeoff.sandbox.pauses import PauseWatch

pytestmark = pytest.mark.docker


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    client = docker_engine.connect()
    yield client
    client.close()


def sleeper(client: docker.DockerClient, run_id: str) -> str:
    """A container of that run."""
    image = base_image.ensure(client, Harness.model_fields["base_image"].default, print).image_id
    command = ["docker", "run", "-d", "--network=none", "--label", f"bakeoff={run_id}", image, "sleep", "60"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def listening() -> bool:
    return any(thread.name == "pause-watch" for thread in threading.enumerate())


def until_silent() -> None:
    deadline = time.monotonic() + 5.0
    while listening() and time.monotonic() < deadline:
        time.sleep(0.02)


def test_a_pause_and_its_end_are_told_of_the_run_s_own_containers(client: docker.DockerClient) -> None:
    run_id = f"test-{uuid.uuid4().hex[:8]}"
    mine, other = sleeper(client, run_id), sleeper(client, f"{run_id}-other")
    told: list[tuple[str, bool, float]] = []
    watch = PauseWatch(client, run_id, lambda *event: told.append(event))
    watch.start()
    try:
        time.sleep(0.5)
        for container in (other, mine):
            subprocess.run(["docker", "pause", container], check=True, capture_output=True)
            time.sleep(0.5)
            subprocess.run(["docker", "unpause", container], check=True, capture_output=True)
        time.sleep(0.5)
    finally:
        watch.stop()
        subprocess.run(["docker", "rm", "-f", mine, other], check=True, capture_output=True)
    assert [(container, frozen) for container, frozen, _ in told] == [(mine, True), (mine, False)]
    assert 0.4 < told[1][2] - told[0][2] < 5.0
    until_silent()
    assert not listening()


def test_a_watch_that_is_stopped_at_once_leaves_no_thread(client: docker.DockerClient) -> None:
    for pause in (0.0, 0.001, 0.003, 0.01):
        watch = PauseWatch(client, "nobody", lambda *_: None)
        watch.start()
        time.sleep(pause)
        watch.stop()
    until_silent()
    assert not listening()


def test_a_container_frozen_before_it_took_its_task_is_lost_and_not_waited_for(project: Project) -> None:
    (project.root / "big.bin").write_bytes(bytes(6 * 2**20))
    project.row("row", call("wait", "waited", seconds=0), files={"big.bin": "big.bin"})
    client = docker_engine.connect()
    frozen: list[str] = []

    def freeze() -> None:
        for event in client.api.events(filters={"label": "bakeoff", "event": "start"}, decode=True):
            if not project.containers("--no-trunc", "--filter", f"id={event['Actor']['ID']}"):
                continue  # of another run
            client.api.pause(event["Actor"]["ID"])
            frozen.append(event["Actor"]["ID"])
            return

    threading.Thread(target=freeze, daemon=True).start()
    time.sleep(0.5)
    trial = project.bake(timeout=150).trials()["row"]
    client.close()
    evidence = trial.attempts[-1].evidence
    assert [evidence.docker.container_id] == frozen
    assert (trial.cause, evidence.harness.reached) == ("infra.container_lost", "nothing"), evidence
