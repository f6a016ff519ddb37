"""The statistics of a sweep against cases worked by hand, brute force and scipy; a small form of the study."""

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import permutations, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff.stats import Outcome, compare, count_deaths, rankings, repetitions_for, study, t_quantile, wilson
from bakeoff.stats.sweep.equivalence import equivalence
from bakeoff.stats.sweep.levels import upper_bound
from bakeoff.stats.sweep.recommendation import repetitions_below
from bakeoff.stats.sweep.strata import Values, stratified
from bakeoff.stats.sweep.trend import permutation_p
from tests.studies import sweep_study
from tests.unit.stats.test_stats import outcomes

UNIT = (-1.0, 1.0)


def sweep(*levels: Sequence[str], cluster_size: int = 1) -> list[Outcome]:
    """One level after the other, named 1, 2, ...; one text an example, one letter a repetition: P, F, I or L."""
    return [
        o
        for name, rows in enumerate(levels, 1)
        for o in outcomes(f"{name}", *rows, cluster_size=cluster_size)
    ]


def names(count: int) -> list[str]:
    return [f"{name}" for name in range(1, count + 1)]


# --- what is counted --------------------------------------------------------------------------------


def test_a_killed_trial_counts_as_failed_and_one_that_the_provider_lost_under_no_profile() -> None:
    found = study(sweep(["LP", "PP"], ["PP", "IP"]), names(2))
    # the block of e1 that the provider hit is left out of both levels
    assert (found.tasks, found.repetitions) == (2, 1.5)
    assert found.levels[0].as_deployed is not None
    assert found.levels[0].as_deployed.mean == pytest.approx((0.5 + 1) / 2)
    assert found.deployed[0].difference == pytest.approx(0.25)
    # every infrastructure error of all its trials counts in the rate
    assert [level.infra.mean for level in found.levels if level.infra] == [0.25, 0.25]


def test_a_task_is_clean_only_if_none_of_its_trials_was_killed_not_even_beside_one_that_was_lost() -> None:
    found = study(sweep(["PLP", "PPP", "PPP"], ["PIP", "PFP", "PPP"]), names(2))
    assert (found.tasks, found.clean_tasks) == (3, 2)
    assert found.clean[0].difference == pytest.approx(-1 / 6)
    assert found.levels[0].clean is not None
    assert found.levels[0].clean.mean == 1.0


def test_an_interrupted_sweep_counts_the_blocks_that_every_level_finished() -> None:
    found = study(sweep(["PP", "FF"], ["PP"]), names(2))
    assert (found.tasks, found.repetitions) == (1, 2.0)
    assert study([], names(2)).recommendation.verdict == "cannot say"


def test_the_rate_of_errors_has_wilsons_one_sided_bound_over_all_trials() -> None:
    found = study(sweep(["LPPPP"] * 4, ["PPPPP"] * 4), names(2))
    assert found.levels[0].infra_upper == pytest.approx(wilson(0.2, 20, 1.6448536269514722)[1])
    assert found.levels[1].infra_upper == pytest.approx(1.6448536269514722**2 / (20 + 1.6448536269514722**2))


# --- these very tasks -------------------------------------------------------------------------------


def test_the_variance_is_that_of_the_repetitions_and_one_differing_trial_more_by_hand() -> None:
    found = stratified([[1.0, 0.0], [1.0, 1.0, 0.0, 0.0]], 2.0, UNIT)
    parts = [0.5 / (4 * 2), (1 / 3) / (4 * 4)]
    var = sum(parts) + 2 / 36
    assert found.mean == 0.5
    assert found.se == pytest.approx(math.sqrt(var))
    assert found.df == pytest.approx(var**2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 5))
    low, _ = found.interval()
    assert low == pytest.approx(0.5 - t_quantile(0.975, found.df) * found.se)


def test_a_task_that_ran_once_is_as_variable_as_the_others() -> None:
    found = stratified([[1.0, 0.0], [1.0]], 0.0, UNIT)
    assert found.se == pytest.approx(math.sqrt(2 * 0.5 / 4 - 0.5 / 8))


