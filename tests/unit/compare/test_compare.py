"""Comparisons of two runs: refusals in words, gates that know noise, exit codes, and runs that are hardly there."""

import json
import math
import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bakeoff import datasets, stats
from bakeoff.compare import RunComparison, compare_runs, drift, gates, parse_pairs, read
from bakeoff.compare.document import document
from bakeoff.compare.junit import render as junit
from bakeoff.compare.summary import summary
from bakeoff.config import loading, selectors
from bakeoff.config.schema import Gates
from bakeoff.errors import InputError
from bakeoff.record import store
from bakeoff.record.manifest import Manifest
from bakeoff.record.store import RunDirectory
from bakeoff.record.trial import TrialRecord
from bakeoff.report import markdown
from tests.fakes import synthetic
from tests.fakes.command import Done, bakeoff


def manifest(
    run_id: str, candidates: Sequence[str] = ("steady",), examples: int = 30, **changes: Any
) -> Manifest:
    """Every example is its own cluster; half are of the suite `benchmark`."""
    ids = [f"case-{number:03d}" for number in range(examples)]
    facts = {
        "path": "d.jsonl",
        "rows": examples,
        "example_ids": ids,
        "clusters": {each: each for each in ids},
        "suites": {each: "benchmark" if n % 2 else "coverage" for n, each in enumerate(ids)},
        "severities": {each: n % 3 for n, each in enumerate(ids)},
        "row_digests": dict.fromkeys(ids, "r"),
    }
    repetitions = changes.pop("repetitions", 2)
    changes["dataset"] = facts | changes.get("dataset", {})
    return synthetic.manifest(candidates, examples, repetitions, run_id=run_id, **changes)


def rows(*letters: str, candidate: str = "steady", **changes: Any) -> list[TrialRecord]:
    """One text an example, one letter a repetition: P passed, F failed, I infra error, L died of a limit."""
    verdicts = {
        "P": {},
        "F": {"verdict": "failed", "cause": "model.wrong_answer"},
        "I": {"verdict": "infra_error", "cause": "infra.provider_timeout"},
        "L": {"verdict": "infra_error", "cause": "infra.oom_killed"},
    }
    return [
        synthetic.trial(candidate, f"case-{n:03d}", repetition, **verdicts[letter] | changes)  # type: ignore[arg-type]
        for n, row in enumerate(letters)
        for repetition, letter in enumerate(row, 1)
    ]


def run(out: Path, run_id: str, records: Iterable[TrialRecord], **changes: Any) -> RunDirectory:
    return synthetic.run_directory(out, records, manifest(run_id, **changes))


def compared(
    base: RunDirectory,
    head: RunDirectory,
    asked: Gates | None = None,
    given: Sequence[str] = (),
    **options: Any,
) -> RunComparison:
    old, new = read(base, "BASE"), read(head, "HEAD")
    pairs = parse_pairs(old, new, given, same_run=base.path == head.path)
    return compare_runs(old, new, pairs, asked or Gates(), **options)


GOOD, BAD = ["PP"] * 27 + ["PF"] * 3, ["PP"] * 15 + ["FF"] * 12 + ["PF"] * 3


@pytest.fixture
def good(tmp_path: Path) -> RunDirectory:
    return run(tmp_path, "1-good", rows(*GOOD))


# --- what is said -----------------------------------------------------------------------------------


def test_nothing_changed(tmp_path: Path, good: RunDirectory) -> None:
    got = compared(good, run(tmp_path, "2", rows(*GOOD)), Gates(max_drop=0.1, max_infra=0.05))
    assert (got.exit_code, [g.status for g in got.gates]) == (0, ["passed", "passed"])
    assert "No change beyond noise" in got.sentence
    assert got.changes[0].turned("newly failing") == []
    assert got.changes[0].causes == {}


def test_a_regression_fails_the_gate_and_names_its_examples(tmp_path: Path, good: RunDirectory) -> None:
    got = compared(good, run(tmp_path, "2", rows(*BAD)), Gates(max_drop=0.02))
    assert got.exit_code == 1
    [gate] = got.failed
    assert "fell by 40.0 points, which is more than noise (p < 0.001" in gate.because
    newly = [e.example_id for e in got.changes[0].turned("newly failing")]
    assert newly == [f"case-{n:03d}" for n in range(15, 27)]
    assert newly[0] in gate.because
    assert got.changes[0].causes == {"model.wrong_answer": (3, 27)}
    assert compared(run(tmp_path, "3", rows(*BAD)), good, Gates(max_drop=0.02)).exit_code == 0
    assert compared(good, run(tmp_path, "4", rows(*BAD))).exit_code == 0, "no gate, no failure"


