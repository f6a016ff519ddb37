"""The runs of the campaign: each injects faults of one kind, as often as asked, into a real `bakeoff run`.

A fault hits a trial (its row, or its candidate, is the fault's) or a container; where somebody outside does it,
what was hit is remembered by the container's id, which every attempt has in its evidence.
"""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import docker
import docker.errors
import psutil

from bakeoff.backends.docker import connection
from bakeoff.backends.docker.images import base_image, image
from bakeoff.config import loading
from bakeoff.provision import docker_engine
from bakeoff.provision.docker_engine import Daemon
from bakeoff.record.store import RunDirectory
from bakeoff.record.trial import AttemptRecord, TrialRecord
from tests.docker import engines
from tests.docker.project import Outcome, Project, call
from tests.faults.faults import (
    OUTSIDE_SECONDS,
    Fault,
    How,
    Http,
    Neighbour,
    NoImage,
    Outside,
    Restart,
    Scoring,
    Simulated,
    SmallDisk,
    Survive,
    Tool,
    Update,
)
from tests.faults.provider import Provider
from tests.faults.survival import run_directory

SLOTS = 3  # trials at once
WAITING_SLOTS = 8  # the same, of trials that do little but wait for a provider
RUN_SECONDS = 3600.0  # no run of the campaign takes longer
POLL_SECONDS = 0.05
SHORT = {"timeout": 1.5, "connect_timeout": 1.0}  # for a provider that is waited for in vain
SPARE = 3  # containers that a restart hits beyond those asked for: one may have answered just before


@dataclass(frozen=True)
class Seen:
    """One injection and what bakeoff made of it: a cause, "" for a pass; `wrong` says why that is not right."""

    fault: Fault
    given: str
    wrong: str = ""


@dataclass
class Scene:
    """What one kind of run showed."""

    name: str
    seen: list[Seen] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    skipped: str = ""  # why it cannot be played on this machine
    lost: int = 0  # trials that were planned and have no verdict, or have two
    left: int = 0  # containers
    seconds: float = 0.0

    @property
    def peak_bytes(self) -> int:
        """The orchestrator's memory at its highest."""
        return max((outcome.peak_bytes for outcome in self.outcomes), default=0)

    def took(self, outcome: Outcome, client: docker.DockerClient, *, code: int = 0) -> list[TrialRecord]:
        """Count what a run left behind; its trials."""
        self.outcomes.append(outcome)
        if outcome.code != code:
            self.problems.append(f"exit {outcome.code}, not {code}: {outcome.stderr[-500:]}")
        if outcome.run is None:
            self.problems.append(f"no run directory: {outcome.stderr[-500:]}")
            return []
        trials = list(outcome.run.trials())
        names = {trial.trial_id for trial in trials}
        repeated = len(trials) - len(names)
        if code == 0:
            self.lost += outcome.run.manifest().trials_planned - len(names) + repeated
        self.left += len(_containers(client, outcome.run.run_id, all=True))
        return trials

    def note(self, fault: Fault, given: str | None, trial: TrialRecord | None = None) -> None:
        """One injection of `fault` came out as `given`."""
        given = given or ""
        wrong = "" if given in fault.right else "the wrong cause"
        if not wrong and trial is not None and fault.also is not None:
            wrong = fault.also(trial)
        self.seen.append(Seen(fault, given, wrong))


Make = Callable[[Sequence[Fault], int, Path, Scene], None]


# --- faults of the agent, of the model, of the provider, of the scoring: they come with the row or the candidate


def tools(faults: Sequence[Fault], times: int, scratch: Path, scene: Scene) -> None:
    """One row a fault, its tool calls the row's reference; those with a short time limit in a run of their own."""
    for hasty in (False, True):
        rows = [
            (fault, fault.how) for fault in faults if isinstance(fault.how, Tool) and fault.how.hasty == hasty
        ]
        if not rows:
            continue
        project = Project(scratch / ("hasty" if hasty else "tools"))
        limits = {"seconds": 8, "tool_seconds": 3} if hasty else {"seconds": 300, "tool_seconds": 240}
        project.config["harness"]["limits"] = {"turns": 6, **limits}
        project.config["trials"] = times
        for fault, how in rows:
            project.row(fault.name, *how.calls)
        by_row = {fault.name: fault for fault, _ in rows}
        for trial in scene.took(_bake(project), _engine()):
            scene.note(by_row[trial.example_id], trial.cause, trial)


