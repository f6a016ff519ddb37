"""The engine on the fake backend: slots, re-attempts, money, interrupts, resume, and a backend that goes away."""

import threading
from pathlib import Path

import pytest

from bakeoff import verdict
from bakeoff.backends.base import Capacity, SandboxError, SandboxSpec
from bakeoff.backends.fake import (
    FakeBackend,
    FakeHarness,
    FakeSandbox,
    ManualTimer,
    Script,
    one_question,
)
from bakeoff.errors import BackendUnavailable, ModelCallError, ModelErrorKind, UnfitEnvironment
from bakeoff.gateway.policy.spending import Metered, Spending
from bakeoff.record.evidence import DockerFacts
from bakeoff.record.trial import Profile, ResourceLimits, TrialRecord
from bakeoff.run import engine as engine_module
from tests.unit.run.bench import MIB, Bench, Model, Scorer


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "BACKOFF_SECONDS", 0.0)


def crash_at_start(harness: FakeHarness) -> Script:
    harness.loaded()
    harness.fail("builtins.ImportError", "no module named shop")
    yield from ()


def crash_after_reply(harness: FakeHarness) -> Script:
    harness.loaded()
    harness.started()
    yield harness.ask("question")
    harness.fail("builtins.KeyError", "order")


def idle(harness: FakeHarness) -> Script:
    harness.loaded()
    harness.started()
    yield float("inf")


def failing(kind: ModelErrorKind) -> dict[str, Model]:
    return {"m": Model(ModelCallError(kind, "the provider said so"))}


# --- slots


def test_every_trial_has_a_verdict_on_disk_and_no_sandbox_is_left(tmp_path: Path) -> None:
    bench = Bench(tmp_path, examples=7, slots=3)
    assert bench.run()
    assert {record.verdict for record in bench.records().values()} == {"passed"}
    assert len(bench.records()) == 7
    assert bench.backend.left == {}
    assert sum(bench.backend.expected.values()) == len(bench.backend.opened) == 7


def test_as_many_trials_run_at_once_as_there_are_slots_and_never_more(tmp_path: Path) -> None:
    bench = Bench(tmp_path, examples=6, slots=3)
    together = threading.Barrier(3)
    bench.display.on_started = lambda _: together.wait(10)
    assert bench.run()
    assert bench.most_open == 3


def test_the_ledger_admits_fewer_than_the_slots_where_the_host_is_small(tmp_path: Path) -> None:
    bench = Bench(tmp_path, examples=5, slots=4)
    bench.ledger.capacity = Capacity(1.0, 2**32)
    assert bench.run()
    assert bench.most_open == 1


def test_a_pinned_trial_gets_cores_of_its_own(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path,
        examples=4,
        slots=2,
        resources={"cpus": 2.0, "memory": 256 * MIB, "pin": True, "reserve": {"cpus": 2.0, "memory": MIB}},
    )
    together = threading.Barrier(2)
    bench.display.on_started = lambda _: together.wait(10)
    assert bench.run()
    assert {cores for _, cores in bench.backend.opened} == {(0, 1), (2, 3)}


def test_each_profile_gets_sandboxes_of_its_own_limits(tmp_path: Path) -> None:
    def profile(name: str, memory: int) -> Profile:
        limits = ResourceLimits(cpus=1.0, memory_bytes=memory, pids=64, disk_bytes=MIB, network="none")
        return Profile(name=name, limits=limits, reserved_cpus=0.5, reserved_memory_bytes=memory)

    profiles = [profile("small", 128 * MIB), profile("large", 512 * MIB)]
    bench = Bench(tmp_path, profiles=profiles)
    bench.task.trials[:] = [
        bench.task.trials[0].model_copy(update={"trial_id": f"m@{each.name}/e0/1", "profile": each.name})
        for each in profiles
    ]
    bench.engine = bench.made()
    assert bench.run()
    requested = {
        record.profile: record.resources.requested.memory_bytes for record in bench.records().values()
    }
    assert requested == {"small": 128 * MIB, "large": 512 * MIB}
    assert {spec.reserved_memory_bytes for spec in bench.backend.expected} == set(requested.values())


# --- re-attempts


def test_a_failure_of_the_provider_is_attempted_again_up_to_the_limit(tmp_path: Path) -> None:
    bench = Bench(tmp_path, models=failing(ModelErrorKind.UNAVAILABLE))
    assert bench.run()
    assert bench.causes() == ["infra.provider_unavailable"] * 3


def test_a_second_attempt_that_passes_makes_the_trial_pass_and_both_are_kept(tmp_path: Path) -> None:
    model = Model(ModelCallError(ModelErrorKind.TIMEOUT, "too slow"))
    bench = Bench(tmp_path, models={"m": model})
    complete = model.complete

    def once(request, call):  # type: ignore[no-untyped-def]
        if call.attempt > 1:
            model.reply = "right"
        return complete(request, call)

    model.complete = once  # type: ignore[method-assign]
    assert bench.run()
    assert bench.causes() == ["infra.provider_timeout", None]
    [record] = bench.records().values()
    assert record.verdict == "passed"
    assert [each.usage.model_calls for each in record.attempts if each.usage] == [1, 1]
    assert record.usage.model_calls == 2


