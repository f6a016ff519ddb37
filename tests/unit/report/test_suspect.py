"""A harness that breaks for every candidate alike is the suspect, and the run is in doubt."""

from bakeoff import stats
from bakeoff.report import suspect


def test_a_harness_that_breaks_for_every_candidate_alike_is_the_suspect() -> None:
    [doubt] = suspect.harness({"a": 10, "b": 12}, {"a": 40, "b": 40}, 0.02)
    assert doubt.startswith("the harness itself is the suspect: it broke in 25.0 % to 30.0 %")


def test_a_harness_that_one_model_alone_breaks_is_no_suspect() -> None:
    assert suspect.harness({"a": 12}, {"a": 40, "b": 40}, 0.02) == []
    assert suspect.harness({"a": 38, "b": 2}, {"a": 40, "b": 40}, 0.02) == []


def test_one_candidate_cannot_show_whether_it_is_the_harness() -> None:
    assert suspect.harness({"a": 40}, {"a": 40}, 0.02) == []
    assert suspect.harness({"a": 40}, {"a": 40, "b": 0}, 0.02) == []


def test_a_tolerated_share_is_no_suspicion() -> None:
    assert suspect.harness({"a": 1, "b": 1}, {"a": 100, "b": 100}, 0.02) == []


def test_the_causes_that_count_are_in_the_table() -> None:
    from bakeoff.verdict import CAUSES

    assert set(suspect.BROKEN) <= {cause.code for cause in CAUSES}
    assert suspect.counted(
        [("a", "model.broke_harness", 2), ("a", "infra.harness_crash", 1), ("a", "model.refusal", 5)]
    ) == {"a": 3}


def test_an_error_rate_that_a_small_run_may_ignore_is_named_in_a_large_one() -> None:
    """2 % of the trials have no verdict; whether those would have passed can move a score by 1.6 points."""

    def said(examples: int) -> list[str]:
        verdicts = ["infra_error", *["passed"] * 39, *["failed"] * 10]
        rows = [
            stats.Outcome("a", f"e{i}", f"e{i}", 1, verdicts[i % 50])  # type: ignore[arg-type]
            for i in range(examples)
        ]
        return list(suspect.candidates([stats.score_set("a", rows)], {}, 0.02))

    assert said(200) == []
    [warning] = said(2000)
    assert warning.startswith(
        "a: infrastructure errors could move its score by 1.6 points, more than its standard error"
    )
