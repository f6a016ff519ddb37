"""Every attempt, however it ended, is a valid ATIF document that hides nothing."""

# ruff: noqa: E501 - one case a line

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from atif import Trajectory

from bakeoff.errors import ModelErrorKind
from bakeoff.record.atif import MAX_ARGUMENTS, trajectory
from bakeoff.record.evidence import Evidence, ModelFault, Verdict
from bakeoff.record.trial import (
    AttemptResult,
    Example,
    Message,
    ModelCall,
    ResourceLimits,
    ToolCall,
    TrialSpec,
    Usage,
)
from tests.growth import LINEAR, growth

NOW = datetime(2026, 7, 22, 14, 15, tzinfo=UTC)
LIMITS = ResourceLimits(cpus=1, memory_bytes=1, pids=1, disk_bytes=1, network="none")
SPEC = TrialSpec(trial_id="steady/refund/1", candidate="steady", example_id="refund", repetition=1, seed=3)
USER = {"role": "user", "content": "Refund A-17"}


def model_call(index: int, **fields: Any) -> ModelCall:
    usage = {"input_tokens": 100, "output_tokens": 9, "cost_usd": 0.01}
    return ModelCall(index=index, **({"started": index * 1.5, "seconds": 0.5, **usage} | fields))


def said(text: str, model_call: int | None = None, calls: Sequence[int] = (), **fields: Any) -> Message:
    openai = {"role": "assistant", "content": text, **fields}
    return Message(openai=openai, model_call=model_call, calls=list(calls))


def got(text: str, answers: int | None) -> Message:
    return Message(openai={"role": "tool", "tool_call_id": "c1", "content": text}, answers=answers)


def tool_call(**fields: Any) -> ToolCall:
    return ToolCall(**{"call_id": "c1", "name": "get_order", "args": {}, **fields})


def document(messages: Sequence[Message], *, example: Any = (USER,), **fields: Any) -> dict[str, Any]:
    result = AttemptResult(
        attempt=2,
        evidence=Evidence(),
        requested=LIMITS,
        effective=LIMITS,
        messages=list(messages),
        started_at=NOW,
        finished_at=NOW,
        **fields,
    )
    made = trajectory(
        SPEC,
        Example(id="refund", inputs={}, messages=list(example)),
        result,
        agent_name="support-desk",
        agent_version="1",
        model="simulated:skill=0.9",
        verdict=Verdict(verdict="failed", cause="model.wrong_answer", because="it is wrong"),
        scores={"final_answer": 0.0},
    )
    Trajectory.model_validate(made)
    return made


def test_a_whole_conversation() -> None:
    made = document(
        [
            Message(openai={"role": "system", "content": "Be kind."}),
            Message(openai=USER),
            said("", 0, [0], reasoning_content="hm"),
            got("shipped", 0),
            said("It has shipped.", 1),
        ],
        model_calls=[model_call(0, cached_tokens=40), model_call(1)],
        tool_calls=[tool_call(args={"order_id": "A-17"}, started=0.6, seconds=0.2, result="shipped")],
        usage=Usage(model_calls=2, input_tokens=200, output_tokens=18, cost_usd=0.02),
    )
    system, user, asks, answers = made["steps"]
    assert (system["source"], user["source"], asks["source"]) == ("system", "user", "agent")
    (call,) = asks["tool_calls"]
    assert (call["arguments"], call["extra"]) == ({"order_id": "A-17"}, {"started": 0.6, "seconds": 0.2})
    assert asks["observation"]["results"] == [{"source_call_id": "c1", "content": "shipped"}]
    assert asks["reasoning_content"] == "hm"
    assert asks["metrics"] == {
        "prompt_tokens": 100, "completion_tokens": 9, "cached_tokens": 40, "cost_usd": 0.01
    }  # fmt: skip
    assert answers["message"] == "It has shipped."
    assert answers["extra"]["model_call"] == 1
    assert made["final_metrics"]["total_prompt_tokens"] == 200
    assert made["extra"]["verdict"]["cause"] == "model.wrong_answer"
    assert (made["extra"]["unmatched_model_calls"], made["extra"]["unmatched_tool_calls"]) == ([], [])


