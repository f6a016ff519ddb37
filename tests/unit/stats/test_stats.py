"""The numbers against scipy, statsmodels and cases worked by hand; coverage by simulation; never a NaN."""

import math
import random
import subprocess
import sys
from dataclasses import astuple, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff.stats import (
    Counting,
    Estimate,
    Outcome,
    ScoreSet,
    Spread,
    clustered_se,
    compare,
    count_deaths,
    decide,
    equivalent_clusters,
    estimate,
    estimate_errors,
    holm,
    minimum_detectable_effect,
    pass_at_k,
    pass_bounds,
    pass_hat_k,
    plan,
    power_of,
    score_set,
    sensitivities,
    sign_flip_p,
    spread_of,
    t_quantile,
    t_two_sided,
    wilson,
    would_show,
)
from bakeoff.stats.detectable import expected_power
from bakeoff.stats.intervals import LEAST_DF, difference_df, within_correlation
from bakeoff.text import figures
from tests.studies import interval_study, stats_study

PASS, FAIL, INFRA, LIMIT = "P", "F", "I", "L"


def outcomes(
    candidate: str, *rows: str, cluster_size: int = 1, causes: str = "infra.provider_timeout"
) -> list[Outcome]:
    """One text an example, one letter a repetition; `cluster_size` examples in a row share a cluster."""
    verdicts = {PASS: "passed", FAIL: "failed", INFRA: "infra_error", LIMIT: "infra_error"}
    return [
        Outcome(
            candidate=candidate,
            example_id=f"e{i}",
            cluster=f"c{i // cluster_size}",
            repetition=r,
            verdict=verdicts[letter],  # type: ignore[arg-type]
            cause={PASS: None, FAIL: "model.wrong_answer", INFRA: causes, LIMIT: "infra.oom_killed"}[letter],
            died_inside=letter == LIMIT,
        )
        for i, row in enumerate(rows)
        for r, letter in enumerate(row, 1)
    ]


# --- against the libraries --------------------------------------------------------------------------


@pytest.mark.parametrize("df", [1, 2, 5, 29, 1001])
def test_students_t_is_the_integral_of_its_density(df: int) -> None:
    from scipy import integrate, special

    for t in (0.0, 0.1, -2.5, 10.0):
        density = integrate.quad(lambda x: (1 + x * x / df) ** (-(df + 1) / 2), abs(t), math.inf)[0]
        whole = math.sqrt(df) * special.beta(0.5, df / 2)
        assert t_two_sided(t, df) == pytest.approx(2 * density / whole, abs=1e-6)
    assert t_two_sided(t_quantile(0.975, df), df) == pytest.approx(0.05, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("passed", "n"), [(0, 1), (1, 1), (0, 30), (7, 30), (30, 30), (499, 500)])
def test_wilson_is_statsmodels(passed: int, n: int) -> None:
    from statsmodels.stats.proportion import proportion_confint

    assert wilson(passed / n, n) == pytest.approx(proportion_confint(passed, n, method="wilson"), abs=1e-9)


def correlated(seed: int, size: int | None = None) -> tuple[list[float], list[str]]:
    """Seventy-two 0s and 1s in nine clusters that differ, of `size` each or of any."""
    rng = random.Random(seed)
    clusters = [f"c{i // size}" if size else f"c{rng.randrange(9)}" for i in range(72)]
    return [float(rng.random() < 0.3 + 0.06 * int(c[1:])) for c in clusters], clusters


def cluster_fit(values: list[float], clusters: list[str]) -> Any:
    """statsmodels' regression on a constant with cluster-robust errors."""
    import numpy as np
    import statsmodels.api as sm

    groups = np.unique(clusters, return_inverse=True)[1]
    return sm.OLS(values, np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "df_correction": True}, use_t=True
    )