def test_a_gate_passes_only_where_the_sample_excludes_its_margin(tmp_path: Path, good: RunDirectory) -> None:
    noisy = run(tmp_path, "2", rows(*["PF", "PP", "FP", *GOOD[3:]]))
    got = compared(good, noisy, Gates(max_drop=0.02))
    [gate] = got.gates
    assert (got.exit_code, gate.status) == (3, "unknown")
    assert "fell by 3.3 points, which may be noise (p = " in gate.because
    assert (
        f"the drop is at most {100 * (gate.high or 0):.1f} points (95 %), so it is not shown" in gate.because
    )
    assert "times as many repetitions can answer 2.0 points" in gate.because
    assert "1 of 1 gate is unknown: max-drop 2.0 %" in got.sentence
    got = compared(good, noisy, Gates(max_drop=0.15))
    assert (got.exit_code, got.gates[0].status) == (0, "passed")
    assert "(95 %), within the 15.0 points allowed" in got.gates[0].because


def test_a_drop_that_is_shown_but_within_the_margin_is_no_failure(tmp_path: Path, good: RunDirectory) -> None:
    head = run(tmp_path, "2", rows(*["PF"] * 10, *GOOD[10:]))
    [gate] = compared(good, head, Gates(max_drop=0.2)).gates
    assert (gate.value, gate.p_adjusted and gate.p_adjusted < 0.05) == (pytest.approx(1 / 6), True)
    assert "is more than noise" in gate.because
    assert gate.status == "unknown"
    [gate] = compared(good, head, Gates(max_drop=0.3)).gates
    assert gate.status == "passed"


