"""A run that may stop early, on the fake backend: batches, looks, who is dropped, and what a resumed run knows."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bakeoff.config.overrides import Overrides, apply
from bakeoff.config.schema import Config
from bakeoff.errors import InputError, ModelCallError, ModelErrorKind, UnfitEnvironment
from bakeoff.gateway.policy.spending import Metered, Spending
from bakeoff.record.configuration import StopEarly as StopEarlyConfig
from bakeoff.record.manifest import Look, StopEarly
from bakeoff.record.store import RunDirectory
from bakeoff.record.trial import TrialRecord
from bakeoff.run import engine as engine_module
from bakeoff.run import looks, plan, resume
from tests.unit.run.bench import Bench, Model, config


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "BACKOFF_SECONDS", 0.0)


def early(bench: Bench) -> StopEarly:
    found = bench.directory.manifest().stop_early
    assert found is not None
    return found


class Judge:
    """Decides what it is told: who is dropped at which look."""

    def __init__(self, *dropped: list[str], ends: int = 0) -> None:
        self.dropped, self.ends = list(dropped), ends
        self.seen: list[int] = []  # finished trials at each look

    def __call__(self, run: RunDirectory) -> Look:
        manifest = run.manifest()
        assert manifest.stop_early is not None
        number = len(manifest.stop_early.looks) + 1
        self.seen.append(sum(1 for _ in run.trials()))
        last = number in (self.ends, len(manifest.stop_early.repetitions))
        dropped = self.dropped[number - 1] if number <= len(self.dropped) else []
        return Look(
            taken_at=datetime.now(UTC), pairs=[], dropped=dropped, futile=False, ends_run=last, not_run=0
        )


def models(*names: str) -> dict[str, Model]:
    return {name: Model() for name in names}


# --- what real looks decide


def test_a_run_ends_at_the_look_that_leaves_one_candidate(tmp_path: Path) -> None:
    answers = {"good": Model("right"), "bad": Model("wrong")}
    bench = Bench(tmp_path, examples=12, models=answers, trials=4, stop_early={"looks": 2})
    assert bench.run(), "a run that a look ended is finished"
    assert len(bench.records()) == 12 * 2 * 2
    [look] = early(bench).looks
    assert (look.dropped, look.ends_run, look.not_run) == (["bad"], True, 12 * 2 * 2)
    [pair] = look.pairs
    assert pair.better == "good"
    assert pair.p_value is not None
    assert pair.boundary is not None
    assert pair.p_value < pair.boundary
    assert bench.directory.manifest().trials_due == len(bench.records())
    assert bench.display.notes == ["look 1 of 2: bad dropped; 48 trials need not run"]


def test_a_loser_is_dropped_and_the_others_go_on_until_it_is_futile(tmp_path: Path) -> None:
    answers = {"good": Model("right"), "bad": Model("wrong"), "twin": Model("right")}
    bench = Bench(tmp_path, examples=24, models=answers, trials=4, stop_early={"looks": 4})
    assert bench.run()
    first, second = early(bench).looks
    assert (first.dropped, first.ends_run, first.not_run) == (["bad"], False, 24 * 3)
    assert (second.dropped, second.futile, second.ends_run) == ([], True, True)
    assert second.not_run == 24 * 2 * 2
    ran = [record.candidate for record in bench.records().values()]
    assert {name: ran.count(name) for name in answers} == {"good": 48, "bad": 24, "twin": 48}


def test_infra_errors_never_drop_a_candidate_and_the_run_goes_on_to_its_end(tmp_path: Path) -> None:
    refused = ModelCallError(ModelErrorKind.AUTH, "no")
    answers = {"good": Model("right"), "barred": Model(refused)}
    bench = Bench(tmp_path, examples=12, models=answers, trials=4, stop_early={"looks": 4})
    assert bench.run()
    assert len(bench.records()) == 12 * 2 * 4
    assert [look.dropped for look in early(bench).looks] == [[]] * 4
    assert early(bench).not_run == 0


def test_nothing_is_decided_about_a_candidate_with_too_many_infra_errors(tmp_path: Path) -> None:
    flaky = Model("wrong")
    bench = Bench(
        tmp_path, examples=12, models={"good": Model(), "bad": flaky}, trials=2, stop_early={"looks": 2}
    )
    complete = flaky.complete

    def sometimes(request, call):  # type: ignore[no-untyped-def]
        if "/e0/" in call.trial_id:
            raise ModelCallError(ModelErrorKind.UNAVAILABLE, "503")
        return complete(request, call)

    flaky.complete = sometimes  # type: ignore[method-assign]
    assert bench.run()
    assert len(early(bench).looks) == 2
    [pair] = early(bench).looks[0].pairs
    assert pair.better == "good", "significant, but the numbers may not decide"
    assert early(bench).looks[0].dropped == []


@pytest.mark.slow
def test_a_look_can_be_taken_in_a_process_of_its_own(tmp_path: Path) -> None:
    answers = {"good": Model("right"), "bad": Model("wrong")}
    bench = Bench(
        tmp_path, examples=12, models=answers, trials=2, stop_early={"looks": 2}, judge=looks.judge_apart
    )
    assert bench.run()
    assert [look.dropped for look in early(bench).looks] == [["bad"]]
    with pytest.raises(UnfitEnvironment, match="a look at the results failed"):
        looks.judge_apart(RunDirectory(tmp_path / "nowhere"))


# --- batches


def test_no_trial_of_a_batch_starts_before_the_look_at_the_one_before(tmp_path: Path) -> None:
    judge, started = Judge(), []
    bench = Bench(
        tmp_path, examples=5, slots=3, models=models("a", "b"), trials=3, stop_early={"looks": 3}, judge=judge
    )
    bench.display.on_started = lambda trial_id: started.append((trial_id[-1], len(early(bench).looks)))
    assert bench.run()
    assert judge.seen == [10, 20, 30]
    assert sorted(started) == [(str(n + 1), n) for n in range(3) for _ in range(10)]


def test_slots_that_wait_for_the_end_of_a_batch_work_in_the_next(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path,
        examples=1,
        slots=2,
        models=models("a", "b"),
        trials=2,
        stop_early={"looks": 2},
        judge=Judge(),
    )
    together = threading.Barrier(2)
    bench.display.on_started = lambda _: together.wait(10)
    assert bench.run()
    assert len(bench.records()) == 4


def test_a_look_waits_for_the_last_attempt_of_every_trial(tmp_path: Path) -> None:
    judge, model = Judge(), Model()
    bench = Bench(
        tmp_path,
        examples=3,
        models={"a": model, "b": Model()},
        trials=2,
        stop_early={"looks": 2},
        judge=judge,
    )
    complete = model.complete

    def second_time(request, call):  # type: ignore[no-untyped-def]
        if call.attempt == 1:
            raise ModelCallError(ModelErrorKind.UNAVAILABLE, "503")
        return complete(request, call)

    model.complete = second_time  # type: ignore[method-assign]
    assert bench.run()
    assert judge.seen == [6, 12]
    assert {len(r.attempts) for r in bench.records().values() if r.candidate == "a"} == {2}


# --- interrupts, money and resume


def test_a_resumed_run_knows_the_looks_before_and_does_not_take_them_again(tmp_path: Path) -> None:
    judge = Judge(["c"])
    bench = Bench(
        tmp_path,
        examples=3,
        slots=1,
        models=models("a", "b", "c"),
        trials=3,
        stop_early={"looks": 3},
        judge=judge,
    )

    def stop_in_the_second(record: TrialRecord) -> None:
        if record.repetition == 2:
            bench.engine.stop()

    bench.display.on_finished = stop_in_the_second
    assert not bench.run()
    assert (judge.seen, len(bench.records())) == ([9], 10)
    bench.display.on_finished = lambda _: None
    bench.engine = bench.made()
    assert bench.run()
    assert judge.seen == [9, 15, 21]
    assert sum(record.candidate == "c" for record in bench.records().values()) == 3


def test_what_a_look_decides_while_the_run_is_stopped_holds(tmp_path: Path) -> None:
    decide = Judge(["b"])

    def stopped_meanwhile(run: RunDirectory) -> Look:
        bench.engine.stop()
        return decide(run)

    bench = Bench(
        tmp_path,
        examples=2,
        models=models("a", "b", "c"),
        trials=2,
        stop_early={"looks": 2},
        judge=stopped_meanwhile,
    )
    assert not bench.run()
    assert len(bench.records()) == 6
    assert early(bench).dropped == {"b": 1}
    bench._judge = decide
    bench.engine = bench.made()
    assert bench.run()
    assert decide.seen == [6, 10]


def test_a_look_that_failed_is_taken_first_on_resume(tmp_path: Path) -> None:
    def fail(run: RunDirectory) -> Look:
        raise UnfitEnvironment("no memory")

    bench = Bench(
        tmp_path, examples=2, models=models("a", "b"), trials=2, stop_early={"looks": 2}, judge=fail
    )
    with pytest.raises(UnfitEnvironment, match="no memory"):
        bench.run()
    assert len(bench.records()) == 4
    bench._judge = judge = Judge(ends=1)
    bench.engine = bench.made()
    assert bench.run()
    assert (judge.seen, len(bench.records())) == ([4], 4)


def test_a_run_that_a_look_ended_before_its_state_was_written_is_finished_on_resume(tmp_path: Path) -> None:
    judge = Judge(ends=1)
    bench = Bench(
        tmp_path, examples=2, models=models("a", "b"), trials=3, stop_early={"looks": 3}, judge=judge
    )
    assert bench.run()
    bench.engine = bench.made()
    assert bench.run()
    assert judge.seen == [4]


@pytest.mark.parametrize(("limit", "looked"), [(0.055, []), (0.095, [8])])
def test_a_spent_budget_ends_the_run_before_a_look_unless_its_batch_is_complete(
    tmp_path: Path, limit: float, looked: list[int]
) -> None:
    judge = Judge()
    bench = Bench(
        tmp_path, examples=4, slots=1, models=models("a", "b"), trials=2, stop_early={"looks": 2}, judge=judge
    )
    bench.spending = Spending(limit_usd=limit)
    for name, model in bench.models.items():
        bench.models[name] = Metered(model, bench.spending)  # type: ignore[assignment]
    bench.engine = bench.made()
    assert not bench.run()
    assert judge.seen == looked


def test_a_look_that_ends_the_run_finishes_it_although_the_budget_is_spent(tmp_path: Path) -> None:
    judge = Judge(ends=1)
    bench = Bench(
        tmp_path, examples=4, slots=1, models=models("a", "b"), trials=2, stop_early={"looks": 2}, judge=judge
    )
    bench.spending = Spending(limit_usd=0.075)
    for name, model in bench.models.items():
        bench.models[name] = Metered(model, bench.spending)  # type: ignore[assignment]
    bench.engine = bench.made()
    assert bench.run()
    assert len(bench.records()) == 8


# --- the plan


TWO = [{"name": name, "model": "simulated:skill=1"} for name in ("a", "b")]


def asked(**changes: object) -> Config:
    return config(**{"candidates": TWO, "trials": 5, "stop_early": True, **changes})


def test_the_plan_names_looks_boundaries_and_pairs() -> None:
    made = looks.plan(plan.looks(asked(trials=10)), candidates=2)
    assert made is not None
    assert (made.repetitions, made.pairs, made.alpha) == ([2, 4, 6, 8, 10], 1, 0.05)
    assert [round(z, 2) for z in made.critical] == [4.88, 3.36, 2.68, 2.29, 2.03]
    assert looks.plan((), candidates=2) is None


@pytest.mark.parametrize(
    ("given", "after"), [(True, (1, 2, 3, 4, 5)), ({"looks": 2}, (3, 5)), (False, ()), (None, ())]
)
def test_looks_are_spread_over_the_repetitions(given: object, after: tuple[int, ...]) -> None:
    assert plan.looks(asked(stop_early=given)) == after


def test_the_option_wins_over_the_file() -> None:
    fixed = config(candidates=TWO, trials=3)
    assert plan.looks(apply(Overrides(stop_early=True), fixed)) == (1, 2, 3)
    assert plan.looks(apply(Overrides(stop_early=False), asked())) == ()
    assert plan.looks(apply(Overrides(stop_early=True), asked(stop_early={"looks": 2}))) == (3, 5)


def test_trials_come_batch_by_batch_and_otherwise_as_ever(tmp_path: Path) -> None:
    bench = Bench(tmp_path, examples=6, models=models("a", "b"), trials=4, stop_early={"looks": 2})
    order = [trial.repetition for trial in bench.task.trials]
    assert set(order[:24]) == {1, 2}
    assert set(order[24:]) == {3, 4}
    assert order[:24] != sorted(order[:24]), "shuffled within the batch"


@pytest.mark.parametrize(
    ("changes", "problem"), [({"trials": 1}, "two repetitions"), ({"candidates": TWO[:1]}, "two")]
)
def test_where_nothing_can_be_decided_between_repetitions_it_is_refused(
    changes: dict[str, object], problem: str
) -> None:
    for by_option, key in ((True, "--stop-early"), (False, "stop_early")):
        with pytest.raises(InputError, match=problem) as error:
            plan.check_looks(asked(**changes), by_option=by_option)
        assert error.value.key == key
        assert error.value.hint
    plan.check_looks(asked(stop_early=False, **changes), by_option=False)


def test_a_run_does_not_go_on_with_another_plan(tmp_path: Path) -> None:
    bench = Bench(tmp_path, models=models("a", "b"), trials=2)
    assert "stop_early" in resume._differing(
        bench.directory.manifest().config,
        bench.directory.manifest().config.model_copy(update={"stop_early": StopEarlyConfig(looks=2)}),
    )
