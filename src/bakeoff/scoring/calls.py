"""Tool calls, as the reference has them and as the agent made them, in one comparable form."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from bakeoff.record.trial import Example
from bakeoff.scoring.types import JsonDict, Outputs


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call. `args` is None when they do not parse to an object: such a call never ran."""

    name: str
    args: JsonDict | None

    @property
    def ran(self) -> bool:
        """Whether it can have reached a tool at all."""
        return self.args is not None


def wanted(example: Example) -> list[Call]:
    """The reference trajectory, in order.

    Raises:
        ValueError: the example has none, or it is not a list of `{name, args}`. An empty list is a reference:
            it says that no tool is to be called.
    """
    rows = example.outputs.get("trajectory")
    if not isinstance(rows, list):
        raise ValueError(  # noqa: TRY004 - a bad value of the dataset, not of a caller
            "the example's outputs have no `trajectory`; write [] where no tool is to be called"
        )
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("name"), str):
            problem = f"a call of the reference trajectory is not {{name, args}}: {row!r}"
            raise ValueError(problem)  # noqa: TRY004
    return [Call(row["name"], dict(row.get("args") or {})) for row in rows]


def made(example: Example, outputs: Outputs) -> list[Call]:
    """The agent's own tool calls, in order; not those of a conversation that the example began with."""
    given = {call.get("id") for call in _raw(example.messages)} - {None, ""}
    return [_read(call) for call in _raw(outputs["messages"]) if call.get("id") not in given]


def _raw(messages: Iterable[JsonDict]) -> Iterator[JsonDict]:
    for message in messages:
        if message.get("role") == "assistant":
            yield from message.get("tool_calls") or []


def _read(call: JsonDict) -> Call:
    function = call.get("function") or {}
    return Call(str(function.get("name") or ""), _arguments(function.get("arguments")))


def _arguments(text: Any) -> JsonDict | None:
    try:
        parsed = json.loads(text)
    except (TypeError, ValueError, RecursionError):  # not text, not JSON, or nested to blow the stack
        return None
    return parsed if isinstance(parsed, dict) else None


def matches(made: Iterable[Call], wanted: Iterable[Call], *, ignore_args: bool) -> int:
    """How many calls made pair up one to one with calls wanted. A call that never ran matches nothing."""
    open_calls = list(wanted)
    found = 0
    for call in made:
        for i, other in enumerate(open_calls):
            if call.ran and call.name == other.name and (ignore_args or call.args == other.args):
                del open_calls[i]
                found += 1
                break
    return found
