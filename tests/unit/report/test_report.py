"""The report says what happened, stamps what may not be believed, and lets nothing hostile through."""

from __future__ import annotations

import tracemalloc
from html import unescape
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bakeoff.record.trial import ResourceLimits, TrialRecord
from bakeoff.report import data, markdown, summary, terminal
from bakeoff.report.data import ReportData, Spread
from bakeoff.stats import Counting
from tests.fakes import synthetic


def collected(tmp_path: Path, records: Any = None, **changes: Any) -> ReportData:
    return data.collect(synthetic.run_directory(tmp_path, records, synthetic.manifest(**changes)))


def first_line(report: ReportData) -> str:
    return markdown.render(report).splitlines()[0]


def test_a_clean_run_is_decided_in_the_first_line(tmp_path: Path) -> None:
    report = collected(tmp_path, simulated=False)
    assert report.exit_code == 0
    assert not report.inconclusive
    line = first_line(report)
    assert "steady" in line
    assert "INCONCLUSIVE" not in line
    assert "SIMULATED" not in line


def test_simulated_candidates_are_stamped_everywhere(tmp_path: Path) -> None:
    report = collected(tmp_path)
    assert first_line(report).startswith("**SIMULATED")
    assert "steady (simulated)" in markdown.render(report)
    assert summary.summary(report)["simulated"] is True
    assert summary.summary(report)["decision"].startswith("SIMULATED")


def test_too_many_infra_errors_are_inconclusive(tmp_path: Path) -> None:
    report = collected(tmp_path, synthetic.trials(infra_rate=0.15), simulated=False)
    assert report.exit_code == 3
    assert first_line(report).startswith("**INCONCLUSIVE")
    assert summary.summary(report)["inconclusive"] is True


def test_one_bad_candidate_does_not_hide_behind_good_ones(tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(9)]
    records = [
        synthetic.trial(name, f"case-{number:03d}", verdict="infra_error", cause="infra.image")
        if name == "c0" and number == 0
        else synthetic.trial(name, f"case-{number:03d}")
        for number in range(12)
        for name in names
    ]
    report = collected(tmp_path, records, candidates=names, repetitions=1, simulated=False)
    assert report.infra_error_rate is not None
    assert report.infra_error_rate < report.max_error_rate
    assert report.inconclusive
    assert "c0" in first_line(report)


def test_an_error_rate_at_the_limit_still_decides(tmp_path: Path) -> None:
    config = {"infra": {"max_error_rate": 0.5}}
    records = [
        synthetic.trial("steady", "case-000"),
        synthetic.trial("steady", "case-001", verdict="infra_error", cause="infra.image"),
    ]
    report = collected(tmp_path, records, candidates=["steady"], examples=2, repetitions=1, config=config)
    assert report.exit_code == 0


def test_missing_trials_are_never_passed_over(tmp_path: Path) -> None:
    report = collected(tmp_path, list(synthetic.trials())[:-1], simulated=False)
    assert report.exit_code == 3
    assert "71 of 72" in first_line(report)


def test_an_interrupted_run_says_so(tmp_path: Path) -> None:
    report = collected(tmp_path, list(synthetic.trials())[:10], state="interrupted")
    assert report.exit_code == 130
    assert "state: interrupted" in markdown.render(report)


def test_counts_are_the_records_own(tmp_path: Path) -> None:
    records = list(synthetic.trials(infra_rate=0.1))
    report = collected(tmp_path, records)
    for row in report.candidates:
        mine = [record for record in records if record.candidate == row.name]
        for verdict, count in row.counts.items():
            assert count == sum(record.verdict == verdict for record in mine)
        judged = [record for record in mine if record.verdict != "infra_error"]
        passed = [record for record in mine if record.verdict == "passed"]
        assert row.scores.score.mean == pytest.approx(len(passed) / len(judged))
        assert row.working_seconds.n == len(judged)
        assert row.total_cost_usd == pytest.approx(0.0123 * len(mine))
    assert sum(cause.count for cause in report.causes) == sum(
        record.verdict != "passed" for record in records
    )
    by_suite = [part for part in report.slices if part.by == "suite"]
    assert sum(part.counted + part.left_out for part in by_suite) == len(records)


def half_right(candidate: str, cause: str, examples: int = 30) -> list[TrialRecord]:
    """One that passes half of its examples, and does not end the others with a pass."""
    verdict = "failed" if cause.startswith("model.") else "infra_error"
    wrong = {"verdict": verdict, "cause": cause}
    return [
        synthetic.trial(candidate, f"case-{n:03d}", **wrong if n % 2 else {})  # type: ignore[arg-type]
        for n in range(examples)
    ]


def against_its_twin(tmp_path: Path, cause: str) -> ReportData:
    records = [*half_right("honest", "model.wrong_answer"), *half_right("odd", cause)]
    config = {"infra": {"max_error_rate": 1.0}}
    names = ["honest", "odd"]
    return collected(
        tmp_path, records, candidates=names, examples=30, repetitions=1, simulated=False, config=config
    )


