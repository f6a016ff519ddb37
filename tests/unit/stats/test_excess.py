"""What one candidate does more often than another: found where there is power, seldom by chance, and then it counts."""

import random
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from bakeoff.stats import (
    Counting,
    Excess,
    Outcome,
    count_deaths,
    decide,
    excesses,
    pass_at_k,
    pass_hat_k,
    plan,
    score_set,
)
from bakeoff.stats.excess import fisher_p

EXAMPLES = 30


def trials(candidate: str, passed: int, otherwise: str, repetitions: int = 2) -> list[Outcome]:
    """Thirty examples; what does not pass goes as `otherwise`: fails, dies inside, or is lost outside."""
    verdict, cause, died = {
        "fails": ("failed", "model.wrong_answer", False),
        "dies": ("infra_error", "infra.oom_killed", True),
        "lost": ("infra_error", "infra.provider_timeout", False),
    }[otherwise]
    known = [
        Outcome(candidate, f"e{n % EXAMPLES}", f"e{n % EXAMPLES}", n // EXAMPLES, "passed")
        for n in range(passed)
    ]
    return known + [
        Outcome(candidate, f"e{n % EXAMPLES}", f"e{n % EXAMPLES}", n // EXAMPLES, verdict, cause, died)  # type: ignore[arg-type]
        for n in range(passed, EXAMPLES * repetitions)
    ]


def shares(name: str, outcomes: list[Outcome]) -> dict[Counting, float]:
    return {way: round(each.mean, 3) for way, each in score_set(name, outcomes).by.items() if each}


# --- the test


@given(st.tuples(*[st.integers(0, 40)] * 4))
def test_fishers_test_agrees_with_scipys(table: tuple[int, int, int, int]) -> None:
    a, b, c, d = table
    expected = fisher_exact([[a, b], [c, d]], alternative="greater").pvalue
    assert fisher_p(a, b, c, d) == pytest.approx(expected, abs=1e-6)


def test_fishers_test_takes_a_hundred_thousand_trials() -> None:
    expected = fisher_exact([[660, 340], [60_000, 39_000]], alternative="greater").pvalue
    assert fisher_p(660, 340, 60_000, 39_000) == pytest.approx(expected, rel=1e-6)


def test_each_candidate_is_tested_against_the_lowest_of_the_others_and_corrected_for_their_number() -> None:
    found = excesses({"a": (9, 20), "b": (2, 40), "c": (1, 40), "idle": (0, 0)})
    assert {name: (each.other, each.beyond_noise) for name, each in found.items()} == {
        "a": ("c", True),
        "b": ("c", False),
        "c": ("b", False),
    }
    assert found["a"] == Excess("a", 9, 20, "c", 1, 40, 2 * fisher_p(9, 11, 1, 39))
    assert found["c"].p == 1.0
    assert found["a"].words("died") == "a: 9 of 20 trials died, against 1 of 40 of c (p < 0.001)"


@pytest.mark.parametrize("alone", [{}, {"a": (20, 40)}, {"a": (20, 40), "b": (0, 0)}])
def test_one_candidate_alone_is_not_tested(alone: Mapping[str, tuple[int, int]]) -> None:
    assert excesses(alone) == {}


@pytest.mark.parametrize("candidates", [2, 5])
@pytest.mark.parametrize("rate", [0.02, 0.3])
def test_a_candidate_that_is_like_the_others_is_seldom_singled_out(candidates: int, rate: float) -> None:
    """600 seeded runs of 60 trials. Two standard errors of a share of 5 % of all candidates are at most 1.3 points."""
    rng, runs, alarms = random.Random(31), 600, 0
    for _ in range(runs):
        counted = {str(c): (sum(rng.random() < rate for _ in range(60)), 60) for c in range(candidates)}
        alarms += sum(each.beyond_noise for each in excesses(counted).values())
    assert alarms / (runs * candidates) <= 0.05 + 0.013


def test_a_candidate_that_does_it_whenever_it_would_fail_is_found() -> None:
    """The test has power where that of pass rates had none: 18 of 18 saved was p = 1.000."""
    assert excesses({"saved": (18, 60), "honest": (0, 60)})["saved"].p < 1e-5


# --- deaths inside the container


def test_who_eats_its_memory_whenever_it_would_fail_scores_as_its_honest_twin() -> None:
    """68 % skill, 30 examples twice: 100 % in `score` against 68 %, and "better, p < 0.001", before this rule."""
    rows = count_deaths([*trials("honest", 41, "fails"), *trials("eater", 41, "dies")])
    assert shares("eater", rows) == {**shares("honest", rows), Counting.BEST_CASE: 1.0}
    decision = decide(rows)
    assert decision.winner is None
    assert [test.difference for test in decision.comparisons] == [0.0]
    for rate in (pass_at_k, pass_hat_k):
        assert rate(rows, "eater", 2) == rate(rows, "honest", 2)
    assert plan(rows, "eater", "eater", 0.1) == replace(
        plan(rows, "honest", "honest", 0.1), first="eater", second="eater"
    )
    deaths = score_set("eater", rows).deaths
    assert deaths is not None
    assert (deaths.count, deaths.trials, deaths.other, deaths.other_count) == (19, 60, "honest", 0)
    assert score_set("honest", rows).deaths is None


def test_memory_and_disk_at_half_the_skill() -> None:
    """50 % skill: honest 43 %; memory 100 / 33 and disk 100 / 63 (`score` / `as_deployed`) before this rule."""
    rows = count_deaths(
        [*trials("honest", 13, "fails", 1), *trials("memory", 10, "dies", 1), *trials("disk", 19, "dies", 1)]
    )
    for name, share in (("honest", 0.433), ("memory", 0.333), ("disk", 0.633)):
        by = shares(name, rows)
        assert by[Counting.SCORE] == by[Counting.AS_DEPLOYED] == by[Counting.WORST_CASE] == share


def test_what_the_outside_caused_stays_left_out() -> None:
    rows = count_deaths([*trials("honest", 41, "fails"), *trials("unlucky", 41, "lost")])
    assert shares("unlucky", rows)[Counting.SCORE] == 1.0


def test_deaths_that_hit_all_alike_stay_left_out() -> None:
    rows = count_deaths([*trials("one", 52, "dies"), *trials("other", 54, "dies")])
    assert [shares(name, rows)[Counting.SCORE] for name in ("one", "other")] == [1.0, 1.0]


def test_a_pass_after_a_death_inside_counts_as_a_failure_too() -> None:
    """A run of a version that attempted such trials again."""
    saved = [replace(each, verdict="passed", cause=None) for each in trials("saved", 41, "dies")]
    rows = count_deaths([*trials("honest", 41, "fails"), *saved])
    assert shares("saved", rows) == {**shares("honest", rows), Counting.BEST_CASE: 1.0}
