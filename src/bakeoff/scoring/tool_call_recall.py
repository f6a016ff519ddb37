"""tool_call_recall: of the reference's calls, the share that was made."""

from __future__ import annotations

from itertools import chain

from bakeoff.config.evaluators import ToolCallRecall
from bakeoff.record.trial import Example
from bakeoff.record.values import same
from bakeoff.scoring import calls
from bakeoff.scoring.types import Context, Evaluate, Outputs, Score


def make(options: ToolCallRecall, _: Context) -> Evaluate:
    """Recall = matched / wanted, each call made matching once. If none was wanted the score is 1."""
    agree = calls.agree(same if options.args == "exact" else calls.ignore)

    def evaluate(example: Example, outputs: Outputs) -> Score:
        wanted = calls.wanted(example)
        if not wanted:
            return Score(1.0, "no call wanted")
        found = calls.pairs(list(chain(*calls.made(outputs, wanted))), wanted, agree)
        return Score(found / len(wanted), f"{found} of {len(wanted)} calls wanted were made")

    return evaluate
