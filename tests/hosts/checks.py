"""What must hold on every engine: real runs of `bakeoff run` on it, and what came of them. "" is right."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import docker.errors

from bakeoff.backends.docker.images import base_image
from bakeoff.backends.docker.images import registry as registries
from bakeoff.errors import BakeoffError
from bakeoff.record.store import RunDirectory
from bakeoff.record.trial import TrialRecord
from tests.docker.project import Outcome, Project, call
from tests.fakes.registry import Manner, Registry
from tests.hosts.engines import Running, version_1

MIB = 2**20
RUN_SECONDS = 600.0
SETTLED_SECONDS = 2.5
# What the agent saw that differs from sandbox to sandbox on one engine.
OWN = ("uid", "user", "threads")
# How a registry behaves -> what the user reads, and what it hints at.
SAID: dict[Manner, str] = {
    "asks for a login": r"tiny.*docker login",
    "has too many requests": r"tiny.*(429|(?i:too ?many ?requests)).*docker login",
    "is broken": r"tiny.*(500|(?i:internal server error|unknown error))",
    "cuts a layer off": r"tiny.*(EOF|(?i:size|short|reset))",
    "well": "no python3",
}
Found = dict[str, str]  # check -> "" or why not


class Complaint(Exception):
    """Why a check does not hold."""


class Site:
    """Projects that run on one engine. `reference`: what the first engine's agent saw and what it built."""

    def __init__(self, engine: Running, scratch: Path, reference: dict[str, Any]) -> None:
        self.engine, self.scratch, self.reference = engine, scratch, reference
        self.environment = dict(engine.environment)

    def project(self, name: str) -> Project:
        """One with patient limits."""
        made = Project(self.scratch / name)
        made.config["harness"]["limits"] = {"turns": 6, "seconds": 150, "tool_seconds": 120}
        made.config["infra"]["startup_seconds"] = 120
        made.config["max_concurrency"] = 2
        return made

    def bake(self, project: Project) -> dict[str, TrialRecord]:
        """Its trials by example."""
        return self.trials(project.bake(env=self.environment, timeout=RUN_SECONDS))

    def trials(self, outcome: Outcome) -> dict[str, TrialRecord]:
        """Those of a run that ended well."""
        if outcome.code != 0:
            raise Complaint(f"exit {outcome.code}: {' '.join(outcome.stderr.split())[-400:]}")
        return outcome.trials()

    @contextlib.contextmanager
    def under_way(self, project: Project) -> Iterator[tuple[Any, Any]]:
        """A run, and its first container once it runs. The run has ended when the block is left."""
        process = project.start(env=self.environment)
        client = self.engine.client()
        try:
            yield process, self._first(client, process)
        finally:
            client.close()
            if process.poll() is None:
                process.communicate(timeout=RUN_SECONDS)

    def _first(self, client: Any, process: Any) -> Any:
        """Containers that look at an image or at the limits run for a moment; a trial's is still there later."""
        deadline, seen = time.monotonic() + RUN_SECONDS, dict[str, float]()
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise Complaint(
                    f"the run was over before it could be disturbed: {process.stderr.read()[-400:]}"
                )
            with contextlib.suppress(docker.errors.DockerException):
                for each in client.containers.list(filters={"label": "bakeoff", "status": "running"}):
                    if time.monotonic() - seen.setdefault(each.id, time.monotonic()) > SETTLED_SECONDS:
                        return each
            time.sleep(0.2)
        raise Complaint("no container ran")

    def left(self) -> list[str]:
        """Containers of bakeoff's that are still there."""
        client = self.engine.client()
        try:
            return [each.name for each in client.containers.list(all=True, filters={"label": "bakeoff"})]
        finally:
            client.close()


def expect(trial: TrialRecord, *right: str | None) -> str:
    """Why its cause is not one of these."""
    if trial.cause in right:
        return ""
    because = trial.attempts[-1].because if trial.attempts else ""
    return f"{trial.cause or 'passed'}, not {' or '.join(cause or 'passed' for cause in right)}: {because}"


def faults(site: Site) -> Found:
    """One run whose trials meet every pinned limit, beside one that sees what it has been given."""
    project = site.project("faults")
    project.row("probe", call("probe", "probed"))
    project.row("child-oom", call("hog_child", "held", mib=600))
    project.row("disk", call("fill_disk", "never"))
    project.row("pids", call("spawn_threads", "never refused"))
    outcome = project.bake(env=site.environment, timeout=RUN_SECONDS)
    trials = site.trials(outcome)
    probe, run = trials["probe"], outcome.run
    assert run is not None
    given = probe.resources
    limits = "" if given.effective == given.requested else f"effective {given.effective}"
    return {
        "limits": expect(probe, None) or limits,
        "same box": same(seen(run, probe), site.reference),
        "child OOM": expect(trials["child-oom"], "infra.oom_killed"),
        "disk": expect(trials["disk"], "infra.disk_full"),
        "pids": expect(trials["pids"], "infra.pids_exhausted"),
        "image": image(run, site.reference),
    }


def refusal(site: Site, words: str) -> tuple[str, str]:
    """What bakeoff says where it must refuse to run, with these words, before a trial; and what is wrong with that."""
    project = site.project("refused")
    project.row("probe", call("probe", "probed"))
    outcome = project.bake(env=site.environment, timeout=RUN_SECONDS)
    said = " ".join(outcome.stderr.split())
    if outcome.code != 4 or words not in said:
        return said, f"exit {outcome.code}, and not refused with {words!r}: {said[-300:]}"
    if outcome.run is not None or site.left():
        return said, f"refused too late, or {len(site.left())} containers left"
    return said, ""