def test_tasks_that_turn_as_a_whole_are_no_noise() -> None:
    turned = study(sweep(["PPP"] * 12, ["FFF"] * 4 + ["PPP"] * 8), names(2))
    assert turned.inference == "these tasks"
    assert turned.deployed[0].shown
    assert turned.deployed[0].lower is not None
    assert turned.deployed[0].upper is not None
    assert -0.42 < turned.deployed[0].lower < -1 / 3 < turned.deployed[0].upper < -0.25


def test_24_of_24_against_7_of_21_on_six_tasks_is_shown() -> None:
    high = ["PPPP"] * 6
    low = ["PFFF", "FFFF", "PPFF", "PFFI", "PPFI", "FPFI"]
    found = study(sweep(low, high), names(2))
    assert found.deployed[0].shown
    assert found.deployed[0].p_value is not None
    assert found.deployed[0].p_value < 0.001


def test_the_same_answers_in_two_boxes_leave_no_noise_however_much_they_vary_by_repetition() -> None:
    answers = ["PFPF", "FFPP", "PPFF", "FPPF"] * 10
    found = study(sweep(answers, answers), names(2), margin=0.03)
    assert found.equivalences[0].verdict == "equivalent"
    reordered = [row[::-1] if row[0] != row[-1] else row[1:] + row[0] for row in answers]
    assert study(sweep(answers, reordered), names(2), margin=0.03).equivalences[0].verdict == "not shown"


def test_with_one_repetition_tasks_are_a_sample_as_in_compare() -> None:
    low = ["P", "F", "P", "F", "F", "F", "P", "P", "F", "F", "F", "P"]
    high = ["P", "P", "P", "P", "P", "P", "P", "F", "P", "P", "F", "P"]
    found = study(sweep(low, high), names(2))
    paired = compare(sweep(low, high), "2", "1")
    assert found.inference == "tasks like these"
    assert paired.method == "paired-t"
    only = found.deployed[0]
    assert (only.difference, only.se, only.lower, only.upper, only.p_value) == pytest.approx(
        (paired.difference, paired.se, paired.low, paired.high, paired.p_value)
    )


def test_few_differing_tasks_of_one_repetition_have_the_exact_p_value_and_an_interval_that_agrees() -> None:
    found = study(sweep(["F"] * 4 + ["P"] * 20, ["P"] * 24), names(2)).deployed[0]
    assert found.p_value == 0.125
    assert found.lower is not None
    assert found.lower <= 0


