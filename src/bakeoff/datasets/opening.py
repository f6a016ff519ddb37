"""The messages that a trial starts with, from a row's `inputs`: what harness or provider would reject is refused."""

from __future__ import annotations

import json
from collections import Counter
from itertools import takewhile
from typing import Any

from bakeoff.config.fitting import Loc, Place, found
from bakeoff.record.base import JsonDict

_ROLES = ("user", "assistant", "system", "developer", "tool")
_LANGCHAIN_ROLES = {"human": "user", "ai": "assistant"}
_MESSAGE = 'Write `{"role": "user", "content": "..."}`.'
_CALL = 'Write `{"id": "call_1", "type": "function", "function": {"name": "...", "arguments": "{...}"}}`.'


def opening(inputs: JsonDict, place: Place) -> list[JsonDict]:
    """The conversation that starts the trial, OpenAI-style. Raises InputError for the first bad message."""
    if ("messages" in inputs) == ("question" in inputs):
        both = "messages" in inputs
        problem = "has both `messages` and `question`" if both else "has neither `messages` nor `question`"
        hint = 'Write `{"question": "..."}` or `{"messages": [{"role": "user", "content": "..."}]}`.'
        raise place.error(("inputs",), problem, hint)
    if "question" in inputs:
        question = inputs["question"]
        if not isinstance(question, str) or not question.strip():
            problem = f"expected text that is not empty, found {found(question)}"
            raise place.error(("inputs", "question"), problem, "Write the user's question.")
        return [{"role": "user", "content": question}]
    messages = inputs["messages"]
    loc: Loc = ("inputs", "messages")
    if not isinstance(messages, list) or not messages:
        problem = f"expected a list that is not empty, found {found(messages)}"
        raise place.error(loc, problem, 'Write `[{"role": "user", "content": "..."}]`.')
    called: set[str] = set()  # ids of the calls so far
    for i, message in enumerate(messages):
        _check_message(message, (*loc, i), place, called)
    for i, message in enumerate(messages):
        _check_answered(message, messages[i + 1 :], (*loc, i, "tool_calls"), place)
    return messages


def _check_answered(message: JsonDict, following: list[JsonDict], loc: Loc, place: Place) -> None:
    """Providers reject a conversation in which a call has no result before the next message."""
    results = takewhile(lambda each: each["role"] == "tool", following)
    left = Counter(each["tool_call_id"] for each in results)
    for i, call in enumerate(message.get("tool_calls") or ()):
        left[call["id"]] -= 1
        if left[call["id"]] < 0:
            hint = f'Write `{{"role": "tool", "tool_call_id": {json.dumps(call["id"])}, "content": "..."}}` after it.'
            raise place.error((*loc, i, "id"), "no message with the call's result follows", hint)


def _check_message(message: object, loc: Loc, place: Place, called: set[str]) -> None:
    if not isinstance(message, dict):
        raise place.error(loc, f"expected a message, found {found(message)}", _MESSAGE)
    role, content, calls = message.get("role"), message.get("content"), message.get("tool_calls")
    if role not in _ROLES:
        meant = _LANGCHAIN_ROLES.get(role) if isinstance(role, str) else None
        hint = f"Write `{meant}`." if meant else f"Write one of {', '.join(_ROLES)}."
        raise place.error((*loc, "role"), f"expected a role, found {found(role)}", hint)
    if calls is not None:
        _check_calls(calls, role, (*loc, "tool_calls"), place, called)
    if not isinstance(content, (str, list)) and not (content is None and calls):
        problem = f"expected text or a list of content blocks, found {found(content)}"
        raise place.error((*loc, "content"), problem, "Write the message's text.")
    for i, block in enumerate(content if isinstance(content, list) else ()):
        if not isinstance(block, str) and not (
            isinstance(block, dict) and isinstance(block.get("type"), str)
        ):
            problem = f"expected text or a content block, found {found(block)}"
            raise place.error((*loc, "content", i), problem, 'Write `{"type": "text", "text": "..."}`.')
    if role == "tool" and message.get("tool_call_id") not in called:
        problem = f"expected the id of a call before it, found {found(message.get('tool_call_id'))}"
        hint = f"Ids there are {', '.join(sorted(called))}." if called else "Write the call that it answers."
        raise place.error((*loc, "tool_call_id"), problem, hint)


def _check_calls(calls: Any, role: Any, loc: Loc, place: Place, called: set[str]) -> None:
    if role != "assistant":
        raise place.error(loc, f"is in a message of the role {role}", "Only an assistant calls tools.")
    if not isinstance(calls, list):
        raise place.error(loc, f"expected a list of calls, found {found(calls)}", _CALL)
    for i, call in enumerate(calls):
        if not isinstance(call, dict):
            raise place.error((*loc, i), f"expected a call, found {found(call)}", _CALL)
        if not isinstance(call.get("id"), str):
            raise place.error((*loc, i, "id"), f"expected text, found {found(call.get('id'))}", _CALL)
        called.add(call["id"])
        # OpenAI's form, or LangChain's: a name and arguments, without `function`
        where: Loc = (*loc, i, "function") if "function" in call else (*loc, i)
        function = call.get("function", call)
        if not isinstance(function, dict):
            raise place.error(where, f"expected a function, found {found(function)}", _CALL)
        if not isinstance(function.get("name"), str) or not function["name"]:
            raise place.error(
                (*where, "name"), f"expected a name, found {found(function.get('name'))}", _CALL
            )
        key = "arguments" if "function" in call else "args"
        if not isinstance(_object(function.get(key), text=key == "arguments"), dict):
            kind = "a JSON object as text" if key == "arguments" else "a mapping"
            raise place.error((*where, key), f"expected {kind}, found {found(function.get(key))}", _CALL)


def _object(value: Any, *, text: bool) -> Any:
    if not text or not isinstance(value, str):
        return value
    try:
        return json.loads(value, strict=False)
    except (ValueError, RecursionError):
        return None
