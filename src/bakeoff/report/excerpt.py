"""How one trial went, in a few lines: the example of a cause in the report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bakeoff.errors import InputError
from bakeoff.record.base import JsonDict
from bakeoff.record.store import RunDirectory

FIRST, LAST = 2, 8  # lines kept of the beginning and of the end
LINE = 240  # characters kept of a line


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Hostile text, one line a message, call or result."""

    trial_id: str
    lines: Sequence[str]


def read(run: RunDirectory, trial_id: str) -> Excerpt:
    """The excerpt of a trial; it says so if the trajectory is missing or damaged."""
    try:
        trajectory = run.trajectory(trial_id)
    except (InputError, OSError) as error:
        return Excerpt(trial_id, [f"(the trajectory cannot be read: {error})"])
    if trajectory is None:
        return Excerpt(trial_id, ["(no trajectory was written: the agent did not get that far)"])
    lines = list(trajectory_lines(trajectory))
    if (omitted := len(lines) - FIRST - LAST) > 1:
        lines[FIRST:-LAST] = [f"… ({omitted} lines)"]
    return Excerpt(trial_id, lines or ["(the trajectory has no step)"])


def trajectory_lines(trajectory: JsonDict) -> Iterator[str]:
    """Each message, tool call and result of an ATIF trajectory as one line, whatever shape it has.

    The system prompt is omitted: the report's harness section shows it.
    """
    for step in _dicts(trajectory.get("steps")):
        if step.get("source") == "system":
            continue
        source = "model" if step.get("source") == "agent" else str(step.get("source"))
        if message := _text(step.get("message")):
            yield f"{source}: {message}"
        for call in _dicts(step.get("tool_calls")):
            (extra,) = _dicts([call.get("extra")]) or ({},)
            arguments = extra.get("raw_arguments") if extra.get("malformed") else call.get("arguments")
            yield f"  → {_text(call.get('function_name'))}({_text(arguments)})"
            if error := _text(extra.get("error")):
                yield f"    error: {error}"
        observation = step.get("observation")
        for result in _dicts(observation.get("results") if isinstance(observation, dict) else None):
            yield f"  ← {_text(result.get('content'))}"


def _dicts(value: Any) -> list[JsonDict]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    """Any value on one line, cut."""
    shown = (
        value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
    )
    folded = " ".join(shown[: LINE * 4].split())
    return folded if len(folded) <= LINE else f"{folded[:LINE]}…"
