"""What the tools did, in numbers."""

from __future__ import annotations

from typing import Any

from bakeoff.record.trial import ToolCall, ToolTotals
from bakeoff.run.record import _tool_totals


def call(outcome: Any, **fields: Any) -> ToolCall:
    return ToolCall(call_id="", name="f", args={}, model_call=0, outcome=outcome, **fields)


def test_rejected_calls_and_calls_of_unknown_tools_are_counted_as_such() -> None:
    calls = [
        call("ran", result="a"),
        call("ran", result="a"),
        call("ran", error="no"),
        call("rejected"),
        call("malformed"),
        call("unknown_tool"),
        call("answer"),
    ]
    assert _tool_totals(calls) == ToolTotals(calls=6, failed=4, repeated=1, rejected=2, unknown=1)
