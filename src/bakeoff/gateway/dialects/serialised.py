"""LangChain's serialised messages, as the dialects make them: plain dicts, nothing of LangChain imported."""

from __future__ import annotations

import json
from typing import Any

from bakeoff.record.messages import too_deep

JsonDict = dict[str, Any]
Content = str | list[JsonDict]


def system(content: Content, *, developer: bool = False) -> JsonDict:
    """Instructions. LangChain marks OpenAI's `developer` role in this way."""
    mark = {"additional_kwargs": {"__openai_role__": "developer"}} if developer else {}
    return {"type": "system", "data": {"content": content, **mark}}


def human(content: Content) -> JsonDict:
    """The user's turn."""
    return {"type": "human", "data": {"content": content}}


def tool(content: Content, call_id: str, *, failed: bool = False) -> JsonDict:
    """The result of one call."""
    data = {"content": content, "tool_call_id": call_id, "status": "error" if failed else "success"}
    return {"type": "tool", "data": data}


def ai(content: Content, calls: list[JsonDict]) -> JsonDict:
    """The model's turn. `calls` are made by `call`; those whose arguments do not parse are kept apart."""
    good = [one for one in calls if one["type"] == "tool_call"]
    bad = [one for one in calls if one["type"] == "invalid_tool_call"]
    return {"type": "ai", "data": {"content": content, "tool_calls": good, "invalid_tool_calls": bad}}


def call(ident: str, name: str, arguments: str) -> JsonDict:
    """A tool call from its arguments as text: valid if that is a JSON object."""
    try:
        args = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        args = None
    if isinstance(args, dict) and not too_deep(args):
        return {"type": "tool_call", "id": ident, "name": name, "args": args}
    error = "the arguments are no JSON object"
    return {"type": "invalid_tool_call", "id": ident, "name": name, "args": arguments, "error": error}


def joined(blocks: Content) -> Content:
    """Blocks of nothing but plain text as one text: what every provider takes."""
    if isinstance(blocks, str) or any(set(b) != {"type", "text"} or b["type"] != "text" for b in blocks):
        return blocks
    return "".join(str(block["text"]) for block in blocks)
