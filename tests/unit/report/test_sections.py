"""The buyer's questions: production beside the test, re-attempts that bias, damaged runs, and what it all costs."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bakeoff.errors import InputError
from bakeoff.record.store import RunDirectory
from bakeoff.record.trial import Observed, TrialRecord
from bakeoff.report import data, excerpt, html, markdown, plots, summary, terminal
from bakeoff.report.data import ReportData
from bakeoff.report.sections.production import mismatches
from bakeoff.report.write import write
from tests.fakes import synthetic
from tests.growth import LINEAR, TIMES, growth

MIB = 2**20


def collected(tmp_path: Path, records: Any = None, manifest: Any = None) -> ReportData:
    return data.collect(synthetic.run_directory(tmp_path, records, manifest))


# --- does it resemble production ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "here", "said"),
    [
        ({"memory": 512 * MIB}, {"memory": 512 * MIB}, None),
        ({}, {"memory": 512 * MIB}, None),
        ({"memory": 2**30}, {"memory": 512 * MIB}, "Memory: production gives 1 GiB, this run gave less (512 MiB)"),
        ({"seconds": 60.0}, {"seconds": 120.0}, "production gives 1 min 00 s, this run gave more (2 min 00 s)"),
        ({"tokens": 9000}, {"tokens": None}, "production gives 9,000, this run gave more (no limit)"),
        ({"network": "the CRM"}, {"network": "none"}, "production has “the CRM”, this run had “none”"),
        ({"retries": 0}, {"retries": 2}, "Extra tries of a model call: production gives 0, this run gave more (2)"),
    ],
)  # fmt: skip
def test_each_difference_from_production_is_said_with_its_direction(
    there: dict[str, Any], here: dict[str, Any], said: str | None
) -> None:
    found = mismatches(there, here)
    assert len(found) == (said is not None)
    assert not found or (said is not None and said in found[0])


def test_production_is_shown_beside_the_run_and_what_is_unknown_is_named(tmp_path: Path) -> None:
    production = {"cpus": 1.0, "memory": 160 * MIB, "retries": {"model_call": 2}, "turns": None}
    manifest = synthetic.manifest(config={"production": production})
    report = markdown.render(collected(tmp_path, None, manifest))
    assert "| Memory | 160 MiB | 512 MiB | 512 MiB |" in report
    assert "Memory: production gives 160 MiB, this run gave more (512 MiB)" in report
    assert "Memory: steady (simulated) used up to" in report  # more than production has
    assert "CPUs: production" not in report
    assert "does not say: pids, disk, network, turns, seconds, tool\\_seconds, tokens" in report


def test_a_program_sets_no_time_limit_for_a_tool(tmp_path: Path) -> None:
    config = {"harness": {"command": ["node", "agent.mjs"]}, "production": {"tool_seconds": 30.0}}
    manifest = synthetic.manifest(config=config)
    report = markdown.render(collected(tmp_path, None, manifest))
    assert "production gives 30.0 s, this run gave more (no limit)" in report


def test_without_a_production_section_the_question_stays_open_and_says_how_to_close_it(
    tmp_path: Path,
) -> None:
    report = markdown.render(collected(tmp_path))
    assert "this question stays open" in report
    assert "production: # what the same harness gets in production" in report


def test_the_example_of_a_production_section_is_valid(tmp_path: Path) -> None:
    from ruamel.yaml import YAML

    from bakeoff.config.schema import Change, Production
    from bakeoff.report.sections import change, production

    yaml = YAML(typ="safe")
    assert Production.model_validate(yaml.load(production.EXAMPLE)["production"]).memory == 2**30
    assert Change.model_validate(yaml.load(change.EXAMPLE)["change"]).owner


# --- change record ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("simulated", "infra_rate", "said"),
    [
        (False, 0.0, "The model alone: anthropic:steady (steady) instead of old:model."),
        (True, 0.0, "Nothing: steady is a simulation"),
        (False, 0.3, "supports no choice: old:model stays"),
    ],
)
def test_only_a_real_winner_changes_production(
    tmp_path: Path, simulated: bool, infra_rate: float, said: str
) -> None:
    change = {"replaces": "old:model", "owner": "A. Team", "rollback": "set it back"}
    manifest = synthetic.manifest(examples=60, simulated=simulated, config={"change": change})
    manifest.dataset.clusters.clear()
    records = synthetic.trials(examples=60, skills=(0.95, 0.3), infra_rate=infra_rate)
    report = markdown.render(collected(tmp_path, records, manifest)).replace("\\", "")
    assert said in report
    assert "| Owner | A. Team |" in report
    assert "should not be approved" not in report


@pytest.mark.slow
def test_a_model_that_is_beaten_does_not_stay_because_two_better_ones_are_alike(tmp_path: Path) -> None:
    config = {"change": {"replaces": "anthropic:hasty"}}
    names = ("steady", "other", "hasty")
    manifest = synthetic.manifest(examples=60, candidates=names, simulated=False, config=config)
    manifest.dataset.clusters.clear()
    records = synthetic.trials(examples=60, candidates=names, skills=(0.95, 0.95, 0.3))
    report = markdown.render(collected(tmp_path, records, manifest)).replace("\\", "")
    assert "Not anthropic:hasty: steady and other are each better." in report
    assert "But this run cannot say which of them is the best." in report
    assert "supports no choice" not in report


def test_where_examples_are_in_clusters_or_trials_are_missing_the_report_gives_two_figures(
    tmp_path: Path,
) -> None:
    manifest = synthetic.manifest(examples=24, config={"infra": {"max_error_rate": 0.5}})
    whole = synthetic.trials(examples=24)
    report = markdown.render(collected(tmp_path / "whole", whole, manifest))
    assert "In whole clusters" in report
    assert "infrastructure errors left an example" not in report
    manifest.dataset.clusters.clear()
    lost = synthetic.trials(examples=24, infra_rate=0.1)
    report = markdown.render(collected(tmp_path / "lost", lost, manifest)).replace("\\", "")
    assert "In whole clusters" not in report
    assert "infrastructure errors left an example with fewer trials" in report


# --- re-attempts --------------------------------------------------------------------------------------


def test_a_candidate_that_is_attempted_again_more_often_is_named_with_the_test(tmp_path: Path) -> None:
    def records(of_the_other: int) -> list[TrialRecord]:
        return [
            synthetic.trial(name, f"e-{n}", earlier=["infra.container_lost"] * (n < again))
            for name, again in (("steady", 12), ("hasty", of_the_other))
            for n in range(40)
        ]

    found = markdown.render(collected(tmp_path / "a", records(0))).replace("\\", "")
    assert "steady: 12 of 40 trials were attempted again, against 0 of 40 of hasty (p < 0.001)" in found
    assert "| steady (simulated) | 12 | 12 of 40 | 12 | infra.container_lost (12) | < 0.001 |" in found
    assert "were attempted again" not in markdown.render(collected(tmp_path / "b", records(10)))


def test_a_limit_is_compared_with_one_attempt_and_time_and_cost_are_of_all(tmp_path: Path) -> None:
    made = synthetic.trial(seconds=100.0, earlier=["infra.container_lost"])
    used = made.usage.model_copy(update={"model_calls": 2})
    record = made.model_copy(
        update={
            "seconds": made.seconds.model_copy(update={"working": 200.0}),
            "attempts": [each.model_copy(update={"usage": used}) for each in made.attempts],
        }
    )
    report = collected(tmp_path / "a", [record])
    row = report.candidates[0]
    assert row.working_seconds is not None
    assert row.attempt_seconds is not None
    assert row.model_calls is not None
    assert row.turns is not None
    assert (row.working_seconds.max, row.attempt_seconds.max) == (200.0, 100.0)
    assert (row.model_calls.max, row.turns.max) == (4, 2)
    text = markdown.render(report)
    assert "| working time | 1 min 40 s |" in text
    assert "an older version did not record it" not in text
    older = markdown.render(collected(tmp_path / "b", [made]))
    assert "What 1 trial used before the last attempt: an older version did not record it." in older


# --- failures -----------------------------------------------------------------------------------------


def test_each_cause_has_one_excerpt_and_no_other_trajectory_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = list(synthetic.trials(examples=40, infra_rate=0.1))
    run = synthetic.run_directory(tmp_path, records)
    for record in records:
        run.write_trajectory(
            record.trial_id, {"steps": [{"source": "user", "message": f"asked {record.trial_id}"}]}
        )
    read: list[str] = []
    real = RunDirectory.trajectory
    monkeypatch.setattr(RunDirectory, "trajectory", lambda self, id_: read.append(id_) or real(self, id_))
    report = data.collect(run)
    causes = {record.cause for record in records if record.cause}
    assert set(report.excerpts) == causes
    assert len(read) == len(causes)
    assert all(each.lines == [f"user: asked {each.trial_id}"] for each in report.excerpts.values())


@pytest.mark.parametrize(
    "written", [b"", b"[1]", b'{"steps": 7}', b'{"steps": [{"tool_calls": [3, {}]}]}', b"{"]
)
def test_a_damaged_trajectory_is_said_to_be(tmp_path: Path, written: bytes) -> None:
    run = synthetic.run_directory(tmp_path, [])
    run.trajectory_path("a/b/1").write_bytes(written)
    assert excerpt.read(run, "a/b/1").lines


def test_a_long_trajectory_is_cut_in_the_middle(tmp_path: Path) -> None:
    run = synthetic.run_directory(tmp_path, [])
    steps = [{"source": "agent", "message": f"{n} " * 999} for n in range(500)]
    run.write_trajectory("a/b/1", {"steps": [{"source": "system", "message": "the prompt"}, *steps]})
    lines = excerpt.read(run, "a/b/1").lines
    assert len(lines) == excerpt.FIRST + excerpt.LAST + 1
    assert lines[0].startswith("model: 0")
    assert lines[-1].startswith("model: 499")
    assert max(map(len, lines)) < excerpt.LINE + 20


def test_wasted_calls_are_counted_and_old_lines_still_read(tmp_path: Path) -> None:
    counted = [
        synthetic.trial(
            example=f"case-00{n}", tools={"calls": 4, "failed": 2, "repeated": 1, "rejected": 1, "unknown": n}
        )
        for n in range(2)
    ]
    report = collected(tmp_path / "new", counted)
    assert report.candidates[0].wasted_share == 0.75
    assert "| Tool errors | Rejected | No such tool |" in (text := markdown.render(report))
    assert "| 2 (2) | 1 (1) | 0.5 (1) | 1 (1) | 75.0 % |" in text
    old = [record.model_copy(update={"tools": None}) for record in counted]
    (row, _) = collected(tmp_path / "old", old).candidates
    assert row.tool_calls is None
    assert row.wasted_share is None
    assert row.tool_errors is not None  # the runner's own count was always there


# --- damaged runs: what can be read is read, what is missing is said ------------------------------------


def shown(report: ReportData) -> str:
    """As a terminal shows it."""
    with (console := Console(width=200, color_system=None)).capture() as capture:
        console.print(terminal.run(report))
    return capture.get()


def render_both(run: RunDirectory) -> str:
    report = data.collect(run)
    page = html.render(report, plots.draw(report))
    made = markdown.render(report)
    for text in (made, page, shown(report)):
        assert not re.search(r"\b(nan|inf)\b|[|>] ?None ?[|<]", text)
    assert summary.summary(report)["exit_code"] == report.exit_code
    return made


@pytest.mark.slow
def test_a_torn_last_line_is_skipped_and_named(tmp_path: Path) -> None:
    run = synthetic.run_directory(tmp_path)
    path = run.path / "trials.jsonl"
    path.write_bytes(path.read_bytes()[:-200])
    report = render_both(run)
    assert "71 of 72 planned trials" in report
    assert "trials.jsonl:72: the last line is torn" in report
    assert "INCONCLUSIVE" in report.splitlines()[0]


@pytest.mark.slow
def test_a_trial_recorded_twice_counts_once(tmp_path: Path) -> None:
    run = synthetic.run_directory(tmp_path)
    run.append(synthetic.trial(verdict="failed", cause="model.refusal"))
    report = render_both(run)
    assert "72 of 72 planned trials" in report
    assert "steady/case-000/1 is recorded twice; only its first record counts" in report
    assert "model.refusal" not in report


@pytest.mark.slow
def test_keys_of_a_newer_version_change_nothing(tmp_path: Path) -> None:
    run = synthetic.run_directory(tmp_path)
    before = render_both(run)
    manifest = json.loads((run.path / "manifest.json").read_text())
    manifest |= {"format": 2, "novelty": {"deep": 1}}
    manifest["host"]["phase_of_moon"] = manifest["dataset"]["mood"] = 0.5
    (run.path / "manifest.json").write_text(json.dumps(manifest))
    lines = [json.loads(line) for line in (run.path / "trials.jsonl").read_text().splitlines()]
    for line in lines:
        line["mood"] = "good"
        line["attempts"][0]["evidence"]["host"]["phase_of_moon"] = 0.5
    (run.path / "trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert render_both(run) == before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}"])
def test_a_destroyed_manifest_is_one_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    run = synthetic.run_directory(tmp_path)
    (run.path / "manifest.json").write_bytes(content)
    with pytest.raises(InputError, match=r"manifest\.json: .*this manifest is damaged") as error:
        data.collect(run)
    assert "Restore" in str(error.value.hint)


@pytest.mark.slow
@pytest.mark.parametrize(
    "records",
    [
        [],
        [synthetic.trial()],
        [synthetic.trial(verdict="infra_error", cause="infra.image")],
        [synthetic.trial(verdict="failed", cause="model.refusal")],
        list(synthetic.trials(skills=(1.0, 1.0))),
        list(synthetic.trials(skills=(0.0, 0.0))),
        list(synthetic.trials(infra_rate=1.0)),
        [synthetic.trial(example="case-000", repetition=n) for n in range(9)],
        [synthetic.trial(resources=synthetic.trial().resources.model_copy(update={"observed": Observed()}))],
    ],
    ids="none one one-infra one-failed all-pass all-fail all-infra one-cluster unobserved".split(),
)
def test_extreme_runs_give_an_honest_report(tmp_path: Path, records: list[TrialRecord]) -> None:
    render_both(synthetic.run_directory(tmp_path, records))


# --- speed and memory -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_time_of_a_report_grows_with_its_trials(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d", "e"]

    def made(examples: int) -> RunDirectory:
        run = synthetic.run_directory(tmp_path / str(examples), [], synthetic.manifest(names, examples, 5))
        records = synthetic.trials(names, examples, 5, skills=(0.9, 0.8, 0.7, 0.6, 0.5), infra_rate=0.01)
        with (run.path / "trials.jsonl").open("w") as file:
            file.writelines(record.model_dump_json() + "\n" for record in records)
        return run

    runs = {examples: made(examples) for examples in (10, 10 * TIMES)}
    assert growth(lambda examples: write(runs[examples], data.collect(runs[examples])), 10) < LINEAR


REPORT_AND_MEASURE = """
import sys
from pathlib import Path
from bakeoff.report import data
from bakeoff.report.write import write
from bakeoff.record.store import RunDirectory
run = RunDirectory.open(Path(sys.argv[1]))
write(run, data.collect(run))
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) / 1024)
"""


@pytest.mark.slow
def test_a_hundred_thousand_trials_are_reported_in_bounded_memory(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d", "e"]
    run = synthetic.run_directory(tmp_path, [], synthetic.manifest(names, 2000, 10))
    kinds = [synthetic.trial("NAME", "case-EXAMPLE").model_dump_json()]
    for cause, verdict in (("model.wrong_answer", "failed"), ("infra.oom_killed", "infra_error")):
        kinds.append(synthetic.trial("NAME", "case-EXAMPLE", verdict=verdict, cause=cause).model_dump_json())
    dice = random.Random(1)
    with (run.path / "trials.jsonl").open("w") as file:
        for number in range(100_000):
            line = dice.choices(kinds, (90, 9, 1))[0].replace("NAME", names[number % 5])
            line = line.replace("EXAMPLE", f"{number // 50:03d}").replace('/1"', f'/{number // 5 % 10}"')
            file.write(line + "\n")
    done = subprocess.run(
        [sys.executable, "-c", REPORT_AND_MEASURE, str(run.path)], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 200  # with matplotlib; the trials alone are a file of more than that
    assert (run.path / "trials.jsonl").stat().st_size / MIB > 200
    assert "100000 of 100000 planned trials have a verdict" in (run.path / "report.md").read_text()


@pytest.mark.slow
def test_thirty_candidates_are_still_readable(tmp_path: Path) -> None:
    """The decision in one sentence, few reservations, the leader's pairs open and all 435 folded away."""
    names = [f"model-{number:02d}" for number in range(30)]
    records = synthetic.trials(
        names, 12, 2, skills=[0.95 - 0.03 * n for n in range(30)], infra_rate=0.05, seed=3
    )
    report = collected(tmp_path, records, synthetic.manifest(names, 12, 2, simulated=False))
    assert len(report.doubts) > 4
    assert re.search(r"; and \d+ more of this kind\.$", report.sentence)
    assert len(report.sentence) < 400
    assert report.decision.sentence.count("model-") <= 12
    assert re.search(r" and \d+ others; this sample", report.decision.sentence)
    text = markdown.render(report)
    first_screen = text.partition("\n## ")[0]
    assert len(report.decision.caveats) > 5
    assert first_screen.count("How infrastructure errors are counted decides") == 5
    assert f"{len(report.decision.caveats) - 5} more notes of this kind are below." in first_screen
    assert text.count("<summary>All 435 pairs</summary>") == 2
    leader = report.decision.leader
    assert text.count(f"| {leader} minus ") == 2 * 29
    drawn = plots.draw(report)["cost"]
    assert sum(name in drawn for name in names) < 12, "names of thirty dots would lie on each other"
    with_all = collected(
        tmp_path / "few",
        synthetic.trials(names[:5], 12, 2, skills=[0.9] * 5),
        synthetic.manifest(names[:5], 12, 2),
    )
    assert all(name in plots.draw(with_all)["cost"] for name in names[:5])