@pytest.mark.parametrize("ids", [("c1", "c1"), ("", "")])
def test_calls_of_one_reply_with_one_id_keep_their_own_results(ids: tuple[str, str]) -> None:
    calls = [tool_call(call_id=ident, started=i) for i, ident in enumerate(ids)]
    made = document(
        [said("", 0, [0, 1]), got("first", 0), got("second", 1)],
        model_calls=[model_call(0)],
        tool_calls=calls,
    )
    (step,) = made["steps"]
    names = [call["tool_call_id"] for call in step["tool_calls"]]
    assert len(set(names)) == 2
    assert [(r["source_call_id"], r["content"]) for r in step["observation"]["results"]] == [
        (names[0], "first"), (names[1], "second")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "extra"),
    [
        ({"args": None, "raw_args": "{oops", "outcome": "malformed"},
         {"malformed": True, "raw_arguments": "{oops", "outcome": "malformed"}),
        ({"outcome": "unknown_tool", "error": "no such tool"}, {"outcome": "unknown_tool", "error": "no such tool"}),
        ({"args": {"x": "y" * MAX_ARGUMENTS}}, {"cut": MAX_ARGUMENTS + 9, "raw_arguments": '{"x": "' + "y" * (MAX_ARGUMENTS - 7)}),
        ({"timed_out": True, "started": 1}, {"timed_out": True, "started": 1}),
    ],
)  # fmt: skip
def test_what_came_of_a_call(call: dict[str, Any], extra: dict[str, Any]) -> None:
    made = document([said("", 0, [0])], tool_calls=[tool_call(**call)])
    assert made["steps"][0]["tool_calls"][0]["extra"] == extra


def test_turns_that_no_model_call_made_are_not_the_models() -> None:
    question = Message(openai={"role": "user", "content": "A-17"})
    made = document(
        [Message(openai=USER), said("Which order?"), question, said("Which order?", 0)],
        model_calls=[model_call(0)],
    )
    brought, own = made["steps"][1], made["steps"][3]
    assert brought["is_copied_context"] is True
    assert "metrics" not in brought
    assert own["metrics"]["prompt_tokens"] == 100


def test_calls_that_are_in_no_message_are_kept() -> None:
    fault = ModelFault(kind=ModelErrorKind.UNAVAILABLE, message="503", status=503, attempts=3)
    failed = ModelCall(index=1, started=2, seconds=1, error=fault)
    own = tool_call(call_id="s1", started=0.3, seconds=0.1, result="found")
    made = document(
        [said("a sub-agent's", 0, [0]).model_copy(update={"conversation": 1}), said("done", 2)],
        model_calls=[model_call(0), failed, model_call(2)],
        tool_calls=[tool_call(), own],
    )
    assert [call["index"] for call in made["extra"]["unmatched_model_calls"]] == [1]
    assert made["extra"]["unmatched_tool_calls"] == [own.model_dump(exclude_none=True)]
    assert [step["extra"].get("conversation") for step in made["steps"]] == [1, None]


def test_a_tool_that_was_killed_shows_what_the_runner_saw() -> None:
    made = document([said("", 0, [0])], tool_calls=[tool_call(started=1, error="Killed")])
    (result,) = made["steps"][0]["observation"]["results"]
    assert result["content"] == "Killed"
    assert result["extra"] == {"seen_by": "runner", "error": "Killed"}


def test_a_result_nobody_asked_for_is_a_step_of_its_own() -> None:
    made = document([Message(openai=USER), got("surprise", None)])
    assert made["steps"][1]["observation"]["results"][0]["extra"] == {"tool_call_id": "c1"}


def test_an_attempt_that_never_began_still_shows_the_task() -> None:
    assert [step["message"] for step in document([])["steps"]] == ["Refund A-17"]


def test_content_that_is_no_text_shows_its_type() -> None:
    blocks = [{"type": "text", "text": "Hi"}, "there", {"type": "image", "url": "a.png"}, {"type": "json"}]
    made = document([], example=[{"role": "user", "content": blocks}, {"role": None, "content": 7}])
    assert [step["message"] for step in made["steps"]] == ["Hi\nthere\n[image: a.png]\n[json]", "7"]


@pytest.mark.slow
def test_many_calls_and_results_take_linear_time() -> None:
    def make(many: int) -> None:
        turns = [said("", i, [i]) for i in range(many)] + [got("ok", i) for i in range(many)]
        calls = [tool_call(call_id=f"c{i}") for i in range(many)]
        made = document(turns, model_calls=[model_call(i) for i in range(many)], tool_calls=calls)
        assert len(made["steps"]) == many

    assert growth(make, 250) < LINEAR