def bell_mccaffrey(values: list[float], clusters: list[str], correlation: float = 0.0) -> tuple[float, float]:
    """Standard error and degrees of freedom of a mean, by the matrices of Bell & McCaffrey (2002) themselves.

    The degrees of freedom are those of values with this `correlation` within a cluster.
    """
    import numpy as np
    from scipy.linalg import block_diag, inv, sqrtm

    names = sorted(set(clusters))
    order = np.argsort(clusters, kind="stable")
    y, sizes = np.array(values)[order], [clusters.count(name) for name in names]
    n = len(y)
    hat = np.full((n, n), 1 / n)
    adjust = block_diag(*[inv(sqrtm(np.eye(m) - hat[:m, :m]).real) for m in sizes])
    member = block_diag(*[np.ones((m, 1)) for m in sizes])
    weights = member.T @ adjust @ (np.eye(n) - hat) / n  # a cluster's part of the sandwich, as a sum over y
    covariance = (1 - correlation) * np.eye(n) + correlation * member @ member.T
    spread = weights @ covariance @ weights.T
    return float(np.linalg.norm(weights @ y)), float(np.trace(spread) ** 2 / np.trace(spread @ spread))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_clustered_standard_errors_are_statsmodels_where_clusters_have_one_size(seed: int) -> None:
    values, clusters = correlated(seed, size=8)
    assert clustered_se(values, clusters) == pytest.approx(cluster_fit(values, clusters).bse[0], abs=1e-9)
    assert equivalent_clusters(clusters) == pytest.approx(9, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_clusters_of_different_sizes_are_bell_and_mccaffreys(seed: int) -> None:
    values, clusters = correlated(seed)
    se, df = bell_mccaffrey(values, clusters)
    assert clustered_se(values, clusters) == pytest.approx(se, abs=1e-9)
    assert equivalent_clusters(clusters) - 1 == pytest.approx(df, abs=1e-9)
    assert df < 8


@pytest.mark.slow
@pytest.mark.parametrize("size", [None, 8])
@pytest.mark.parametrize("seed", range(5))
def test_intervals_are_statsmodels_wilson_at_the_effective_number_of_trials(
    seed: int, size: int | None
) -> None:
    from statsmodels.stats.proportion import proportion_confint

    values, clusters = correlated(seed, size)
    got = estimate(values, clusters)
    assert got.method == "wilson-effective"
    mean, se = sum(values) / 72, bell_mccaffrey(values, clusters)[0]
    seen = min(72, mean * (1 - mean) / se**2)  # Korn & Graubard's
    sure = 72**2 / sum(clusters.count(one) ** 2 for one in set(clusters))  # Kish's
    known = 4 * mean * (1 - mean) * sure
    effective = math.exp((2 * math.log(sure) + known * math.log(seen)) / (2 + known))
    want = proportion_confint(mean * effective, effective, method="wilson")
    assert (got.low, got.high) == pytest.approx(want, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_infra_error_intervals_are_statsmodels_wilson_at_korn_and_graubards_number(seed: int) -> None:
    from statsmodels.stats.proportion import proportion_confint

    values, examples = correlated(seed, size=8)
    fit = cluster_fit(values, examples)
    mean = fit.params[0]
    effective = min(72, mean * (1 - mean) / fit.bse[0] ** 2)
    got = estimate_errors(values, examples)
    want = proportion_confint(mean * effective, effective, method="wilson")
    assert (got.low, got.high) == pytest.approx(want, abs=1e-6)


@pytest.mark.slow
def test_clustered_paired_differences_are_statsmodels() -> None:
    rng = random.Random(9)
    first, second = (["".join(rng.choice(s) for _ in range(2)) for _ in range(60)] for s in ("PPPF", "PF"))
    rows = [*outcomes("a", *first, cluster_size=4), *outcomes("b", *second, cluster_size=4)]
    got = compare(rows, "a", "b")
    differences = [(x.count("P") - y.count("P")) / 2 for x, y in zip(first, second, strict=True)]
    fit = cluster_fit(differences, [f"c{i // 4}" for i in range(60)])
    assert (got.method, got.clusters) == ("paired-t", 15)
    assert (got.difference, got.se) == pytest.approx((fit.params[0], fit.bse[0]), abs=1e-9)
    assert got.p_value == pytest.approx(fit.pvalues[0], abs=1e-6)
    assert (got.low, got.high) == pytest.approx(tuple(fit.conf_int()[0]), abs=1e-6)


def test_paired_differences_of_uneven_clusters_are_bell_and_mccaffreys() -> None:
    from scipy import stats

    rng = random.Random(11)
    clusters = [f"c{min(i // 3, 12)}" for i in range(60)]  # twelve of three, one of twenty-four
    rows = [
        replace(o, cluster=clusters[int(o.example_id[1:])])
        for name, letters in (("a", "PPPF"), ("b", "PF"))
        for o in outcomes(name, *["".join(rng.choice(letters) for _ in range(2)) for _ in range(60)])
    ]
    rates = {name: [0.0] * 60 for name in "ab"}
    for o in rows:
        rates[o.candidate][int(o.example_id[1:])] += o.value / 2
    differences = [x - y for x, y in zip(rates["a"], rates["b"], strict=True)]
    correlation = within_correlation(differences, clusters)
    se, df = bell_mccaffrey(differences, clusters, correlation)
    got = compare(rows, "a", "b")
    mean = sum(differences) / 60
    assert LEAST_DF < df < 6, "not twelve"
    assert (got.method, got.clusters, got.se) == ("paired-t", 13, pytest.approx(se))
    assert got.p_value == pytest.approx(2 * stats.t.sf(abs(mean) / se, df), abs=1e-9)
    assert (got.low, got.high) == pytest.approx(stats.t.interval(0.95, df, mean, se), abs=1e-9)


@pytest.mark.slow
def test_the_correlation_within_clusters_is_that_of_the_analysis_of_variance() -> None:
    import statsmodels.api as sm
    from statsmodels.formula.api import ols

    values, clusters = correlated(3)
    table = sm.stats.anova_lm(ols("value ~ C(cluster)", {"value": values, "cluster": clusters}).fit())
    between, within = table["mean_sq"]
    counts = [clusters.count(one) for one in set(clusters)]
    size = (72 - sum(count**2 for count in counts) / 72) / (len(counts) - 1)
    want = (between - within) / (between + (size - 1) * within)
    assert within_correlation(values, clusters) == pytest.approx(want, abs=1e-9)
    assert within_correlation([0.0, 1.0, 0.0], ["a", "a", "b"]) == 0.0


def test_values_that_go_together_leave_fewer_degrees_of_freedom() -> None:
    uneven, even = ["a"] * 20 + list("bcdefgh"), [f"c{i // 3}" for i in range(27)]
    together = [1.0] * 20 + [0.0, 1.0] * 3 + [0.0]
    assert difference_df(together, uneven) == min(LEAST_DF, equivalent_clusters(uneven) - 1)
    assert difference_df([float(i < 9) for i in range(27)], even) == 8


def test_paired_differences_are_the_paired_t_test() -> None:
    from scipy import stats

    rng = random.Random(5)
    first = ["".join(rng.choice("PPPF") for _ in range(3)) for _ in range(25)]
    second = ["".join(rng.choice("PF") for _ in range(3)) for _ in range(25)]
    got = compare([*outcomes("a", *first), *outcomes("b", *second)], "a", "b")
    rates = [[row.count("P") / 3 for row in rows] for rows in (first, second)]
    want = stats.ttest_rel(*rates)
    assert (got.method, got.examples, got.clusters) == ("paired-t", 25, 25)
    assert got.p_value == pytest.approx(want.pvalue, abs=1e-9)
    assert (got.low, got.high) == pytest.approx(tuple(want.confidence_interval()), abs=1e-9)


def test_holm_is_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    p_values = [0.04, 0.001, 0.5, 0.012, 0.012, 0.9]
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-12)
    assert holm([]) == []


# --- by hand ----------------------------------------------------------------------------------------


def test_clustered_se_by_hand() -> None:
    # mean 1/2; residual sums: c0 +1, c1 -1; sqrt(2/1 * (1 + 1)) / 4
    assert clustered_se([1, 1, 0, 0], ["c0", "c0", "c1", "c1"]) == pytest.approx(0.5)
    assert clustered_se([1, 0, 1], ["c0"] * 3) is None


def test_sign_flips_by_hand() -> None:
    assert sign_flip_p([1, 1, 1]) == 2 / 8
    assert sign_flip_p([1, 1, 1, -1]) == 10 / 16  # a sum of 2 or more: 1 + 4 of 16 on each side
    assert sign_flip_p([0, 0, 0]) == 1.0


@pytest.mark.slow
def test_minimum_detectable_effect_is_millers_for_many_clusters() -> None:
    many = Spread(0.05, 100_000, (1,) * 100_000, 60_000, difference=0.2)
    assert minimum_detectable_effect(many) == pytest.approx((1.959964 + 0.841621) * 0.05, rel=1e-4)
    few, more = (minimum_detectable_effect(Spread(0.05, n, (3,) * n, n, 0.2)) for n in (8, 80))
    assert few is not None
    assert more is not None
    assert few > more


def test_a_difference_that_was_not_in_the_run_varies_as_mcnemars_discordant_pairs() -> None:
    # 10 000 pairs that hardly differ: X turned ones have a variance of X (1 - X) / n, found where z is 2.80
    level = minimum_detectable_effect(Spread(1e-6, 10_000, (1,) * 10_000, 5_000, difference=0.0))
    z = 1.959964 + 0.841621
    assert level == pytest.approx(z**2 / (10_000 + z**2), rel=1e-3)


def test_six_clusters_must_differ_for_any_difference_to_be_found() -> None:
    from scipy import special

    # a thousand clusters of two, of which none differed: the next eight differ where an example turned
    level = Spread(1e-4, 1000, (2,) * 1000, 0)
    effect = 0.6
    assert power_of(effect, level, clusters=8) == pytest.approx(
        special.bdtrc(5, 8, 1 - (1 - effect) ** 2), abs=1e-2
    )
    assert power_of(effect, level, clusters=5) == 0.0
    # of six, all must, and one alone would have to turn at random where all others do
    assert (minimum_detectable_effect(Spread(0.02, 6, (1,) * 6, 0)) or 0) > 0.95


def test_what_cannot_be_told_with_so_few_clusters_is_not_told() -> None:
    # one cluster holds nearly all: they tell as much as two
    equal = equivalent_clusters(["big"] * 94 + list("abcdef"))
    assert 2 < equal < 2.2
    assert minimum_detectable_effect(Spread(0.3, equal, (94, 1, 1, 1, 1, 1, 1), 7, 0.36)) is None
    assert spread_of([*outcomes("a", *["P"] * 5), *outcomes("b", *["F"] * 5)], "a", "b") is None


def test_pass_at_k_and_pass_hat_k_by_hand() -> None:
    rows = outcomes("a", "PPF", "FFF", "PII")
    # of three trials two pass: any two of three have a pass for sure; both pass in 1 of 3 pairs
    assert pass_at_k(rows, "a", 2) == pytest.approx((1 + 0) / 2)
    assert pass_hat_k(rows, "a", 2) == pytest.approx((1 / 3 + 0) / 2)
    assert pass_at_k(rows, "a", 1) == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert pass_hat_k(rows, "a", 1) == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert pass_at_k(rows, "a", 4) is None
    with pytest.raises(ValueError, match="k is 0"):
        pass_at_k(rows, "a", 0)


def test_missing_trials_make_pass_hat_k_a_range_and_not_the_figure_of_the_easy_examples() -> None:
    rows = outcomes("a", *["PP"] * 9, "FI")
    assert pass_hat_k(rows, "a", 2) == 1.0, "the hard example is left out"
    assert pass_bounds(pass_hat_k, rows, "a", 2) == pytest.approx((0.9, 0.9))
    assert pass_bounds(pass_at_k, rows, "a", 2) == pytest.approx((0.9, 1.0))
    assert pass_bounds(pass_at_k, outcomes("a", "P"), "a", 2) is None


def test_the_four_scores() -> None:
    got = score_set("a", [*outcomes("a", "PP", "PF", "PI", "LI"), *outcomes("b", "F")])
    assert (got.trials, got.passed, got.failed, got.infra_errors, got.died_inside) == (8, 4, 1, 3, 1)
    assert four(got) == pytest.approx([4 / 5, 4 / 6, 4 / 8, 7 / 8])
    assert got.infra_rate.mean == pytest.approx(3 / 8)


def four(s: ScoreSet) -> list[float | None]:
    return [e.mean if e else None for e in s.by.values()]


def test_a_limit_that_a_second_container_survived_is_a_failure_as_deployed() -> None:
    rows = outcomes("a", "PPPP")
    got = score_set("a", [replace(rows[0], died_inside=True), *rows[1:]])
    assert (got.passed, got.infra_errors, got.died_inside) == (4, 0, 1)
    assert four(got) == pytest.approx([1, 3 / 4, 3 / 4, 1])


def test_only_examples_both_completed_are_compared() -> None:
    rows = [*outcomes("a", "P", "I", "P"), *outcomes("b", "F", "F", "I")]
    got = compare(rows, "a", "b")
    assert (got.examples, got.difference) == (1, 1.0)
    assert compare(rows, "a", "absent").method == "none"


# --- where the spread cannot be estimated -----------------------------------------------------------


def test_all_passes_are_not_certainty() -> None:
    single = score_set("a", outcomes("a", *["P"] * 30)).score
    repeated = score_set("a", outcomes("a", *["PPP"] * 30)).score
    assert (single.method, repeated.method) == ("wilson", "wilson-clusters")
    # thirty clusters of sure passes say no more than thirty trials
    assert (
        (single.low, single.high) == (repeated.low, repeated.high) == pytest.approx((0.88649, 1.0), abs=1e-4)
    )


def test_the_study_of_intervals_studies_ours() -> None:
    import numpy as np

    rng = np.random.default_rng(3)
    for size, spread in ((2, 0.5), (6, 5.0)):
        passed = interval_study.drawn(rng, 9, size, 0.8, spread, runs=40)
        low, high = interval_study.ours(passed, size)
        for row, *want in zip(passed, low, high, strict=True):
            values = [float(trial < count) for count in row for trial in range(size)]
            got = estimate(values, [f"c{cluster}" for cluster in range(9) for _ in range(size)])
            assert (got.low, got.high) == pytest.approx(want, abs=1e-9)


def test_many_clusters_count_as_their_standard_error_says() -> None:
    """What few clusters are not believed, many are: both ways to the effective number of trials meet."""
    values = [float(n % 4 > 0) for n in range(4000)]
    got = estimate(
        values, [f"c{n // 8}" for n in range(4000)]
    )  # all clusters alike: eight trials' worth each
    assert got.high - got.low == pytest.approx(wilson(0.75, 4000)[1] - wilson(0.75, 4000)[0], rel=0.01)
    few = estimate(values[:32], [f"c{n // 8}" for n in range(32)])
    assert wilson(0.75, 4)[0] < few.low < wilson(0.75, 32)[0]


def test_scattered_infra_errors_count_each_trial_and_piled_up_ones_each_example() -> None:
    def rate(*rows: str) -> Estimate:
        found = score_set("a", outcomes("a", *rows, cluster_size=10)).infra_rate
        assert found is not None
        return found

    none = rate(*["PPPPP"] * 60)
    assert (none.low, none.high) == wilson(0, 300)
    scattered, piled = rate(*["IPPPP"] * 3, *["PPPPP"] * 57), rate("IIIPP", *["PPPPP"] * 59)
    assert scattered.mean == piled.mean == pytest.approx(0.01)
    assert scattered.high == pytest.approx(wilson(0.01, 300)[1], abs=1e-3)
    assert scattered.high < piled.high < wilson(0.01, 60)[1]
    # one error in a hundred trials of six clusters was once 0 to 67 %
    assert rate("I" + "P" * 9, *["P" * 10] * 9).high < 0.06


def test_one_cluster_says_almost_nothing() -> None:
    got = score_set("a", outcomes("a", "PPFP", "PFPP", cluster_size=2)).score
    assert (got.se, got.method) == (None, "wilson-clusters")
    assert got.high - got.low > 0.7
    pair = compare(
        [*outcomes("a", "P", "P", cluster_size=2), *outcomes("b", "F", "F", cluster_size=2)], "a", "b"
    )
    assert (pair.difference, pair.p_value, pair.low, pair.minimum_detectable_effect) == (1.0, 1.0, None, None)


def test_few_clusters_cannot_be_told_apart() -> None:
    first, second = ["PPP", "PPP", "PPF", "PPP", "PPP"], ["FFF"] * 5
    got = compare([*outcomes("a", *first), *outcomes("b", *second)], "a", "b")
    assert (got.method, got.p_value) == ("sign-flip", 2 / 32)
    assert got.minimum_detectable_effect is None


def test_a_constant_difference_gets_a_bound_not_certainty() -> None:
    better = compare([*outcomes("a", *["P"] * 20), *outcomes("b", *["F"] * 20)], "a", "b")
    assert (better.method, better.p_value) == ("no-spread", 2.0**-19)
    assert better.low == pytest.approx(1 - 2 * wilson(0, 20)[1])
    assert better.high == 1.0
    same = compare([*outcomes("a", *["P"] * 20), *outcomes("b", *["P"] * 20)], "a", "b")
    assert (same.difference, same.p_value, same.low) == (0.0, 1.0, -wilson(0, 20)[1])
    assert 0 < (same.minimum_detectable_effect or 0) < 1


rows_of = st.lists(st.text("PFIL", max_size=3), max_size=8)


@settings(max_examples=150)
@given(rows_of, rows_of, rows_of, st.integers(1, 4))
def test_nothing_is_ever_nan(a: list[str], b: list[str], c: list[str], size: int) -> None:
    rows = [
        o for name, own in zip("abc", (a, b, c), strict=True) for o in outcomes(name, *own, cluster_size=size)
    ]
    decision = decide(count_deaths(rows), ["a", "b", "c"])
    for s in decision.scores:
        for e in (*s.by.values(), s.infra_rate):
            assert e is None or 0 <= e.low <= e.mean + 1e-12 <= e.high + 2e-12 <= 1 + 2e-12
        score, deployed, worst, best = s.by.values()
        if score and worst and best and deployed:
            assert worst.mean <= deployed.mean <= score.mean <= best.mean
    for pair in decision.comparisons:
        numbers = [x for x in astuple(pair) if isinstance(x, float)]
        assert all(map(math.isfinite, numbers))
        assert pair.low is None or -1 <= pair.low <= pair.high <= 1  # type: ignore[operator]
        assert pair.p_value is None or 0 <= pair.p_value <= pair.p_adjusted <= 1  # type: ignore[operator]
    assert "nan" not in decision.sentence.lower()
    assert decision.winner in (None, decision.leader)


# --- by simulation: the short form of tests/stats_study.py -------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "design",
    [
        stats_study.Design(20, 2, 3, 0.8),
        stats_study.Design(40, 1, 3, 0.5),
        stats_study.Design(40, 1, 3, 0.9, infra=0.05),
        stats_study.Design(100, 1, 1, 0.8),
        stats_study.Design(40, 0, 2, 0.5, sizes=(1, 8)),
    ],
    ids=lambda design: design.name,
)
def test_the_statistics_keep_their_promises(design: stats_study.Design) -> None:
    """600 seeded runs: the bounds allow for two standard errors of the study itself (0.9 and 1.6 points)."""
    found = stats_study.study(design, runs=600)
    assert 0.93 - 0.018 <= found.coverage <= 0.97 + 0.018
    assert 0.93 - 0.018 <= found.coverage_difference <= 0.97 + 0.018
    assert found.false_positives <= 0.05 + 0.018
    for stated in stats_study.promised(design, runs=100):
        assert 0.77 - 0.05 <= (stated.found or 0) <= 0.95


