"""Stopping early: boundaries against the textbook, sequential p-values, looks, and the study's arrays against ours."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from bakeoff import stats
from bakeoff.stats import sequential
from bakeoff.stats.scores import Counting, Outcome
from bakeoff.stats.sequential import Looks, boundaries, critical_values, sequential_p
from tests.studies import sequential_study
from tests.studies.sequential_study import Design

FIVE = (0.2, 0.4, 0.6, 0.8, 1.0)


def outcomes(name: str, *examples: str) -> list[Outcome]:
    """One string an example, one letter a repetition: P passed, F failed, I an infrastructure error."""
    verdicts = {"P": "passed", "F": "failed", "I": "infra_error"}
    return [
        Outcome(name, f"e{number}", f"e{number}", repetition, verdicts[letter])  # type: ignore[arg-type]
        for number, example in enumerate(examples)
        for repetition, letter in enumerate(example, start=1)
    ]


# --- boundaries


@pytest.mark.parametrize(
    ("looks", "known"),
    [(2, [2.963, 1.969]), (3, [3.710, 2.511, 1.993]), (5, [4.877, 3.357, 2.680, 2.290, 2.031])],
)
def test_boundaries_are_those_of_the_textbook(looks: int, known: list[float]) -> None:
    times = tuple((look + 1) / looks for look in range(looks))
    assert critical_values(times, 0.05) == pytest.approx(known, abs=6e-4)


@pytest.mark.parametrize("times", [FIVE, (0.1, 0.15, 0.7, 1.0), (0.5, 1.0)])
def test_the_error_of_all_looks_is_alpha_for_any_information_times(times: tuple[float, ...]) -> None:
    steps = np.diff((0.0, *times))
    walk = np.cumsum(np.random.default_rng(5).normal(size=(400_000, len(times))) * np.sqrt(steps), axis=1)
    crossed = (np.abs(walk) / np.sqrt(times) > critical_values(times, 0.05)).any(1)
    assert crossed.mean() == pytest.approx(0.05, abs=0.0012)
    assert sequential.spent(1.0, 0.05) == pytest.approx(0.05)


@pytest.mark.parametrize("alpha", [0.4, 0.05, 0.05 / 3, 0.05 / 45, 1e-7])
def test_a_p_value_at_the_boundary_has_alpha_as_its_sequential_p_value(alpha: float) -> None:
    for look, bound in enumerate(boundaries(FIVE, alpha), start=1):
        assert sequential_p(bound, look, FIVE) == pytest.approx(alpha, rel=2e-3)


def test_sequential_p_values_stay_within_their_bounds() -> None:
    for look in range(1, 6):
        found = [sequential_p(p, look, FIVE) for p in (0.0, 1e-300, 1e-12, 0.001, 0.04, 0.5, 1.0)]
        assert found == sorted(found)
        assert 0 < found[0] < 1e-9
        assert found[-1] == 1.0


def test_conditional_power_is_the_chance_under_the_trend() -> None:
    dice = np.random.default_rng(2)
    half = 0.9 * np.sqrt(0.5)  # B(0.5) at z = 0.9
    end = half + half / 0.5 * 0.5 + dice.normal(size=400_000) * np.sqrt(0.5)
    assert sequential.conditional_power(0.36812, 0.5, 2.0) == pytest.approx((end > 2.0).mean(), abs=0.003)


@pytest.mark.parametrize(
    ("repetitions", "after"),
    [(2, (1, 2)), (5, (1, 2, 3, 4, 5)), (7, (2, 3, 5, 6, 7)), (10, (2, 4, 6, 8, 10))],
)
def test_looks_are_whole_repetitions_evenly_spread(repetitions: int, after: tuple[int, ...]) -> None:
    assert sequential.planned(repetitions) == after


# --- looks


def test_what_runs_after_a_pairs_last_look_does_not_count_in_it() -> None:
    both = [*outcomes("a", *["PP"] * 20), *outcomes("b", *["FP"] * 20)]
    first = Looks((1, 2), 1, taken=1)
    [then] = sequential.sensitivities_at(both, [("a", "b")], first)
    [later] = sequential.sensitivities_at(both, [("a", "b")], replace(first, taken=2, dropped={"b": 1}))
    assert then == later
    assert (later.better, later.by[Counting.SCORE].difference, later.by[Counting.SCORE].look) == ("a", 1.0, 1)


def test_the_repeated_interval_is_wider_the_earlier_the_look() -> None:
    dice = random.Random(4)
    a, b = (outcomes(name, *["".join(dice.choices("PF", k=5)) for _ in range(40)]) for name in "ab")
    fixed = stats.compare([*a, *b], "a", "b")
    widths = []
    for taken in (2, 3, 5):
        [pair] = sequential.sensitivities_at([*a, *b], [("a", "b")], Looks((1, 2, 3, 4, 5), 1, taken))
        found = pair.by[Counting.SCORE]
        widths.append((found.high or 0) - (found.low or 0))
    assert widths == sorted(widths, reverse=True)
    assert 1.0 < widths[-1] / ((fixed.high or 0) - (fixed.low or 0)) < 1.06


def test_a_decided_pair_leaves_its_share_to_the_others() -> None:
    a, b, c = (outcomes(name, *examples) for name, examples in _three())
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    found = sequential.sensitivities_at([*a, *b, *c], pairs, Looks((1,), 3, 1))
    bounds = sorted(pair.by[Counting.SCORE].boundary or 0 for pair in found)
    assert bounds == pytest.approx([0.05 / 3, 0.05 / 2, 0.05], rel=1e-3)


def _three() -> list[tuple[str, list[str]]]:
    return [("a", ["P"] * 40), ("b", ["F"] * 40), ("c", ["P"] * 28 + ["F"] * 12)]


def test_a_loser_in_score_that_does_not_lose_as_deployed_stays() -> None:
    a = outcomes("a", *["P"] * 40)
    a = [replace(o, died_inside=True) for o in a]
    found = stats.look([*a, *outcomes("b", *["F"] * 40)], ["a", "b"], Looks((1, 2), 1))
    assert found.pairs[0].by[Counting.SCORE].conclusion == 1
    assert found.dropped == ()


def test_a_look_at_candidates_without_a_verdict_decides_nothing() -> None:
    found = stats.look(
        [*outcomes("a", *["I"] * 20), *outcomes("b", *["P"] * 20)], ["a", "b"], Looks((1, 2), 1)
    )
    assert (found.dropped, found.futile) == ((), False)


def test_no_run_is_futile_before_two_fifths_of_it_nor_at_its_end() -> None:
    alike = [*outcomes("a", *["PPPPP"] * 20), *outcomes("b", *["PPPPP"] * 20)]
    seen = [stats.look(alike, ["a", "b"], Looks((1, 2, 3, 4, 5), 1, taken)).futile for taken in range(5)]
    assert seen == [False, True, True, True, False]


def test_a_significant_pair_is_not_dropped_while_its_numbers_are_in_doubt() -> None:
    both = [*outcomes("a", *["P"] * 30), *outcomes("b", *["F"] * 30)]
    assert stats.look(both, ["a", "b"], Looks((1, 2), 1)).dropped == ("b",)
    doubted = stats.look(both, ["a", "b"], Looks((1, 2), 1), doubtful=["a"])
    assert (doubted.dropped, doubted.futile) == ((), False)


@pytest.mark.parametrize("examples", [["P"] * 30, ["P"] * 20 + ["F"] * 10, ["P"] * 3 + ["F"] * 27])
def test_a_very_early_look_at_many_is_no_trouble(examples: list[str]) -> None:
    both = [*outcomes("a", *examples), *outcomes("b", *["F"] * 30)]
    [pair] = sequential.sensitivities_at(both, [("a", "b")], Looks(tuple(range(1, 21)), 45, 1))
    found = pair.by[Counting.SCORE]
    assert found.low is not None
    assert found.high is not None
    assert -1 <= found.low <= found.high <= 1
    assert not found.distinguishable


# --- the decision


def test_the_last_one_left_wins_also_over_one_that_another_beat() -> None:
    a = outcomes("a", *["PPP"] * 40)
    b = outcomes("b", *["PFF"] * 40)
    c = outcomes("c", *["F"] * 40)
    found = stats.decide([*a, *b, *c], ["a", "b", "c"], Looks((1, 3), 3, 2, {"c": 1, "b": 2}))
    assert (found.winner, found.rivals) == ("a", ())
    # c never lost to a: it did not run when a showed what it can
    b_won = [
        *outcomes("a", *["F"] * 20 + ["PPP"] * 40),
        *outcomes("b", *["P"] * 60),
        *outcomes("c", *["F"] * 60),
    ]
    found = stats.decide(b_won, ["a", "b", "c"], Looks((1, 3), 3, 2, {"b": 2, "c": 1}))
    assert found.winner == "a"
    assert found.scores[0].candidate == "a", "whoever is left comes first"


def test_a_stopped_run_is_corrected_for_the_looks_and_says_that_its_lead_is_overstated() -> None:
    a, b = outcomes("a", *["P"] * 30 + ["F"] * 10), outcomes("b", *["P"] * 22 + ["F"] * 18)
    assert stats.decide([*a, *b]).winner == "a"
    looked = stats.decide([*a, *b], ["a", "b"], Looks((1, 2, 3, 4, 5), 1, 1))
    assert (looked.winner, looked.rivals) == (None, ("b",))
    assert "look 1 of 5" in looked.caveats[0]
    assert "overstated" in looked.caveats[0]


def test_before_the_first_look_nothing_is_distinguished() -> None:
    both = [*outcomes("a", *["P"] * 30), *outcomes("b", *["F"] * 30)]
    found = stats.decide(both, ["a", "b"], Looks((1, 2), 1))
    assert (found.winner, found.comparisons[0].p_adjusted) == (None, None)


# --- the study


def course(drawn: np.ndarray, clusters: Sequence[int]) -> tuple[list[int], int]:
    """The last look of each candidate, and of the run, as the product takes them; `drawn`: one run of the study."""
    count, examples, repetitions = drawn.shape
    names = [f"c{i}" for i in range(count)]
    everything = [
        Outcome(names[c], f"e{e}", f"g{clusters[e]}", r + 1, "passed" if drawn[c, e, r] else "failed")
        for c in range(count)
        for e in range(examples)
        for r in range(repetitions)
    ]
    looks = Looks(sequential.planned(repetitions), count * (count - 1) // 2)
    while True:
        until = looks.repetitions[looks.taken]
        seen = [o for o in everything if o.repetition <= until and o.candidate not in looks.dropped]
        past = [
            o
            for o in everything
            if o.candidate in looks.dropped
            and o.repetition <= looks.repetitions[looks.dropped[o.candidate] - 1]
        ]
        found = stats.look([*seen, *past], names, looks)
        number = looks.taken + 1
        looks = replace(
            looks, taken=number, dropped={**looks.dropped, **dict.fromkeys(found.dropped, number)}
        )
        if found.futile or len(looks.dropped) >= count - 1 or number == len(looks.repetitions):
            return [looks.dropped.get(name, number) for name in names], number


@pytest.mark.slow
@pytest.mark.parametrize(
    "design", [Design(40, 1, 5, 0.7, (0.0, 0.1, 0.4)), Design(13, 0, 3, 0.6, (0.0, 0.5), sizes=(1, 5))]
)
def test_the_study_takes_the_looks_that_the_product_takes(design: Design) -> None:
    drawn = sequential_study.passes(design, 12, np.random.default_rng(7))
    made = sequential_study.course(design, drawn, futility=True)
    for run in range(12):
        last, ended = course(drawn[run], design.layout)
        assert (last, ended) == (made.last[run].tolist(), made.ended[run])


@pytest.mark.parametrize(
    "design", [Design(40, 1, 5, 0.5), Design(13, 3, 5, 0.8), Design(40, 1, 5, 0.6, (0.0,) * 5)]
)
def test_equal_candidates_are_dropped_in_no_more_than_a_twentieth_of_runs(design: Design) -> None:
    found = sequential_study.study(design, runs=400, futility=False)
    assert found.wrong <= 0.06
    assert found.coverage >= 0.93


def test_a_clear_difference_stops_early_and_costs_hardly_any_power() -> None:
    found = sequential_study.study(Design(89, 1, 5, 0.6, (0.0, 0.2)), runs=200)
    assert found.saved > 0.35
    assert found.fixed - found.winner < 0.03