@pytest.mark.parametrize("cluster_size", [1, 2])
def test_tasks_that_all_turn_in_one_repetition_are_shown_without_a_spread(cluster_size: int) -> None:
    found = study(sweep(["F"] * 12, ["P"] * 12, cluster_size=cluster_size), names(2)).deployed[0]
    assert found.shown
    assert found.p_value == 2.0 ** (1 - 12 // cluster_size)
    assert found.upper == 1.0
    assert found.lower is not None
    assert 0 < found.lower < 1


def test_one_cluster_that_ran_once_has_a_difference_and_nothing_to_judge_it_by() -> None:
    found = study(sweep(["F", "P"], ["P", "P"], cluster_size=2), names(2))
    only = found.deployed[0]
    assert (only.difference, only.se, only.lower, only.upper, only.p_value) == (0.5, None, None, None, 1.0)
    assert found.equivalences[0].verdict == "not shown"


# --- the trend of errors ----------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_the_trends_p_value_is_that_of_all_permutations_within_blocks(levels: int) -> None:
    rng = random.Random(levels)
    scores = tuple(2 * level - (levels - 1) for level in range(levels))
    for _ in range(5):
        blocks = [[rng.random() < 0.4 for _ in range(levels)] for _ in range(3)]

        def total(of: Sequence[Sequence[bool]]) -> int:
            return sum(s for block in of for s, error in zip(scores, block, strict=True) if error)

        ways = [total(way) for way in product(*(list(permutations(block)) for block in blocks))]
        exact = sum(abs(way) >= abs(total(blocks)) for way in ways) / len(ways)
        assert permutation_p(total(blocks), Counter(map(sum, blocks)), scores) == pytest.approx(exact)


def test_errors_that_only_the_small_boxes_have_fall() -> None:
    found = study(sweep(["LLPP"] * 6, ["LPPP"] * 6, ["PPPP"] * 6), names(3))
    assert found.trend is not None
    assert found.trend.falls
    assert found.trend.slope == pytest.approx(-0.25)
    level = study(sweep(["LPPP"] * 6, ["PLPP"] * 6, ["PPLP"] * 6), names(3)).trend
    assert level is not None
    assert (level.slope, level.p_value, level.falls) == (0.0, 1.0, False)


def test_without_an_error_there_is_no_trend_to_find() -> None:
    found = study(sweep(["PP"] * 3, ["PP"] * 3), names(2)).trend
    assert found is not None
    assert (found.slope, found.p_value) == (0.0, 1.0)


# --- differences, equivalence, parts ----------------------------------------------------------------


def test_the_sequence_stops_at_the_first_difference_that_is_not_shown() -> None:
    low, high = ["FFFF"] * 8 + ["PPPP"] * 4, ["PPPP"] * 12
    found = study(sweep(low, high, low, high), names(4)).deployed
    assert [(each.low, each.high) for each in found] == [("1", "4"), ("1", "3"), ("1", "2")]
    assert [each.asked for each in found] == [True, True, False]
    assert [each.shown for each in found] == [True, False, False]
    # it would be, were it asked
    assert found[2].p_value is not None
    assert found[2].p_value < 0.05


def test_equivalent_means_the_90_percent_interval_lies_within_the_margin() -> None:
    found = stratified([[1.0, -1.0, 0.0, 0.0]] * 40, 2.0, UNIT)
    low, high = found.interval(0.9)
    assert equivalence("1", "2", found, high + 1e-9).verdict == "equivalent"
    assert equivalence("1", "2", found, high - 1e-9).verdict == "not shown"
    apart = stratified([[1.0, 0.0, 0.0, 0.0]] * 40, 2.0, UNIT)
    assert equivalence("1", "2", apart, 0.1).verdict == "different"
    # different, but by less than matters
    assert equivalence("1", "2", apart, 0.5).verdict == "equivalent"
    assert equivalence("1", "2", None, 0.5).verdict == "not shown"
    assert low == -high


def test_more_repetitions_are_named_only_if_more_are_needed() -> None:
    found = stratified([[1.0, -1.0, 0.0, 0.0]] * 40, 2.0, UNIT)
    assert equivalence("1", "2", found, 0.5).repetitions_needed is None
    needed = equivalence("1", "2", found, 0.03).repetitions_needed
    assert needed is not None
    se = math.sqrt((2 / 3) / (40 * needed) + 2 / (40 * needed) ** 2)
    assert 0.03 / se == pytest.approx(1.645 + 1.2816, rel=0.02)
    apart = stratified([[1.0, 1.0, 0.0, 0.0]] * 40, 2.0, UNIT)
    assert equivalence("1", "2", apart, 0.4).verdict == "different"
    assert equivalence("1", "2", apart, 0.4).repetitions_needed is None


def test_repetitions_for_a_margin_are_the_formulas_and_grow_as_it_shrinks() -> None:
    # 2.93 SE, SE² = 2 p (1 - p) / (tasks x repetitions): 7.4 points with 89 x 5 at a rate of 0.6
    assert repetitions_for(0.074, [0.6] * 89) in (8, 9)
    assert repetitions_for(0.03, [0.6] * 89) > 2.5**2 * 7
    # half of p (1 - p) is seen with two trials
    assert repetitions_for(0.02, [0.5] * 50 + [1.0] * 50, ran=2) == pytest.approx(
        2 * repetitions_for(0.02, [0.5] * 50 + [1.0] * 50), rel=0.02
    )
    with pytest.raises(ValueError, match="no rates"):
        repetitions_for(0.05, [])


def test_the_parts_of_a_difference_are_kitagawas_and_add_up() -> None:
    # e0: half killed, what completes passes; then all complete and pass. e1: nothing killed, 1/4 then 3/4
    found = study(sweep(["LLPP", "PFFF"], ["PPPP", "PPPF"]), names(2)).decomposition
    assert found is not None
    assert found.total == pytest.approx(0.5)
    assert found.errors.low == found.errors.high == pytest.approx(0.25)
    assert found.behaviour.low == found.behaviour.high == pytest.approx(0.25)
    assert found.errors.lower is not None
    assert found.errors.upper is not None
    assert found.errors.lower < 0.25 < found.errors.upper


def test_a_task_without_a_completed_trial_leaves_its_parts_between_bounds() -> None:
    found = study(sweep(["LLLL", "PPPP"], ["PPFF", "PPPP"]), names(2))
    parts = found.decomposition
    assert parts is not None
    # its pass rate at the floor may be 0 or 1, its share that completes is 0 then 1
    assert (parts.errors.low, parts.errors.high) == pytest.approx((0.125, 0.375))
    assert (parts.behaviour.low, parts.behaviour.high) == pytest.approx((-0.125, 0.125))
    assert parts.total == pytest.approx(parts.errors.low + parts.behaviour.high)
    assert found.bounds == pytest.approx((-0.25, 0.25))
    reverse = study(sweep(["PPFF", "PPPP"], ["LLLL", "PPPP"]), names(2)).decomposition
    assert reverse is not None
    assert (reverse.errors.low, reverse.errors.high) == pytest.approx((-0.375, -0.125))
    assert (reverse.behaviour.low, reverse.behaviour.high) == pytest.approx((-0.125, 0.125))


# --- the recommendation -----------------------------------------------------------------------------


def many(*letters: str, tasks: int = 40) -> list[list[str]]:
    """Levels of tasks that are all alike; the last letters are those of every eighth task, which needs memory."""
    return [
        [heavy if task % 8 == 0 else usual for task in range(tasks)]
        for usual, heavy in map(str.split, letters)
    ]


def test_the_smallest_level_with_few_errors_that_measures_the_same_is_recommended() -> None:
    steady = "PPPFPPPPFP"
    levels = many(
        f"{steady} LLLLLLLLLL", f"{steady} LLPPLPPPPP", f"{steady} PPPPPPPPPP", f"{steady} PPPPPPPPPP"
    )
    found = study(sweep(*levels), names(4), margin=0.03)
    assert found.smallest == "3"
    assert found.recommendation.verdict == "level"
    assert found.recommendation.experiment == "3"
    assert "measures the same as 1 within 3.0 points" in found.recommendation.reason


def test_a_box_that_changes_what_completed_tasks_score_is_another_test() -> None:
    levels = many("PFPFPFPFPF LLLLLLLLLL", "PPPFPPPPPF PPPPPPPPPP")
    found = study(sweep(*levels), names(2), margin=0.03).recommendation
    assert (found.verdict, found.experiment, found.repetitions_needed) == ("none", None, None)
    assert "takes another test than 1" in found.reason


def test_a_smaller_level_that_may_be_below_the_bound_keeps_another_test_from_deciding() -> None:
    usual, other = "PFPFPFPFPF", "PPPFPPPPPF"
    levels = many(f"{usual} LLLLLLLLLL", f"{usual} LPPPPPPPPP", f"{other} LPPPPPPPPP", f"{other} PPPPPPPPPP")
    found = study(sweep(*levels), names(4), margin=0.03)
    assert found.smallest == "4"
    assert [each.verdict for each in found.equivalences] == ["equivalent", "different", "different"]
    assert found.recommendation.verdict == "cannot say"
    assert "2 may do" in found.recommendation.reason
    assert found.recommendation.repetitions_needed is not None
    assert found.recommendation.repetitions_needed > 10


def test_too_few_repetitions_to_show_equivalence_name_how_many_would() -> None:
    rng = random.Random(1)
    design = sweep_study.Design(40, 5, 0.7)
    truth = sweep_study.truth_of(design, (0.08, 0.0, 0.0), 0.0, "some", rng)
    found = study(sweep_study.outcomes(truth, 5, rng), names(3), margin=0.03).recommendation
    assert found.verdict == "cannot say"
    assert found.repetitions_needed is not None
    assert found.repetitions_needed > 5
    assert f"About {found.repetitions_needed} repetitions of each task would show it." in found.reason


def test_too_few_trials_to_show_few_errors_name_how_many_would() -> None:
    found = study(sweep(["LP"] * 12, ["PP"] * 12), names(2))
    assert found.smallest is None
    assert found.recommendation.verdict == "cannot say"
    # 133 trials without an error are shown to have fewer than 2 %
    assert found.recommendation.repetitions_needed == 12
    assert repetitions_below(0.02, found.levels[1]) == 12
    assert upper_bound(0.0, 144) < 0.02 < upper_bound(0.0, 132)


def test_a_largest_box_with_many_errors_leaves_no_level_to_recommend() -> None:
    found = study(sweep(["LPLP"] * 12, ["LPPP"] * 12), names(2)).recommendation
    assert (found.verdict, found.experiment) == ("none", None)
    assert "above the bound of 2.0 %" in found.reason
    assert "outside" not in found.reason
    lost = study(sweep(["IPIP"] * 12, ["LIPP"] * 12), names(2)).recommendation
    assert "12 of them came from outside the sandbox" in lost.reason


def test_the_lowest_level_is_recommended_if_it_has_few_errors_itself() -> None:
    found = study(sweep(["PPPPF"] * 40, ["PPPPF"] * 40), names(2)).recommendation
    assert (found.verdict, found.experiment) == ("level", "1")


@pytest.mark.parametrize("levels", [[], ["1", "1"]])
def test_levels_are_named_once_each(levels: list[str]) -> None:
    with pytest.raises(ValueError, match="each once"):
        study(sweep(["PP"]), levels)


# --- the ranking ------------------------------------------------------------------------------------


def two(**rows: Sequence[str]) -> list[Outcome]:
    """Candidates a and b at levels 1x and 2x: rows by candidate and level."""
    return [o for key, own in rows.items() for o in outcomes(key.replace("_", "@") + "x", *own)]


def ranked(found: list[Outcome], candidates: Sequence[str] = ("a", "b")) -> Any:
    return rankings(found, candidates, ["1x", "2x"], lambda candidate, level: f"{candidate}@{level}")


GOOD, POOR, MIDDLING = ["PPPP"] * 12, ["FFFF"] * 4 + ["PPPP"] * 8, ["PPPF", "PFPP"] * 6


def test_a_ranking_that_the_box_turns_says_who_leads_where_with_its_test() -> None:
    (found,) = ranked(two(a_1=GOOD, b_1=POOR, a_2=POOR, b_2=GOOD))
    assert found.at_floor.difference == pytest.approx(1 / 3)
    assert found.at_ceiling.difference == pytest.approx(-1 / 3)
    assert found.interaction.difference == pytest.approx(-2 / 3)
    assert found.interaction.shown
    assert found.sentence == (
        "At 1x a leads b by 33.3 points (p < 0.001); at 2x b leads a by 33.3 points (p < 0.001). "
        "The box decides who is ahead: the difference changes by 66.7 points between the two (p < 0.001)."
    )


def test_a_ranking_that_holds_says_so() -> None:
    (found,) = ranked(two(a_1=GOOD, b_1=POOR, a_2=GOOD, b_2=POOR))
    assert "The order holds; the difference changes by 0.0 points" in found.sentence
    (lead,) = ranked(two(a_1=GOOD, b_1=POOR, a_2=GOOD, b_2=["FFFF"] * 9 + ["PPPP"] * 3))
    assert "The order holds, but the box changes the lead" in lead.sentence


def test_a_ranking_that_cannot_be_told_says_so() -> None:
    (found,) = ranked(two(a_1=MIDDLING, b_1=MIDDLING[::-1], a_2=MIDDLING, b_2=["PPPF", "PPPP"] * 6))
    assert "At 1x a and b are level" in found.sentence
    assert "Whether the box changes the order cannot be told" in found.sentence
    (nothing,) = ranked(two(a_1=["PP"], b_1=["PP"], a_2=["PP"], b_2=["II"]))
    assert "no task in common" in nothing.sentence


def test_three_candidates_are_corrected_for_three_pairs() -> None:
    rows = {"a_1": GOOD, "a_2": GOOD, "b_1": MIDDLING, "b_2": MIDDLING}
    (alone,) = ranked(two(**rows))
    among = ranked(two(**rows, c_1=MIDDLING, c_2=MIDDLING), ("a", "b", "c"))
    assert len(among) == 3
    assert among[0].at_floor.p_value == pytest.approx(3 * alone.at_floor.p_value)
    assert ranked(two(**rows), ["a"]) == ()


# --- by simulation ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "design",
    [
        sweep_study.Design(6, 5, 0.5),
        sweep_study.Design(12, 3, 0.8),
        sweep_study.Design(40, 2, 0.6, "all or nothing"),
    ],
    ids=lambda design: design.name,
)
def test_differences_keep_their_size_and_coverage(design: sweep_study.Design) -> None:
    found = sweep_study.differences(design, 400)
    for name in ("equal", "interaction", "near turned", "near even"):
        assert (found.share(name) or 0.0) < 0.08, name
    for name in ("redrawn", "turned", "even"):
        assert (found.share(name) or 0.0) > 0.92, name