@pytest.mark.slow
@pytest.mark.parametrize(
    "design",
    [
        stats_study.Design(8, 3, 2, 0.5),
        stats_study.Design(8, 3, 2, 0.8),
        stats_study.Design(100, 1, 5, 0.98),
        stats_study.Design(40, 1, 5, 0.98),
    ],
    ids=lambda design: design.name,
)
def test_few_clusters_and_extreme_rates_are_covered(design: stats_study.Design) -> None:
    """1000 seeded runs: two standard errors of the study itself are 1.1 points."""
    rng, covered, runs = random.Random(23), 0, 1000
    for _ in range(runs):
        rows = stats_study.drawn("a", stats_study.chances(design, rng), design, rng)
        got = estimate([o.value for o in rows], [o.cluster for o in rows])
        covered += got.low <= design.rate <= got.high
    assert 0.94 - 0.011 <= covered / runs <= 0.97 + 0.011


@pytest.mark.slow
def test_equal_candidates_are_not_told_apart_by_one_large_cluster() -> None:
    """1500 seeded runs, two standard errors 1.1 points; the usual standard error and G - 1 find 7 % and more."""
    rng, runs = random.Random(29), 1500
    design = stats_study.Design(13, 0, 2, 0.5, sizes=(1, 20))
    false = 0
    for _ in range(runs):
        truth = stats_study.chances(design, rng)
        a = stats_study.drawn("a", truth, design, rng)
        b = stats_study.drawn("b", stats_study.equal(truth, design, rng), design, rng)
        false += (compare([*a, *b], "a", "b").p_value or 1) < 0.05
    assert false / runs <= 0.05 + 0.011