@pytest.mark.slow
@pytest.mark.parametrize(("cause", "died"), [("infra.oom_killed", 15), ("infra.evaluator", 0)])
def test_who_dies_inside_or_breaks_an_evaluator_whenever_it_would_fail_scores_as_its_honest_twin_everywhere(
    tmp_path: Path, cause: str, died: int
) -> None:
    report = against_its_twin(tmp_path, cause)
    honest, odd = sorted(report.candidates, key=lambda row: row.name)
    for way in (Counting.SCORE, Counting.AS_DEPLOYED, Counting.WORST_CASE):
        assert odd.scores.by[way] == honest.scores.by[way]
    assert report.decision.winner is None
    slices = {name: [s for s in report.slices if s.candidate == name] for name in ("honest", "odd")}
    assert [(s.passed, s.counted, s.left_out) for s in slices["odd"]] == [
        (s.passed, s.counted, s.left_out) for s in slices["honest"]
    ]
    did = "died inside their container or broke an evaluator"
    said = f"odd: 15 of 30 trials {did}, against 0 of 30 of honest (p < 0.001): more than noise"
    assert said in unescape(markdown.render(report)).replace("\\", "")
    assert said in terminal_text(report)
    told = {row["name"]: row for row in summary.summary(report)["candidates"]}
    assert (told["odd"]["died_inside"], told["honest"]["died_inside"]) == (died, 0)
    assert told["odd"]["deaths_are_failures"]["other"] == "honest"
    assert told["odd"]["deaths_are_failures"]["p"] < 0.001
    assert told["honest"]["deaths_are_failures"] is None


@pytest.mark.parametrize(
    "cause", ["infra.provider_bad_response", "infra.provider_unsupported", "infra.harness_crash"]
)
def test_a_candidate_with_more_infra_errors_than_another_is_named_with_the_test(
    tmp_path: Path, cause: str
) -> None:
    report = against_its_twin(tmp_path, cause)
    said = "odd: 15 of 30 trials ended as infrastructure errors, against 0 of 30 of honest (p < 0.001): more than noise"
    [warning] = [each for each in report.warnings if "ended as" in each]
    assert warning.startswith(said)
    assert said in terminal_text(report)


def test_errors_that_hit_the_candidates_alike_name_nobody(tmp_path: Path) -> None:
    records = [*half_right("honest", "infra.oom_killed"), *half_right("odd", "infra.oom_killed")]
    report = collected(tmp_path, records, candidates=["honest", "odd"], examples=30, repetitions=1)
    assert not report.warnings
    assert report.inconclusive


def test_with_no_other_candidate_deaths_that_score_leaves_out_are_told(tmp_path: Path) -> None:
    records = half_right("only", "infra.oom_killed")
    report = collected(tmp_path, records, candidates=["only"], examples=30, repetitions=1)
    assert report.candidates[0].scores.score is not None
    assert report.candidates[0].scores.score.mean == 1.0
    [warning] = report.warnings
    assert warning.startswith("only: 15 of 30 trials died inside their container. No other candidate shows")
    lost = half_right("only", "infra.provider_timeout")
    assert not collected(tmp_path / "b", lost, candidates=["only"], examples=30, repetitions=1).warnings


def terminal_text(report: ReportData) -> str:
    console = Console(width=400, file=StringIO())
    console.print(terminal.scoreboard(report))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_infra_errors_do_not_make_a_candidate_look_fast(tmp_path: Path) -> None:
    records = [
        synthetic.trial("steady", "case-000", seconds=9),
        synthetic.trial(
            "steady", "case-001", seconds=0.1, verdict="infra_error", cause="infra.container_start"
        ),
    ]
    (row, _) = collected(tmp_path, records).candidates
    assert row.working_seconds == Spread(n=1, mean=9, p50=9, p95=9, max=9)
    assert row.memory_peak_bytes.n == 2


def test_one_unknown_price_makes_the_cost_unknown(tmp_path: Path) -> None:
    priced = synthetic.trial("steady", "case-000")
    unpriced = synthetic.trial("steady", "case-001", usage=priced.usage.model_copy(update={"cost_usd": None}))
    report = collected(tmp_path, [priced, unpriced])
    assert report.candidates[0].total_cost_usd is None
    assert report.candidates[0].cost_usd is None
    assert "the price of at least one call is not known" in markdown.render(report)


def test_reattempts_are_told(tmp_path: Path) -> None:
    records = [
        synthetic.trial("steady", "case-000", earlier=["infra.container_lost"]),
        synthetic.trial(
            "steady",
            "case-001",
            verdict="infra_error",
            cause="infra.container_lost",
            earlier=["infra.container_lost"] * 2,
        ),
    ]
    (row, _) = collected(tmp_path, records).candidates
    assert (row.reattempts, row.recovered) == (3, 1)


