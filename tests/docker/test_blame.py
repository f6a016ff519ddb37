"""The evidence behind the verdicts of the fault campaign: the kernel's counts, limits read back, bounded logs."""

import pytest
from project import Outcome, Project, call
from scenes import Scene

from bakeoff.records import TrialRecord

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture
def tools(short_campaign: dict[str, Scene]) -> list[Outcome]:
    """The runs whose faults the agent's own tools make: the one with time, and the hasty one."""
    return short_campaign["tools"].outcomes


def judged(tools: list[Outcome], name: str) -> TrialRecord:
    return next(outcome.trials()[name] for outcome in tools if name in outcome.trials())


def test_the_kernel_is_the_witness_of_an_oom_kill(tools: list[Outcome]) -> None:
    for name in ("harness-oom", "child-oom", "child-oom-recovered"):
        trial = judged(tools, name)
        assert trial.resources.observed.oom_kills is not None
        assert trial.resources.observed.oom_kills >= 1, name
        assert trial.resource_bound == ["memory"]
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
    assert tools[0].run is not None
    log = tools[0].run.log("sim/flood/1", 1)
    assert log is not None
    assert 2**19 < len(log) <= 2**20 + 1024
    assert judged(tools, "forged-right").attempts[-1].evidence.protocol_errors


def test_tool_time_is_limited_and_told_to_the_agent(tools: list[Outcome]) -> None:
    trial = judged(tools, "slow-tool")
    assert trial.attempts[-1].evidence.harness.tool_timeouts == 1
    assert trial.seconds.working < 5


def test_the_same_trial_with_room_passes(project: Project) -> None:
    project.row("child-oom", call("hog_child", "held", mib=600))
    assert project.bake("--memory", "1GiB").trials()["child-oom"].verdict == "passed"
