"""Engines whose containers are systemd's: limits, an OOM kill, a dead orchestrator, and a `systemctl daemon-reload`.

One is Debian's docker.service, the other a user's own. Each is in a guest with systemd as process 1 and cgroup
version 2, and has systemd's cgroup driver by its own choice.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cgroup2 import guest
from tests.cgroup2.guest import Guest
from tests.cgroup2.scene import QUIET, answered, patient, portable_base, trials_in
from tests.docker.project import Outcome, Project, call

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(1500)]

USER = "setpriv --reuid user --regid user --init-groups env XDG_RUNTIME_DIR=/run/user/1000"
# Each upgrade of a package does the first; a user's `systemctl --user edit` does the second.
RELOADS: dict[guest.Kind, str] = {
    "systemd": "systemctl daemon-reload",
    "rootless": f"systemctl daemon-reload && {USER} systemctl --user daemon-reload",
}
# Prints `MOMENT CONTAINER FILE VALUE` lines, before and after a reload.
RELOAD = """
say() {{
  for scope in $(find /sys/fs/cgroup -name 'docker-*.scope'); do
    for file in memory.max memory.swap.max cpu.max pids.max; do
      echo "$1" "${{scope##*/docker-}}" "$file" "$(<"$scope/$file")"
    done
  done
}}
say before
{reload} || echo refused
say after
"""
# What a user had of systemd before version 252. Prints what the user has now.
UNDELEGATE = f"""
printf '[Service]\\nDelegate=\\nDelegate=memory pids\\n' >/etc/systemd/system/user@.service.d/delegate.conf
systemctl daemon-reload
systemctl restart user@1000.service
{USER} systemctl --user start docker.service
cat /sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers
"""
Limits = dict[str, dict[str, str]]  # container -> file -> value


@dataclass(frozen=True)
class Story:
    """A run that is killed in its midst and resumed, and a reload while all of its trials have their containers."""

    kind: guest.Kind
    machine: Guest
    options: str  # what the engine says of its security
    outcome: Outcome
    orphans: list[str]  # bakeoff's containers after the kill
    left: list[str]  # and after all
    before: Limits
    after: Limits
    careless: str  # a container that is not bakeoff's, and may not swap at all


@pytest.fixture(scope="module", params=RELOADS)
def story(
    request: pytest.FixtureRequest, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    """On each engine."""
    kind = request.param
    console = tmp_path_factory.mktemp(kind) / "console"
    with guest.running(home, console, kind) as machine:
        yield told(kind, machine, tmp_path_factory.mktemp("project"))


def told(kind: guest.Kind, machine: Guest, root: Path) -> Story:
    """What happens there."""
    environment = {"DOCKER_HOST": machine.host}
    no_swap = ("--memory", "64m", "--memory-swap", "64m", "--network", "none")
    careless = answered(machine.host, "run", "--detach", *no_swap, portable_base(), "sleep", "1000").strip()
    made = patient(root)
    made.row("child-oom", call("hog_child", "held", mib=600))
    made.row("waits", call("wait", "waited", seconds=20))
    killed = made.start("--max-concurrency", "2", env=environment)
    both_run(made, killed, machine)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    orphans = ours(machine)
    resumed = made.start("--resume", "latest", "--max-concurrency", "2", env=environment)
    both_run(made, resumed, machine, but=orphans)
    before, after = read(machine.script(RELOAD.format(reload=RELOADS[kind])))
    outcome = made.finish(resumed, timeout=600)
    assert outcome.code == 0, outcome.stderr
    answered(machine.host, "rm", "--force", careless)
    options = answered(machine.host, "info", "--format", "{{.SecurityOptions}}")
    return Story(kind, machine, options, outcome, orphans, ours(machine), before, after, careless)


def both_run(made: Project, run: "subprocess.Popen[str]", machine: Guest, *, but: Sequence[str] = ()) -> None:
    """Wait until the containers of both trials run."""
    while len(trials_in(made, machine.host) - set(but)) < 2:
        assert run.poll() is None, f"over before it could be disturbed: {made.finish(run).stderr}"
        time.sleep(0.5)


def ours(machine: Guest) -> list[str]:
    """Bakeoff's containers, running or not."""
    return answered(machine.host, "ps", "--all", *QUIET, "--filter", "label=bakeoff").split()


def read(printed: str) -> tuple[Limits, Limits]:
    """The limits before and after."""
    assert "refused" not in printed, printed
    found: dict[str, Limits] = {"before": {}, "after": {}}
    for line in printed.splitlines():
        moment, container, file, value = line.split(maxsplit=3)
        found[moment].setdefault(container.removesuffix(".scope"), {})[file] = value
    return found["before"], found["after"]


def test_systemd_has_the_containers(story: Story) -> None:
    host = story.outcome.run.manifest().host
    assert (host.cgroup_version, host.cgroup_driver) == (2, "systemd")
    assert ("rootless" in story.options) == (story.kind == "rootless")


def test_the_kernel_holds_the_limits_that_were_asked_for(story: Story) -> None:
    trials = story.outcome.trials()
    assert trials.keys() == {"child-oom", "waits"}
    for trial in trials.values():
        assert trial.resources.effective == trial.resources.requested
        assert trial.attempts[-1].evidence.kernel.source == "container"


def test_an_oom_kill_is_the_limits_and_not_the_models(story: Story) -> None:
    trial = story.outcome.trials()["child-oom"]
    assert (trial.verdict, trial.cause) == ("infra_error", "infra.oom_killed"), trial.attempts[-1].evidence
    assert (trial.resources.observed.oom_kills or 0) > 0


def test_a_killed_run_is_resumed_and_leaves_no_container(story: Story) -> None:
    assert len(story.orphans) >= 2
    assert story.outcome.trials()["waits"].verdict == "passed"
    assert story.left == []


def test_a_reload_in_mid_run_changes_no_limit(story: Story) -> None:
    trials = {container: limits for container, limits in story.before.items() if container != story.careless}
    assert len(trials) == 2
    for container, limits in trials.items():
        assert limits["memory.max"] == str(256 * 2**20)
        assert limits["memory.swap.max"] == "4096"
        assert (limits["cpu.max"], limits["pids.max"]) == ("100000 100000", "64")
        assert story.after[container] == limits
    for trial in story.outcome.trials().values():
        assert trial.attempts[-1].evidence.limits_mismatch == []


def test_a_limit_of_no_swap_at_all_would_be_lifted(story: Story) -> None:
    """Why trials may swap one page: moby#51446. Where this fails, they need not."""
    assert story.before[story.careless]["memory.swap.max"] == "0"
    assert story.after[story.careless]["memory.swap.max"] == "max"


@pytest.mark.parametrize("story", ["rootless"], indirect=True)
def test_without_its_controllers_the_engine_is_refused_with_what_to_do(story: Story, tmp_path: Path) -> None:
    """The last test of that guest, whose delegation, the remedy's own, it takes away."""
    delegation = story.machine.script("cat /etc/systemd/system/user@.service.d/delegate.conf").split("\n")
    assert story.machine.script(UNDELEGATE) == "memory pids\n"
    answered(story.machine.host, "version")
    made = patient(tmp_path / "project")
    made.row("fine", call("hog_child", "held", mib=20))
    outcome = made.bake(env={"DOCKER_HOST": story.machine.host}, timeout=600)
    assert (outcome.code, outcome.run) == (4, None), outcome.stderr
    said = " ".join(outcome.stderr.split())
    assert all(line in said for line in ("user@.service.d/delegate.conf", *delegation)), said
    assert ours(story.machine) == []
