"""The scorer: thresholds, a user's own evaluators, the judge, and that nothing leaves this machine."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableLambda
from pydantic import ValidationError

from bakeoff.config.evaluators import LlmJudge
from bakeoff.config.schema import EvaluatorSpec
from bakeoff.errors import EvaluatorError, InputError, ModelCallError, ModelErrorKind
from bakeoff.record.evidence import AnswerFacts, Evidence
from bakeoff.record.trial import AttemptResult, Message, ResourceLimits
from bakeoff.scoring import Outputs, ScoreSheet, outputs_of
from tests.unit.scoring.shapes import WANTED, A, B, C, called, example, scorer, spec

# --- the sheet --------------------------------------------------------------------------------------


def sheet(calls: list[tuple[str, Any]], answer: str) -> ScoreSheet:
    specs = (
        spec("trajectory_match", mode="superset"),
        spec("tool_call_precision", None),
        spec("final_answer"),
    )
    return scorer(*specs).score(example(WANTED, "shipped"), called(*calls, answer=answer))


def test_a_trial_passes_when_every_threshold_is_reached() -> None:
    passed = sheet([A, B, C], "Shipped.")
    assert passed.passed
    assert passed.scores == {
        "trajectory_match": 1.0,
        "tool_call_precision": pytest.approx(2 / 3),
        "final_answer": 1.0,
    }


def test_what_falls_short_is_named_by_kind() -> None:
    assert sheet([A], "Shipped.").failing_kinds == {"trajectory"}
    assert sheet([A, B], "Lost.").failing_kinds == {"answer"}
    both = sheet([], "")
    assert (both.passed, both.failing) == (False, ("trajectory_match", "final_answer"))
    assert both.failing_kinds == {"trajectory", "answer"}


def test_an_evaluator_without_a_threshold_leaves_out_a_row_without_its_reference() -> None:
    made = scorer(spec("final_answer", None), spec("trajectory_match"))
    assert made.score(example(WANTED), called(A, B)).scores == {"trajectory_match": 1.0}
    with pytest.raises(EvaluatorError, match="final_answer"):
        scorer(spec("final_answer")).score(example(WANTED), called(A, B))


# --- from the attempt to the evaluators -----------------------------------------------------------------


def attempted(answer: AnswerFacts) -> Outputs:
    limits = ResourceLimits(cpus=1, memory_bytes=1, pids=1, disk_bytes=1, network="none")
    now = datetime(2026, 7, 22, tzinfo=UTC)
    messages = [
        Message(openai={"role": "user", "content": "Where?"}),
        Message(openai={"role": "assistant", "content": "a sub-agent's"}, conversation=1, model_call=0),
        Message(openai={"role": "assistant", "content": "Here."}, model_call=1),
    ]
    return outputs_of(
        AttemptResult(
            attempt=1, evidence=Evidence(answer=answer), requested=limits, effective=limits, messages=messages,
            started_at=now, finished_at=now,
        )
    )  # fmt: skip


def test_evaluators_see_the_conversation_that_gave_the_answer() -> None:
    outputs = attempted(AnswerFacts(text="Here."))
    assert [message["content"] for message in outputs.messages] == ["Where?", "Here."]
    assert (outputs.answer, outputs.structured) == ("Here.", None)


def test_a_structured_answer_is_a_value_and_a_text() -> None:
    outputs = attempted(AnswerFacts(text='{"city": "K\\u00f6ln", "paid": true}', source="structured"))
    assert outputs.structured == {"city": "Köln", "paid": True}
    assert outputs.answer == '{"city": "Köln", "paid": true}'
    assert attempted(AnswerFacts(text="shipped", source="structured")).structured == "shipped"


# --- a user's own -----------------------------------------------------------------------------------

OWN = """
import sys

def polite(*, inputs, outputs, reference_outputs, word="please"):
    return {"key": "polite", "score": word in outputs["answer"], "comment": inputs["question"]}

def vandal(*, inputs, outputs, reference_outputs):
    outputs["messages"].clear(); reference_outputs.clear()
    return 1

def gives(*, inputs, outputs, reference_outputs, what):
    return {"nan": float("nan"), "big": 1.5, "negative": -0.1, "none": None, "text": "1", "inf": float("inf"),
            "dict": {}, "list": [1]}[what]

def raises(*, inputs, outputs, reference_outputs):
    raise KeyError("order")

def structured(*, inputs, outputs, reference_outputs):
    return outputs["structured_response"] == {"paid": True} and outputs["answer"] == "shipped"

def leaves(**_):
    sys.exit(0)

async def slow(**_):
    return 1

number = 1
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "own_checks.py").write_text(OWN)
    (tmp_path / "broken_checks.py").write_text("import a_module_that_is_not_there")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("own_checks", None)


def use(name: str, *, module: str = "own_checks", threshold: float = 1.0, **options: Any) -> EvaluatorSpec:
    return EvaluatorSpec(kind="use", name=name, use=f"{module}:{name}", options=options, threshold=threshold)


def test_a_users_own_evaluator(own: Path) -> None:
    got = scorer(use("polite", word="thanks"), root=own).score(example(), called(answer="Many thanks."))
    assert got.scores == {"polite": 1.0}
    assert got.comments == {"polite": "Where is it?"}
    assert got.passed


