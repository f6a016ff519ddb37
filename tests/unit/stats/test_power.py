"""`bakeoff power` on synthetic runs: the table, the JSON, and runs that cannot tell."""

import json
from pathlib import Path

from bakeoff import stats
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
    for args, said in (
        (("--effect", "3"), "is not a share"),
        (("--margin", "0"), "is not a share"),
        (("--budget", "0"), "is no amount of dollars"),
        (("-c", "hsty"), "Did you mean hasty?"),
    ):
        done = power(tmp_path, *args)
        assert done.returncode == 2
        assert said in done.stderr


def clustered(out: Path) -> None:
    manifest = synthetic.manifest(examples=36)
    manifest.dataset.clusters.update(
        {each: f"kind-{number // 3}" for number, each in enumerate(manifest.dataset.example_ids)}
    )
    synthetic.run_directory(out, synthetic.trials(examples=36), manifest)


def test_whole_clusters_are_a_second_figure_only_where_examples_are_in_clusters(tmp_path: Path) -> None:
    run(tmp_path / "single")
    [alone] = json.loads(power(tmp_path / "single", "-c", "hasty", "--json").stdout)["comparisons"]
    assert (alone["detectable_in_clusters"], alone["examples_needed_in_clusters"]) == (None, None)
    assert "whole clusters" not in power(tmp_path / "single", "-c", "hasty").stdout
    clustered(tmp_path / "grouped")
    [hasty] = json.loads(power(tmp_path / "grouped", "-c", "hasty", "--json").stdout)["comparisons"]
    assert hasty["detectable"] < hasty["detectable_in_clusters"]
    assert hasty["power_in_clusters"] <= hasty["power"]
    assert "if whole clusters change" in power(tmp_path / "grouped", "-c", "hasty").stdout


def test_a_margin_needs_repetitions_and_both_directions_need_more(tmp_path: Path) -> None:
    run(tmp_path)
    args = ("-c", "hasty", "--margin", "0.05")
    [margin] = json.loads(power(tmp_path, *args, "--json").stdout)["margins"]
    assert 3 < margin["no_worse_repetitions"] < margin["equivalent_repetitions"]
    assert margin["equivalent"] < margin["no_worse"] < 0.8
    shown = power(tmp_path, *args).stdout
    assert str(margin["no_worse_repetitions"]) in shown
    assert str(margin["equivalent_repetitions"]) in shown


def test_a_budget_buys_repetitions_or_examples(tmp_path: Path) -> None:
    run(tmp_path)
    args = ("-c", "hasty", "--json", "--budget")
    poor, rich = (json.loads(power(tmp_path, *args, str(x)).stdout)["budgets"][0] for x in (0.01, 50))
    assert (poor["repetitions"], poor["detectable"], poor["examples"]) == (0, None, 0)
    costs = [trial.usage.cost_usd for trial in synthetic.trials(examples=36) if trial.candidate == "hasty"]
    assert rich["repetitions"] == int(50 / (36 * 2 * sum(costs) / len(costs)))  # both sides
    assert rich["detectable_by_examples"] < rich["detectable"], "examples are worth more than repetitions"
    assert "for $50.00" in power(tmp_path, "-c", "hasty", "--budget", "50").stdout


def test_a_rate_of_errors_needs_repetitions(tmp_path: Path) -> None:
    run(tmp_path)
    found = json.loads(power(tmp_path, "--max-infra", "0.02", "--json").stdout)
    needed = found["max_infra_repetitions"]
    assert f"below 2.0 % is shown in four runs of five by {needed} repetitions" in " ".join(
        power(tmp_path, "--max-infra", "0.02").stdout.split()
    )


def test_the_repetitions_for_a_margin_are_those_of_two_one_sided_tests_by_simulation() -> None:
    """80 % of 4000 runs of equals, two standard errors 1.3 points."""
    import numpy as np

    rng, rates, within = np.random.default_rng(7), np.array([0.2, 0.5, 0.9] * 30), 0.05
    one = 2 * float(np.mean(rates * (1 - rates))) / 90
    for both in (False, True):
        count = stats.margin_repetitions(within, one, both)
        assert count is not None
        first, second = rng.binomial(count, rates, (2, 4000, 90)) / count
        difference = (first - second).mean(axis=1)
        spread = sum((p * (1 - p)).sum(axis=1) for p in (first, second)) / (count - 1) / 90**2
        bound = 1.645 * np.sqrt(spread)
        shown = (difference + bound < within) & ((difference - bound > -within) | (not both))
        assert 0.8 - 0.02 <= shown.mean() <= 0.86
    assert stats.margin_repetitions(within, 0.0, both=True) == 1


def test_the_repetitions_for_a_rate_of_errors_show_it_by_simulation() -> None:
    import numpy as np

    rng = np.random.default_rng(3)
    count = stats.below_repetitions(0.02, 0.01, 89)
    assert count is not None
    for repetitions, least, most in ((count, 0.78, 0.86), (count // 2, 0.0, 0.7)):
        n = repetitions * 89
        errors = rng.binomial(n, 0.01, 4000)
        shown = [stats.wilson(each / n, n, 1.645)[1] < 0.02 for each in errors]
        assert least <= sum(shown) / 4000 <= most
    assert stats.below_repetitions(0.02, 0.02, 89) is None
