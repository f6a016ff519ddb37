"""The sweep's demonstration: true references, real memory, and the shape that was published."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest

from bakeoff import datasets
from bakeoff.config import loading
from bakeoff.config.overrides import Overrides
from bakeoff.gateway.models.simulated import parse, plan
from bakeoff.run import preflight
from bakeoff.run.plan import profiles
from data_desk import memory, tables, tools
from data_desk.tables import MIB, TABLES

DEMONSTRATION = Path(__file__).parents[2] / "examples" / "memory_sweep"
DOCS = (DEMONSTRATION.parents[1] / "docs" / "sweep.md").read_text()
CONFIG = loading.load(DEMONSTRATION / "harness.yaml")
DATASET = datasets.load(CONFIG)
EXAMPLES = DATASET.examples
CANDIDATES = {candidate.name: candidate.model for candidate in CONFIG.candidates}
SKILL = 0.99

LEVELS = {"1x": 1, "1.5x": 1.5, "2x": 2, "3x": 3, "5x": 5, "uncapped": None}
AGENT_MIB = 80  # in the container before the first tool call: the supervisor and an agent of LangChain
HOST_MIB = 8192  # what an uncapped container sees free
READINGS = 4000


class Fate(NamedTuple):
    """What becomes of one example's trials at one level, the model's own errors apart."""

    infra: float  # share that dies
    right: bool  # whether the others pass


@cache
def sizes(table: str) -> list[float]:
    """Many readings' sizes in MiB."""
    dice = random.Random(table)
    return [tables.size_today(TABLES[table], dice) / MIB for _ in range(READINGS)]


def share_above(table: str, mib: float) -> float:
    return fmean(size > mib for size in sizes(table))


def steps(example: Any, candidate: str) -> Any:
    return plan(replace(parse(CANDIDATES[candidate]), skill=1), 1, example.outputs).steps


def room(level: str, agent: float = AGENT_MIB) -> float:
    """MiB that a tool may take."""
    factor = LEVELS[level]
    return HOST_MIB if factor is None else factor * CONFIG.resources.memory / MIB - agent


def fate(example: Any, candidate: str, level: str, agent: float = AGENT_MIB) -> Fate:
    """The real tools choose and answer; how large a table is that day is drawn."""
    free, died, right = room(level, agent), 0.0, True
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as workdir:
        patch.chdir(workdir)
        patch.setattr(tools, "size_today", lambda table: 0)
        patch.setattr(memory, "free", lambda: int(free * MIB))
        for step in steps(example, candidate):
            answer = getattr(tools, step.name)(**step.args)
            right = right and step.result in json.dumps(answer)
            if answer.get("way") == "whole":
                died = share_above(step.args["table"], free)
            elif "file" in answer:
                died = share_above(step.args["table"], min(free, CONFIG.resources.disk / MIB))
    return Fate(died, right)


@cache
def sweep(agent: float = AGENT_MIB) -> dict[tuple[str, str], dict[str, Fate]]:
    """The whole demonstration as it should come out: (candidate, level) -> the fate of every example."""
    return {
        (candidate, level): {example.id: fate(example, candidate, level, agent) for example in EXAMPLES}
        for candidate in CANDIDATES
        for level in LEVELS
    }


def infra(fates: dict[str, Fate]) -> float:
    return 100 * fmean(each.infra for each in fates.values())


def as_deployed(fates: dict[str, Fate]) -> float:
    return 100 * SKILL * fmean(each.right * (1 - each.infra) for each in fates.values())


def score(fates: dict[str, Fate]) -> float:
    """The pooled score of the trials that complete."""
    return as_deployed(fates) / fmean(1 - each.infra for each in fates.values())


def on_clean(swept: Any, candidate: str, level: str) -> float:
    """The score on the examples whose trials complete at every level, for this candidate."""
    clean = [e.id for e in EXAMPLES if all(swept[candidate, other][e.id].infra < 0.005 for other in LEVELS)]
    return 100 * SKILL * fmean(swept[candidate, level][name].right for name in clean)


# --- the dataset ------------------------------------------------------------------------------------


def test_a_run_would_start():
    preflight.check(CONFIG, DATASET, environ={})


