"""The built-in evaluators: one row each. A new evaluator is one file, one row here, and its options in
`config.evaluators`.

The checks before a run and the scorer read this table. It imports nothing heavy: an evaluator's
libraries are imported when it first scores.
"""

from __future__ import annotations

from typing import Any

from bakeoff.config.evaluators import (
    FinalAnswer,
    LlmJudge,
    ToolCallPrecision,
    ToolCallRecall,
    TrajectoryMatch,
)
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
        TrajectoryMatch,
        "trajectory",
        trajectory_match.make,
        needs="trajectory",
        functions=trajectory_match.functions,
    ),
    "tool_call_precision": Evaluator(
        ToolCallPrecision, "trajectory", tool_call_precision.make, needs="trajectory"
    ),
    "tool_call_recall": Evaluator(ToolCallRecall, "trajectory", tool_call_recall.make, needs="trajectory"),
    "final_answer": Evaluator(
        FinalAnswer, "answer", final_answer.make, needs="answer", flaws=final_answer.flaws
    ),
    "llm_judge": Evaluator(LlmJudge, "answer", llm_judge.make),
}
