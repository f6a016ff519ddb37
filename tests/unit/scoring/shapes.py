"""Examples, and what an agent made of them, for tests of the evaluators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel

from bakeoff.config.evaluators import LlmJudge
from bakeoff.config.schema import EvaluatorSpec
from bakeoff.record.trial import Example
from bakeoff.scoring import Outputs, Scorer, build
from bakeoff.scoring.types import Call

A, B, C = ("get_order", {"id": "A-17"}), ("get_policy", {}), ("refund", {"id": "A-17", "amount": 5})
WANTED = [{"name": name, "args": args, "result": "ok"} for name, args in (A, B)]


def no_judge(options: LlmJudge) -> BaseChatModel:
    raise AssertionError("no judge was asked for")


def spec(kind: str, threshold: float | None = 1.0, **options: Any) -> EvaluatorSpec:
    return EvaluatorSpec(kind=kind, name=kind, options=options, threshold=threshold)


def scorer(*specs: EvaluatorSpec, root: Path = Path(), judge: Any = no_judge) -> Scorer:
    return build(specs, root=root, judge_factory=judge)


def example(trajectory: Any = None, answer: Any = None) -> Example:
    reference = {"trajectory": trajectory, "answer": answer}
    asked = [{"role": "user", "content": "Where is it?"}]
    outputs = {key: value for key, value in reference.items() if value is not None}
    return Example(id="e", inputs={"question": "Where is it?"}, messages=asked, outputs=outputs)


def called(*calls: tuple[str, Any], answer: str = "", together: bool = False) -> Outputs:
    """What the agent did: one call a turn, or all in one. Arguments None: they did not parse."""
    made = [Call(name, args) for name, args in calls]
    turns = [made] if together else [[call] for call in made]
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Where is it?"}]
    for turn in turns:
        asked = [
            {"id": "", "function": {"name": call.name, "arguments": json.dumps(call.args)}} for call in turn
        ]
        messages.append({"role": "assistant", "content": "Let me see.", "tool_calls": asked})
    return Outputs([*messages, {"role": "assistant", "content": answer}], answer, turns)


def one(kind: str, made: Outputs, reference: Example, root: Path = Path(), **options: Any) -> float:
    return scorer(spec(kind, **options), root=root).score(reference, made).scores[kind]
