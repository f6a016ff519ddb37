"""`bakeoff power` on synthetic runs: the table, the JSON, and runs that cannot tell."""

import json
from pathlib import Path

from tests.fakes import synthetic
from tests.fakes.command import Done, bakeoff


def power(out: Path, *args: str) -> Done:
    return bakeoff("power", "--out", str(out), *args)


def run(out: Path, examples: int = 36) -> None:
    manifest = synthetic.manifest(examples=examples)
    manifest.dataset.clusters.update({each: each for each in manifest.dataset.example_ids})
    synthetic.run_directory(out, synthetic.trials(examples=examples), manifest)


def test_every_pair_and_every_rerun(tmp_path: Path) -> None:
    run(tmp_path)
    done = power(tmp_path, "--effect", "0.05", "--json")
    assert done.returncode == 0
    pair, *reruns = json.loads(done.stdout)["comparisons"]
    assert (pair["first"], pair["second"], pair["examples"]) == ("steady", "hasty", 36)
    assert 0.05 < pair["detectable"] < 0.5
    assert 0.05 < pair["power"] < 0.8
    assert pair["examples_needed"] > 36
    assert [(each["first"], each["second"]) for each in reruns] == [("steady", "steady"), ("hasty", "hasty")]
    # hasty passes three of five times: a rerun of it varies more
    assert reruns[1]["detectable"] > reruns[0]["detectable"]
    shown = power(tmp_path, "--effect", "0.05").stdout
    assert "steady against hasty" in shown
    assert "hasty against a rerun" in shown
    only = json.loads(power(tmp_path, "-c", "hasty", "--json").stdout)["comparisons"]
    assert [(each["first"], each["second"]) for each in only] == [("hasty", "hasty")]


def test_a_run_too_small_says_so(tmp_path: Path) -> None:
    run(tmp_path, examples=3)
    assert "not known: fewer than 6 clusters" in power(tmp_path).stdout
    [pair, *_] = json.loads(power(tmp_path, "--json").stdout)["comparisons"]
    assert (pair["power"], pair["examples_needed"]) == (None, None)


def test_six_clusters_could_show_nothing(tmp_path: Path) -> None:
    run(tmp_path, examples=6)
    [pair, *_] = json.loads(power(tmp_path, "--json").stdout)["comparisons"]
    assert (pair["detectable"], pair["why"]) == (None, "")
    assert pair["power"] < 0.8
    assert "nothing" in power(tmp_path).stdout


def test_gates_that_such_a_run_cannot_answer_are_named(tmp_path: Path) -> None:
    manifest = synthetic.manifest(examples=36, config={"gates": {"max_drop": 0.01, "max_infra": 0.9}})
    synthetic.run_directory(tmp_path, synthetic.trials(examples=36), manifest)
    told = json.loads(power(tmp_path, "--json").stdout)
    [gate] = told["unanswerable_gates"]
    assert gate.startswith("max_drop: 0.01 mostly stays unknown")
    assert 0.01 < told["smallest_max_drop"] < 0.3
    shown = power(tmp_path).stdout
    assert "A nightly gate can answer max_drop: 0." in shown
    assert "max_drop: 0.01 mostly stays unknown" in " ".join(shown.split())


def test_bad_input(tmp_path: Path) -> None:
    assert power(tmp_path).returncode == 2
    run(tmp_path)
    for args, said in ((("--effect", "3"), "is not a share"), (("-c", "hsty"), "Did you mean hasty?")):
        done = power(tmp_path, *args)
        assert done.returncode == 2
        assert said in done.stderr