def test_what_is_expected_is_of_the_levels_that_are_swept():
    swept = loading.load(DEMONSTRATION / "harness.yaml", Overrides(sweep={}))
    assert swept.sweep.scale == ["memory"]
    memories = {profile.name: profile.limits.memory_bytes for profile in profiles(swept)}
    base = CONFIG.resources.memory
    assert memories == {name: factor and factor * base for name, factor in LEVELS.items()}


def test_there_are_forty_questions_of_six_kinds():
    assert len(EXAMPLES) == 40
    kinds = [example.metadata["kind"] for example in EXAMPLES]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "small": 25, "packed": 4, "unanswerable": 4, "tight": 3, "large": 3, "export": 1,
    }  # fmt: skip


@pytest.mark.slow
def test_every_reference_is_what_the_tools_say_where_there_is_room_and_it_is_used():
    wrong = {
        candidate: {e.metadata["kind"] for e in EXAMPLES if not sweep()[candidate, "uncapped"][e.id].right}
        for candidate in CANDIDATES
    }
    assert wrong == {"eager": {"unanswerable"}, "lean": {"unanswerable", "large"}}


def test_both_candidates_are_equally_skilled_and_differ_in_what_they_load_whole():
    assert {parse(model).skill for model in CANDIDATES.values()} == {SKILL}
    differing = [e.metadata["kind"] for e in EXAMPLES if steps(e, "eager") != steps(e, "lean")]
    assert set(differing) == {"tight", "large"}


def test_the_numbers_are_the_same_at_every_size():
    first, second = (
        [(row.amount, row.customer) for row in tables.read("chats", size)] for size in (0, 9_999_999)
    )
    assert first == second


# --- what a sweep should show -----------------------------------------------------------------------


def test_infra_errors_fall_as_published():
    """Published: 5.8 % at 1x, 2.1 % at 3x, 0.5 % uncapped."""
    swept = sweep()
    rates = [fmean(infra(swept[candidate, level]) for candidate in CANDIDATES) for level in LEVELS]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == pytest.approx(5.8, abs=0.6)
    assert rates[3] == pytest.approx(2.1, abs=0.5)
    assert rates[5] == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_each_candidate_s_infra_errors_fall_with_headroom(candidate):
    swept = sweep()
    rates = [infra(swept[candidate, level]) for level in LEVELS]
    assert all(after <= before + 0.1 for before, after in pairwise(rates))
    assert rates[0] > 1.5 * rates[3] > 3 * rates[5]


def test_the_score_is_flat_to_three_times_and_then_rises_for_the_model_that_takes_another_test():
    swept = sweep()
    for candidate in CANDIDATES:
        assert len({on_clean(swept, candidate, level) for level in ("1x", "1.5x", "2x", "3x")}) == 1
    eager = {level: on_clean(swept, "eager", level) for level in LEVELS}
    assert 5 < eager["5x"] - eager["3x"] < eager["uncapped"] - eager["3x"] < 12
    assert on_clean(swept, "lean", "uncapped") == on_clean(swept, "lean", "1x")


def test_as_deployed_rises_as_published():
    """Published: 6 points from 1x to uncapped, about 4 of them beyond 3x, where errors have 1.6 points left to fall."""
    swept = sweep()

    def change(measure: Any, start: str, end: str) -> float:
        return fmean(measure(swept[c, end]) - measure(swept[c, start]) for c in CANDIDATES)

    assert change(as_deployed, "1x", "uncapped") == pytest.approx(6, abs=1.5)
    assert change(as_deployed, "3x", "uncapped") == pytest.approx(4, abs=0.5)
    assert change(as_deployed, "1x", "3x") < -change(infra, "1x", "3x")
    assert change(as_deployed, "3x", "uncapped") > -2 * change(infra, "3x", "uncapped") > 0


def test_the_box_decides_which_candidate_leads():
    pairs = [sweep()["eager", level] for level in LEVELS], [sweep()["lean", level] for level in LEVELS]
    lead = [as_deployed(eager) - as_deployed(lean) for eager, lean in zip(*pairs, strict=True)]
    assert lead[0] < -2
    assert lead[-1] > 7
    assert lead == sorted(lead)


def test_the_pooled_score_falls_where_kills_take_trials_that_would_fail():
    assert score(sweep()["eager", "1x"]) - score(sweep()["eager", "3x"]) > 0.5


