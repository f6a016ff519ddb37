"""Every attempt, however it ended, is a valid ATIF document that hides nothing."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from atif import Trajectory

from bakeoff.errors import ModelErrorKind
from bakeoff.record.atif import MAX_ARGUMENTS, trajectory
from bakeoff.record.evidence import Evidence, ModelFault, Verdict
from bakeoff.record.messages import DEEPEST
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

NOW = datetime(2026, 7, 22, 14, 15, tzinfo=UTC)
LIMITS = ResourceLimits(cpus=1, memory_bytes=1, pids=1, disk_bytes=1, network="none")
SPEC = TrialSpec(trial_id="steady/refund/1", candidate="steady", example_id="refund", repetition=1, seed=3)
USER = {"role": "user", "content": "Refund A-17"}


def requested(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def model_call(
    index: int, content: Any = "", tool_calls: Any = (), invalid: Any = (), **fields: Any
) -> ModelCall:
    data = {
        "content": content,
        "tool_calls": [{"id": each, "name": "get_order", "args": {}} for each in tool_calls],
        "invalid_tool_calls": list(invalid),
    }
    defaults = {
        "started": index * 1.5,
        "seconds": 0.5,
        "input_tokens": 100,
        "output_tokens": 9,
        "cost_usd": 0.01,
    }
    return ModelCall(index=index, message={"type": "ai", "data": data}, **(defaults | fields))


def document(
    messages: list[dict[str, Any]], *, example: list[dict[str, Any]] | None = None, **fields: Any
) -> dict[str, Any]:
    result = AttemptResult(
        attempt=2,
        evidence=Evidence(),
        requested=LIMITS,
        effective=LIMITS,
        messages=[Message(openai=message) for message in messages],
        started_at=NOW,
        finished_at=NOW,
        **fields,
    )
    made = trajectory(
        SPEC,
        Example(id="refund", inputs={}, messages=example or [USER]),
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
            {"role": "system", "content": "Be kind."},
            USER,
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [requested("c1", "get_order", '{"order_id": "A-17"}')],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "shipped"},
            {"role": "assistant", "content": "It has shipped."},
        ],
        model_calls=[model_call(0, "", ["c1"], cached_tokens=40), model_call(1, "It has shipped.")],
        tool_calls=[
            ToolCall(call_id="c1", name="get_order", args={}, started=0.6, seconds=0.2, result="shipped")
        ],
        usage=Usage(model_calls=2, input_tokens=200, output_tokens=18, cost_usd=0.02),
    )
    system, user, asks, answers = made["steps"]
    assert (system["source"], user["source"], asks["source"]) == ("system", "user", "agent")
    (call,) = asks["tool_calls"]
    assert call["arguments"] == {"order_id": "A-17"}
    assert call["extra"] == {"started": 0.6, "seconds": 0.2, "timed_out": False}
    assert asks["observation"]["results"] == [{"source_call_id": "c1", "content": "shipped"}]
    assert asks["metrics"] == {
        "prompt_tokens": 100, "completion_tokens": 9, "cached_tokens": 40, "cost_usd": 0.01
    }  # fmt: skip
    assert answers["message"] == "It has shipped."
    assert answers["extra"]["model_call"] == 1
    assert made["final_metrics"]["total_prompt_tokens"] == 200
    assert made["extra"]["verdict"]["cause"] == "model.wrong_answer"
    assert made["extra"]["unmatched_model_calls"] == []


def test_malformed_calls_stay_visible_from_either_record() -> None:
    broken = {"id": "c2", "name": "refund", "args": '{"amount": ', "error": "Expecting value"}
    made = document(
        [
            {"role": "assistant", "content": "", "tool_calls": [requested("c1", "get_order", "{oops")]},
            {"role": "assistant", "content": "again"},
        ],
        example=[USER],
        model_calls=[model_call(0, "", ["c1"]), model_call(1, "again", invalid=[broken])],
    )
    first, second = (step["tool_calls"][0] for step in made["steps"])
    assert first["extra"] == {"malformed": True, "raw_arguments": "{oops"}
    assert second["function_name"] == "refund"
    assert second["extra"] == {"malformed": True, "raw_arguments": '{"amount": '}
    assert second["arguments"] == {}


def test_arguments_that_are_no_object_are_malformed() -> None:
    made = document([{"role": "assistant", "tool_calls": [requested("c", "t", "[1]")]}])
    assert made["steps"][0]["tool_calls"][0]["extra"]["malformed"] is True


@pytest.mark.parametrize("depth", [DEEPEST + 1, 100_000])
def test_arguments_nested_beyond_reason_are_malformed(depth: int) -> None:
    raw = '{"x": ' + "[" * depth + "]" * depth + "}"
    made = document([USER, {"role": "assistant", "content": "", "tool_calls": [requested("c1", "f", raw)]}])
    [call] = made["steps"][-1]["tool_calls"]
    assert (call["arguments"], call["extra"]["raw_arguments"]) == ({}, raw)


def test_turns_the_example_brings_along_are_not_the_models() -> None:
    given = [USER, {"role": "assistant", "content": "Which order?"}, {"role": "user", "content": "A-17"}]
    made = document(
        [*given, {"role": "assistant", "content": "Which order?"}],
        example=given,
        model_calls=[model_call(0, "Which order?")],
    )
    brought, own = made["steps"][1], made["steps"][3]
    assert brought["is_copied_context"] is True
    assert "metrics" not in brought
    assert own["metrics"]["prompt_tokens"] == 100


def test_a_call_that_failed_or_is_in_no_message_is_kept() -> None:
    fault = ModelFault(kind=ModelErrorKind.UNAVAILABLE, message="503", status=503, attempts=3)
    failed = ModelCall(index=1, started=2, seconds=1, error=fault)
    made = document(
        [USER, {"role": "assistant", "content": "done"}],
        model_calls=[model_call(0, "a sub-agent said this"), failed, model_call(2, "done")],
    )
    assert [call["index"] for call in made["extra"]["unmatched_model_calls"]] == [0, 1]
    assert made["steps"][1]["extra"]["model_call"] == 2


def test_a_tool_call_that_is_in_no_message_is_kept() -> None:
    ran = ToolCall(call_id="s1", name="search", args={"q": 1}, started=0.3, seconds=0.1, result="found")
    made = document(
        [USER, {"role": "assistant", "tool_calls": [requested("c1", "delegate", "{}")]}],
        tool_calls=[ran, ToolCall(call_id="c1", name="delegate", args={}, started=0.2)],
    )
    (kept,) = made["extra"]["unmatched_tool_calls"]
    assert kept == ran.model_dump(exclude_none=True)


def test_a_tool_that_was_killed_shows_what_the_runner_saw() -> None:
    made = document(
        [{"role": "assistant", "tool_calls": [requested("c1", "export", "{}")]}],
        tool_calls=[ToolCall(call_id="c1", name="export", args={}, started=1, error="Killed")],
    )
    (result,) = made["steps"][0]["observation"]["results"]
    assert result["content"] == "Killed"
    assert result["extra"] == {"seen_by": "runner", "error": "Killed"}


def test_a_result_nobody_asked_for_is_a_step_of_its_own() -> None:
    made = document([USER, {"role": "tool", "tool_call_id": "c9", "content": "surprise"}])
    assert made["steps"][1]["observation"]["results"][0]["extra"] == {"tool_call_id": "c9"}


def test_an_attempt_that_never_began_still_shows_the_task() -> None:
    made = document([])
    assert [step["message"] for step in made["steps"]] == ["Refund A-17"]


def test_content_blocks_and_reasoning() -> None:
    blocks = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hi"}, {"type": "image_url"}]
    made = document([{"role": "assistant", "content": blocks}], model_calls=[model_call(0, blocks)])
    (step,) = made["steps"]
    assert step["message"] == "Hi\n[image_url]"
    assert step["reasoning_content"] == "hm"
    assert step["llm_call_count"] == 1


def test_hostile_shapes_are_survived() -> None:
    document(
        [
            {
                "role": "assistant",
                "content": 7,
                "tool_calls": ["x", {"function": "y"}, {"id": None, "function": {}}],
            },
            {"role": None, "content": None},
            {"role": "tool"},
        ],
        model_calls=[ModelCall(index=0, started=0, seconds=0, message={"data": "nonsense"})],
    )


def test_huge_arguments_are_cut_and_many_results_take_linear_time() -> None:
    raw = json.dumps({"text": "x" * MAX_ARGUMENTS})
    made = document([USER, {"role": "assistant", "content": "", "tool_calls": [requested("c1", "f", raw)]}])
    [call] = made["steps"][-1]["tool_calls"]
    assert call["extra"] == {"cut": len(raw), "raw_arguments": raw[:MAX_ARGUMENTS]}
    turns: list[dict[str, Any]] = []
    for i in range(5_000):
        turns.append({"role": "assistant", "content": "", "tool_calls": [requested(f"c{i}", "f", "{}")]})
    turns += [{"role": "tool", "tool_call_id": f"c{i}", "content": "ok"} for i in range(5_000)]
    began = time.process_time()
    assert len(document(turns)["steps"]) == 5_000
    assert time.process_time() - began < 3.0
