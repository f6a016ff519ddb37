"""Messages from a sandbox: hostile until they are checked, then OpenAI-style dicts for scoring and the record."""

from __future__ import annotations

import json
from typing import Any

from bakeoff.record.base import JsonDict
from bakeoff.record.evidence import AnswerFacts
from bakeoff.record.finish import Finish, meaning, word_of
from bakeoff.record.reasoning import is_reasoning, said
from bakeoff_runner.media import without_media

# LangChain's `type` -> OpenAI's `role`. A fixed list: nothing else is ever rebuilt into an object.
ROLES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool", "developer": "developer"}

# Levels of nested lists and objects. Pydantic writes 255, and a record adds levels around a message.
DEEPEST = 100


class MalformedMessage(ValueError):  # noqa: N818 - it becomes protocol evidence
    """The sandbox sent something other than a list of serialised LangChain messages."""


def too_deep(value: Any, levels: int = DEEPEST) -> bool:
    """Whether lists and objects are nested deeper than `levels`."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(
        isinstance(item, dict | list) and (levels <= 1 or too_deep(item, levels - 1)) for item in inner
    )


def shallow(value: Any) -> Any:
    """The same value.

    Raises:
        MalformedMessage: it is nested deeper than `DEEPEST` levels.
    """
    if too_deep(value):
        raise MalformedMessage(f"it is nested deeper than {DEEPEST} levels")
    return value


def checked(messages: Any) -> list[JsonDict]:
    """The same list, each item known to be `{"type": <known>, "data": {"content": str | list, ...}}`.

    Raises:
        MalformedMessage: anything else.
    """
    if not isinstance(messages, list):
        raise MalformedMessage(f"messages are a {type(messages).__name__}, not a list")
    for i, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("data"), dict):
            raise MalformedMessage(f"message {i} is not an object with `type` and `data`")
        if message.get("type") not in ROLES:
            raise MalformedMessage(f"message {i} is of the unknown type {str(message.get('type'))[:40]!r}")
        content = message["data"].get("content")
        if not isinstance(content, str | list):
            raise MalformedMessage(f"message {i} has content of type {type(content).__name__}")
        for key in ("tool_calls", "invalid_tool_calls"):
            calls = message["data"].get(key) or []
            if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
                raise MalformedMessage(f"message {i} has `{key}` that is not a list of objects")
        for key in ("additional_kwargs", "response_metadata"):
            if not isinstance(message["data"].get(key) or {}, dict):
                raise MalformedMessage(f"message {i} has `{key}` that is not an object")
    return messages


def text_of(content: Any) -> str:
    """The text of a message's content: the content itself, or its text blocks joined. Reasoning blocks are left out."""
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    parts = (
        block if isinstance(block, str) else block.get("text")
        for block in blocks
        if isinstance(block, str) or (isinstance(block, dict) and not is_reasoning(block))
    )
    return "".join(part for part in parts if isinstance(part, str))


def to_openai(messages: list[JsonDict]) -> list[JsonDict]:
    """OpenAI-style messages from checked LangChain ones.

    Calls whose arguments do not parse keep their raw text. What a model thought is in `reasoning_content`, not in
    `content`, wherever its server put it. An image or a file is a line of text that says what was there.
    """
    return [_openai(message["type"], message["data"]) for message in messages]


def _openai(kind: str, data: JsonDict) -> JsonDict:
    content = without_media(data["content"])
    out: JsonDict = {"role": ROLES[kind], "content": text_of(content)}
    if kind == "ai":
        out["content"], reasoning = said(content)
        beside = (data.get("additional_kwargs") or {}).get("reasoning_content")
        if reasoning := reasoning or (beside if isinstance(beside, str) else ""):
            out["reasoning_content"] = reasoning
    if kind == "tool":
        out["tool_call_id"] = str(data.get("tool_call_id") or "")
        out["status"] = "error" if data.get("status") == "error" else "success"
        if data.get("name"):
            out["name"] = str(data["name"])
    calls = [
        _call(call, json.dumps(call.get("args") or {}, ensure_ascii=False))
        for call in data.get("tool_calls") or []
    ]
    calls += [_call(call, str(call.get("args") or "")) for call in data.get("invalid_tool_calls") or []]
    if calls:
        out["tool_calls"] = calls
    return out


def _call(call: JsonDict, arguments: str) -> JsonDict:
    function = {"name": str(call.get("name") or ""), "arguments": arguments}
    return {"id": str(call.get("id") or ""), "type": "function", "function": function}


def answer_facts(messages: list[JsonDict], answer: str | None = None) -> AnswerFacts | None:
    """Facts about the last model message; None when the model never spoke.

    Args:
        messages: checked LangChain messages, the whole conversation.
        answer: the harness's structured answer, if it gave one.
    """
    last = next((m["data"] for m in reversed(messages) if m["type"] == "ai"), None)
    if last is None:
        return None
    found = meaning(word_of(last.get("response_metadata") or {}))
    finish = found[1] if found else None
    # After a tool message the model's last words are not the answer: the harness stopped before the next call.
    spoke_last = messages[-1]["type"] == "ai"
    return AnswerFacts(
        text=answer if answer is not None else (said(last["content"]).answer if spoke_last else ""),
        invalid_tool_call=finish is Finish.BAD_CALL
        or (bool(last.get("invalid_tool_calls")) and not last.get("tool_calls")),
        refusal=finish is Finish.REFUSAL or refusal_of(last) is not None,
        truncated=finish is Finish.LENGTH,
    )


def refusal_of(data: JsonDict) -> str | None:
    """The model's refusal in words, of OpenAI's APIs: beside the text, or a content block in its place."""
    given = (data.get("additional_kwargs") or {}).get("refusal")
    blocks = data["content"] if isinstance(data.get("content"), list) else []
    for block in [{"refusal": given}, *blocks]:
        inner = block.get("value", block) if isinstance(block, dict) else None
        if isinstance(inner, dict) and isinstance(refusal := inner.get("refusal"), str) and refusal:
            return refusal
    return None