def simulated(faults: Sequence[Fault], times: int, scratch: Path, scene: Scene) -> None:
    """One candidate a fault."""
    project = Project(scratch / "simulated")
    project.config["candidates"] = [
        {"name": fault.name, "model": f"simulated:skill=0,errors={fault.how.error}"}
        for fault in faults
        if isinstance(fault.how, Simulated)
    ]
    project.config["trials"] = times
    project.row("row", call("wait", "waited", seconds=0), call("hog_child", "held", mib=8))
    by_candidate = {fault.name: fault for fault in faults}
    for trial in scene.took(_bake(project), _engine()):
        scene.note(by_candidate[trial.candidate], trial.cause, trial)


def http(faults: Sequence[Fault], times: int, scratch: Path, scene: Scene) -> None:
    """One candidate a fault, one row an injection: the server tells conversations apart by what is said in them."""
    project = Project(scratch / "http")
    project.config["harness"] |= {
        "limits": {"turns": 4, "seconds": 5, "tool_seconds": 30},
        "retries": {"model_call": 2},
    }
    project.config["resources"]["reserve"] = {"cpus": 0.1, "memory": "64MiB"}
    for number in range(times):
        project.row(f"row-{number}", call("wait", "waited", seconds=0))
    with Provider() as provider:
        project.config["candidates"] = [
            {
                "name": fault.name,
                "model": f"openai:{fault.how.behaviour}",
                "base_url": provider.base_url,
                "params": SHORT if fault.how.behaviour in ("hang", "drip") else {"timeout": 20},
            }
            for fault in faults
            if isinstance(fault.how, Http)
        ]
        outcome = _bake(project, "--max-concurrency", str(WAITING_SLOTS))
        refused = provider.asked["401"]
    by_candidate = {fault.name: fault for fault in faults}
    for trial in scene.took(outcome, _engine()):
        scene.note(by_candidate[trial.candidate], trial.cause, trial)
    if (
        refused > 2 * WAITING_SLOTS
    ):  # two calls a trial, of those that were under way when the first was refused
        scene.problems.append(f"a refused key was used for {refused} more calls")


MARKS = """
def mark(*, inputs, outputs, reference_outputs):
    if inputs["question"] == "evaluator-raises":
        raise RuntimeError("the evaluator is broken")
    return float("nan") if inputs["question"] == "evaluator-nan" else 1.0
"""


def scoring(faults: Sequence[Fault], times: int, scratch: Path, scene: Scene) -> None:
    """One row a fault; a real judge behind a real server, and an evaluator of the user's own."""
    project = Project(scratch / "scoring")
    project.config["infra"]["attempts"] = 2
    (project.root / "marks.py").write_text(MARKS)
    project.config["trials"] = times
    for fault in faults:
        project.row(fault.name, call("wait", "waited", seconds=0))
    with Provider() as provider:
        judge = {"model": "openai:judge", "base_url": provider.base_url}
        project.config["evaluators"] = [
            {"final_answer": {"match": "contains"}, "threshold": 1.0},
            {"use": "marks:mark", "threshold": 1.0},
            {"llm_judge": judge, "threshold": 1.0},
        ]
        project.config["harness"]["retries"] = {"model_call": 1}
        outcome = _bake(project)
    by_row = {fault.name: fault for fault in faults}
    for trial in scene.took(outcome, _engine()):
        scene.note(by_row[trial.example_id], trial.cause, trial)


# --- faults from outside: a meddler does them while the run goes on, and knows which containers it hit


def outside(faults: Sequence[Fault], times: int, scratch: Path, scene: Scene) -> None:
    """Every second container that runs is hit, at a random moment of its life, until each fault had its turns."""
    project = Project(scratch / "outside")
    project.config["infra"]["attempts"] = 4
    project.config["harness"]["limits"]["seconds"] = OUTSIDE_SECONDS
    project.config["trials"] = 2 * times * len(faults) + 4  # some strikes come too late and are tried again
    project.row("row", call("wait", "waited", seconds=5))
    todo = [fault for fault in faults for _ in range(times)]
    dice = random.Random(3)
    dice.shuffle(todo)
    hit: dict[str, Fault] = {}
    client = _engine()

    def strike(container: str, fault: Fault) -> None:
        assert isinstance(fault.how, Outside)
        time.sleep(dice.uniform(0.1, 2.5))
        if _docker(*fault.how.verb.split(), container):
            hit[container] = fault
            if fault.how.undo:
                time.sleep(fault.how.after)
                _docker(fault.how.undo, container)
        else:
            todo.append(fault)  # it was gone before

    with _running(project) as run:
        seen: set[str] = set()
        while run.goes_on():
            for container in _containers(client, run.id, status="running") if run.id else []:
                if container not in seen and len(seen) % 2 == 0 and todo:
                    threading.Thread(target=strike, args=(container, todo.pop())).start()
                seen.add(container)
    _judge_containers(scene, scene.took(run.outcome, client), hit)


