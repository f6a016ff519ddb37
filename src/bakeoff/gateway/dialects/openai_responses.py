"""OpenAI's Responses (POST /v1/responses), as OpenAI's API reference has it.

Nothing is kept between requests: a program sends its whole input each time, not `previous_response_id`. Reasoning
items do not cross, in either direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

from bakeoff.gateway.dialects import openai_chat, serialised
from bakeoff.gateway.dialects.answer import Answer, Head
from bakeoff.gateway.dialects.failures import Failure
from bakeoff.gateway.dialects.http import Refused, content, event, objects, text
from bakeoff.gateway.types import JsonDict, ModelRequest
from bakeoff.record.finish import Finish
from bakeoff.record.messages import text_of

# Taken apart below, or about the program's account and connection. Everything else is the harness's parameter.
_OWN = frozenset(
    {
        "input",
        "instructions",
        "model",
        "tools",
        "tool_choice",
        "stream",
        "max_output_tokens",
        "reasoning",
        "text",
    }
)
_ACCOUNT = frozenset(
    {"background", "include", "metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier"}
    | {"service_tier", "store", "stream_options", "truncation", "user"}
)
_TEXT: JsonDict = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
_INCOMPLETE = {Finish.LENGTH: "max_output_tokens", Finish.REFUSAL: "content_filter"}
_STATE = ("previous_response_id", "conversation", "prompt")


def request(body: Mapping[str, Any]) -> ModelRequest:
    """The call that this body asks for. Raises Refused."""
    for key in _STATE:
        if body.get(key) is not None:
            raise Refused(f"`{key}` is kept by nobody here: send the whole input with each request")
    messages: list[JsonDict] = []
    if body.get("instructions"):
        messages.append(serialised.system(text(body["instructions"], "instructions")))
    given = body.get("input")
    if isinstance(given, str):
        messages.append(serialised.human(given))
    else:
        messages += _items(objects(given, "input"))
    if not any(message["type"] != "system" for message in messages):
        raise Refused("there is no `input`")
    bind, params = openai_chat.bound(_params(body))
    return ModelRequest(
        messages=messages,
        tools=[_tool(one) for one in objects(body.get("tools"), "tools")] or None,
        tool_choice=openai_chat.choice(body.get("tool_choice")),
        params=params,
        stream=body.get("stream") is True,
        bind=bind,
    )


def _params(body: Mapping[str, Any]) -> JsonDict:
    """The parameters by the names that they have in Chat Completions, which all of LangChain's OpenAI-likes know."""
    known = _OWN | _ACCOUNT | set(_STATE)
    params = {k: v for k, v in body.items() if k not in known and v is not None}
    if body.get("max_output_tokens") is not None:
        params["max_tokens"] = body["max_output_tokens"]
    reasoning, written = body.get("reasoning") or {}, body.get("text") or {}
    if not isinstance(reasoning, dict) or not isinstance(written, dict):
        raise Refused("`reasoning` or `text` is no object")
    if reasoning.get("effort"):
        params["reasoning_effort"] = reasoning["effort"]
    if written.get("verbosity"):
        params["verbosity"] = written["verbosity"]
    wanted = written.get("format")
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        schema = {key: value for key, value in wanted.items() if key != "type"}
        params["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif isinstance(wanted, dict) and wanted.get("type") != "text":
        params["response_format"] = wanted
    return params


def _tool(tool: JsonDict) -> JsonDict:
    """A function as Chat Completions has it; one of the provider's own as it is."""
    if tool.get("type") != "function" or "function" in tool:
        return tool
    return {"type": "function", "function": {k: v for k, v in tool.items() if k != "type" and v is not None}}


def _items(items: list[JsonDict]) -> list[JsonDict]:
    """Items as messages: calls that follow each other, and the text before them, are one turn of the model."""
    messages: list[JsonDict] = []
    for i, item in enumerate(items):
        where = f"input[{i}]"
        match item.get("type", "message"):
            case "message":
                messages.append(_message(item, where))
            case "function_call":
                call = _call(item, where)
                turn = messages[-1]["data"] if messages and messages[-1]["type"] == "ai" else None
                if turn is None:
                    messages.append(serialised.ai("", [call]))
                else:
                    turn["tool_calls" if call["type"] == "tool_call" else "invalid_tool_calls"].append(call)
            case "function_call_output":
                said = _content(item.get("output"), f"{where}.output")
                messages.append(serialised.tool(said, text(item.get("call_id"), f"{where}.call_id")))
            case "reasoning":
                continue
            case kind:
                raise Refused(f"{where}.type {str(kind)[:40]!r} is not known")
    return messages


def _message(item: JsonDict, where: str) -> JsonDict:
    said = _content(item.get("content"), f"{where}.content")
    match item.get("role"):
        case "system" | "developer" as role:
            return serialised.system(said, developer=role == "developer")
        case "user":
            return serialised.human(said)
        case "assistant":
            return serialised.ai(said, [])
        case role:
            raise Refused(f"{where}.role {str(role)[:40]!r} is not known")


def _content(value: Any, where: str) -> str | list[JsonDict]:
    blocks = content(value, where)
    return blocks if isinstance(blocks, str) else serialised.joined([_block(one) for one in blocks])


def _block(block: JsonDict) -> JsonDict:
    """A content part by the name that it has in Chat Completions."""
    match block.get("type"):
        case "input_text" | "output_text":
            return {"type": "text", "text": str(block.get("text", ""))}
        case "refusal":
            return {"type": "text", "text": str(block.get("refusal", ""))}
        case "input_image" if isinstance(block.get("image_url"), str):
            detail = {"detail": block["detail"]} if block.get("detail") else {}
            return {"type": "image_url", "image_url": {"url": block["image_url"], **detail}}
        case "input_file":
            return {"type": "file", "file": {k: v for k, v in block.items() if k != "type"}}
        case _:
            return block


def _call(item: JsonDict, where: str) -> JsonDict:
    name = text(item.get("name"), f"{where}.name")
    arguments = text(item.get("arguments"), f"{where}.arguments")
    return serialised.call(text(item.get("call_id"), f"{where}.call_id"), name, arguments)


def reply(answer: Answer) -> JsonDict:
    """A `response`, ended."""
    reason = _INCOMPLETE.get(answer.finish) if answer.refusal is None else None
    status = "incomplete" if reason else "completed"
    usage = {
        "input_tokens": answer.input_tokens,
        "input_tokens_details": {"cached_tokens": answer.cached_tokens},
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }
    details = {"reason": reason} if reason else None
    ended = {"status": status, "incomplete_details": details, "output": _output(answer), "usage": usage}
    return {**_head(answer.head), **ended}


class Stream:
    """The same as events: the text in as many deltas as it comes, each call in one."""

    def __init__(self, head: Head, body: Mapping[str, Any]) -> None:
        self._head = head
        self._numbers = count()
        self._sent = 0  # characters of the text that have gone out
        self.begun = False

    def piece(self, content: Any) -> str:
        """The text of a chunk."""
        said = text_of(content)
        if not said:
            return ""
        events = [] if self._sent else [*self._start(), self._added(), *_opening(self._place, _TEXT)]
        self._sent += len(said)
        return self._write([*events, *_delta(self._place, {**_TEXT, "text": said})])

    def end(self, answer: Answer) -> str:
        """What has not gone out yet, item by item, and the whole response."""
        written = self.piece(answer.text[self._sent :])
        ended = reply(answer)
        events = self._start()
        for i, item in enumerate(ended["output"]):
            if item["type"] == "function_call":
                events += _call_events(i, item)
                continue
            events += [] if self._sent else [self._added()]
            for j, part in enumerate(item["content"]):
                place = {**self._place, "content_index": j}
                if part["type"] == "refusal":
                    events += [*_opening(place, part), *_delta(place, part)]
                events += _closing(place, part)
            events.append({"type": "response.output_item.done", "output_index": i, "item": item})
        events.append({"type": f"response.{ended['status']}", "response": ended})
        return written + self._write(events)

    def broken(self, failure: Failure, message: str) -> str:
        """An error amid the stream, for those who look for its type and for those who look for `error`."""
        said = {"type": "error", "code": failure.code, "message": message, "param": None}
        return self._write([{**said, **error(failure, message)}])

    def _start(self) -> list[JsonDict]:
        if self.begun:
            return []
        self.begun = True
        empty: JsonDict = {"status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
        response = {**_head(self._head), **empty}
        return [{"type": f"response.{word}", "response": response} for word in ("created", "in_progress")]

    def _added(self) -> JsonDict:
        item = {**_said(self._head, []), "status": "in_progress"}
        return {"type": "response.output_item.added", "output_index": 0, "item": item}

    @property
    def _place(self) -> JsonDict:
        return {"output_index": 0, "item_id": f"msg_{self._head.id}", "content_index": 0}

    def _write(self, events: list[JsonDict]) -> str:
        return "".join(event({**one, "sequence_number": next(self._numbers)}, one["type"]) for one in events)


def error(failure: Failure, message: str) -> JsonDict:
    """OpenAI's error object, the same in all its interfaces."""
    said: JsonDict = openai_chat.error(failure, message)
    return said


def _head(head: Head) -> JsonDict:
    return {
        "id": f"resp_{head.id}",
        "object": "response",
        "created_at": head.created,
        "model": head.model,
        "error": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
    }


def _output(answer: Answer) -> list[JsonDict]:
    parts: list[JsonDict] = []
    if answer.text:
        parts.append({**_TEXT, "text": answer.text})
    if answer.refusal and answer.refusal != answer.text:
        parts.append({"type": "refusal", "refusal": answer.refusal})
    items = [_said(answer.head, parts)] if parts or not answer.calls else []
    for i, call in enumerate(answer.calls):
        made = {"type": "function_call", "id": f"fc_{answer.head.id}_{i}", "call_id": call.id}
        items.append({**made, "status": "completed", "name": call.name, "arguments": call.arguments})
    return items


def _said(head: Head, parts: list[JsonDict]) -> JsonDict:
    item = {"type": "message", "id": f"msg_{head.id}", "role": "assistant", "status": "completed"}
    return {**item, "content": parts}


def _call_events(index: int, item: JsonDict) -> list[JsonDict]:
    name, place = "response.function_call_arguments", {"output_index": index, "item_id": item["id"]}
    begun, written = {**item, "status": "in_progress", "arguments": ""}, item["arguments"]
    return [
        {"type": "response.output_item.added", "output_index": index, "item": begun},
        {"type": f"{name}.delta", **place, "delta": written},
        {"type": f"{name}.done", **place, "arguments": written, "name": item["name"]},
        {"type": "response.output_item.done", "output_index": index, "item": item},
    ]


# The events of one content part, of text or of a refusal: it opens, grows, and closes.


def _opening(place: JsonDict, part: JsonDict) -> list[JsonDict]:
    return [{"type": "response.content_part.added", **place, "part": {**part, _key(part): ""}}]


def _delta(place: JsonDict, part: JsonDict) -> list[JsonDict]:
    return [{"type": f"response.{part['type']}.delta", **place, "delta": part[_key(part)], "logprobs": []}]


def _closing(place: JsonDict, part: JsonDict) -> list[JsonDict]:
    done = {"type": f"response.{part['type']}.done", **place, _key(part): part[_key(part)], "logprobs": []}
    return [done, {"type": "response.content_part.done", **place, "part": part}]


def _key(part: JsonDict) -> str:
    return "refusal" if part["type"] == "refusal" else "text"
