"""The built-in evaluators: one row each. A new evaluator is one file and one row here.

The configuration, the checks before a run and the scorer read this table. It imports nothing heavy: an evaluator's
libraries are imported when it first scores.
"""

from __future__ import annotations

from typing import Any

from bakeoff.scoring import (
    final_answer,
    llm_judge,
    tool_call_precision,
    tool_call_recall,
    trajectory_match,
)
from bakeoff.scoring.types import Evaluator

EVALUATORS: dict[str, Evaluator[Any]] = {
    "trajectory_match": Evaluator(
        trajectory_match.TrajectoryMatch,
        "trajectory",
        trajectory_match.make,
        needs="trajectory",
        functions=trajectory_match.functions,
    ),
    "tool_call_precision": Evaluator(
        tool_call_precision.ToolCallPrecision, "trajectory", tool_call_precision.make, needs="trajectory"
    ),
    "tool_call_recall": Evaluator(
        tool_call_recall.ToolCallRecall, "trajectory", tool_call_recall.make, needs="trajectory"
    ),
    "final_answer": Evaluator(
        final_answer.FinalAnswer, "answer", final_answer.make, needs="answer", flaws=final_answer.flaws
    ),
    "llm_judge": Evaluator(llm_judge.LlmJudge, "answer", llm_judge.make),
}
