"""Gates ask about these very examples: the exact test, the bounds, and what a sample can answer."""

import itertools
import math
import random
from statistics import fmean

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bakeoff import stats
from bakeoff.config.schema import Gates
from bakeoff.stats.answerable import _t
from tests.studies import gates_study as study

RUNS = 300


def run(*letters: str) -> dict[str, list[float]]:
    """One text an example: F is a trial that fails."""
    return {str(n): [float(letter == "F") for letter in each] for n, each in enumerate(letters)}


def rise(before: dict[str, list[float]], after: dict[str, list[float]]) -> stats.Rise:
    found = stats.rise_of_share(before, after)
    assert found is not None
    return found


# --- the test ---------------------------------------------------------------------------------------


def test_one_example_is_fishers_exact_test() -> None:
    for before, after in (("PPPF", "FFFP"), ("PPPP", "FFF"), ("PF", "FP"), ("FFFFF", "PPPFF")):
        got = rise(run(before), run(after))
        table = [[after.count("F"), after.count("P")], [before.count("F"), before.count("P")]]
        for alternative, p in (("greater", got.p_rise), ("less", got.p_fall)):
            assert p == pytest.approx(scipy_stats.fisher_exact(table, alternative=alternative).pvalue)


def test_examples_that_ran_once_are_mcnemars_exact_test() -> None:
    before, after = run(*"PPPPPPPPF"), run(*"FFFFFFPPP")
    assert rise(before, after).p_rise == pytest.approx(
        scipy_stats.binomtest(6, 7, alternative="greater").pvalue
    )


def test_p_is_the_share_of_all_orders_within_the_examples() -> None:
    before, after = run("PPF", "PF", "PP"), run("FFP", "FF", "FP")
    seen = sum(map(sum, after.values()))
    orders = [
        [sum(chosen) for chosen in itertools.combinations([*before[e], *after[e]], len(after[e]))]
        for e in before
    ]
    sums = [sum(each) for each in itertools.product(*orders)]
    got = rise(before, after)
    assert got.p_rise == pytest.approx(fmean(each >= seen for each in sums))
    assert got.p_fall == pytest.approx(fmean(each <= seen for each in sums))


def test_few_examples_with_many_repetitions_are_enough() -> None:
    got = rise(run(*["PPPP"] * 6), run("PFFF", "PFF", "PPF", "FFFF", "PFFF", "PPF"))
    assert got.p_rise < 0.001
    assert got.low is not None
    assert got.low > 0.3


# --- the bounds -------------------------------------------------------------------------------------


def test_no_sample_is_certain_even_if_every_trial_ended_alike() -> None:
    got = rise(run("PP", "PP", "FF"), run("PP", "PP", "FF"))
    assert (got.rise, got.p_rise, got.p_fall) == (0.0, 1.0, 1.0)
    assert got.high is not None
    assert got.high > 0.3
    assert got.low == -got.high
    tiny = rise(run("P"), run("P"))
    assert (tiny.high, tiny.answerable) == (1.0, None)


def test_a_side_without_a_trial_leaves_its_example_out() -> None:
    assert stats.rise_of_share({"a": [1.0]}, {"b": [1.0]}) is None
    got = rise({"a": [1.0, 0.0], "b": [], "c": [1.0]}, {"a": [0.0, 0.0], "b": [1.0], "d": [0.0]})
    assert (got.examples, got.rise) == (1, -0.5)


def test_where_the_variance_comes_from() -> None:
    assert rise(run("PF", "PP"), run("FF", "PP")).method == "repetitions"
    assert rise(run("P", "F", "P"), run("F", "FF", "P")).method == "pairs"
    # an example that lost its second trial has the usual variance of the others
    assert rise(run("PF", "PP", "P"), run("FF", "PP", "PF")).method == "repetitions"


def test_a_measure_of_which_all_trials_are_alike_has_exact_bounds() -> None:
    before = {str(n): [2.0 + n] * 3 for n in range(8)}
    after = {e: [1.05 * value for value in values] for e, values in before.items()}
    got = stats.rise_of_mean(before, after)
    assert got is not None
    assert (got.low, got.rise, got.high) == pytest.approx((0.05, 0.05, 0.05))
    assert got.p_rise == pytest.approx(math.comb(6, 3) ** -8.0)


@pytest.mark.parametrize(("before", "after"), [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 10.0)])
def test_a_measure_of_too_few_trials_or_from_nothing(before: float, after: float) -> None:
    few = stats.rise_of_mean({"a": [before]}, {"a": [after]})
    many = stats.rise_of_mean(
        {str(n): [before] * 2 for n in range(9)}, {str(n): [after] * 2 for n in range(9)}
    )
    assert few is not None
    assert many is not None
    if before or after:
        assert (few.high, few.p_rise) == (None, 1.0)
    assert (many.p_rise < 0.01) == (after > before)
    assert (many.rise is None) == (not before and after > 0)


def test_a_measure_agrees_with_students_test_of_pairs() -> None:
    chance = random.Random(3)
    before = {str(n): [chance.gauss(100, 1)] for n in range(400)}
    after = {str(n): [chance.gauss(100.2, 1)] for n in range(400)}
    got = stats.rise_of_mean(before, after)
    assert got is not None
    usual = scipy_stats.ttest_rel([v[0] for v in after.values()], [v[0] for v in before.values()])
    assert got.method == "pairs"
    assert got.p_value == pytest.approx(usual.pvalue, rel=0.15)
    assert got.low == pytest.approx((got.after - got.before - 1.645 * 2**0.5 / 20) / 100, rel=0.05)