def update(faults: Sequence[Fault], times: int, scratch: Path, scene: Scene) -> None:
    """While one trial holds, the container made ahead for the next one is changed. That ends the run: exit 4."""
    client = _engine()
    for number, fault in enumerate(fault for fault in faults for _ in range(times)):
        project = Project(scratch / f"update-{number}")
        project.config["trials"] = 8
        project.row("row", call("wait", "waited", seconds=0.7))
        hit: dict[str, Fault] = {}
        doubtful: set[str] = set()
        with _running(project, "--max-concurrency", "1") as run:
            while run.goes_on():
                if not run.id or hit or not _containers(client, run.id, status="running"):
                    continue
                for container in _containers(client, run.id, status="created")[:1]:
                    assert isinstance(fault.how, Update)
                    if not _docker("update", *fault.how.option, container):
                        continue
                    if _state(client, container) == "created":
                        hit[container] = fault
                    else:  # it started meanwhile: before the change or after it
                        doubtful.add(container)
        _judge_containers(scene, scene.took(run.outcome, client, code=4), hit, doubtful)


def no_image(faults: Sequence[Fault], times: int, scratch: Path, scene: Scene) -> None:
    """The first container is killed, and in the pause before the next the image is removed: the rest is without."""
    [fault] = faults
    project = Project(scratch / "no-image")
    project.config["harness"]["config"] = {
        "only": str(scratch)
    }  # an image of its own: others use the usual one
    project.config["infra"]["attempts"] = 2
    project.config["trials"] = times + 3
    project.row("row", call("wait", "waited", seconds=1))
    client = _engine()
    removed, killed = False, ""
    with _running(project, "--max-concurrency", "1") as run:
        while run.goes_on():
            if not run.id or removed:
                continue
            if not killed:
                for killed in _containers(client, run.id, status="running"):
                    _docker("kill", killed)
            elif not _containers(client, run.id, status="running"):
                removed = _docker("rmi", "-f", run.image)
    if not removed:
        scene.problems.append("the image could not be removed")
    for trial in scene.took(run.outcome, client):
        for attempt in trial.attempts:
            container = attempt.evidence.docker.container_id
            if container is None:
                scene.note(fault, attempt.cause)
            elif container != killed and attempt.verdict != "passed":  # it was made before: it is whole
                scene.problems.append(f"{trial.trial_id}: {attempt.cause} in a container that nobody touched")


def restart(faults: Sequence[Fault], times: int, scratch: Path, scene: Scene) -> None:
    """A second daemon, ended and started again under a run until enough running containers were hit."""
    project = Project(scratch / "restart")
    project.config["infra"]["attempts"] = 20  # a trial may be hit by every restart
    project.config["resources"]["reserve"] = {"cpus": 0.1, "memory": "64MiB"}
    project.config["trials"] = times * len(faults)
    project.row("row", call("wait", "waited", seconds=3))
    with _second_engine(scratch / "engine", project) as (daemon, environment):
        client = connection.connect(environment)
        hit: dict[str, Fault] = {}
        gone: dict[str, datetime] = {}  # when its daemon had ended
        fault = faults[0]
        with _running(project, "--max-concurrency", str(WAITING_SLOTS), env=environment) as run:
            while run.goes_on():
                todo = [each for each in faults if sum(one is each for one in hit.values()) < times + SPARE]
                running = _containers(client, run.id, status="running") if run.id else []
                if not todo or not set(running) - set(hit):
                    continue
                time.sleep(1.0)
                fault = todo[0]
                struck = _containers(client, run.id, status="running")
                hit |= dict.fromkeys(struck, fault)
                _end(daemon, fault)
                gone |= dict.fromkeys(struck, datetime.now(UTC))
                time.sleep(2.0)
                docker_engine.start(daemon, (), lambda _: None)
                client = connection.connect(environment)
        for trial in scene.took(run.outcome, client):
            if trial.verdict != "passed":
                scene.problems.append(f"{trial.trial_id}: {trial.cause}, though it could be tried again")
            for attempt in trial.attempts:
                container = _container_of(attempt)
                if container in hit and _answered_by(attempt, gone[container]):
                    continue  # it was quicker
                if (
                    container in hit or attempt.verdict != "passed"
                ):  # none came to be while there was no daemon
                    scene.note(hit.get(container, fault), attempt.cause)


