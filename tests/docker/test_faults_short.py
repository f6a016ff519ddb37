"""The fault campaign in its short form: every fault once, some of the run directory's, and the evidence behind them.

`make faults` injects each ten times.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import pytest

from bakeoff.record.trial import TrialRecord
from tests.docker.project import Outcome, Project, call
from tests.faults.campaign import beyond, inject
from tests.faults.faults import FAULTS, Fault, Neighbour, Survive, Tool, was_oom
from tests.faults.scenes import SCENES, Scene

# The first test waits for all runs.
pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(1500)]

SHORT = [fault for fault in FAULTS if not isinstance(fault.how, Survive) or fault.how.short]

Scenes = Callable[[type], Scene]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Scenes:
    """What a kind of run showed. The kinds are played side by side, but for the one that burns every core."""

    roots = {kind: tmp_path_factory.mktemp(make.__name__) for kind, make in SCENES.items()}

    def play(kind: type) -> Scene:
        mine = [fault for fault in SHORT if isinstance(fault.how, kind)]
        return inject(kind, mine, 1, roots[kind])

    @cache
    def together() -> dict[type, Scene]:
        kinds = [kind for kind in SCENES if kind is not Neighbour]
        with ThreadPoolExecutor(3) as pool:
            return dict(zip(kinds, pool.map(play, kinds), strict=True))

    @cache
    def alone() -> Scene:
        return play(Neighbour)

    return lambda kind: alone() if kind is Neighbour else together()[kind]


def one(what: Any, kind: type, name: str) -> Any:
    """A parameter of this name, to be tested alone where its scene is."""
    return pytest.param(what, id=name, marks=[pytest.mark.alone] if kind is Neighbour else [])


@pytest.mark.parametrize("fault", [one(fault, type(fault.how), fault.name) for fault in SHORT])
def test_each_fault_gets_its_one_right_verdict(scenes: Scenes, fault: Fault) -> None:
    scene = scenes(type(fault.how))
    if scene.skipped:
        pytest.skip(scene.skipped)
    seen = [one for one in scene.seen if one.fault is fault]
    assert seen, scene.problems
    assert not [f"given {one.given or 'passed'!r}: {one.wrong}" for one in seen if one.wrong]


@pytest.mark.parametrize("kind", [one(kind, kind, make.__name__) for kind, make in SCENES.items()])
def test_nothing_is_lost_or_left_behind(scenes: Scenes, kind: type) -> None:
    scene = scenes(kind)
    if scene.skipped:
        pytest.skip(scene.skipped)
    assert not scene.problems + beyond(scene)


# --- the evidence: the kernel's counts, limits read back, bounded logs -------------------------------


@pytest.fixture
def tools(scenes: Scenes) -> list[Outcome]:
    """The runs whose faults the agent's own tools make: the one with time, and the hasty one."""
    return scenes(Tool).outcomes


def judged(tools: list[Outcome], name: str) -> TrialRecord:
    return next(outcome.trials()[name] for outcome in tools if name in outcome.trials())


def test_the_kernel_is_the_witness_of_an_oom_kill(tools: list[Outcome]) -> None:
    for name in ("harness-oom", "child-oom", "child-oom-recovered"):
        assert was_oom(judged(tools, name)) == "", name
    assert (judged(tools, "child-oom").resources.observed.oom_kills or 0) >= 1
    assert judged(tools, "child-oom").attempts[-1].evidence.harness.reached == "answered"
    assert judged(tools, "fine").resources.observed.oom_kills == 0


def test_effective_limits_are_read_back_from_the_kernel(tools: list[Outcome]) -> None:
    resources = judged(tools, "fine").resources
    assert resources.effective == resources.requested
    assert resources.requested.memory_bytes == 256 * 2**20


def test_use_is_measured(tools: list[Outcome]) -> None:
    seen = judged(tools, "fine").resources.observed
    assert 40 * 2**20 < (seen.memory_peak_bytes or 0) <= 256 * 2**20
    assert 0.1 < (seen.cpu_seconds or 0) < 10
    assert (seen.pids_peak or 0) >= 2
    assert seen.throttled_seconds is not None
    assert (judged(tools, "disk-full").resources.observed.disk_bytes or 0) >= 15 * 2**20


def test_a_flood_leaves_a_bounded_log_and_a_forgery_is_on_record(tools: list[Outcome]) -> None:
    log = tools[0].run.log("sim/flood/1", 1)
    assert log is not None
    assert 2**19 < len(log) <= 2**20 + 1024
    assert judged(tools, "forged-right").attempts[-1].evidence.protocol_errors


def test_tool_time_is_limited_and_told_to_the_agent(tools: list[Outcome]) -> None:
    trial = judged(tools, "slow-tool")
    assert trial.attempts[-1].evidence.harness.tool_timeouts == 1
    assert trial.seconds.working < 8  # the tool would sleep for 30 s


def test_the_same_trial_with_room_passes(project: Project) -> None:
    project.row("child-oom", call("hog_child", "held", mib=600))
    assert project.bake("--memory", "1GiB").trials()["child-oom"].verdict == "passed"