def test_it_gets_the_structured_answer_where_there_is_one(own: Path) -> None:
    outputs = Outputs([], "shipped", [], {"paid": True})
    assert scorer(use("structured"), root=own).score(example(), outputs).passed
    with pytest.raises(EvaluatorError, match="structured_response"):
        scorer(use("structured"), root=own).score(example(), called(answer="shipped"))


def test_it_cannot_change_what_the_next_one_sees(own: Path) -> None:
    both = scorer(use("vandal"), spec("trajectory_match", mode="strict"), root=own)
    assert both.score(example(WANTED), called(A, B)).passed


@pytest.mark.parametrize("what", ["nan", "big", "negative", "none", "text", "inf", "dict", "list"])
def test_what_is_no_score_is_an_error_and_never_zero(own: Path, what: str) -> None:
    with pytest.raises(EvaluatorError, match="gives"):
        scorer(use("gives", what=what), root=own).score(example(), called())


@pytest.mark.parametrize(("name", "says"), [("raises", "KeyError"), ("leaves", "SystemExit")])
def test_one_that_raises_is_an_error_and_never_zero(own: Path, name: str, says: str) -> None:
    with pytest.raises(EvaluatorError, match=says):
        scorer(use(name), root=own).score(example(), called())


@pytest.mark.parametrize(
    "bad",
    [
        use("absent"),
        use("number"),
        use("slow"),
        use("polite", unknown_option=1),
        use("polite", module="not_there"),
        use("x", module="broken_checks"),
    ],
)
def test_one_that_cannot_work_is_found_before_anything_starts(own: Path, bad: EvaluatorSpec) -> None:
    with pytest.raises(InputError) as caught:
        scorer(bad, root=own)
    assert caught.value.key == bad.use
    assert caught.value.hint


# --- llm_judge --------------------------------------------------------------------------------------


class Judge(BaseChatModel):
    """Answers the structured question with what it was given, and keeps what it was asked."""

    reply: Any = None
    asked: list[Any] = []  # noqa: RUF012 - a pydantic field

    @property
    def _llm_type(self) -> str:
        return "judge"

    def _generate(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("the judge is asked for structured output")

    def with_structured_output(self, schema: Any, **_: Any) -> Any:
        def answer(messages: Any) -> Any:
            self.asked.append((schema, messages))
            if isinstance(self.reply, Exception):
                raise self.reply
            return self.reply

        return RunnableLambda(answer)


def judged(judge: Judge, answer: str = "Shipped.", **options: Any) -> ScoreSheet:
    made = scorer(spec("llm_judge", model="test:judge", **options), judge=lambda _: judge)
    return made.score(example(answer="shipped"), called(A, answer=answer))


def test_the_judges_word_is_the_score() -> None:
    judge = Judge(reply={"score": True, "reasoning": "It says so."})
    got = judged(judge, answer="{braces} stay")
    assert got.scores == {"llm_judge": 1.0}
    assert got.comments == {"llm_judge": "It says so."}
    assert "{braces} stay" in judge.asked[0][1][0]["content"]
    assert judged(Judge(reply={"score": 0.25, "reasoning": ""}), continuous=True).failing_kinds == {"answer"}


def test_a_prompt_may_ask_for_the_conversation() -> None:
    judge = Judge(reply={"score": True, "reasoning": ""})
    judged(judge, prompt="{inputs} | {messages} | {reference_outputs}")
    assert "get_order" in judge.asked[0][1][0]["content"]


@pytest.mark.parametrize("reply", [None, {}, {"score": None, "reasoning": ""}, {"score": 7, "reasoning": ""}])
def test_a_judge_that_gives_no_score_is_an_error(reply: Any) -> None:
    with pytest.raises(EvaluatorError, match="llm_judge"):
        judged(Judge(reply=reply), continuous=True)


def test_a_judge_that_cannot_be_reached_is_the_providers_error() -> None:
    with pytest.raises(ModelCallError):
        judged(Judge(reply=ModelCallError(ModelErrorKind.RATE_LIMITED, "slow down")))


@pytest.mark.parametrize("prompt", ["{output}", "{", "{0}", "{outputs.secret}"])
def test_a_prompt_that_cannot_be_filled_is_no_option(prompt: str) -> None:
    with pytest.raises(ValidationError, match="prompt"):
        LlmJudge(model="test:judge", prompt=prompt)


# --- what scoring must not do -----------------------------------------------------------------------


def test_nothing_is_sent_to_langsmith_even_where_tracing_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from langsmith import Client, utils

    sent: list[Any] = []
    monkeypatch.setattr(Client, "create_run", lambda *args, **kwargs: sent.append(args))
    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    monkeypatch.setenv("LANGSMITH_API_KEY", "x")
    monkeypatch.setenv("LANGSMITH_ENDPOINT", "http://127.0.0.1:9")
    utils.get_env_var.cache_clear()
    try:
        assert utils.tracing_is_enabled()
        judged(Judge(reply={"score": True, "reasoning": ""}))
    finally:
        utils.get_env_var.cache_clear()
    assert sent == []


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    code = (
        "import sys; from pathlib import Path; from bakeoff.config.schema import EvaluatorSpec;"
        "import bakeoff.scoring as s;"
        "s.build([EvaluatorSpec(kind='trajectory_match', name='t')], root=Path('.'), judge_factory=None);"
        "print(sys.modules.keys() & {'openevals', 'langsmith', 'langchain_core', 'numpy', 'regex'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