def test_the_docs_say_what_is_expected():
    swept = sweep()
    for level, factor in LEVELS.items():
        memory_mib = "" if factor is None else f" {factor * CONFIG.resources.memory / MIB:.0f} MiB"
        rates = [f"{infra(swept[candidate, level]):.1f} %" for candidate in CANDIDATES]
        scores = [f"{as_deployed(swept[candidate, level]):.1f}" for candidate in CANDIDATES]
        clean = [f"{on_clean(swept, candidate, level):.1f}" for candidate in CANDIDATES]
        row = f"| {level} |{memory_mib} | {' | '.join([*rates, *scores, *clean])} |"
        assert row in DOCS, row


@pytest.mark.parametrize("agent", [65, 100])
def test_the_shape_does_not_hang_on_the_memory_of_the_agent_itself(agent):
    swept = sweep(agent)
    for candidate in CANDIDATES:
        rates = {level: infra(swept[candidate, level]) for level in LEVELS}
        assert 3.5 < rates["1x"] < 8.5
        assert rates["3x"] < 2.7
        assert on_clean(swept, candidate, "1x") == on_clean(swept, candidate, "3x")


# --- real memory ------------------------------------------------------------------------------------

PEAK = """
import json, resource, sys
from data_desk import memory, tools

def peak():
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))

free, size, limit, call = json.loads(sys.argv[1])
memory.free = lambda: free * 2**20
tools.size_today = lambda table: size * 2**20
before = peak()
if limit:
    resource.setrlimit(resource.RLIMIT_AS, (limit * 2**20, limit * 2**20))
try:
    answer = tools.measure(*call)
except MemoryError:
    answer = {"way": "killed"}
print(json.dumps([answer["way"], peak() - before]))
"""


def measured(free: int, size: int, *call: object, limit: int = 0) -> tuple[str, float]:
    """The way that a tool took in a process of its own, and the MiB that this took at its peak. All sizes in MiB."""
    arguments = [sys.executable, "-c", PEAK, json.dumps([free, size, limit, call])]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=DEMONSTRATION)
    way, peak = json.loads(done.stdout)
    return way, peak


def test_a_table_loaded_whole_takes_its_size_today():
    way, peak = measured(200, 150, "calls", "total")
    assert way == "whole"
    assert peak == pytest.approx(150, rel=0.05)


def test_a_table_read_row_by_row_takes_next_to_nothing():
    way, peak = measured(400, 300, "chats", "median")
    assert way == "row by row"
    assert peak < 10


def test_a_packed_table_is_loaded_whole_however_little_room_there_is():
    way, peak = measured(10, 100, "letters_2022", "total")
    assert way == "whole"
    assert peak == pytest.approx(100, rel=0.05)


def test_a_table_that_has_grown_does_not_fit_where_the_catalogue_s_size_would():
    assert measured(112, 88, "repairs", "total", limit=160)[0] == "whole"
    assert measured(112, 200, "repairs", "total", limit=160)[0] == "killed"


def test_no_table_is_larger_than_one_and_a_half_gigabytes():
    assert max(max(sizes(table)) for table in TABLES) <= tables.LARGEST_MIB == 1536


# --- how much room there is -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cgroup", "mib"),
    [
        ({"memory.max": f"{192 * MIB}\n", "memory.stat": f"anon {70 * MIB}\nfile 99999999\nshmem {10 * MIB}\n"}, 112),
        ({"memory.max": "max\n", "memory.stat": "anon 5\n"}, 4096),
        (
            {
                "memory/memory.limit_in_bytes": f"{192 * MIB}\n",
                "memory/memory.stat": f"cache 99999999\nrss {70 * MIB}\nshmem {10 * MIB}\n",
            },
            112,
        ),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 4096),
        ({"memory.max": f"{MIB}\n", "memory.stat": f"anon {2 * MIB}\n"}, 0),
        ({"memory.max": f"{8192 * MIB}\n", "memory.stat": "anon 0\n"}, 4096),
        ({}, 4096),
    ],
    ids=["version 2", "version 2 uncapped", "version 1", "version 1 uncapped", "full", "small host", "no cgroup"],
)  # fmt: skip
def test_free_memory_is_what_the_limit_leaves_or_the_host_has(tmp_path, cgroup, mib):
    for name, content in {
        **cgroup,
        "proc/meminfo": f"MemTotal: 9 kB\nMemAvailable: {4096 * 1024} kB\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert memory.free(tmp_path, tmp_path / "proc") == mib * MIB
