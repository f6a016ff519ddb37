"""The sweep's demonstration in a small form: six boxes, real memory, and a report that says what the box did."""

import subprocess
from pathlib import Path

import pytest

from bakeoff.record.store import RunDirectory
from bakeoff.report.data import collect
from tests.docker.project import COMMAND

HARNESS = Path(__file__).parents[2] / "examples/memory_sweep/harness.yaml"
LEVELS = ["1x", "1.5x", "2x", "3x", "5x", "uncapped"]
MIB = 2**20


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    out = tmp_path_factory.mktemp("sweep")
    asked = ["sweep", str(HARNESS), "-c", "eager", "-e", "small-0[12]", "-e", "large-0[12]", "--trials", "2"]
    done = subprocess.run(
        [
            *COMMAND,
            *asked,
            "--levels",
            "1,1.5,2,3,5,uncapped",
            "--scale",
            "memory",
            "--quiet",
            "--out",
            str(out),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return RunDirectory.resolve("latest", out)


def test_every_trial_ran_under_its_own_ceiling_as_the_kernel_says(swept: RunDirectory) -> None:
    trials = list(swept.trials())
    assert len(trials) == 6 * 4 * 2
    effective = {trial.profile: trial.resources.effective.memory_bytes for trial in trials}
    base = 192 * MIB
    assert effective == {
        "1x": base,
        "1.5x": base * 3 // 2,
        "2x": 2 * base,
        "3x": 3 * base,
        "5x": 5 * base,
        "uncapped": None,
    }
    assert [profile.name for profile in swept.manifest().profiles] == LEVELS
    assert {trial.trial_id.partition("/")[0] for trial in trials} == {f"eager@{level}" for level in LEVELS}


def test_a_large_table_fits_only_into_a_large_box_and_then_uses_its_memory(swept: RunDirectory) -> None:
    large = [trial for trial in swept.trials() if trial.example_id.startswith("large")]
    small = [trial for trial in swept.trials() if trial.example_id.startswith("small")]
    most = dict.fromkeys(LEVELS, 0)
    for trial in large:
        most[trial.profile] = max(most[trial.profile], trial.resources.observed.memory_peak_bytes or 0)
    assert most["uncapped"] > 600 * MIB > 192 * MIB >= most["1x"]
    assert {trial.verdict for trial in large if trial.profile == "uncapped"} == {"passed"}
    assert {trial.verdict for trial in large if trial.profile == "1x"} == {"failed"}
    assert "infra_error" not in {trial.verdict for trial in small}


def test_its_report_says_that_another_test_was_taken(swept: RunDirectory) -> None:
    sweep = collect(swept).sweep
    assert sweep is not None
    study = sweep.studies["eager"]
    assert study.clean[0].shown
    assert (study.clean[0].difference or 0) > 0.3
    assert [level.experiment for level in study.levels] == [f"eager@{level}" for level in LEVELS]
    assert "What does the box do to the score?" in (swept.path / "report.md").read_text()
