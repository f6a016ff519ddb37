"""A model's reasoning is never its answer, whatever the server makes of it."""

# ruff: noqa: E501 - one text a line

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.record.messages import answer_facts, text_of, to_openai
from bakeoff.record.reasoning import said, split
from tests.growth import LINEAR, growth

FINAL = "<|start|>assistant<|channel|>final<|message|>"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>Maybe shipped?</think>\n\nCancelled.", "Cancelled."),
        ("<thinking>Maybe shipped?</thinking>Cancelled.", "Cancelled."),
        ("<reasoning>Maybe shipped?</reasoning>Cancelled.", "Cancelled."),
        ("<Think duration='3'>Maybe shipped?</Think>Cancelled.", "Cancelled."),
        ("<seed:think>Maybe shipped?</seed:think>Cancelled.", "Cancelled."),
        ("[THINK]Maybe shipped?[/THINK]Cancelled.", "Cancelled."),
        ("◁think▷Maybe shipped?◁/think▷Cancelled.", "Cancelled."),
        ("<|START_THINKING|>Maybe shipped?<|END_THINKING|><|START_RESPONSE|>Cancelled.<|END_RESPONSE|>", "Cancelled."),
        ("Maybe shipped?</think>Cancelled.", "Cancelled."),
        ("<think>Maybe shipped? I will write <think>", ""),
        ("<think>Maybe shipped?", ""),
        ("Maybe shipped?</think>", ""),
        ('They said "shipped"</think>Cancelled.', "Cancelled."),
        ("<think>one</think>Can<think>two</think>celled.", "Can\ncelled."),
        ("<think>I use <think> tags </think> Maybe shipped. </think> Cancelled.", "Cancelled."),
        ("<think>Maybe shipped?</think>Cancelled.</think>", "Cancelled."),
        ("<reasoning>Maybe shipped?</reasoning><answer>5</answer>", "<answer>5</answer>"),
        (f"<|channel|>analysis<|message|>Maybe shipped?<|end|>{FINAL}Cancelled.<|return|>", "Cancelled."),
        (f"Maybe shipped?<|end|>{FINAL}Cancelled.", "Cancelled."),
        (f"<|channel|>commentary to=functions.f <|constrain|>json<|message|>{{}}<|call|>{FINAL}Cancelled.", "Cancelled."),
        ("<|channel|>analysis<|message|>Maybe shipped?", ""),
        ("analysisThe user asks. Maybe shipped?assistantfinalCancelled.", "Cancelled."),
        ("analysisThe user asks. Maybe shipped?", ""),
    ],
)  # fmt: skip
def test_reasoning_in_the_text_is_not_the_answer(text: str, answer: str) -> None:
    found = split(text)
    assert found.answer == answer
    assert "shipped" not in found.answer
    assert found.reasoning


@pytest.mark.parametrize(
    "text",
    ["It is shipped.", " spaces stay \n", "Write `<think>` first.", "```xml\n<reasoning>x</reasoning>\n```",
     "analysis shows a rise", "I think so", "a < think > b", "Our final channel is mail.", ""],
)  # fmt: skip
def test_an_answer_without_reasoning_is_kept_as_it_is(text: str) -> None:
    assert split(text) == (text, "")


@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "Maybe shipped?"},
        {"type": "thinking", "thinking": [{"type": "text", "text": "Maybe shipped?"}]},
        {"type": "reasoning", "reasoning": "Maybe shipped?"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Maybe shipped?"}]},
        {"type": "reasoning_content", "reasoning_content": {"text": "Maybe shipped?"}},
        {"text": "Maybe shipped?", "thought": True},
    ],
)
def test_reasoning_blocks_are_not_the_answer(block: dict[str, Any]) -> None:
    content = [block, {"type": "text", "text": "Cancelled."}]
    assert said(content) == ("Cancelled.", "Maybe shipped?")
    assert text_of(content) == "Cancelled."


def test_encrypted_reasoning_is_left_out() -> None:
    assert said([{"type": "redacted_thinking", "data": "x"}, "Cancelled."]) == ("Cancelled.", "")


def message(content: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "ai", "data": {"content": content, **fields}}


def test_the_record_keeps_answer_and_reasoning_apart() -> None:
    inside, beside = (
        message("<think>hm</think>Yes."),
        message("Yes.", additional_kwargs={"reasoning_content": "hm"}),
    )
    expected = {"role": "assistant", "content": "Yes.", "reasoning_content": "hm"}
    assert to_openai([inside, beside]) == [expected, expected]
    assert (
        to_openai([{"type": "human", "data": {"content": "<think>mine</think>"}}])[0]["content"]
        == "<think>mine</think>"
    )
    facts = answer_facts([inside])
    assert facts.text == "Yes."


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    ["<think>", "</think>", "<think>a</think>", "```<think>", "<|channel|>", "<|start|>", "<", "<think "],
)
def test_hostile_markup_takes_linear_time(piece: str) -> None:
    assert growth(lambda size: split(piece * size), 6_000) < LINEAR


@given(
    st.lists(
        st.sampled_from(
            [
                "<think>",
                "</think>",
                "[THINK]",
                "[/THINK]",
                "```",
                "a",
                "\n",
                "<|channel|>final<|message|>",
                "<|end|>",
            ]
        )
    )
)
def test_no_part_of_a_text_is_in_both(pieces: list[str]) -> None:
    text = "".join(pieces)
    found = split(text)
    assert len(found.answer) + len(found.reasoning) <= len(text)
