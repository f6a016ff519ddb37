"""What a report, a comparison and a publisher say of a run that stopped early."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakeoff.compare import side
from bakeoff.compare.comparison import compare_runs
from bakeoff.config.schema import Gates
from bakeoff.publish import source
from bakeoff.record.store import RunDirectory
from bakeoff.report import data, markdown, summary
from tests.fakes import synthetic


@pytest.fixture
def stopped(tmp_path: Path) -> RunDirectory:
    """One candidate was dropped at the first look, another one at a later one."""
    return synthetic.early_run(tmp_path, ("steady", "hasty", "close"), (0.9, 0.1, 0.75))


def test_a_run_that_stopped_early_is_conclusive_and_names_its_winner(stopped: RunDirectory) -> None:
    report = data.collect(stopped)
    plan = stopped.manifest().stop_early
    assert plan is not None
    assert plan.dropped["hasty"] == 1 < plan.dropped["close"]
    assert (report.exit_code, report.decision.winner, report.doubts) == (0, "steady", [])
    assert report.n == stopped.manifest().trials_due < stopped.manifest().trials_planned
    assert report.repetitions == 1, "pass@k is over what every candidate ran"


def test_pass_at_k_is_over_the_repetitions_that_every_candidate_ran(tmp_path: Path) -> None:
    report = data.collect(synthetic.early_run(tmp_path, ("steady", "close"), (0.9, 0.7)))
    assert report.repetitions == 3
    assert None not in [each for row in report.candidates for each in (row.pass_at_k, row.pass_hat_k)]


def test_the_report_says_when_why_and_what_was_saved(stopped: RunDirectory) -> None:
    text = markdown.render(data.collect(stopped))
    plan = stopped.manifest().stop_early
    assert plan is not None
    assert f"It stopped at look {len(plan.looks)} of 5, because one is left." in text
    saved = 0.0123 * plan.not_run
    assert (
        f"{plan.not_run} of 600 planned trials did not run, which would have taken about \\${saved:.2f} and"
        in text
    )
    assert "| 1 | 1 | 5.78 | 7.3e-09 | hasty dropped |" in text
    assert "95 % repeated interval" in text
    assert "the lead is overstated on average" in text
    assert f"looks at the results left out {plan.not_run}." in text


def test_a_pair_is_shown_with_its_last_look_its_p_value_and_the_boundary(stopped: RunDirectory) -> None:
    report = data.collect(stopped)
    [pair] = [
        each for each in report.decision.comparisons if (each.first, each.second) == ("steady", "hasty")
    ]
    assert pair.look == 1
    row = next(
        line for line in markdown.render(report).splitlines() if line.startswith("| steady minus hasty")
    )
    assert f"| {pair.p_value:.2g} | {pair.boundary:.2g} | yes |" in row


def test_a_futile_run_has_no_winner_and_says_why_it_stopped(tmp_path: Path) -> None:
    run = synthetic.early_run(tmp_path, skills=(0.8, 0.8), examples=30)
    report = data.collect(run)
    assert report.decision.winner is None
    assert "because no two candidates that were left would likely be distinguished." in markdown.render(
        report
    )


def test_the_summary_has_the_looks_and_null_for_any_other_run(tmp_path: Path, stopped: RunDirectory) -> None:
    plan = stopped.manifest().stop_early
    assert plan is not None
    assert summary.summary(data.collect(stopped))["stop_early"] == {
        "looks": 5,
        "taken": len(plan.looks),
        "ended": True,
        "dropped": plan.dropped,
        "trials_not_run": plan.not_run,
    }
    other = data.collect(synthetic.run_directory(tmp_path / "other"))
    assert summary.summary(other)["stop_early"] is None
    assert "stop_early" not in (
        tmp_path / "other" / other.manifest.run_id / "manifest.json"
    ).read_text().replace('"stop_early": null', ""), "the manifest of a run without a plan has no plan"
    assert "## Stopping early" not in markdown.render(other)


def test_a_run_that_lost_a_trial_is_in_doubt_although_looks_left_others_out(stopped: RunDirectory) -> None:
    trials = stopped.path / "trials.jsonl"
    lines = trials.read_bytes().splitlines(keepends=True)
    trials.write_bytes(b"".join(lines[:-1]))
    report = data.collect(RunDirectory.open(stopped.path))
    assert report.doubts == [f"only {len(lines) - 1} of {len(lines)} planned trials have a verdict"]


def test_a_run_that_stopped_early_can_be_published(stopped: RunDirectory) -> None:
    assert sum(1 for _ in source.read(stopped).trials()) == stopped.manifest().trials_due


def test_a_run_that_stopped_early_is_comparable_and_the_comparison_says_what_it_is(
    tmp_path: Path, stopped: RunDirectory
) -> None:
    alone = {f"case-{n:03d}": f"case-{n:03d}" for n in range(40)}
    whole = synthetic.run_directory(
        tmp_path / "whole",
        synthetic.trials(examples=40, seed=2),
        synthetic.manifest(examples=40, dataset={"clusters": alone}),
    )
    base, head = side.read(whole, "BASE"), side.read(stopped, "HEAD")
    found = compare_runs(base, head, [("steady", "steady"), ("hasty", "hasty")], Gates())
    assert found.doubts == []
    [note] = [note for note in found.notes if "stopped early" in note]
    assert note.startswith("HEAD stopped early:")
    assert found.changes[1].tested.examples == 40