def test_few_examples_with_repetitions_can_fail_a_gate(tmp_path: Path) -> None:
    """24 of 24 against 7 of 21, in three clusters: nothing about requests like these, all about these examples."""
    facts = {"clusters": {f"case-{n:03d}": str(n // 2) for n in range(6)}}
    shape = {"examples": 6, "repetitions": 4, "dataset": facts, "config": {"infra": {"max_error_rate": 0.2}}}
    base = run(tmp_path, "1", rows(*["PPPP"] * 6), **shape)
    head = run(tmp_path, "2", rows("PFFF", "PFFI", "PPFI", "FFFF", "PFFF", "PPIF"), **shape)
    got = compared(base, head, Gates(max_drop=0.05))
    [gate] = got.gates
    assert (got.exit_code, gate.status, gate.about) == (1, "failed", "these very examples")
    assert got.changes[0].tested.conclusion == 0
    assert "GATE FAILED" in got.sentence


@pytest.mark.parametrize("after", [("FF", "PF"), ("PP", "PP")])
@pytest.mark.parametrize("slower", [1.0, 10.0])
def test_a_sample_that_can_see_nothing_answers_no_gate(
    tmp_path: Path, after: tuple[str, str], slower: float
) -> None:
    base = run(tmp_path, "1", rows("PP", "PP"), examples=2)
    head = [
        r.model_copy(update={"seconds": r.seconds.model_copy(update={"working": slower * 4.2})})
        for r in rows(*after)
    ]
    bounds = Gates(max_drop=0.02, max_cost_increase=0.1, max_latency_increase=0.1, max_infra=0.02)
    got = compared(base, run(tmp_path, "2", head, examples=2), bounds)
    assert [g.status for g in got.gates] == ["unknown"] * 4
    assert "too small to tell any increase from noise" in got.gates[2].because
    assert got.exit_code == 3


def test_three_examples_that_ran_once_never_pass(tmp_path: Path) -> None:
    sides = [run(tmp_path, name, rows("P", "P", "P"), examples=3, repetitions=1) for name in ("1", "2")]
    got = compared(*sides, Gates(max_drop=0.1, max_turn_limit=0.1, max_cost_increase=1.0))
    assert [g.status for g in got.gates] == ["unknown"] * 3


@pytest.mark.parametrize("cause", ["model.time_limit", "model.turn_limit"])
def test_a_candidate_that_runs_into_a_limit_more_often_fails_the_gate_on_it(
    tmp_path: Path, good: RunDirectory, cause: str
) -> None:
    slow = [r.model_copy(update={"cause": cause}) if r.verdict == "failed" else r for r in rows(*BAD)]
    asked = Gates(max_time_limit=0.1, max_turn_limit=0.1)
    got = compared(good, run(tmp_path, "2", slow), asked)
    status = {gate.gate.split()[0]: gate.status for gate in got.gates}
    hit = cause.removeprefix("model.").replace("_", "-")
    assert status == {"max-time-limit": "passed", "max-turn-limit": "passed"} | {f"max-{hit}": "failed"}
    assert "limit ended went from 0.0 % to 45.0 %, which is more than noise" in got.failed[0].because


def test_nights_spend_the_level(tmp_path: Path, good: RunDirectory) -> None:
    head = run(tmp_path, "2", rows(*["PF"] * 10, *GOOD[10:]))
    [gate] = compared(good, head, Gates(max_drop=0.1)).gates
    assert gate.status == "failed"
    assert 0.05 / 30 < (gate.p_adjusted or 0.0) < 0.05
    [gate] = compared(good, head, Gates(max_drop=0.1, nights=30)).gates
    assert gate.status == "unknown"


def test_cost_and_latency(tmp_path: Path, good: RunDirectory) -> None:
    def dearer(factor: float) -> list[TrialRecord]:
        return [
            r.model_copy(
                update={
                    "usage": r.usage.model_copy(update={"cost_usd": factor * 0.0123}),
                    "seconds": r.seconds.model_copy(update={"working": factor * 4.2}),
                }
            )
            for r in rows(*GOOD)
        ]

    bounds = Gates(max_cost_increase=0.1, max_latency_increase=0.1)
    same = compared(good, run(tmp_path, "2", dearer(1.05)), bounds)
    assert [g.status for g in same.gates] == ["passed", "passed"]
    more = compared(good, run(tmp_path, "3", dearer(1.3)), bounds)
    assert [g.status for g in more.gates] == ["failed", "failed"]
    assert "from $0.0123 to $0.0160 (+30.0 %)" in more.gates[0].because
    unknown = [
        r.model_copy(update={"usage": r.usage.model_copy(update={"cost_usd": None})}) for r in rows(*GOOD)
    ]
    got = compared(good, run(tmp_path, "4", unknown), bounds)
    assert [g.status for g in got.gates] == ["unknown", "passed"]
    assert got.exit_code == 3
    dear = compared(run(tmp_path, "5", dearer(0.0)), good, Gates(max_cost_increase=5))
    assert dear.gates[0].status == "failed"
    assert "from nothing" in dear.gates[0].because


def test_cost_and_latency_of_many_candidates_are_corrected_as_scores_are(tmp_path: Path) -> None:
    """Five candidates that are a little slower by chance: one of five p-values below 0.05 is no news."""
    names, chance = [f"m{n}" for n in range(5)], random.Random(20)

    def timed(steady: bool) -> list[TrialRecord]:
        return [
            r.model_copy(update={"seconds": r.seconds.model_copy(update={"working": seconds})})
            for name in names
            for r in rows(*GOOD, candidate=name)
            for seconds in (4.0 if steady else 4.0 * chance.lognormvariate(0.02, 0.1),)
        ]

    base = run(tmp_path, "1", timed(True), candidates=names)
    head = run(tmp_path, "2", timed(False), candidates=names)
    got = compared(base, head, Gates(max_latency_increase=0.0))
    measures = [change.latency for change in got.changes if change.latency]
    raw = [each.rise.p_value for each in measures]
    assert [each.p_adjusted for each in measures] == stats.holm(raw)
    assert any(each.rise.p_rise < 0.05 for each in measures)
    assert [gate.status for gate in got.gates] == ["unknown"] * 5
    told = summary(got)["candidates"][0]["working_seconds"]
    assert (told["p_value"], told["p_adjusted"]) == (raw[0], stats.holm(raw)[0])


def test_two_candidates_of_one_run(tmp_path: Path) -> None:
    both = [*rows(*GOOD), *rows(*BAD, candidate="hasty")]
    one = run(tmp_path, "1", both, candidates=("steady", "hasty"))
    got = compared(one, one, given=["steady:hasty"])
    assert got.changes[0].name == "steady → hasty"
    assert got.changes[0].tested.conclusion == -1
    with pytest.raises(InputError, match="same run"):
        compared(one, one)
    with pytest.raises(InputError, match="with itself"):
        compared(one, one, given=["hasty"])


def test_a_candidate_that_is_not_there(tmp_path: Path, good: RunDirectory) -> None:
    with pytest.raises(InputError, match="BASE has no candidate 'stedy'") as caught:
        compared(good, run(tmp_path, "2", rows(*GOOD)), given=["stedy"])
    assert "Did you mean steady?" in (caught.value.hint or "")
    other = run(tmp_path, "3", rows(*GOOD, candidate="new"), candidates=("new",))
    with pytest.raises(InputError, match="no candidate in common"):
        compared(good, other)
    assert compared(good, other, given=["steady:new"]).exit_code == 0


# --- infrastructure ---------------------------------------------------------------------------------


def test_a_storm_is_inconclusive_and_no_regression(tmp_path: Path, good: RunDirectory) -> None:
    stormy = run(tmp_path, "2", rows(*["PI"] * 15, *["II"] * 15))
    got = compared(good, stormy, Gates(max_drop=0.0))
    assert (got.exit_code, got.gates) == (3, [])
    asked = compared(good, stormy, Gates(max_drop=0.0, max_infra=0.02))
    assert (asked.exit_code, [g.gate for g in asked.failed]) == (1, ["max-infra 2.0 %"]), (
        "it asks about the storm"
    )
    assert "INCONCLUSIVE: 75.0 %" in asked.sentence
    assert "INCONCLUSIVE: 75.0 % of steady's trials in HEAD ended as infrastructure errors" in got.sentence
    allowed = compared(good, stormy, Gates(max_infra=0.02), allow_inconclusive=True)
    assert allowed.exit_code == 1
    assert "INCONCLUSIVE ALLOWED" in allowed.sentence


def test_the_gate_on_infra_errors_knows_noise(tmp_path: Path, good: RunDirectory) -> None:
    one = run(tmp_path, "2", rows("PI", *["PP"] * 29))
    asked, allowed = Gates(max_infra=0.01), {"allow_inconclusive": True}
    [gate] = compared(good, one, asked, **allowed).gates
    assert (gate.status, gate.value) == ("unknown", pytest.approx(1 / 60)), "one error of 60 shows nothing"
    assert "so it is not shown to be within the 1.0 % allowed" in gate.because
    five = run(tmp_path, "3", rows(*["PI"] * 5, *["PP"] * 25))
    assert compared(good, five, asked, **allowed).gates[0].status == "failed"


def test_a_conclusion_that_depends_on_infra_errors_is_told(tmp_path: Path) -> None:
    config = {"infra": {"max_error_rate": 0.5}}
    base = run(tmp_path, "1", rows(*["PP"] * 30), config=config)
    head = run(tmp_path, "2", rows(*["PI"] * 10, *["PP"] * 20), config=config)
    got = compared(base, head)
    by = {way: round(test.difference or 0, 3) for way, test in got.changes[0].difference.by.items()}
    assert by == {"score": 0.0, "as_deployed": 0.0, "worst_case": -0.167, "best_case": 0.0}
    assert any("How infrastructure errors are counted decides" in note for note in got.notes)


def test_a_candidate_that_dies_inside_since_last_night_fell_as_if_it_had_failed(tmp_path: Path) -> None:
    config = {"infra": {"max_error_rate": 0.5}}
    base = run(tmp_path, "1", rows(*["PP"] * 30), config=config)
    asked = Gates(max_drop=0.02, must_pass=["id=case-000"])
    failing, dying = (
        compared(base, run(tmp_path, letters, rows(*[letters] * 10, *["PP"] * 20), config=config), asked)
        for letters in ("FF", "LL")
    )
    for got in (failing, dying):
        [change] = got.changes
        assert change.tested.conclusion == -1
        assert [gate.status for gate in got.gates] == ["failed", "failed"]
        assert [e.example_id for e in change.turned("newly failing")] == [f"case-{n:03d}" for n in range(10)]
    assert dying.changes[0].tested == failing.changes[0].tested
    did = "died inside their container or broke an evaluator"
    said = f"steady in HEAD: 20 of 60 trials {did}, against 0 of 60 of steady in BASE (p < 0.001)"
    assert any(note.startswith(said) for note in dying.notes)
    told = summary(dying)["candidates"][0]
    assert (told["base_deaths"], told["head_deaths"]["count"]) == (None, 20)
    assert summary(failing)["candidates"][0]["head_deaths"] is None


def test_a_candidate_in_two_pairs_counts_once(tmp_path: Path) -> None:
    base = run(tmp_path, "1", rows(*["PL"] * 3, *["PP"] * 27))
    names = ("steady", "hasty")
    head = run(tmp_path, "2", [*rows(*GOOD), *rows(*GOOD, candidate="hasty")], candidates=names)
    one = compared(base, head, given=["steady:steady"], allow_inconclusive=True)
    two = compared(base, head, given=["steady:steady", "steady:hasty"], allow_inconclusive=True)
    assert [c.base_scores for c in two.changes] == [one.changes[0].base_scores] * 2


# --- refusals ---------------------------------------------------------------------------------------


def with_part(part: str, **changes: Any) -> Manifest:
    """A manifest of which one part of the fingerprint differs, and what stands behind it."""
    names = "harness source config packages base_image image limits retries resources host sandbox dataset"
    parts = dict.fromkeys([*names.split(), "evaluators"], "same")
    return manifest(
        "2", fingerprint=part, fingerprint_parts=parts | ({part: "other"} if part else {}), **changes
    )


def tool(name: str, text: str = "does") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": text}}


HOST = synthetic.manifest().host.model_dump()
IMAGE = synthetic.manifest().image.model_dump()
ROWS = manifest("2").dataset.row_digests
EVALUATORS = synthetic.manifest().config.model_dump()["evaluators"]
SLIM = "python:3.12-slim-bookworm"


@pytest.mark.parametrize(
    ("part", "base", "head", "words"),
    [
        (
            "harness",
            {"config": {"harness": {"prompt": "Be kind.\nBe brief.", "entrypoint": None}}},
            {"config": {"harness": {"prompt": "Be kind.\nBe quick.", "entrypoint": None}}},
            ["prompt: line 2: Be brief. → Be quick."],
        ),
        (
            "source",
            {"observed_harness": {"system_prompt": "a", "tools": [tool("x"), tool("y"), tool("z")]}},
            {"observed_harness": {"system_prompt": "b", "tools": [tool("w"), tool("y", "did"), tool("z")]}},
            [
                "source: the harness's code differs",
                "prompt: line 1: a → b",
                "tools: w added",
                "tools: x removed",
                "tools: y has another description or other parameters",
            ],
        ),
        (
            "packages",
            {},
            {"image": IMAGE | {"packages": {"langchain": "1.4.0", "requests": "2.0"}}},
            [
                "package langchain: 1.3.0 → 1.4.0",
                "package langchain-core: 1.3.1 → nothing",
                "package requests: nothing → 2.0",
            ],
        ),
        ("limits", {}, {"config": {"harness": {"limits": {"turns": 6}}}}, ["limits.turns: 12 → 6"]),
        ("retries", {}, {"config": {"harness": {"retries": {"model_call": 0}}}}, ["retries.model_call: 2 → 0"]),
        ("config", {}, {"config": {"harness": {"config": {"a": 1}}}}, ["config.a: nothing → 1"]),
        (
            "resources",
            {},
            {"resources": synthetic.LIMITS.model_copy(update={"memory_bytes": 256 * 2**20})},
            ["resources.memory_bytes: 512 MiB → 256 MiB"],
        ),
        ("host", {}, {"host": HOST | {"cores": 8}}, ["host.cores: 2 → 8"]),
        (
            "sandbox",
            {"host": HOST | {"sandbox": {"init": False, "ulimits": {"core": 0}}}},
            {"host": HOST | {"sandbox": {"init": True, "ulimits": {"core": 9}}}},
            ["sandbox.init: false → true", "sandbox.ulimits.core: 0 → 9"],
        ),
        (
            "dataset",
            {},
            {"dataset": {"row_digests": ROWS | {"case-003": "changed", "new": "r"}}},
            ["dataset: 1 row changed: case-003", "dataset: 1 row added: new"],
        ),
        (
            "base_image",
            {},
            {"image": IMAGE | {"base": IMAGE["base"] | {"digest": "sha256:" + "9" * 64}}},
            [f"base image: {SLIM} (sha256:222222222222) → {SLIM} (sha256:999999999999)"],
        ),
        (
            "image",
            {},
            {"bakeoff_version": "0.2.0"},
            [
                "image: built differently, by another recipe or runner of bakeoff (bakeoff 0.1.0 and 0.2.0, "
                "Python 3.12.11 and 3.12.11)"
            ],
        ),
        (
            "evaluators",
            {},
            {"config": {"evaluators": [each | {"threshold": 0.5} for each in EVALUATORS]}},
            ["evaluators.final_answer.threshold: 1.0 → 0.5"],
        ),
    ],
)  # fmt: skip
def test_what_differs_is_named(
    part: str, base: dict[str, Any], head: dict[str, Any], words: list[str]
) -> None:
    found = drift(with_part("", **base), with_part(part, **head))
    for each in words:
        assert each in found
    assert drift(with_part("", **base), with_part("", **base)) == []


def test_a_changed_evaluator_of_the_users_own_is_named() -> None:
    base, head = with_part(""), with_part("evaluator checks:polite")
    head.fingerprint_parts["evaluator checks:same"] = base.fingerprint_parts["evaluator checks:same"] = "same"
    base.fingerprint_parts["evaluator checks:polite"] = "before"
    assert drift(base, head) == ["evaluator checks:polite: its code differs"]


def test_another_harness_is_refused_or_stamped(tmp_path: Path, good: RunDirectory) -> None:
    head = run(tmp_path, "2", rows(*GOOD), fingerprint="sha256:other")
    with pytest.raises(InputError, match="the harness of HEAD is not that of BASE") as caught:
        compared(good, head)
    assert caught.value.exit_code == 2
    assert "--allow-drift" in (caught.value.hint or "")
    got = compared(good, head, allow_drift=True)
    assert "DRIFT ALLOWED" in got.sentence
    assert "drift allowed" in markdown.text(document(got))
    assert summary(got)["drift"] == list(got.drift) != []


# --- must pass, conditions, configuration -----------------------------------------------------------


def test_must_pass(tmp_path: Path, good: RunDirectory) -> None:
    one_bad = ["PP"] * 29 + ["PF"]  # case-029: suite benchmark, severity 2
    head = run(tmp_path, "2", rows(*one_bad))
    for text, status in (
        ("suite=benchmark", "failed"),
        ("suite=benchmark,severity<=0", "passed"),
        ("id=case-02*", "failed"),
    ):
        got = compared(good, head, Gates(must_pass=[text]))
        assert [g.status for g in got.gates] == [status], text
    assert "case-029" in compared(good, head, Gates(must_pass=["severity>1"])).gates[0].because
    silent = run(tmp_path, "3", rows(*["PP"] * 29, "II"), config={"infra": {"max_error_rate": 1.0}})
    got = compared(good, silent, Gates(must_pass=["severity=2"]))
    assert ([g.status for g in got.gates], got.exit_code) == (["unknown"], 3)
    half = run(tmp_path, "4", rows(*["PP"] * 29, "PI"), config={"infra": {"max_error_rate": 1.0}})
    [gate] = compared(good, half, Gates(must_pass=["severity=2"])).gates
    assert (gate.status, "1 example with trials without a verdict" in gate.because) == ("unknown", True)
    idle = compared(good, head, Gates(must_pass=["suite=other"]))
    assert (idle.gates, idle.exit_code) == ([], 0)
    assert "The gate must-pass suite=other checks nothing: no example of HEAD matches it." in idle.notes


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not a list"),
        ("benchmark", "not a list"),
        ("suite=benchmark severity", "not a list"),
        ("suit=benchmark", "'suit' cannot be asked"),
        ("suite<benchmark", "text"),
        ("severity<=grave", "not a number"),
    ],
)
def test_conditions_that_are_none(text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        selectors.parse(text)


def test_conditions() -> None:
    parsed = selectors.parse("suite=benchmark, severity<=0 id!=x*")
    facts = {"id": "y", "suite": "benchmark", "severity": 0}
    assert all(one.holds(facts) for one in parsed)
    for change in ({"id": "xy"}, {"severity": 1}, {"suite": None}):
        assert not all(one.holds(facts | change) for one in parsed)


def test_gates_and_suites_in_the_files(tmp_path: Path) -> None:
    (tmp_path / "agent").mkdir()
    text = (
        "version: 1\nname: x\nharness: {prompt: Hi.}\ncandidates: [{name: a, model: 'simulated:skill=1'}]\n"
        "dataset: d.jsonl\nevaluators: [{final_answer: {}, threshold: 1.0}]\n"
    )
    file = tmp_path / "harness.yaml"
    file.write_text(f"{text}gates: {{max_drop: 0.02, must_pass: ['suite=a']}}\n")
    assert loading.load(file).gates == Gates(max_drop=0.02, must_pass=["suite=a"])
    file.write_text(f"{text}gates:\n  max_drop: 0.02\n  must_pass: ['suite=a', 'suit=a']\n")
    with pytest.raises(InputError, match="cannot be asked") as caught:
        loading.load(file)
    assert (caught.value.line, caught.value.key) == (9, "gates.must_pass[1]")
    file.write_text(text)
    (tmp_path / "d.jsonl").write_text(
        "".join(
            json.dumps(
                {"id": f"e{n}", "inputs": {"question": "q"}, "metadata": {"suite": suite, "severity": n}}
            )
            + "\n"
            for n, suite in enumerate(["benchmark", "coverage", "benchmark"])
        )
    )
    whole = datasets.load(loading.load(file))
    assert [e.id for e in datasets.select(whole, (), ["benchmark"]).examples] == ["e0", "e2"]
    assert [e.id for e in datasets.select(whole, ("e2",), ["benchmark"]).examples] == ["e2"]
    assert whole.row_digests.keys() == {"e0", "e1", "e2"}
    with pytest.raises(InputError, match="no example is of the suite 'benchmrk'") as caught:
        datasets.select(whole, (), ["benchmrk"])
    assert "Did you mean benchmark?" in (caught.value.hint or "")


# --- runs that are hardly there ---------------------------------------------------------------------


def test_a_torn_last_line_is_left_out_and_makes_the_comparison_inconclusive(
    tmp_path: Path, good: RunDirectory
) -> None:
    head = run(tmp_path, "2", rows(*GOOD))
    path = head.path / "trials.jsonl"
    path.write_bytes(path.read_bytes()[:-80])
    got = compared(good, head, Gates(max_drop=0.02))
    assert got.exit_code == 3
    assert "HEAD has a verdict on 59 of 60 planned trials" in got.sentence
    assert any(note.startswith("HEAD: trials.jsonl:60") and "torn" in note for note in got.notes)
    assert compared(good, head, Gates(max_drop=0.2), allow_inconclusive=True).exit_code == 0


@pytest.mark.parametrize(("file", "content"), [("manifest.json", "not json"), ("trials.jsonl", "{broken\n")])
def test_a_damaged_run_is_not_compared(tmp_path: Path, good: RunDirectory, file: str, content: str) -> None:
    head = run(tmp_path, "2", rows(*GOOD))
    (head.path / file).write_text(content)
    with pytest.raises(InputError, match=rf"{file}.*is damaged"):
        compared(good, head, allow_drift=True, allow_inconclusive=True)


def test_an_unfinished_run(tmp_path: Path, good: RunDirectory) -> None:
    half = run(tmp_path, "2", rows(*GOOD[:10]), state="interrupted")
    got = compared(good, half)
    assert got.exit_code == 3
    assert "20 of 60 planned trials" in got.sentence
    assert got.changes[0].tested.examples == 10


@pytest.mark.parametrize(
    ("base", "head"),
    [
        ((), ()),
        (("P",), ("P",)),
        (("P",), ("F",)),
        (("",), ("PP",)),
        (("II", "II"), ("PP", "PP")),
        (("", "", "PP"), ("PP", "PP", "")),
        (("PP",) * 30, ("PP",) * 30),
        (("FF",) * 30, ("PP",) * 30),
        (("PP",) * 8, ("FF",) * 8),
    ],
    ids=lambda sides: "-".join(sides) or "nothing",
)
@pytest.mark.parametrize("one_cluster", [False, True])
def test_next_to_nothing_gets_an_honest_answer(
    tmp_path: Path, base: tuple[str, ...], head: tuple[str, ...], one_cluster: bool
) -> None:
    size = max(len(base), len(head), 1)
    clusters = dict.fromkeys(manifest("0", examples=size).dataset.example_ids, "all")
    facts = {"clusters": clusters} if one_cluster else {}
    asked = Gates(
        max_drop=0.02,
        max_infra=0.02,
        max_cost_increase=0.1,
        max_latency_increase=0.1,
        must_pass=["severity<=9"],
    )
    sides = [
        run(
            tmp_path, name, rows(*letters), examples=size, dataset=facts, trials_planned=len("".join(letters))
        )
        for name, letters in (("1", base), ("2", head))
    ]
    got = compared(*sides, asked, allow_inconclusive=True)
    shared = any(b and h and b[0] != "I" and h[0] != "I" for b, h in zip(base, head, strict=False))
    if not shared:
        assert got.exit_code == 3
        assert "no example has a verdict" in got.sentence
    text = json.dumps(summary(got), allow_nan=False)
    assert "nan" not in (text + markdown.text(document(got)) + junit(got)).lower()
    for change in got.changes:
        for test in change.difference.by.values():
            assert all(
                x is None or math.isfinite(x) for x in (test.difference, test.low, test.high, test.p_value)
            )


# --- exports ----------------------------------------------------------------------------------------


def test_junit_is_red_exactly_when_a_gate_fails(tmp_path: Path, good: RunDirectory) -> None:
    red = ET.fromstring(
        junit(compared(good, run(tmp_path, "2", rows(*BAD)), Gates(max_drop=0.02, max_infra=0.1)))
    )
    assert [(s.get("name"), s.get("tests"), s.get("failures")) for s in red] == [
        ("gates", "2", "1"),
        ("steady", "30", "0"),
    ]
    cases = {case.get("name"): case.findtext("system-out") or "" for case in red.iter("testcase")}
    assert cases["case-015"].startswith("newly failing: passed 2 of 2 trials in BASE, 0 of 2 in HEAD")
    stormy = ET.fromstring(
        junit(compared(good, run(tmp_path, "3", rows(*["II"] * 30)), Gates(max_drop=0.02)))
    )
    assert [s.get("failures") for s in stormy] == ["0", "0"]
    assert stormy[0].find("testcase/skipped") is not None


# --- the command ------------------------------------------------------------------------------------


def command(out: Path, *args: str) -> Done:
    return bakeoff("compare", "--out", str(out), *args, cwd=out)


@pytest.mark.slow
def test_exit_codes_and_the_baseline(tmp_path: Path) -> None:
    """One story: no baseline, a good run, a bad one, a smaller one, another harness, a storm."""
    assert command(tmp_path).returncode == 2
    run(tmp_path, "1", rows(*GOOD), config={"gates": {"max_drop": 0.2}})
    first = command(tmp_path, "baseline", "latest", "--set-baseline")
    assert (first.returncode, store.baseline(tmp_path)) == (0, "1")
    run(tmp_path, "2", rows(*GOOD), config={"gates": {"max_drop": 0.2}})
    assert "The baseline is now 2." in command(tmp_path, "--set-baseline").stdout
    run(tmp_path, "3", rows(*BAD), config={"gates": {"max_drop": 0.2}})
    bad = command(tmp_path, "--set-baseline", "--json", "--markdown", "c.md", "--junit", "c.xml")
    assert (bad.returncode, store.baseline(tmp_path)) == (1, "2")
    assert json.loads(bad.stdout)["gates"][0]["status"] == "failed"
    assert "GATE FAILED" in (tmp_path / "c.md").read_text()
    assert ET.parse(tmp_path / "c.xml").getroot().tag == "testsuites"
    assert command(tmp_path, "--max-drop", "0.5").returncode == 0, "options replace the manifest's gates"
    run(tmp_path, "4", rows(*GOOD[:20]), examples=20)
    smaller = command(tmp_path, "--set-baseline")
    assert (smaller.returncode, store.baseline(tmp_path)) == (0, "2")
    assert "The baseline stays 2" in smaller.stdout
    run(tmp_path, "5", rows(*GOOD), fingerprint="other")
    refused = command(tmp_path, "--set-baseline")
    assert (refused.returncode, refused.stdout, store.baseline(tmp_path)) == (2, "", "2")
    assert "error: the harness of HEAD is not that of BASE" in refused.stderr
    run(tmp_path, "6", rows(*["II"] * 30))
    assert (command(tmp_path, "--set-baseline").returncode, store.baseline(tmp_path)) == (3, "2")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--max-drop", "2"], "--max-drop: expected a number of at most 1"),
        (["--must-pass", "suite=benchmrk"], "--must-pass: no example of HEAD matches"),
        (["--must-pass", "suit"], "is not a list of conditions"),
        (["nowhere"], "no such run"),
    ],
)
def test_bad_options(tmp_path: Path, good: RunDirectory, args: list[str], said: str) -> None:
    run(tmp_path, "2", rows(*GOOD))
    done = command(tmp_path, *(args if args == ["nowhere"] else ["1-good", "2", *args]))
    assert done.returncode == 2
    assert said in done.stderr
    assert "hint" in done.stderr


