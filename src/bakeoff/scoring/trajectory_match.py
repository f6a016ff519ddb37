"""trajectory_match: openevals' comparison of the tool calls made with the reference trajectory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from bakeoff.config.evaluators import TrajectoryMatch
from bakeoff.record.trial import Example
from bakeoff.scoring import calls
from bakeoff.scoring.types import Evaluate, JsonDict, Mark, Outputs


def make(options: TrajectoryMatch) -> Evaluate:
    """1 when the calls match, else 0.

    `strict`: exactly the reference's calls in the reference's order. `unordered`: the same, in any order.
    `superset`: every reference call was made, others too perhaps. `subset`: no call but the reference's.

    Only tool calls are compared. openevals' own strict mode would also compare the number and the roles of
    all messages and which calls stand together in one message; a reference that is a list of calls says
    nothing of these. So each call is handed over as a message of its own, in the order in which the model
    asked for it. A call whose arguments do not parse never ran and is left out.
    """

    @cache
    def openevals() -> Callable[..., Any]:  # 1.4 s of imports: on the first trial that is scored, and once
        from openevals.trajectory.match import create_trajectory_match_evaluator

        return create_trajectory_match_evaluator(
            trajectory_match_mode=options.mode,
            tool_args_match_mode=options.args,
            tool_args_match_overrides=dict(options.overrides) or None,
        )

    def evaluate(example: Example, outputs: Outputs) -> Mark:
        from langsmith import tracing_context

        wanted = calls.wanted(example)
        ran = [call for call in calls.made(example, outputs) if call.ran]
        # openevals traces every evaluation to LangSmith; what leaves this machine is the publisher's matter
        with tracing_context(enabled=False):
            result = openevals()(outputs=_messages(ran), reference_outputs=_messages(wanted))
        return Mark(float(result["score"]), f"called {_names(ran)}; wanted {_names(wanted)}")

    return evaluate


def _messages(sequence: Iterable[calls.Call]) -> list[JsonDict]:
    """One assistant message a call, OpenAI-style."""
    return [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": str(i), "type": "function", "function": function}],
        }
        for i, call in enumerate(sequence)
        for function in [{"name": call.name, "arguments": json.dumps(call.args)}]
    ]


def _names(sequence: Iterable[calls.Call]) -> str:
    return ", ".join(call.name for call in sequence) or "nothing"