def test_power_at_a_known_spread_is_statsmodels() -> None:
    from statsmodels.stats.power import TTestPower

    for effect, spread, n in ((0.1, 0.4, 30), (0.03, 0.2, 400), (0.5, 0.5, 8)):
        want = TTestPower().power(effect_size=effect / spread, nobs=n, alpha=0.05)
        got = expected_power(effect, spread / math.sqrt(n), 0.0, math.inf, n - 1, 0.05)
        assert got == pytest.approx(want, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("known", "df", "alpha"), [(3, 3, 0.05), (7, 7, 0.05), (6.4, 40, 0.01)])
def test_power_at_an_estimated_spread_is_the_average_over_all_that_it_may_be(
    known: float, df: float, alpha: float
) -> None:
    from scipy import integrate, stats

    t, k = stats.t.isf(alpha / 2, df), 4.0

    def density(root: float, df: float) -> float:
        return float(stats.chi.pdf(root * math.sqrt(df), df) * math.sqrt(df))

    def at(u: float, v: float) -> float:
        found = stats.norm.cdf(k * v - t * u) + stats.norm.cdf(-k * v - t * u)
        return float(found * density(u, df) * density(v, known))

    want = integrate.dblquad(at, 0, 4, 0, 4, epsabs=1e-8)[0]
    assert expected_power(k, 1.0, 0.0, known, df, alpha) == pytest.approx(want, abs=1e-6)
    assert expected_power(k, 1.0, 0.0, known, df, alpha) < expected_power(k, 1.0, 0.0, math.inf, df, alpha)