def _end(daemon: Daemon, fault: Fault) -> None:
    assert isinstance(fault.how, Restart)
    if fault.how.signal == "TERM":
        docker_engine.stop(daemon)
        return
    process = psutil.Process(int(daemon.pid_file.read_text()))
    process.kill()
    process.wait(10)


def small_disk(faults: Sequence[Fault], times: int, scratch: Path, scene: Scene) -> None:
    """Runs into a tmpfs of ever another size, so that ever another file is the one that does not fit; then it grows."""
    [fault] = faults
    client = _engine()
    for number in range(times):
        project = Project(scratch / f"disk-{number}")
        project.config["trials"] = 12
        project.row("row", call("wait", "waited", seconds=0))
        with _tmpfs(project.root / "runs", f"{56 + 4 * number}k") as place:
            outcome = _bake(project)
            before = scene.took(outcome, client, code=4)
            if "No space left on device" not in outcome.stderr or "Traceback" in outcome.stderr:
                scene.problems.append(f"no clear error: {outcome.stderr[-300:]}")
            if outcome.run is not None and outcome.run.warnings:
                scene.problems.append(f"what was written is not whole: {outcome.run.warnings}")
            scene.note(fault, f"exit {outcome.code}")
            subprocess.run(["mount", "-o", "remount,size=8m", str(place)], check=True)
            after = scene.took(_bake(project, "--resume", "latest"), client)
            if after[: len(before)] != before:
                scene.problems.append("a verdict that was on the disk is gone, or another one")


@contextmanager
def _tmpfs(place: Path, size: str) -> Iterator[Path]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "bakeoff-faults", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def neighbour(faults: Sequence[Fault], times: int, scratch: Path, scene: Scene) -> None:
    """One row a fault. The neighbour burns from the run's start to its end."""
    client = _engine()
    project = Project(scratch / "neighbour")
    project.config["harness"]["limits"] = {"turns": 4, "seconds": 8, "tool_seconds": 30}
    project.config["resources"]["reserve"] = {"cpus": 0.5, "memory": "128MiB"}
    project.config["trials"] = times
    for fault in faults:
        assert isinstance(fault.how, Neighbour)
        project.row(fault.name, *fault.how.calls)
    burner = ""
    try:
        with _running(project, "--max-concurrency", "2") as run:
            while run.goes_on():
                if run.id and not burner:
                    burner = _burn(run.image)
    finally:
        if burner:  # also when the campaign is interrupted: it would burn on
            _docker("rm", "-f", burner)
    by_row = {fault.name: fault for fault in faults}
    for trial in scene.took(run.outcome, client):
        scene.note(by_row[trial.example_id], trial.cause, trial)


SCENES: dict[type[How], Make] = {  # type: ignore[valid-type]
    Tool: tools,
    Simulated: simulated,
    Http: http,
    Scoring: scoring,
    Outside: outside,
    Update: update,
    NoImage: no_image,
    Restart: restart,
    SmallDisk: small_disk,
    Survive: run_directory,
    Neighbour: neighbour,
}


def play(kind: type[How], faults: Sequence[Fault], times: int, scratch: Path) -> Scene:  # type: ignore[valid-type]
    """Inject these faults, all of one kind, `times` each."""
    make = SCENES[kind]
    scene, began = Scene(make.__name__), time.monotonic()
    make(faults, times, scratch, scene)
    scene.seconds = time.monotonic() - began
    for fault in faults:
        count = sum(seen.fault is fault for seen in scene.seen)
        if count < times:
            scene.problems.append(f"{fault.name} was injected {count} times, not {times}")
    return scene


# --- a run under way ----------------------------------------------------------------------------------


