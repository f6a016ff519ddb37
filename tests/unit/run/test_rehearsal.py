"""The rehearsal: a harness that cannot run is refused before a call is paid for, and nothing else is."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bakeoff.backends.base import SandboxError
from bakeoff.backends.fake import FakeBackend, FakeHarness, FakeSandbox, Script
from bakeoff.errors import InputError
from bakeoff.record.evidence import DockerFacts
from bakeoff.run.admission import sandbox_spec
from bakeoff.run.rehearsal import rehearse
from bakeoff.verdict import WRONG_RESULT
from tests.unit.attempt.test_attempt import after_a_reply
from tests.unit.run.bench import Bench
from tests.unit.run.test_engine import crash_after_reply, crash_at_start


def rehearsed(root: Path, *scripts: Callable[[FakeHarness], Script], model: str = "openai:gpt-4.1") -> Bench:
    bench = Bench(root, *scripts, examples=3)
    [candidate] = bench.config.candidates
    paid = bench.config.model_copy(update={"candidates": [candidate.model_copy(update={"model": model})]})
    spec = sandbox_spec("run", bench.engine.image.id, bench.profiles[0])
    rehearse(replace(bench.task, config=paid), bench.backend, spec, bench.engine.models)
    return bench


def test_a_harness_that_fails_before_it_asks_its_model_is_refused_with_its_exception(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ImportError: no module named shop") as caught:
        rehearsed(tmp_path, crash_at_start)
    assert caught.value.key == "harness.entrypoint"


def test_no_model_is_asked(tmp_path: Path) -> None:
    bench = rehearsed(tmp_path)
    assert len(bench.backend.opened) == 1
    assert bench.models["m"].asked == []


def test_one_example_at_fault_refuses_nothing(tmp_path: Path) -> None:
    from bakeoff.backends.fake import one_question

    rehearsed(tmp_path, crash_at_start, one_question)


def test_what_a_harness_makes_of_the_scripted_reply_refuses_nothing(tmp_path: Path) -> None:
    rehearsed(tmp_path, crash_after_reply)


def test_a_result_of_no_known_form_is_refused(tmp_path: Path) -> None:
    wrong = partial(FakeHarness.fail, error_type=WRONG_RESULT, text="must return messages, not int")
    with pytest.raises(InputError, match="must return messages, not int"):
        rehearsed(tmp_path, after_a_reply(wrong))


def test_where_no_call_costs_anything_nothing_is_rehearsed(tmp_path: Path) -> None:
    assert rehearsed(tmp_path, crash_at_start, model="simulated:skill=1").backend.opened == []


def test_a_box_that_cannot_be_had_refuses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> FakeSandbox:
        raise SandboxError(DockerFacts(error_kind="start", error="no"))

    monkeypatch.setattr(FakeBackend, "open", refuse)
    rehearsed(tmp_path, crash_at_start)