@pytest.mark.parametrize("clusters", [8, 13, 30])
def test_what_normal_runs_state_new_runs_find(clusters: int) -> None:
    """40 000 seeded runs, two standard errors 0.4 points; with the noncentral t alone, 75 % of eight clusters' do."""
    import numpy as np

    rng, spread, sizes = np.random.default_rng(5), 0.01, (1000,) * clusters
    stating, new = rng.normal(0, spread, (2, 40_000, clusters))
    se = stating.std(axis=1, ddof=1) / math.sqrt(clusters)
    k = (minimum_detectable_effect(Spread(1e-3, clusters, sizes, clusters, 0.5)) or 0) / 1e-3
    t = (new.mean(axis=1) + k * se) / (new.std(axis=1, ddof=1) / math.sqrt(clusters))
    assert np.mean(np.abs(t) > t_quantile(0.975, clusters - 1)) == pytest.approx(0.8, abs=0.006)


@pytest.mark.slow
@pytest.mark.parametrize(
    "design",
    [
        stats_study.Design(8, 3, 2, 0.8),
        stats_study.Design(8, 10, 2, 0.8),
        stats_study.Design(13, 0, 2, 0.8, sizes=(1, 20)),
        stats_study.Design(40, 1, 3, 0.8),
    ],
    ids=lambda design: design.name,
)
def test_the_stated_power_is_the_power_found(design: stats_study.Design) -> None:
    """60 seeded runs that state something, 8 new ones each: not less than stated, and not everything."""
    for power in stats_study.promised(design, runs=60):
        assert power.found is not None
        assert 0.77 - 0.07 <= power.found <= 0.95


