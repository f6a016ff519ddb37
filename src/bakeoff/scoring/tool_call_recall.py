"""tool_call_recall: of the reference's calls, the share that was made."""

from __future__ import annotations

from bakeoff.config.evaluators import ToolCallRecall
from bakeoff.record.trial import Example
from bakeoff.scoring import calls
from bakeoff.scoring.types import Evaluate, Mark, Outputs


def make(options: ToolCallRecall) -> Evaluate:
    """Recall = matched / wanted, each call made matching once. Where none was wanted the score is 1."""

    def evaluate(example: Example, outputs: Outputs) -> Mark:
        made, wanted = calls.made(example, outputs), calls.wanted(example)
        if not wanted:
            return Mark(1.0, "no call wanted")
        found = calls.matches(made, wanted, ignore_args=options.args == "ignore")
        return Mark(found / len(wanted), f"{found} of {len(wanted)} calls wanted were made")

    return evaluate