def test_an_attempt_without_a_sandbox_costs_nothing(tmp_path: Path) -> None:
    asked: list[SandboxSpec] = []

    def refuse_once(spec: SandboxSpec) -> FakeSandbox:
        asked.append(spec)
        if len(asked) == 1:
            raise SandboxError(DockerFacts(failed_step="create", error_kind="start", error="no"))
        return bench.sandbox(spec)

    bench = Bench(tmp_path, make=refuse_once)
    assert bench.run()
    assert bench.causes() == ["infra.container_start", None]
    assert next(iter(bench.records().values())).usage.cost_usd == 0.01


def test_a_failure_of_the_model_is_never_attempted_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, models={"m": Model("wrong")})
    assert bench.run()
    assert bench.causes() == ["model.wrong_answer"]


def test_a_sandbox_that_cannot_be_created_is_an_attempt_without_one(tmp_path: Path) -> None:
    def refuse(spec: SandboxSpec) -> FakeSandbox:
        raise SandboxError(DockerFacts(failed_step="create", error_kind="start", error="no"))

    bench = Bench(tmp_path, make=refuse)
    assert bench.run()
    assert set(bench.causes()) == {"infra.container_start"}
    assert bench.models["m"].asked == []


def test_a_refused_key_stops_its_candidate_and_no_other(tmp_path: Path) -> None:
    models = failing(ModelErrorKind.AUTH) | {"other": Model()}
    bench = Bench(tmp_path, examples=5, slots=1, models=models)
    assert bench.run()
    records = bench.records()
    assert {r.cause for r in records.values() if r.candidate == "m"} == {"infra.provider_auth"}
    assert {r.verdict for r in records.values() if r.candidate == "other"} == {"passed"}
    assert len(models["m"].asked) == 1, "only the first trial was attempted"
    assert len(bench.backend.opened) == 6
    assert len(bench.display.notes) == 1


def test_limits_that_the_host_cannot_enforce_stop_the_run_at_once(tmp_path: Path) -> None:
    def unlimited(spec: SandboxSpec) -> FakeSandbox:
        return FakeSandbox(
            ManualTimer(), one_question, limits=spec.limits, kernel={"memory_limit_bytes": None}
        )

    bench = Bench(tmp_path, examples=5, slots=1, make=unlimited)
    with pytest.raises(UnfitEnvironment, match="memory: asked"):
        bench.run()
    assert bench.causes() == ["infra.limits_not_enforced"]
    assert len(bench.backend.opened) == 1


# --- scoring


def test_an_evaluator_that_fails_is_asked_again_about_the_same_answer(tmp_path: Path) -> None:
    bench = Bench(tmp_path, scorer=Scorer(failures=2))
    assert bench.run()
    assert bench.causes() == [None]
    assert len(bench.models["m"].asked) == 1


def test_an_evaluator_that_keeps_failing_is_evidence_and_the_agent_is_not_run_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, scorer=Scorer(failures=99))
    assert bench.run()
    assert bench.causes() == ["infra.evaluator"]
    assert len(bench.backend.opened) == 1


# --- money


def test_a_spent_budget_leaves_the_rest_of_the_plan_unrun(tmp_path: Path) -> None:
    bench = Bench(tmp_path, examples=6, slots=1)
    bench.spending = Spending(limit_usd=0.025)
    bench.models["m"] = Metered(Model(cost_usd=0.01), bench.spending)  # type: ignore[assignment]
    bench.engine = bench.made()
    assert not bench.run()
    assert len(bench.records()) == 3, "what passes the limit ends normally"
    assert bench.backend.left == {}


def test_a_trial_whose_call_is_not_paid_for_has_no_verdict(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    spent = Spending(limit_usd=0.01)
    bench.models["m"] = Metered(Model(), spent)  # type: ignore[assignment]
    bench.display.on_started = lambda _: spent.add(0.01)  # another trial's call
    bench.engine = bench.made()
    assert not bench.run()
    assert bench.records() == {}


def test_what_was_spent_before_an_interrupt_stays_spent_however_often_the_run_is_resumed(
    tmp_path: Path,
) -> None:
    def asks_and_waits(harness: FakeHarness) -> Script:
        harness.loaded()
        harness.started()
        yield harness.ask("question")
        threading.Timer(0.05, bench.engine.stop).start()
        yield float("inf")

    bench = Bench(tmp_path, asks_and_waits)
    for resumed in (1, 2, 3):
        assert not bench.run()
        assert bench.directory.spent_usd() == pytest.approx(0.01 * resumed)
        bench.engine = bench.made()
    [trial] = bench.task.trials
    assert len(list(bench.directory.calls(trial.trial_id))) == 1, (
        "an earlier execution's calls are not the trial's"
    )


# --- interrupts and resume


def test_a_stopped_run_keeps_what_is_finished_and_a_resumed_one_runs_the_rest(tmp_path: Path) -> None:
    bench = Bench(tmp_path, one_question, one_question, idle, examples=5, slots=1)
    started: list[str] = []

    def stop_in_the_third(trial_id: str) -> None:
        started.append(trial_id)
        if len(started) == 3:
            threading.Timer(0.05, bench.engine.stop).start()

    bench.display.on_started = stop_in_the_third
    assert not bench.run()
    assert len(bench.records()) == 2
    assert bench.backend.left == {}

    bench.display.on_started = lambda _: None
    bench.scripts = [one_question]
    bench.engine = bench.made()
    assert bench.run()
    assert len(bench.records()) == 5
    assert len(bench.backend.opened) == 3 + 3


def test_a_run_that_is_stopped_before_it_starts_opens_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, examples=3)
    bench.engine.stop()
    assert not bench.run()
    assert bench.backend.opened == []