def test_a_refusal_is_written_to_every_file_that_was_asked_for(tmp_path: Path, good: RunDirectory) -> None:
    run(tmp_path, "2", rows(*GOOD), fingerprint="other", fingerprint_parts={"limits": "other"})
    asked = ("--json", "--markdown", "c.md", "--junit", "c.xml")
    done = command(tmp_path, "1-good", "2", *asked)
    told = json.loads(done.stdout)
    assert (done.returncode, told["exit_code"], told["refused"]) == (2, 2, True)
    assert told["result"].startswith(
        "REFUSED, nothing was compared: the harness of HEAD is not that of BASE: "
    )
    assert "limits: not recorded in BASE" in told["reasons"]
    shown = (tmp_path / "c.md").read_text()
    assert shown.startswith("**REFUSED, nothing was compared")
    assert "- limits: not recorded in BASE" in shown
    assert "allow-drift" in shown
    root = ET.parse(tmp_path / "c.xml").getroot()
    [suite] = root
    assert (suite.get("tests"), suite.get("errors"), suite.get("failures")) == ("1", "1", "0")
    error = root.find("testsuite/testcase/error")
    assert "limits: not recorded in BASE" in (error.text or "")
    assert str(error.get("message")).startswith("REFUSED")


def test_a_run_that_is_not_there_is_refused_in_the_files_too(tmp_path: Path, good: RunDirectory) -> None:
    done = command(tmp_path, "nowhere", "latest", "--markdown", "c.md", "--junit", "c.xml")
    assert done.returncode == 2
    assert "no such run" in (tmp_path / "c.md").read_text()
    assert ET.parse(tmp_path / "c.xml").getroot().find("testsuite/testcase/error") is not None
    unwritable = command(tmp_path, "nowhere", "latest", "--markdown", "no/such/folder.md")
    assert unwritable.returncode == 2
    assert "note: cannot write" in unwritable.stderr
    assert "no such run" in unwritable.stderr


