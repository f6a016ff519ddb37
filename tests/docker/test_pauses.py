"""Docker's own word on who is frozen: heard as it happens, of this run's containers alone, and no thread is left."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator

import pytest
from docker import DockerClient

from bakeoff.backends.docker import connection
from bakeoff.backends.docker.images import base_image
from bakeoff.backends.docker.pauses import PauseEvents
from bakeoff.config.schema import Harness
from tests.docker.project import Project, call, docker

pytestmark = pytest.mark.docker


@pytest.fixture
def client() -> Iterator[DockerClient]:
    client = connection.connect()
    yield client
    client.close()


def sleeper(client: DockerClient, run_id: str) -> str:
    """A container of that run."""
    image = base_image.ensure(client, Harness.model_fields["base_image"].default, print).image_id
    label = f"bakeoff={run_id}"
    return docker("run", "-d", "--rm", "--network=none", "--label", label, image, "sleep", "600").strip()


def listening() -> bool:
    return any(thread.name == "pause-events" for thread in threading.enumerate())


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60.0
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)


def test_a_pause_and_its_end_are_heard_of_the_container_alone(client: DockerClient) -> None:
    run_id = f"test-{uuid.uuid4().hex[:8]}"
    mine, other = sleeper(client, run_id), sleeper(client, f"{run_id}-other")
    heard: list[tuple[bool, float]] = []
    events = PauseEvents(client.api)
    events.add(mine, lambda frozen, at: heard.append((frozen, at)))
    events.start()
    try:
        until(lambda: events._stream)
        time.sleep(0.5)  # the engine answers, and then begins to listen
        began = time.monotonic()
        for container in (other, mine):  # events come in order: when mine were heard, the other's were not
            docker("pause", container)
            time.sleep(2.0)
            docker("unpause", container)
        until(lambda: len(heard) >= 2)
        took = time.monotonic() - began
    finally:
        events.stop()
        docker("rm", "-f", mine, other)
    assert [frozen for frozen, _ in heard] == [True, False]
    assert 1.0 < heard[1][1] - heard[0][1] < took
    until(lambda: not listening())
    assert not listening()


def test_a_listener_that_is_stopped_at_once_leaves_no_thread(client: DockerClient) -> None:
    for pause in (0.0, 0.001, 0.003, 0.01):
        events = PauseEvents(client.api)
        events.start()
        time.sleep(pause)
        events.stop()
    until(lambda: not listening())
    assert not listening()


@pytest.mark.slow
def test_a_container_frozen_before_it_took_its_task_is_lost_and_not_waited_for(project: Project) -> None:
    (project.root / "big.bin").write_bytes(bytes(6 * 2**20))
    project.row("row", call("wait", "waited", seconds=0), files={"big.bin": "big.bin"})
    client = connection.connect()
    frozen: list[str] = []

    def freeze() -> None:
        for event in client.api.events(filters={"label": "bakeoff", "event": "start"}, decode=True):
            if not (project.root / "runs" / event["Actor"]["Attributes"]["bakeoff"]).exists():
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
