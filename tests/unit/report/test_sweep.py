"""The report of a sweep: what the box does, which profile to use, what it costs, and whether the ranking holds."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from bakeoff import compare
from bakeoff.cli.power import _pairs
from bakeoff.record.manifest import Manifest
from bakeoff.record.store import RunDirectory
from bakeoff.record.trial import DEFAULT_PROFILE, Profile, trial_id
from bakeoff.report import html, markdown, plots
from bakeoff.report.data import ReportData, collect
from bakeoff.report.summary import summary
from tests.fakes import synthetic
from tests.fakes.synthetic import LIMITS, MIB

LEVELS = {"1x": 512, "2x": 1024, "uncapped": None}


def profile(name: str) -> Profile:
    memory = LEVELS[name]
    limits = LIMITS.model_copy(update={"memory_bytes": memory and memory * MIB})
    return Profile(name=name, limits=limits, reserved_cpus=0.5, reserved_memory_bytes=256 * MIB)


def manifest(candidates: tuple[str, ...], tasks: int, repetitions: int, **swept: Any) -> Manifest:
    sweep = {
        "levels": [1, 2, "uncapped"],
        "scale": ["memory"],
        "floor": 0.5,
        "margin": 0.1,
        "max_infra": 0.05,
    }
    return synthetic.manifest(
        candidates,
        tasks,
        repetitions,
        profiles=[profile(name) for name in LEVELS],
        trials_planned=len(candidates) * tasks * repetitions * len(LEVELS),
        config={"sweep": sweep | swept},
    )


def run(
    tmp_path: Path, candidates: tuple[str, ...] = ("steady",), tasks: int = 30, repetitions: int = 4
) -> ReportData:
    """A third of the tasks need 700 MiB, and are killed below; all others always pass, but for a few."""
    dice, trials = random.Random(3), []
    for candidate in candidates:
        for name, ceiling in LEVELS.items():
            for task in range(tasks):
                need = 700 if task % 3 == 0 else 180
                for repetition in range(1, repetitions + 1):
                    killed = ceiling is not None and need > ceiling
                    passed = candidate == "steady" or name == "uncapped" or dice.random() < 0.2
                    example = f"case-{task:03d}"
                    trials.append(
                        synthetic.trial(
                            candidate,
                            example,
                            repetition,
                            verdict="infra_error" if killed else "passed" if passed else "failed",
                            cause="infra.oom_killed" if killed else None if passed else "model.wrong_answer",
                            memory_mib=float(min(need, ceiling or need)),
                            profile=name,
                            trial_id=trial_id(candidate, name, example, repetition),
                        )
                    )
    return collect(synthetic.run_directory(tmp_path, trials, manifest(candidates, tasks, repetitions)))


def test_the_first_sentence_says_what_the_box_does_and_which_profile_to_use(tmp_path: Path) -> None:
    data = run(tmp_path)
    assert "steady: from 1x to uncapped, infrastructure errors go from 33.3 % to 0.0 %" in data.sentence
    assert "moves by +33.3 points, which is more than noise" in data.sentence
    assert "Use 2x." in data.sentence
    assert "steady@2x is the smallest level shown to have fewer than 5.0 % infrastructure" in markdown.render(
        data
    )
    assert data.sweep is not None
    assert data.sweep.recommended is not None
    assert data.sweep.recommended.name == "2x"


def test_infrastructure_errors_are_what_a_sweep_measures_and_no_doubt_of_it(tmp_path: Path) -> None:
    assert (run(tmp_path).doubts, run(tmp_path / "b").exit_code) == ([], 0)


def test_what_one_profile_kills_is_the_boxs_doing_and_no_failure_in_score(tmp_path: Path) -> None:
    data = run(tmp_path)
    assert [row.scores.deaths for row in data.candidates] == [None] * 3
    assert [row.scores.score.mean for row in data.candidates if row.scores.score] == [1.0] * 3
    assert not any("more than noise" in warning for warning in data.warnings)


def test_the_report_gives_a_block_to_paste_and_the_tasks_that_need_more(tmp_path: Path) -> None:
    text = markdown.render(run(tmp_path))
    assert "resources:\n  cpus: 1\n  memory: 1024MiB\n  reserve: {cpus: 0.5, memory: 256MiB}\n" in text
    assert "10 tasks of 30 need more than 1x" in text
    assert "| case-000 | 700 MiB | 4/4 | 0 | 0 | 2x |" in text
    order = ["What does the box do to the score?", "Which profile should you use?", "What does it cost?"]
    places = [text.index(f"## {heading}") for heading in order]
    assert places == sorted(places)
    assert text.index("## What exactly was the harness?") > places[-1]
    assert "Does the ranking hold?" not in text
    assert "Change record" not in text


def test_a_ranking_that_turns_is_said_with_its_test(tmp_path: Path) -> None:
    data = run(tmp_path, ("steady", "hasty"))
    assert data.sweep is not None
    [ranking] = data.sweep.rankings
    assert ranking.interaction.shown
    assert ranking.sentence in data.sentence
    assert "## Does the ranking hold?" in markdown.render(data)


def test_a_sample_that_is_too_small_recommends_nothing_and_says_how_much_would(tmp_path: Path) -> None:
    data = run(tmp_path, tasks=6, repetitions=2)
    assert data.sweep is not None
    assert data.sweep.recommended is None
    assert "This sample cannot say which profile to use; about" in data.sentence
    assert "resources:\n" not in markdown.render(data)


@pytest.mark.slow
def test_the_pictures_show_every_profile_and_its_ceiling(tmp_path: Path) -> None:
    data = run(tmp_path)
    page = html.render(data, plots.draw(data))
    for name in ("sweep", "peaks"):
        picture = page[page.index(f"id='{name}-title'") :]
        picture = picture[: picture.index("</figure>")]
        assert "There is nothing to draw" not in picture
        assert all(level in picture for level in LEVELS)


def test_the_summary_has_every_number_of_the_sweep_and_other_runs_have_no_such_key(tmp_path: Path) -> None:
    given = json.loads(json.dumps(summary(run(tmp_path))))["sweep"]
    assert given["recommended"] == "2x"
    assert [level["experiment"] for level in given["candidates"]["steady"]["levels"]] == [
        "steady@1x",
        "steady@2x",
        "steady@uncapped",
    ]
    plain = collect(synthetic.run_directory(tmp_path / "plain", synthetic.trials(), synthetic.manifest()))
    assert "sweep" not in summary(plain)
    assert plain.manifest.profiles[0].name == DEFAULT_PROFILE


@pytest.mark.parametrize("repetitions", [1, 2])
def test_a_report_says_what_its_intervals_are_about(tmp_path: Path, repetitions: int) -> None:
    text = markdown.render(run(tmp_path, tasks=12, repetitions=repetitions))
    assert ("about these very tasks" in text, "about tasks like these" in text) == (
        repetitions > 1,
        repetitions == 1,
    )


def test_an_interrupted_sweep_is_reported(tmp_path: Path) -> None:
    directory = synthetic.run_directory(tmp_path, [], manifest(("steady",), 4, 2))
    data = collect(RunDirectory.open(directory.path))
    assert data.inconclusive
    assert markdown.render(data)
    assert html.render(data, plots.draw(data))


def test_power_compares_candidates_under_one_profile_and_each_box_with_the_smallest(tmp_path: Path) -> None:
    directory = run(tmp_path, ("steady", "hasty"), tasks=6, repetitions=1).run_dir
    assert _pairs(compare.read(RunDirectory.open(Path(directory)), "RUN")) == [
        "steady@1x:hasty@1x",
        "steady@2x:hasty@2x",
        "steady@uncapped:hasty@uncapped",
        "steady@1x:steady@2x",
        "steady@1x:steady@uncapped",
        "hasty@1x:hasty@2x",
        "hasty@1x:hasty@uncapped",
    ]