@pytest.mark.slow
@pytest.mark.parametrize(("dearest", "logarithmic"), [(0.1, False), (1.0, True)])
def test_prices_far_apart_are_drawn_on_a_logarithmic_scale(
    tmp_path: Path, dearest: float, logarithmic: bool
) -> None:
    cost = {"steady": dearest, "hasty": 0.01}
    records = [
        each.model_copy(update={"usage": each.usage.model_copy(update={"cost_usd": cost[each.candidate]})})
        for each in synthetic.trials()
    ]
    assert ("US dollars, logarithmic" in plots.draw(collected(tmp_path, records))["cost"]) is logarithmic


def test_a_peak_that_was_only_sampled_is_marked_where_it_is_shown(tmp_path: Path) -> None:
    seen = synthetic.trial().resources
    sampled = seen.model_copy(
        update={"observed": seen.observed.model_copy(update={"sampled": ["memory_peak_bytes"]})}
    )
    report = markdown.render(collected(tmp_path, [synthetic.trial(resources=sampled)]))
    assert "| memory, peak (sampled) |" in report
    assert "| processes, peak |" in report


def test_a_percent_sign_stays_with_its_number(tmp_path: Path) -> None:
    page = html.render(collected(tmp_path), {})
    decision = page.partition('<p class="decision">')[2].partition("</p>")[0]
    assert re.search(r"\(\d+\.\d&nbsp;%\)", decision)
    assert not re.search(r"\d %", decision)


