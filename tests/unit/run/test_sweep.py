"""The plan of a sweep: its boxes, the order of its trials, and what is refused before anything starts."""

from itertools import groupby
from pathlib import Path

import pytest
import yaml

from bakeoff.backends.base import Capacity, SandboxSpec
from bakeoff.backends.docker.container import FIRST_TO_GO, _create
from bakeoff.cli.init import write
from bakeoff.config import loading
from bakeoff.config.overrides import Overrides
from bakeoff.config.schema import Config
from bakeoff.errors import InputError
from bakeoff.gateway.models.replay import ReplayBackend
from bakeoff.gateway.recording.cassette import Recorded, tape_of
from bakeoff.record import fingerprint
from bakeoff.record.limits import LimitsReadBack, mismatches
from bakeoff.record.trial import Example
from bakeoff.run import plan, preflight
from bakeoff.run.forecast import forecast
from bakeoff.run.task import read
from tests.fakes import synthetic

MIB = 2**20


@pytest.fixture
def harness(tmp_path: Path) -> Path:
    write(tmp_path / "project")
    return tmp_path / "project/harness.yaml"


def written(path: Path, **keys: object) -> Path:
    """The file with these keys at its top level."""
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | keys, sort_keys=False))
    return path


def swept(path: Path, **given: object) -> Config:
    return loading.load(path, Overrides(sweep=dict(given)))


BASE = {"cpus": 2.0, "memory": "200MiB", "pids": 100, "disk": "10MiB"}


def test_levels_multiply_what_is_scaled_and_leave_the_rest(harness: Path) -> None:
    written(harness, resources=BASE)
    low, high, none = plan.profiles(swept(harness, levels=[1, "2.5x", "uncapped"], scale=["memory", "pids"]))
    assert [each.name for each in (low, high, none)] == ["1x", "2.5x", "uncapped"]
    assert [each.limits.memory_bytes for each in (low, high, none)] == [200 * MIB, 500 * MIB, None]
    assert [each.limits.pids for each in (low, high, none)] == [100, 250, None]
    assert {each.limits.cpus for each in (low, high, none)} == {2.0}
    assert {each.limits.disk_bytes for each in (low, high, none)} == {10 * MIB}


def test_every_level_reserves_the_same_floor_but_never_above_its_ceiling(harness: Path) -> None:
    written(harness, resources=BASE)
    small, base, none = plan.profiles(swept(harness, levels=[0.5, 1, "uncapped"]))
    assert [each.reserved_memory_bytes for each in (small, base, none)] == [100 * MIB, 200 * MIB, 200 * MIB]
    assert [each.reserved_cpus for each in (small, base, none)] == [1.0, 2.0, 2.0]
    lower = plan.profiles(swept(harness, levels=[1, 2], floor=0.25))
    assert {each.reserved_memory_bytes for each in lower} == {50 * MIB}


def test_time_is_scaled_as_the_rest_and_is_never_uncapped(harness: Path) -> None:
    profiles = plan.profiles(swept(harness, levels=[1, 3, "uncapped"], scale=["time"]))
    base = swept(harness).harness.limits.seconds
    assert [each.seconds for each in profiles] == [base, 3 * base, 3 * base]
    parts = fingerprint.of_profiles(profiles)
    assert parts["resources@1x"] != parts["resources@3x"]


def test_profiles_may_be_given_in_full(harness: Path) -> None:
    written(
        harness, sweep={"profiles": {"small": {"memory": "100MiB"}, "large": {"memory": "1GiB", "cpus": 2}}}
    )
    small, large = plan.profiles(swept(harness))
    assert (small.name, small.limits.memory_bytes, large.limits.cpus) == ("small", 100 * MIB, 2.0)


def test_a_sweep_is_a_sweep_only_when_asked_for(harness: Path) -> None:
    written(harness, sweep={"levels": [1, 2]})
    assert [each.name for each in plan.profiles(loading.load(harness, Overrides()))] == ["default"]
    assert [each.name for each in plan.profiles(loading.load(harness))] == ["default"]
    assert [each.name for each in plan.profiles(swept(harness))] == ["1x", "2x"]
    assert [each.name for each in plan.profiles(swept(harness, levels=["1", "4"]))] == ["1x", "4x"]


def test_a_sweep_never_stops_early_whatever_the_file_says(harness: Path) -> None:
    written(harness, stop_early=True, trials=3)
    assert loading.load(harness).stop_early is not None
    assert swept(harness, levels=[1, 2]).stop_early is None


def test_the_profiles_of_one_task_and_repetition_run_next_to_each_other_in_an_order_that_varies(
    harness: Path,
) -> None:
    config = swept(harness, levels=[1, 2, 4])
    examples = [Example(id=f"e{n}", inputs={}, messages=[]) for n in range(8)]
    config = config.model_copy(update={"trials": 2, "candidates": config.candidates[:1]})
    trials = plan.trials(config, examples)
    blocks = [list(own) for _, own in groupby(trials, lambda each: (each.example_id, each.repetition))]
    assert [len(each) for each in blocks] == [3] * 16
    assert {frozenset(trial.profile for trial in each) for each in blocks} == {frozenset(("1x", "2x", "4x"))}
    assert len({tuple(trial.profile for trial in each) for each in blocks}) > 1
    assert plan.trials(config, examples) == trials


