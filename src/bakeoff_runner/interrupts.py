"""Notices LangGraph's interrupts where a harness's result does not show them: a wrapper may return messages alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any


def watch(latest: list[Any]) -> None:
    """For the rest of this process, keep in this list what the latest interrupt waits for."""
    errors = sys.modules.get("langgraph.errors")
    if errors is not None:
        raised = errors.GraphInterrupt.__init__

        def noted(self: Any, interrupts: Sequence[Any] = ()) -> None:
            latest[:] = interrupts
            raised(self, interrupts)

        errors.GraphInterrupt.__init__ = noted


def unanswered(messages: Sequence[Any]) -> bool:
    """Whether the conversation stops at a question, or at a call of a tool that has no result."""
    results: set[Any] = set()
    for message in reversed(messages):
        if message.type != "tool":
            calls = getattr(message, "tool_calls", ())
            return message.type == "human" or any(call["id"] not in results for call in calls)
        results.add(message.tool_call_id)
    return False