def test_a_candidate_without_a_trial_has_no_rate_of_errors(tmp_path: Path) -> None:
    text = markdown.render(collected(tmp_path, []))
    assert "– (0 of 0 trials), at most – for one candidate" in text
    assert "steady has no score: it has no trial yet." in text
    assert "or verdicts are missing" in text


def test_a_host_that_broke_its_promise_is_a_warning(tmp_path: Path) -> None:
    calm = synthetic.trial()
    evidence = calm.attempts[-1].evidence
    busy = evidence.model_copy(update={"host": evidence.host.model_copy(update={"contended": True})})
    starved = synthetic.trial(
        example="case-001", attempts=[calm.attempts[-1].model_copy(update={"evidence": busy})]
    )
    said = "1 of 2 trials got less CPU than was reserved"
    assert said in markdown.render(collected(tmp_path / "a", [calm, starved]))
    assert "got less CPU" not in markdown.render(collected(tmp_path / "b", [calm]))


def test_tool_schemas_and_packages_come_after_everything_else(tmp_path: Path) -> None:
    tool = {"name": "look_up", "description": "Looks up.", "parameters": {"properties": {"key": {}}}}
    manifest = synthetic.manifest(["steady"], observed_harness={"system_prompt": "Help.", "tools": [tool]})
    run = synthetic.run_directory(tmp_path, [synthetic.trial()], manifest)
    report = markdown.render(data.collect(run))
    body, appendix = report.split("## Appendix")
    assert "look\\_up" in body or "look_up" in body
    assert '"parameters"' not in body
    assert '"parameters"' in appendix
    assert "Packages in the image" in appendix


@pytest.mark.parametrize(("prompts", "varies"), [(("Help.", "Help."), False), (("Help A.", "Help B."), True)])
def test_a_prompt_that_differs_between_trials_is_not_called_the_prompt(
    tmp_path: Path, prompts: tuple[str, str], varies: bool
) -> None:
    manifest = synthetic.manifest(["steady"], observed_harness={"system_prompt": prompts[0]})
    records = [synthetic.trial(example=f"example-{n}") for n in (0, 1)]
    run = synthetic.run_directory(tmp_path, records, manifest)
    for record, prompt in zip(records, prompts, strict=True):
        messages = [{"type": "system", "data": {"content": prompt}}]
        run.append_call(record.trial_id, {"request": {"messages": messages}})
    report = markdown.render(data.collect(run))
    assert ("The system prompt of the first trial" in report) is varies
    assert ("differs between trials" in report) is varies
