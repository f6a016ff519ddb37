"""tool_call_precision: of the calls made, the share that the reference has."""

from __future__ import annotations

from itertools import chain

from bakeoff.config.evaluators import ToolCallPrecision
from bakeoff.record.trial import Example
from bakeoff.record.values import same
from bakeoff.scoring import calls
from bakeoff.scoring.types import Context, Evaluate, Outputs, Score


def make(options: ToolCallPrecision, _: Context) -> Evaluate:
    """Precision = matched / made, each reference call matching once.

    A call whose arguments do not parse, or of a tool that does not exist, was made and matches nothing. If no call was
    made the score is 1 if none was wanted, else 0: an agent that does nothing is not precise.
    """
    agree = calls.agree(same if options.args == "exact" else calls.ignore)

    def evaluate(example: Example, outputs: Outputs) -> Score:
        wanted = calls.wanted(example)
        made = list(chain(*calls.made(outputs, wanted)))
        if not made:
            return Score(0.0 if wanted else 1.0, f"no call made, {len(wanted)} wanted")
        found = calls.pairs(made, wanted, agree)
        return Score(found / len(made), f"{found} of {len(made)} calls made are in the reference")

    return evaluate
