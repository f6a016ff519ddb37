"""tool_call_precision: of the calls made, the share that the reference has."""

from __future__ import annotations

from bakeoff.config.evaluators import ToolCallPrecision
from bakeoff.record.trial import Example
from bakeoff.scoring import calls
from bakeoff.scoring.types import Evaluate, Mark, Outputs


def make(options: ToolCallPrecision) -> Evaluate:
    """Precision = matched / made, each reference call matching once.

    A call whose arguments do not parse was made and matches nothing. Where none was made the score is 1 if
    none was wanted, else 0: an agent that does nothing is not precise.
    """

    def evaluate(example: Example, outputs: Outputs) -> Mark:
        made, wanted = calls.made(example, outputs), calls.wanted(example)
        if not made:
            return Mark(0.0 if wanted else 1.0, f"no call made, {len(wanted)} wanted")
        found = calls.matches(made, wanted, ignore_args=options.args == "ignore")
        return Mark(found / len(made), f"{found} of {len(made)} calls made are in the reference")

    return evaluate