@pytest.mark.parametrize(
    ("pointer", "said"),
    [("gone\n", "no run called 'gone' is here"), ("", "no run called ''"), ("1\n", "no run called '1'")],
)
def test_a_baseline_that_names_no_run_is_said_to(
    tmp_path: Path, good: RunDirectory, pointer: str, said: str
) -> None:
    (tmp_path / "baseline").write_text(pointer)
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        RunDirectory.resolve("baseline", tmp_path)
    assert caught.value.file == str(tmp_path / "baseline")
    assert "--set-baseline" in (caught.value.hint or "")
    (tmp_path / "baseline").unlink()
    (tmp_path / "baseline").mkdir()
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        RunDirectory.resolve("baseline", tmp_path)


def test_a_run_of_another_place_is_no_baseline_here(tmp_path: Path, good: RunDirectory) -> None:
    elsewhere = run(tmp_path / "elsewhere", "2", rows(*GOOD))
    done = command(tmp_path, str(good.path), str(elsewhere.path), "--set-baseline")
    assert done.returncode == 2
    assert "--set-baseline: HEAD is not in" in done.stderr
    assert f"--out {tmp_path / 'elsewhere'}" in done.stderr
    assert not (tmp_path / "baseline").exists()


def test_the_first_night_has_its_files(tmp_path: Path, good: RunDirectory) -> None:
    done = command(tmp_path, "--set-baseline", "--markdown", "c.md", "--junit", "c.xml")
    assert done.returncode == 0
    assert "It is now" in (tmp_path / "c.md").read_text()
    case = ET.parse(tmp_path / "c.xml").getroot().find("testsuite/testcase")
    assert (case.get("name"), "It is now" in (case.findtext("system-out") or "")) == ("baseline", True)


def test_gates_are_selected_by_metadata(good: RunDirectory) -> None:
    assert gates.selected("suite=benchmark,severity<=0", read(good, "HEAD")) == [
        "case-003", "case-009", "case-015", "case-021", "case-027"
    ]  # fmt: skip