def test_a_stated_number_of_repetitions_shows_equal_profiles_equivalent_in_four_of_five() -> None:
    _, found = sweep_study.promised(sweep_study.Design(40, 0, 0.8), 0.1, 300)
    assert 0.7 < (found.share("found") or 0.0) < 0.95


@pytest.mark.slow
def test_the_right_level_is_found_and_hardly_ever_a_wrong_one() -> None:
    found = sweep_study.knee(30, 10)
    assert (found.share("right") or 0.0) > 0.7
    assert found.share("wrong") == 0.0


@pytest.mark.slow
def test_a_level_is_not_shown_below_a_rate_that_it_has() -> None:
    found = sweep_study.sweeps(sweep_study.Design(40, 5, 0.6), "any", 25)
    assert (found.share("below") or 0.0) <= 0.2
    assert (found.share("trend") or 0.0) <= 0.2
    assert (found.share("trend found") or 0.0) > 0.8
    assert (found.share("deployed") or 0.0) > 0.85


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_nothing_is_ever_nan(data: st.DataObject) -> None:
    levels, tasks = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    rows = st.lists(st.text("PFIL", max_size=3), min_size=tasks, max_size=tasks)
    drawn = sweep(*(data.draw(rows) for _ in range(levels)), cluster_size=data.draw(st.integers(1, 2)))
    found = study(count_deaths(drawn), names(levels))

    def check(value: object) -> None:
        if isinstance(value, dict):
            for each in value.values():
                check(each)
        elif isinstance(value, list | tuple):
            for each in value:
                check(each)
        elif isinstance(value, float):
            assert math.isfinite(value)

    check(asdict(found))
    assert found.recommendation.reason.endswith(".")


def test_values_without_a_second_block_count_as_a_sample() -> None:
    values = Values({"e0": [[1.0, 0.0]], "e1": [[0.0, 0.0]]}, {"e0": "c0", "e1": "c1"}, "these tasks")
    found = values.weighted({0: 1.0, 1: -1.0})
    assert found is not None
    assert found.p_value == 1.0
    assert Values({}, {}, "these tasks").weighted({0: 1.0}) is None