class Running:
    """A `bakeoff run` that was started; `outcome` is there when the `with` block is left."""

    outcome: Outcome

    def __init__(self, project: Project, process: subprocess.Popen[str]) -> None:
        self.project, self.process = project, process
        self.id, self.image = "", ""
        self.deadline = time.monotonic() + RUN_SECONDS

    def goes_on(self) -> bool:
        """Whether it still runs; waits a moment, and looks for the run directory."""
        time.sleep(POLL_SECONDS)
        if not self.id:
            for manifest in (self.project.root / "runs").glob("*/manifest.json"):
                self.id = manifest.parent.name
                self.image = str(RunDirectory.open(manifest.parent).manifest().image.id)
        return self.process.poll() is None and time.monotonic() < self.deadline


@contextmanager
def _running(project: Project, *args: str, env: dict[str, str] | None = None) -> Iterator[Running]:
    args = args or ("--max-concurrency", str(SLOTS))
    run = Running(project, project.start(*args, env={**HERE, **(env or {})}))
    results: list[Outcome] = []
    waiter = threading.Thread(target=lambda: results.append(project.finish(run.process, timeout=RUN_SECONDS)))
    waiter.start()
    try:
        yield run
    finally:
        waiter.join()
    [run.outcome] = results


HERE = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def _bake(project: Project, *args: str) -> Outcome:
    args = args or ("--max-concurrency", str(SLOTS))
    return project.bake(*args, env=HERE, timeout=RUN_SECONDS)


def _judge_containers(
    scene: Scene, trials: Sequence[TrialRecord], hit: dict[str, Fault], doubtful: Collection[str] = ()
) -> None:
    """An attempt in a container that was hit shows the fault; every other passes, but where nobody knows."""
    for trial in trials:
        for attempt in trial.attempts:
            fault = hit.get(_container_of(attempt))
            if fault is not None:
                scene.note(fault, attempt.cause, trial if attempt is trial.attempts[-1] else None)
            elif attempt.verdict != "passed" and _container_of(attempt) not in doubtful:
                scene.problems.append(f"{trial.trial_id}: {attempt.cause} in a container that nobody touched")


def _answered_by(attempt: AttemptRecord, moment: datetime) -> bool:
    """Whether the agent's answer was there at that moment: what befell its container then came too late."""
    clock = attempt.evidence.clock
    if attempt.verdict != "passed" or attempt.agent_started_at is None:
        return False
    return (
        attempt.agent_started_at + timedelta(seconds=clock.working_seconds + clock.queued_seconds) <= moment
    )


def _container_of(attempt: AttemptRecord) -> str:
    return attempt.evidence.docker.container_id or ""


# --- Docker, as somebody else would use it --------------------------------------------------------------


def _engine() -> docker.DockerClient:
    return connection.connect()


def _docker(*args: str) -> bool:
    """Whether `docker <args>` did it."""
    return subprocess.run(["docker", *args], capture_output=True, check=False).returncode == 0


def _containers(client: docker.DockerClient, run_id: str, **filters: Any) -> list[str]:
    everything = filters.pop("all", False) or "status" in filters
    listed = client.api.containers(all=everything, filters={"label": f"bakeoff={run_id}", **filters})
    return [item["Id"] for item in listed]


def _state(client: docker.DockerClient, container: str) -> str:
    try:
        return str(client.api.inspect_container(container)["State"]["Status"])
    except docker.errors.NotFound:
        return "gone"


BURN = "import os\nfor _ in range(4 * os.cpu_count()): os.fork() or exec('while True: pass')\nos.wait()"


def _burn(image_id: str) -> str:
    """Start a neighbour that has work for every core, with many times the weight of a trial's container."""
    started = subprocess.run(
        [
            "docker",
            "run",
            "-d",
            "--rm",
            "--network=none",
            "--cpu-shares=4096",
            image_id,
            "/opt/venv/bin/python",
            "-c",
            BURN,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return started.stdout.strip()


@contextmanager
def _second_engine(place: Path, project: Project) -> Iterator[tuple[Daemon, dict[str, str]]]:
    """A daemon of the campaign's own, with the images that the run needs: it may be ended without harm to anybody."""
    with engines.second_engine(place) as engine:
        engine.load(*_images(project))
        yield engine.daemon, engine.environment


def _images(project: Project) -> list[str]:
    """The harness image and its base, so that nothing needs building there."""
    project.write()
    client = _engine()
    config = loading.load(project.root / "harness.yaml")
    harness = image.ensure(client, config, client.info()["Architecture"], lambda _: None)
    base = base_image.ensure(client, config.harness.base_image, lambda _: None)
    return [harness.reference, *client.api.inspect_image(base.image_id)["RepoTags"]]
