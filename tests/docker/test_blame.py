"""Real faults in real containers, and whom the verdict blames."""

import json
import subprocess
import threading
import time

import pytest
from project import Outcome, Project, call

from bakeoff.records import TrialRecord

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One run with a trial for each fault that a tool can cause; the model itself never errs."""
    project = Project(tmp_path_factory.mktemp("faults"))
    project.config["harness"]["limits"] = {"turns": 6, "seconds": 6, "tool_seconds": 3}
    project.row("harness-oom", call("hog", mib=600))
    project.row("child-oom", call("hog_child", "held", mib=600))
    project.row("child-oom-survived", call("hog_child_then_less", "held", mib=600))
    project.row("disk-full", call("fill_disk", "never"))
    project.row("disk-full-raised", call("fill_disk_and_raise"))
    project.row("pids", call("spawn_threads", "never refused"))
    project.row("exit", call("leave", code=7))
    project.row("exit-zero", call("leave", code=0))
    project.row("segfault", call("segfault"))
    project.row("kill-supervisor", call("kill_supervisor", "never"))
    project.row("slow", *[call("wait", "waited", seconds=2.5)] * 4)
    project.row("slow-tool", call("wait", "waited", seconds=30))
    project.row("loop", *[call("wait", seconds=0)] * 8)
    project.row("forge", call("forge", "reached: []"))
    project.row("shout", call("shout", "shouted", mib=200))
    project.row("fine", call("hog_child", "held", mib=20))
    return project.bake("--max-concurrency", "2")


def judged(faults: Outcome, name: str) -> TrialRecord:
    return faults.trials()[name]


EXPECTED = {
    "harness-oom": ("infra_error", "infra.oom_killed"),
    "child-oom": ("infra_error", "infra.oom_killed"),
    "child-oom-survived": ("passed", None),
    "disk-full": ("infra_error", "infra.disk_full"),
    "disk-full-raised": ("infra_error", "infra.disk_full"),
    "pids": ("infra_error", "infra.pids_exhausted"),
    "exit": ("infra_error", "infra.harness_crash"),
    "exit-zero": ("infra_error", "infra.harness_crash"),
    "segfault": ("infra_error", "infra.harness_crash"),
    "kill-supervisor": ("infra_error", "infra.harness_crash"),
    "slow": ("failed", "model.time_limit"),
    "slow-tool": ("failed", "model.wrong_answer"),
    "loop": ("failed", "model.turn_limit"),
    "forge": ("passed", None),
    "shout": ("passed", None),
    "fine": ("passed", None),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_fault_gets_its_cause(faults: Outcome, name: str) -> None:
    trial = judged(faults, name)
    evidence = trial.attempts[-1].evidence.model_dump_json(exclude_defaults=True)
    assert (trial.verdict, trial.cause) == EXPECTED[name], evidence


def test_no_trial_is_lost(faults: Outcome) -> None:
    assert faults.run is not None
    assert len(list(faults.run.trials())) == len(EXPECTED)


def test_the_kernel_is_the_witness_of_an_oom_kill(faults: Outcome) -> None:
    for name in ("harness-oom", "child-oom", "child-oom-survived"):
        trial = judged(faults, name)
        assert trial.resources.observed.oom_kills is not None
        assert trial.resources.observed.oom_kills >= 1, name
        assert trial.resource_bound == ["memory"]
    assert judged(faults, "child-oom").attempts[-1].evidence.harness.reached == "answered"
    assert judged(faults, "fine").resources.observed.oom_kills == 0


def test_effective_limits_are_read_back_from_the_kernel(faults: Outcome) -> None:
    resources = judged(faults, "fine").resources
    assert resources.effective == resources.requested
    assert resources.requested.memory_bytes == 256 * 2**20


def test_use_is_measured(faults: Outcome) -> None:
    seen = judged(faults, "fine").resources.observed
    assert 40 * 2**20 < (seen.memory_peak_bytes or 0) <= 256 * 2**20
    assert 0.1 < (seen.cpu_seconds or 0) < 10
    assert (seen.pids_peak or 0) >= 2
    assert seen.throttled_seconds is not None
    assert (judged(faults, "disk-full").resources.observed.disk_bytes or 0) >= 15 * 2**20


def test_a_flood_leaves_a_bounded_log_and_a_forgery_is_on_record(faults: Outcome) -> None:
    assert faults.run is not None
    log = faults.run.log("sim/shout/1", 1)
    assert log is not None
    assert 2**19 < len(log) <= 2**20 + 1024
    assert judged(faults, "forge").attempts[-1].evidence.protocol_errors


def test_tool_time_is_limited_and_told_to_the_agent(faults: Outcome) -> None:
    trial = judged(faults, "slow-tool")
    assert trial.attempts[-1].evidence.harness.tool_timeouts == 1
    assert trial.seconds.working < 5


ERRORS = {
    "skip": {"model.wrong_trajectory", "model.wrong_answer"},
    "wrong_argument": {"model.wrong_trajectory", "model.wrong_answer"},
    "wrong_answer": {"model.wrong_answer"},
    "unknown_tool": {"model.wrong_trajectory", "model.wrong_answer"},
    "malformed": {"model.invalid_tool_call"},
    "loop": {"model.turn_limit"},
    "refuse": {"model.refusal"},
    "nothing": {"model.empty_answer"},
}


def test_every_error_of_a_simulated_model_is_the_models(project: Project) -> None:
    project.config["candidates"] = [
        {"name": name.replace("_", "-"), "model": f"simulated:skill=0,errors={name}"} for name in ERRORS
    ]
    project.row("row", call("wait", "waited", seconds=0), call("hog_child", "held", mib=8))
    outcome = project.bake("--max-concurrency", "2")
    assert outcome.code == 0, outcome.stderr
    assert outcome.run is not None
    for trial in outcome.run.trials():
        assert trial.verdict == "failed", trial
        assert trial.cause in ERRORS[trial.candidate.replace("-", "_")], trial.candidate


def test_the_same_trial_with_room_passes(project: Project) -> None:
    project.row("child-oom", call("hog_child", "held", mib=600))
    assert project.bake("--memory", "1GiB").trials()["child-oom"].verdict == "passed"


@pytest.mark.parametrize("verb", ["kill", "rm -f"])
def test_a_container_taken_from_outside_is_lost_and_tried_again(project: Project, verb: str) -> None:
    project.config["infra"]["attempts"] = 2
    project.row("row", call("wait", "waited", seconds=3))
    process = project.start()
    found: list[str] = []
    deadline = time.monotonic() + 60
    while not found and time.monotonic() < deadline:
        time.sleep(0.3)
        found = project.containers()
    time.sleep(1.0)
    subprocess.run(["docker", *verb.split(), found[0]], check=True, capture_output=True)
    stdout, stderr = process.communicate(timeout=60)
    [record] = (project.root / "runs").glob("*/trials.jsonl")
    trial = json.loads(record.read_text())
    assert [attempt["cause"] for attempt in trial["attempts"]] == ["infra.container_lost", None], (
        stdout + stderr
    )
    assert trial["verdict"] == "passed"


def test_an_unequal_limit_stops_the_attempt(project: Project) -> None:
    """The limit is changed behind bakeoff's back, on the created container, before it starts."""
    project.config["infra"]["attempts"] = 1
    project.row("row", call("wait", "waited", seconds=0))
    process = project.start()
    changed = threading.Event()

    def meddle() -> None:
        while process.poll() is None and not changed.is_set():
            for found in project.containers("-a", "--filter", "status=created"):
                update = ["docker", "update", "--memory", "300m", "--memory-swap", "300m", found]
                if subprocess.run(update, capture_output=True, check=False).returncode == 0:
                    changed.set()

    meddler = threading.Thread(target=meddle)
    meddler.start()
    process.communicate(timeout=60)
    meddler.join()
    [record] = (project.root / "runs").glob("*/trials.jsonl")
    trial = json.loads(record.read_text())
    if not changed.is_set() or trial["verdict"] == "passed":
        pytest.skip("the container was started before its limit could be changed")
    assert trial["cause"] == "infra.limits_not_enforced"