@pytest.mark.slow
def test_a_fall_in_whole_clusters_needs_a_larger_difference_than_one_of_single_examples() -> None:
    rng = random.Random(3)
    for design in (stats_study.Design(13, 10, 2, 0.8), stats_study.Design(40, 0, 2, 0.8, sizes=(1, 8))):
        pair = stats_study.compared(design, rng)
        assert (pair.minimum_detectable_effect or 1) < 0.75 * (pair.detectable_in_clusters or 0)
    alone = stats_study.compared(stats_study.Design(40, 1, 3, 0.8), rng)
    assert (alone.grouped, alone.detectable_in_clusters) == (False, None)


@pytest.mark.slow
def test_the_planned_number_of_examples_finds_the_effect() -> None:
    """A pilot of 40 examples plans for half of the effect that it could show; the planned sample is then drawn."""
    rng, effect = random.Random(13), 0.1
    pilot = stats_study.Design(40, 1, 3, 0.8)

    def pair(design: stats_study.Design) -> list[Outcome]:
        truth = stats_study.chances(design, rng)
        worse = stats_study.worse(stats_study.equal(truth, design, rng), effect / design.rate, rng)
        return stats_study.drawn("a", truth, design, rng) + stats_study.drawn("b", worse, design, rng)

    planned = sorted(plan(pair(pilot), "a", "b", effect).examples_needed or 0 for _ in range(41))[20]
    assert 80 < planned < 200
    bigger = stats_study.Design(planned, 1, 3, 0.8)
    found = [(compare(pair(bigger), "a", "b").p_value or 1) < 0.05 for _ in range(200)]
    assert 0.8 - 0.06 <= sum(found) / 200 <= 0.94  # at least what was planned for, see docs/statistics.md


@pytest.mark.slow
@pytest.mark.parametrize(
    "design",
    [
        stats_study.Design(8, 3, 2, 0.8),
        stats_study.Design(100, 1, 4, 0.8),
        stats_study.Design(100, 1, 5, 0.98),
    ],
    ids=lambda design: design.name,
)
def test_what_a_rerun_could_show_is_found(design: stats_study.Design) -> None:
    """A worse candidate in the place of the same: what a nightly job looks for. 200 seeded runs of each."""
    rng, found = random.Random(17), []
    for _ in range(200):
        truth = stats_study.chances(design, rng)
        effect = plan(stats_study.drawn("a", truth, design, rng), "a", "a", 0.1).detectable
        if effect is not None and effect <= design.rate:
            lower = stats_study.worse(truth, effect / design.rate, rng)
            tonight = stats_study.drawn("b", lower, design, rng)
            again = compare([*stats_study.drawn("a", truth, design, rng), *tonight], "a", "b")
            found.append((again.p_value or 1) < 0.05)
    assert len(found) > 170
    assert 0.8 - 0.06 <= sum(found) / len(found) <= 0.94


@pytest.mark.parametrize("rows", [["PPF", "PPP", "FPF", "FFF"] * 3, ["PPP"] * 12], ids=["mixed", "level"])
def test_what_a_rerun_could_show_is_the_same_whatever_is_asked(rows: list[str]) -> None:
    one, other = (plan(outcomes("a", *rows), "a", "a", effect) for effect in (0.03, 1.0))
    assert one.detectable is not None
    assert one.detectable == other.detectable
    assert plan(outcomes("a", *rows), "a", "a", one.detectable).power == pytest.approx(0.8, abs=1e-4)
    assert (one.power or 0) < 0.8 < (other.power or 0)