def test_a_share_against_a_bound_is_the_exact_binomial_test() -> None:
    values = [1.0] * 4 + [0.0] * 74
    each = [str(n) for n in range(78)]
    got = stats.share_against(values, each, 0.02)
    assert got is not None
    exact = scipy_stats.binomtest(4, 78, 0.02, alternative="greater")
    assert got.p_above == pytest.approx(exact.pvalue)
    assert got.low == pytest.approx(exact.proportion_ci().low)
    # four errors of one example say less than four of four
    together = stats.share_against(values, ["one"] * 4 + each[4:], 0.02)
    assert together is not None
    assert together.p_above > got.p_above
    assert stats.share_against([], [], 0.02) is None


# --- what a sample can answer -----------------------------------------------------------------------


def test_the_quantile_without_scipy_is_students() -> None:
    for df in (2, 3, 7.5, 40, 1e6):
        assert _t(df) == pytest.approx(stats.t_quantile(0.95, df), abs=0.01)


def test_the_stated_repetitions_answer_the_margin_and_one_fewer_does_not() -> None:
    for margin, examples, noise in ((0.02, 12, 0.25), (0.05, 39, 0.1), (0.2, 6, 0.0)):
        needed = stats.repetitions_for(margin, examples, noise)
        assert needed is not None
        assert (stats.smallest_margin(examples, needed, noise) or 1) <= margin + 1e-9
        assert needed == 1 or (stats.smallest_margin(examples, needed - 1, noise) or 1) > margin
    assert stats.repetitions_for(0.0, 12) is None


def test_a_gate_that_cannot_be_answered_is_told_with_what_would_do() -> None:
    asked = Gates(max_drop=0.02, max_turn_limit=0.01, max_cost_increase=0.1, max_infra=0.02)
    drop, turns, infra = stats.unanswerable(asked, stats.Sample(12, 2))
    assert drop.startswith("max_drop: 0.02 mostly stays unknown")
    assert "max_drop: 0.4 or 791 repetitions or more examples" in drop
    assert "max_turn_limit: 0.01" in turns
    assert "max_infra: 0.12 or 149 trials" in infra
    assert len(stats.unanswerable(asked, stats.Sample(2, 1))) == 5, "and what no number of runs can fail"
    assert stats.unanswerable(Gates(max_drop=0.4, max_infra=0.13), stats.Sample(12, 2)) == []
    assert stats.unanswerable(Gates(max_drop=0.23), stats.Sample(12, 2, noise=0.0)) == []


def test_the_noise_of_a_run_is_that_of_its_noisiest_candidate() -> None:
    trials = [("a", "x", "passed"), ("a", "x", "failed"), ("b", "x", "passed"), ("b", "x", "passed")]
    assert stats.noise_of(trials) == 0.5  # type: ignore[arg-type]
    assert stats.noise_of([("a", "x", "passed"), ("a", "x", "infra_error")]) is None


# --- a shorter, seeded form of the study ------------------------------------------------------------

SMALL = (study.Design(13, 3, 2), study.Design(40, 1, 3), study.Design(89, 1, 1))


@pytest.mark.parametrize("design", SMALL, ids=lambda design: design.name)
def test_nothing_changed_and_hardly_any_gate_fails(design: study.Design) -> None:
    found = study.drops(design, RUNS, 0.0, "evenly", 0.0)
    assert found.failed / found.runs < 0.08


@pytest.mark.parametrize("how", study.WAYS)
@pytest.mark.parametrize("design", SMALL, ids=lambda design: design.name)
def test_a_drop_as_large_as_the_margin_hardly_ever_passes(design: study.Design, how: str) -> None:
    found = study.drops(design, RUNS, 0.1, how, None)
    assert found.passed / found.runs < 0.09
    assert found.below / found.runs < 0.09


def test_more_is_caught_than_by_the_spread_of_the_examples() -> None:
    """A true drop of ten points at 40 x 3: 36 % when examples were taken as a sample."""
    found = study.drops(study.Design(40, 1, 3), RUNS, 0.1, "examples", 0.02)
    assert found.failed / found.runs > 0.55
    assert found.passed / found.runs < 0.03


def test_a_sample_answers_what_it_is_said_to() -> None:
    for design in SMALL:
        margin, found = study.margins(design, RUNS, study.RATE, worst=True)
        assert margin is not None
        assert 0.7 < found.passed / found.runs < 0.9


def test_the_study_has_the_p_of_many_comparisons_at_once() -> None:
    rng = np.random.default_rng(1)
    before, after = rng.integers(0, 4, (5, 30)), rng.integers(0, 4, (5, 30))
    for b, a, p in zip(before, after, study.p_rises(before, after, 3), strict=True):
        sides = [{str(n): [1.0] * k + [0.0] * (3 - k) for n, k in enumerate(each)} for each in (b, a)]
        assert p == pytest.approx(rise(*sides).p_rise, abs=1e-9)


def test_thirty_nights_together_alarm_as_rarely_as_one() -> None:
    assert study.any_alarm(study.Design(13, 3, 2), 300, 30, 0.05 / 30, moving=True) < 0.1


def test_an_increase_as_large_as_the_margin_hardly_ever_passes() -> None:
    found = study.measures(study.Design(40, 1, 3), RUNS, 0.1, 0.1, 0.4)
    assert found.passed / found.runs < 0.09
    assert study.measures(study.Design(40, 1, 3), RUNS, 0.0, 0.0, 0.4).failed / RUNS < 0.09