@pytest.mark.parametrize(
    ("sweep", "key", "problem"),
    [
        ({"levels": [1]}, "sweep.levels", "fewer than two"),
        ({"levels": [2, 1]}, "sweep.levels", "order"),
        ({"levels": [1, 1]}, "sweep.levels", "order"),
        ({"levels": ["uncapped", 1]}, "sweep.levels", "order"),
        ({"levels": [1, 0]}, "sweep.levels[1]", "not a level"),
        ({"levels": [1, True]}, "sweep.levels[1]", "not a level"),
        ({"levels": [0.001, 1]}, "sweep.levels", "6MiB"),
        ({"scale": []}, "sweep.scale", "not empty"),
        ({"scale": ["ram"]}, "sweep.scale[0]", "memory"),
        ({"floor": 0}, "sweep.floor", "greater than 0"),
        ({"margin": 1}, "sweep.margin", "less than 1"),
        ({"profiles": {"one": {}}}, "sweep.profiles", "one profile"),
        ({"profiles": {"a/b": {}, "c": {}}}, "sweep.profiles.a/b", "file name"),
        ({"profiles": {"a": {}, "b": {}}, "levels": [1, 2]}, "sweep.profiles", "together"),
        ({"profiles": {"a": {"memory": "1MiB"}, "b": {}}}, "sweep.profiles.a.memory", "6MiB"),
        ({"levles": [1, 2]}, "sweep.levles", "unknown"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_line(
    harness: Path, sweep: dict[str, object], key: str, problem: str
) -> None:
    written(harness, sweep=sweep)
    with pytest.raises(InputError, match=problem) as error:
        loading.load(harness)
    assert error.value.key is not None
    assert error.value.key.replace('"', "").replace("[a/b]", ".a/b") == key
    assert error.value.line is not None


def test_an_option_that_makes_no_sense_is_named(harness: Path) -> None:
    with pytest.raises(InputError, match="order") as error:
        swept(harness, levels=["4", "2"])
    assert error.value.key == "--levels"
    written(harness, sweep={"profiles": {"a": {}, "b": {}}})
    with pytest.raises(InputError, match="in full") as error:
        swept(harness, levels=["1", "2"])
    assert error.value.key == "--levels"


def test_a_level_larger_than_the_host_is_refused_before_anything_starts(harness: Path) -> None:
    written(harness, resources=BASE)
    host = Capacity(cpus=2.0, memory_bytes=300 * MIB)
    preflight.check_host(swept(harness, levels=[1, "uncapped"]), host)
    for scale, problem in (("cpus", "4 CPUs"), ("memory", "400 MiB")):
        with pytest.raises(InputError, match=f"2x: {problem}") as error:
            preflight.check_host(swept(harness, levels=[1, 2], scale=[scale]), host)
        assert error.value.key == "sweep.levels"


def test_an_uncapped_container_asks_for_no_ceiling_and_is_the_first_that_a_full_host_kills(
    harness: Path,
) -> None:
    class Api:
        def create_host_config(self, **given: object) -> dict[str, object]:
            return given

        def create_container(self, image: str, **given: object) -> dict[str, object]:
            return given

    base, none = plan.profiles(
        swept(harness, levels=[1, "uncapped"], scale=["memory", "cpus", "pids", "disk"])
    )
    asked = [
        _create(Api(), SandboxSpec(run_id="r", image="i", limits=each.limits), 1, 0, for_podman=False)[
            "host_config"
        ]  # type: ignore[arg-type]
        for each in (base, none)
    ]
    assert asked[1]["mem_limit"] is asked[1]["memswap_limit"] is asked[1]["pids_limit"] is None
    assert asked[1]["nano_cpus"] == 0
    assert "size=" in asked[0]["tmpfs"]["/task"]
    assert "size=" not in asked[1]["tmpfs"]["/task"]
    assert [each["oom_score_adj"] for each in asked] == [None, FIRST_TO_GO]


def test_no_limit_is_missed_where_none_was_asked_for_and_swap_only_where_memory_is_limited(
    harness: Path,
) -> None:
    base, none = plan.profiles(swept(harness, levels=[1, "uncapped"]))
    rest = {"pids_limit": base.limits.pids, "disk_limit_bytes": base.limits.disk_bytes}
    assert mismatches(none.limits, LimitsReadBack(**rest)) == []
    assert [each.partition(":")[0] for each in mismatches(base.limits, LimitsReadBack(**rest))] == [
        "memory",
        "cpus",
        "swap",
    ]


def test_a_sweep_replays_what_was_recorded_without_profiles_and_prefers_its_own(tmp_path: Path) -> None:
    replay = ReplayBackend(tmp_path, "again", Recorded(name="first", model="m", params={}))
    plain = tape_of(tmp_path, "first/case/1")
    assert replay._path("again@2x/case/1") == plain
    own = tape_of(tmp_path, "first@2x/case/1")
    own.touch()
    assert replay._path("again@2x/case/1") == own
    assert replay._path("again/case/1") == plain


def test_the_forecast_is_the_sum_of_each_candidates_means_in_the_latest_run_of_that_name(
    harness: Path, tmp_path: Path
) -> None:
    task = read(harness, Overrides(sweep={"levels": [1, 2]}))
    out = tmp_path / "runs"
    assert forecast(task, out, slots=2) is None
    names = [each.name for each in task.config.candidates]
    for run_id, cost in (("20260101-000000-x-0001", 9.0), ("20260102-000000-x-0002", 0.5)):
        run = synthetic.run_directory(
            out,
            [synthetic.trial(name, usage={"cost_usd": cost}, seconds=2.0) for name in names],
            synthetic.manifest(names, run_id=run_id, config={"name": task.config.name}),
        )
        assert run.run_id == run_id
    expected = forecast(task, out, slots=2)
    assert expected is not None
    assert (expected.run_id, expected.usd) == ("20260102-000000-x-0002", 0.5 * len(task.trials))
    assert expected.seconds == 3 * len(task.trials) / 2