def test_more_repetitions_help_only_as_far_as_examples_allow() -> None:
    rows = [*outcomes("a", *["PPP", "FFF", "PPF"] * 10), *outcomes("b", *["FFF", "PPP", "PFF"] * 10)]
    wide, narrow = (plan(rows, "a", "b", effect) for effect in (0.6, 0.1))
    assert (wide.repetitions_needed, narrow.repetitions_needed) == (1, None)
    assert wide.detectable is not None
    assert wide.detectable_at_best is not None
    assert 0.1 < wide.detectable_at_best < wide.detectable < 0.6
    assert (wide.examples_needed or 0) < 30 < (narrow.examples_needed or 0)
    rerun = plan(rows, "a", "a", 0.4)
    assert rerun.detectable_at_best is not None
    assert 0 < rerun.detectable_at_best < (rerun.detectable or 0)


def test_what_power_cannot_know() -> None:
    few = plan([*outcomes("a", "PF", "FF"), *outcomes("b", "PP", "FF")], "a", "b", 0.1)
    assert (few.power, few.why) == (None, "fewer than 6 clusters of examples have a verdict")
    once = plan(outcomes("a", *["P", "F"] * 10), "a", "a", 0.1)
    assert "each example ran once" in once.why
    level = plan([*outcomes("a", *["PP"] * 20), *outcomes("b", *["PP"] * 20)], "a", "b", 0.1)
    assert level.power is not None
    assert 0 < (level.detectable or 0) < 1


def test_pretending_that_repetitions_are_independent_would_be_wrong() -> None:
    rng, runs = random.Random(7), 300
    design = stats_study.Design(30, 1, 4, 0.8)
    covered = naive = 0
    for _ in range(runs):
        got = score_set("a", stats_study.drawn("a", stats_study.chances(design, rng), design, rng)).score
        covered += got.low <= 0.8 <= got.high
        low, high = wilson(got.mean, got.trials)
        naive += low <= 0.8 <= high
    assert covered / runs >= 0.92
    assert naive / runs < 0.85


# --- the decision in words --------------------------------------------------------------------------


def test_a_winner() -> None:
    rows = [
        *outcomes("a", *["PPP"] * 19, "PPF"),
        *outcomes("b", *["PFF"] * 20),
        *outcomes("c", *["FFF"] * 20),
    ]
    got = decide(rows)
    assert (got.leader, got.winner, got.rivals, got.caveats) == ("a", "a", (), ())
    assert got.sentence == (
        "a (98.3 %) is better than b (33.3 %) and c (0.0 %): 65.0 points ahead of b, "
        "uncorrected 95 % interval 61.5 to 68.5 (p < 0.001, corrected for the number of comparisons)."
    )


def test_a_winner_s_smallest_lead_and_its_least_sure_one_have_their_own_intervals_and_p_values() -> None:
    """b is close behind in every example; c is far behind in some."""
    rows = [
        *outcomes("a", *["PPP"] * 20),
        *outcomes("b", *["PPF"] * 20),
        *outcomes("c", *["FFF"] * 9, *["PPP"] * 11),
    ]
    got = decide(rows)
    of_b, of_c = (next(c for c in got.comparisons if {c.first, c.second} == {"a", name}) for name in "bc")
    assert (got.winner, (of_b.difference or 0) < (of_c.difference or 0)) == ("a", True)
    for pair in (of_b, of_c):
        low, high = 100 * (pair.low or 0), 100 * (pair.high or 0)
        assert (
            f"{100 * (pair.difference or 0):.1f} points ahead of {pair.second}, uncorrected 95 % interval {low:.1f} to "
            f"{high:.1f} ({figures.p_words(pair.p_adjusted or 0)}"
        ) in got.sentence


def test_the_highest_score_does_not_lead_where_another_is_better_on_the_examples_of_both() -> None:
    """a has no verdict on the hard half, so that its score is of the easy one."""
    a, b = ["PPPPF"] * 20 + ["IIIII"] * 20, ["PPPPP"] * 20 + ["FFFFF"] * 20
    got = decide([*outcomes("a", *a), *outcomes("b", *b)])
    assert (got.leader, got.winner, got.rivals) == ("a", None, ("b",))
    assert got.sentence.startswith(
        "No winner: a (80.0 %) has the highest score, but b (50.0 %) is better on the examples that both completed: "
        "20.0 points ahead of a, 95 % interval "
    )
    assert got.sentence.endswith("(p < 0.001). Their scores are of different examples.")


def test_no_distinguishable_winner() -> None:
    a, b, c = ["P"] * 17 + ["F"] * 3, ["P"] * 15 + ["F"] + ["P"] + ["F"] * 3, ["F"] * 20
    got = decide([*outcomes("a", *a), *outcomes("b", *b), *outcomes("c", *c)])
    assert (got.leader, got.winner, got.rivals) == ("a", None, ("b",))
    assert got.sentence == (
        "No distinguishable winner at this sample size: a (85.0 %) leads and is better than c (0.0 %), but "
        "cannot be distinguished from b (80.0 %); this sample would show a difference of 43.7 points "
        "in four runs of five."
    )