def test_a_run_that_waits_for_admission_stops_at_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.ledger.capacity = Capacity(0.1, 2**32)
    threading.Timer(0.05, bench.engine.stop).start()
    assert not bench.run()
    assert bench.backend.opened == []


def test_a_run_that_pauses_before_an_attempt_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "BACKOFF_SECONDS", 600.0)
    bench = Bench(tmp_path, models=failing(ModelErrorKind.UNAVAILABLE))
    threading.Timer(0.1, bench.engine.stop).start()
    assert not bench.run()
    assert bench.records() == {}, "it runs again on resume, with all its attempts"


def test_an_abandoned_run_kills_what_does_not_obey(tmp_path: Path) -> None:
    sandboxes: list[FakeSandbox] = []

    def stubborn(spec: SandboxSpec) -> FakeSandbox:
        sandboxes.append(FakeSandbox(ManualTimer(), idle, limits=spec.limits, stop_works=False))
        return sandboxes[-1]

    bench = Bench(tmp_path, examples=2, slots=2, make=stubborn)
    together = threading.Barrier(3)
    bench.display.on_started = lambda _: together.wait(10)

    def abandon() -> None:
        together.wait(10)
        while len(bench.engine._running) < 2:
            pass
        bench.engine.stop()
        bench.engine.abandon()

    threading.Thread(target=abandon).start()
    assert not bench.run()
    assert [sandbox.kills for sandbox in sandboxes] == [1, 1]
    assert bench.backend.left == {}


# --- the backend goes away


def lost(harness: FakeHarness) -> Script:
    """The sandbox is gone, and the backend does not answer when its state is read."""
    harness.loaded()
    harness.started()
    harness.box._end_facts = {"failed_step": "inspect", "error_kind": "unavailable", "error": "gone"}
    harness.box.die(0)
    yield from ()


def test_a_backend_that_returns_costs_an_attempt_and_no_trial(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lost, one_question)
    waited: list[FakeBackend] = []
    bench.backend._on_lost = waited.append
    assert bench.run()
    assert bench.causes() == ["infra.docker_unavailable", None]
    assert waited == [bench.backend]


def test_a_backend_that_stays_away_ends_the_run_resumably(tmp_path: Path) -> None:
    bench = Bench(tmp_path, one_question, one_question, lost, examples=4, slots=1)

    def go_away(_: FakeBackend) -> None:
        bench.backend.available = False

    bench.backend._on_lost = go_away
    with pytest.raises(BackendUnavailable, match="stays away"):
        bench.run()
    assert len(bench.records()) == 2, "the trial that was lost has no verdict"


def test_sandboxes_that_cannot_be_swept_are_an_error_of_the_run(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.display.on_finished = lambda _: setattr(bench.backend, "available", False)
    with pytest.raises(BackendUnavailable, match="left"):
        bench.run()
    assert len(bench.records()) == 1


# --- bakeoff's own failures


def test_a_record_that_cannot_be_written_stops_every_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, one_question, idle, examples=4, slots=2)

    def full(_: TrialRecord) -> None:
        raise UnfitEnvironment("no space left")

    monkeypatch.setattr(bench.directory, "append", full)
    with pytest.raises(UnfitEnvironment, match="no space left"):
        bench.run()
    assert bench.backend.left == {}


# --- the column of the table of causes


def killed_from_within(harness: FakeHarness) -> Script:
    harness.loaded()
    harness.started()
    yield harness.ask("question")
    harness.die(9)


OUTCOMES = {
    "a crash before any reply": (crash_at_start, "right"),
    "an exception after a reply": (crash_after_reply, "right"),
    "a kill from within": (killed_from_within, "right"),
    "a provider that is down": (one_question, ModelCallError(ModelErrorKind.UNAVAILABLE, "503")),
    "a rate limit": (one_question, ModelCallError(ModelErrorKind.RATE_LIMITED, "429")),
    "a wrong answer": (one_question, "wrong"),
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_trial_is_attempted_again_just_as_the_table_of_causes_says(tmp_path: Path, outcome: str) -> None:
    script, reply = OUTCOMES[outcome]
    bench = Bench(tmp_path, script, models={"m": Model(reply)})
    assert bench.run()
    causes = bench.causes()
    [cause] = set(causes)
    assert cause is not None
    assert len(causes) == (1 if verdict.follows(cause).retry is verdict.Retry.NEVER else 3)