def seen(run: RunDirectory, trial: TrialRecord) -> dict[str, Any]:
    """What the agent saw of its sandbox, but for what is its own."""
    [log] = run.path.glob("attempts/*probe*")
    [said] = [line for line in log.read_text().splitlines() if line.startswith("PROBE ")]
    found: dict[str, Any] = json.loads(said.removeprefix("PROBE "))
    for name in ("HOSTNAME", "TRACEPARENT"):
        found["environment"].pop(name, None)
    found["process 1"] = found["process 1"][:4]
    return {key: value for key, value in found.items() if key not in OWN}


def same(found: dict[str, Any], reference: dict[str, Any]) -> str:
    """How a sandbox differs from those of the reference engine, which the first one is."""
    before = reference.setdefault("seen", found)
    different = [
        f"{key}: {found.get(key)}, not {before.get(key)}" for key in before if found.get(key) != before[key]
    ]
    return "; ".join(different)


def image(run: RunDirectory, reference: dict[str, Any]) -> str:
    """Whether what was built is what the reference engine built, by its key and by the base's digest."""
    made = run.manifest().image
    identity = {"key": made.key, "base": made.base.digest, "kind": made.base.kind}
    before = reference.setdefault("image", identity)
    return "; ".join(
        f"{key}: {identity[key]}, not {before[key]}" for key in before if identity[key] != before[key]
    )


def host_memory(site: Site) -> Found:
    """A limit above the container kills, long before its own would."""
    project = site.project("host-memory")
    project.config["resources"] |= {"memory": "512MiB"}
    project.row("hog", call("hog_child", "held", mib=400))
    file = "memory.limit_in_bytes" if version_1() else "memory.max"
    with site.engine.above("memory", file, 300 * MIB):
        return {"host OOM": expect(site.bake(project)["hog"], "infra.host_memory")}


def host_pids(site: Site) -> Found:
    """A limit above the container refuses processes, long before its own would."""
    project = site.project("host-pids")
    project.row("spawn", call("spawn_threads", "never refused"))
    with site.engine.above("pids", "pids.max", 40):
        return {"host pids": expect(site.bake(project)["spawn"], "infra.host_pids")}


def registry(site: Site) -> Found:
    """A registry that misbehaves in each way: what it said is what the user reads. Then it gives the image."""
    client, wrong = site.engine.client(), list[str]()
    machine = client.info()["Architecture"]
    with contextlib.closing(client), Registry(machine, site.engine.registry_port) as server:
        for manner, words in SAID.items():
            server.manner = manner
            try:
                base_image.ensure(client, f"{server.name}:1", lambda _: None)
                wrong.append(f"the registry {manner}, and nothing was said")
            except BakeoffError as error:
                said = f"{error} | {getattr(error, 'hint', '')}"
                if not re.search(words, said):
                    wrong.append(f"the registry {manner}: {said}")
        digest = registries.digest_of(client.images.get(f"{server.name}:1").attrs, f"{server.name}:1")
        if digest != server.pinned:
            wrong.append(f"pinned by {digest}, not {server.pinned}")
    return {"registry": "; ".join(wrong)}


def kill(site: Site) -> Found:
    """A container is killed from outside."""
    project = site.project("kill")
    project.row("killed", call("wait", "waited", seconds=60))
    with site.under_way(project) as (process, container):
        container.kill()
        trials = site.trials(project.finish(process, timeout=RUN_SECONDS))
    return {"kill": expect(trials["killed"], "infra.container_lost")}


def pause(site: Site) -> Found:
    """A container is paused for a while from outside: the trial's clock stops, and it passes."""
    project = site.project("pause")
    project.row("paused", call("wait", "waited", seconds=8))
    with site.under_way(project) as (process, container):
        container.pause()
        time.sleep(4.0)
        container.unpause()
        trial = site.trials(project.finish(process, timeout=RUN_SECONDS))["paused"]
    paused = trial.attempts[-1].evidence.docker.paused_seconds or 0.0
    return {"pause": expect(trial, None) or ("" if 3.5 < paused < 8 else f"paused for {paused:.1f} s, not 4")}


def resume(site: Site) -> Found:
    """The orchestrator is killed in mid-run; the run goes on, ends whole, and leaves no container."""
    project = site.project("resume")
    for number in range(4):
        project.row(f"row-{number}", call("wait", "waited", seconds=5))
    with site.under_way(project) as (process, _):
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    time.sleep(1.0)
    orphans = site.left()
    trials = site.trials(
        project.finish(project.start("--resume", "latest", env=site.environment), timeout=RUN_SECONDS)
    )
    whole = len(trials) == 4 and all(trial.verdict == "passed" for trial in trials.values())
    left = site.left()
    return {
        "resume": "" if whole else f"{len(trials)} of 4 trials, {[t.cause for t in trials.values()]}",
        "sweep": f"{len(left)} left" if left else ("" if orphans else "nothing was left to sweep"),
    }


SCENES: dict[Callable[[Site], Found], tuple[str, ...]] = {
    faults: ("limits", "same box", "child OOM", "disk", "pids", "image"),
    registry: ("registry",),
    host_memory: ("host OOM",),
    host_pids: ("host pids",),
    kill: ("kill",),
    pause: ("pause",),
    resume: ("resume", "sweep"),
}
CHECKS = tuple(name for checks in SCENES.values() for name in checks)


def check(site: Site, wanted: Collection[str]) -> Found:
    """The checks that are wanted, whatever becomes of the others."""
    found: Found = {}
    for scene, checks in SCENES.items():
        if not set(checks) & set(wanted):
            continue
        try:
            found |= scene(site)
        except (Complaint, docker.errors.DockerException, AssertionError, OSError) as error:
            said = f"{type(error).__name__}: {error}" if not isinstance(error, Complaint) else str(error)
            found |= dict.fromkeys(checks, said[:300])
    return found