def test_level_candidates_and_a_sample_that_is_too_small() -> None:
    got = decide([*outcomes("a", "P", "F"), *outcomes("b", "P", "F")])
    assert got.sentence == (
        "No distinguishable winner at this sample size: a (50.0 %) cannot be distinguished from b (50.0 %); "
        "this sample is too small to show any difference."
    )


def test_one_candidate_and_none() -> None:
    assert "no other candidate" in decide(outcomes("a", "P", "F")).sentence
    assert (
        decide([], ["a"]).sentence
        == "No trial was completed, so there is nothing to say about any candidate."
    )


def test_infrastructure_that_could_overturn_the_decision_is_said() -> None:
    rows = [*outcomes("a", *["PPII"] * 20), *outcomes("b", *["FPFI"] * 20), *outcomes("c", "I", "I")]
    got = decide(rows)
    assert got.winner == "a"
    assert got.scores[-1].candidate == "c"
    assert got.caveats[1:] == ("c has no score: none of its 2 trials was completed.",)
    assert got.caveats[0] == (
        "How infrastructure errors are counted decides between a and b: a is better when they are excluded, "
        "counted as deployed and counted for a and against b; they cannot be distinguished when they are "
        "counted against a and for b."
    )
    assert [pair.depends for pair in got.sensitivities] == [True]
    assert got.sensitivities[0].by[Counting.WORST_CASE].difference == pytest.approx(1 / 2 - 2 / 4)


def test_few_examples_are_said_to_miss_rare_kinds() -> None:
    single = decide([*outcomes("a", *["PF"] * 13), *outcomes("b", *["FP"] * 13)])
    assert single.caveats == (
        "A kind of request on which a candidate fails may not be among these 13 examples: one that makes up 10 % of "
        "requests is missed with a probability of 25 %.",
    )
    rows = [["PF"] * 26, ["FP"] * 26]
    grouped = decide(
        [o for name, own in zip("ab", rows, strict=True) for o in outcomes(name, *own, cluster_size=2)]
    )
    assert "among these 13 clusters" in grouped.caveats[0]
    assert grouped.caveats[1].startswith("With so few clusters")
    assert decide([*outcomes("a", *["PF"] * 20), *outcomes("b", *["FP"] * 20)]).caveats == ()


def test_the_leader_of_several_and_a_lead_too_small_for_the_sample_are_said_to_be_lucky() -> None:
    several = decide([o for name in "abc" for o in outcomes(name, *["PF"] * 20)])
    assert several.caveats == (
        "a has the highest of 3 scores, in part by luck: the score of a leader is on average too high, and its "
        "interval holds its true score in fewer than 95 of 100 runs.",
    )
    narrow = decide([*outcomes("a", *["P"] * 20), *outcomes("b", *["P"] * 14, *["F"] * 6)])
    assert narrow.winner == "a"
    assert narrow.caveats[-1].startswith(
        "The lead of a over b, 30.0 points, is smaller than what this sample finds"
    )


def test_a_difference_that_no_verdict_of_the_missing_trials_could_make_shows_a_selection() -> None:
    """b has no trial of nine examples on which a fails; on the tenth a is a little ahead."""
    rows = [*outcomes("a", *["FFFF"] * 9, "PPPF"), *outcomes("b", *["IIII"] * 9, "PPFF")]
    [pair] = sensitivities(rows, [("a", "b")])
    assert pair.outside_bounds
    assert any(
        "the examples that are left out differ from the others" in each for each in decide(rows).caveats
    )
    [fair] = sensitivities([*outcomes("a", *["PI"] * 10), *outcomes("b", *["FP"] * 10)], [("a", "b")])
    assert not fair.outside_bounds


def test_both_detectable_differences_are_said_where_examples_are_in_clusters() -> None:
    rng = random.Random(3)
    pair = stats_study.compared(stats_study.Design(13, 10, 2, 0.8), rng)
    single, whole = (100 * (x or 0) for x in (pair.minimum_detectable_effect, pair.detectable_in_clusters))
    assert would_show([pair]) == (
        f"in four runs of five this sample would show a difference of {single:.1f} points if single examples change, "
        f"and one of {whole:.1f} points if whole clusters change"
    )
    impossible = replace(pair, detectable_in_clusters=None)
    assert would_show([pair, impossible]).endswith("and none if whole clusters change")


def test_what_ends_its_container_whenever_it_would_fail_wins_nothing() -> None:
    got = decide([*outcomes("honest", *["PF"] * 20), *outcomes("hostile", *["PL"] * 20)])
    assert (got.leader, got.winner, got.rivals) == ("hostile", None, ("honest",))
    assert "they cannot be distinguished when they are counted as deployed" in got.caveats[0]


def test_the_order_of_the_four_ways_to_count() -> None:
    rows = [*outcomes("a", *["PPIL"] * 10), *outcomes("b", *["PFIF"] * 10)]
    [pair] = sensitivities(rows, [("a", "b")])
    differences = {way: test.difference for way, test in pair.by.items()}
    assert differences == pytest.approx(
        {
            "score": 1 - 1 / 3,
            "as_deployed": 2 / 3 - 1 / 3,
            "worst_case": 2 / 4 - 2 / 4,
            "best_case": 1 - 1 / 4,
        }
    )


def test_scipy_waits_until_a_number_is_judged() -> None:
    code = "import sys, bakeoff.stats, bakeoff.report.data; print(sys.modules.keys() & {'numpy', 'scipy'})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