def test_limits_that_differ_from_the_requested_are_seen(tmp_path: Path) -> None:
    loose = ResourceLimits(cpus=1.0, memory_bytes=2**30, pids=None, disk_bytes=2**26, network="none")
    base = synthetic.trial()
    record = base.model_copy(update={"resources": base.resources.model_copy(update={"effective": loose})})
    report = markdown.render(collected(tmp_path, [record]))
    assert "Not every trial had the limits that were asked for" in report
    assert "| requested | 1 | 512 MiB | 128 | 64 MiB | none | – |" in report
    assert "| effective | 1 | 1 GiB | – | 64 MiB | none | 1 |" in report


def test_the_report_answers_the_buyers_questions_in_order(tmp_path: Path) -> None:
    report = markdown.render(collected(tmp_path, synthetic.trials(infra_rate=0.05)))
    questions = [
        "## What exactly was the harness?",
        "## What is the infrastructure error rate?",
        "### The four scores",
        "## Does the test environment resemble your production?",
        "### How close each candidate runs to the limits",
        "### The host",
        "## Scoreboard",
        "### Is the difference real?",
        "### By suite",
        "### By cluster",
        "### Trajectories",
        "### Cost, latency and tokens",
        "## Why trials did not pass",
        "## Change record",
        "## How to reproduce",
        "## What this report does not show",
    ]
    places = [report.index(f"\n{question}\n") for question in questions]
    assert places == sorted(places)
    for fact in (
        "sha256:" + "f" * 64,
        "sha256:" + "d" * 64,
        "langchain==1.3.0",
        "bakeoff run harness.yaml --seed 7",
    ):
        assert fact in report


def test_a_pipe_folds_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert terminal.console().width == terminal.UNBOUND_WIDTH
    monkeypatch.setenv("COLUMNS", "90")
    assert terminal.console(stderr=True).width == 90


@pytest.mark.parametrize("width", [60, 80])
def test_a_narrow_terminal_cuts_nothing(tmp_path: Path, width: int) -> None:
    names = ["a-model-with-a-long-name-high", "a-model-with-a-long-name-low"]
    console = Console(width=width)
    with console.capture() as capture:
        console.print(terminal.run(collected(tmp_path, synthetic.trials(names), candidates=names)))
    table = capture.get().partition("No dist")[0]
    assert "…" not in capture.get()
    for name in names:  # broken, in a column of its own
        assert name in "".join(line.partition(" ")[0] for line in table.splitlines())


def test_the_summary_has_its_documented_keys(tmp_path: Path) -> None:
    made = summary.summary(collected(tmp_path, synthetic.trials(infra_rate=0.05)))
    documented = summary.summary.__doc__ or ""
    for part in (made, made["candidates"][0], made["causes"][0]):
        for key in part:
            assert f"`{key}`" in documented, key
    low, high = made["candidates"][0]["interval"]
    assert low <= made["candidates"][0]["score"] <= high
    assert set(made["candidates"][0]["scores"]) == {"score", "as_deployed", "worst_case", "best_case"}


def test_percentiles_are_measured_values() -> None:
    assert Spread.of([]) is None
    assert Spread.of([3.0]) == Spread(1, 3, 3, 3, 3)
    assert Spread.of(range(1, 101)) == Spread(100, 50.5, 50, 95, 100)


@pytest.mark.slow
def test_memory_stays_bounded_in_large_runs(tmp_path: Path) -> None:
    run = synthetic.run_directory(tmp_path, [], synthetic.manifest(examples=1000, repetitions=1))
    records = synthetic.trials(examples=1000, repetitions=1)
    with (run.path / "trials.jsonl").open("w") as file:
        file.writelines(record.model_dump_json() + "\n" for record in records)
    size = (run.path / "trials.jsonl").stat().st_size
    data.collect(run)  # what is imported and cached once is no matter
    tracemalloc.start()
    data.collect(run)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size / 2


def test_a_candidate_under_two_profiles_is_two_experiments(tmp_path: Path) -> None:
    first = synthetic.manifest().profiles[0]
    profiles = [first, first.model_copy(update={"name": "3x"})]
    records = [
        synthetic.trial("one", trial_id="one/case-000/1"),
        synthetic.trial(
            "one", profile="3x", trial_id="one@3x/case-000/1", verdict="failed", cause="model.refusal"
        ),
    ]
    made = synthetic.manifest(["one"], 1, 1, profiles=profiles, trials_planned=2)
    report = data.collect(synthetic.run_directory(tmp_path, records, made))
    assert [(each.name, each.n, each.model) for each in report.candidates] == [
        ("one", 1, "simulated:skill=0.9,one"),
        ("one@3x", 1, "simulated:skill=0.9,one"),
    ]
