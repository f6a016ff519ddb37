"""Anthropic's Messages (POST /v1/messages), as Anthropic's API reference has it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bakeoff.gateway.dialects import serialised
from bakeoff.gateway.dialects.answer import Answer, Call, Head
from bakeoff.gateway.dialects.failures import Failure
from bakeoff.gateway.dialects.http import Refused, content, event, objects, text, texts
from bakeoff.gateway.types import JsonDict, ModelRequest
from bakeoff.record.finish import Finish

# Taken apart below, or about the program's account. Everything else is the harness's parameter.
_OWN = frozenset({"messages", "model", "system", "tools", "tool_choice", "stop_sequences", "stream"})
_ACCOUNT = frozenset({"metadata", "service_tier"})
_STOP = {
    Finish.STOP: "end_turn",
    Finish.CALLS: "tool_use",
    Finish.LENGTH: "max_tokens",
    Finish.REFUSAL: "refusal",
}
_PLAIN_TOOL = frozenset({"name", "description", "input_schema", "type"})


def request(body: Mapping[str, Any]) -> ModelRequest:
    """The call that this body asks for. Raises Refused."""
    messages: list[JsonDict] = []
    if body.get("system"):
        messages.append(serialised.system(serialised.joined(content(body["system"], "system"))))
    given = objects(body.get("messages"), "messages")
    if not given:
        raise Refused("there are no `messages`")
    for i, message in enumerate(given):
        messages += _messages(message, f"messages[{i}]")
    return ModelRequest(
        messages=messages,
        tools=[_tool(one) for one in objects(body.get("tools"), "tools")] or None,
        tool_choice=_choice(body.get("tool_choice")),
        stop=texts(body.get("stop_sequences"), "stop_sequences"),
        params={k: v for k, v in body.items() if k not in _OWN | _ACCOUNT and v is not None},
        stream=body.get("stream") is True,
        bind=_bind(body.get("tool_choice")),
    )


def _bind(choice: Any) -> JsonDict:
    """LangChain's word for `disable_parallel_tool_use`, which Anthropic keeps in the tool choice."""
    alone = isinstance(choice, dict) and choice.get("disable_parallel_tool_use") is True
    return {"parallel_tool_calls": False} if alone else {}


def _tool(tool: JsonDict) -> JsonDict:
    """A plain tool as OpenAI has it; one of the provider's own, or with a cache hint, as it is."""
    if not {"name", "input_schema"} <= set(tool) <= _PLAIN_TOOL:
        return tool
    function = {
        "name": tool["name"],
        "description": tool.get("description") or "",
        "parameters": tool["input_schema"],
    }
    return {"type": "function", "function": function}


def _choice(given: Any) -> Any:
    """LangChain's words: `{"type": "tool", "name": x}` is x."""
    if not isinstance(given, dict):
        return given
    return given.get("name") if given.get("type") == "tool" else given.get("type")


def _messages(message: JsonDict, where: str) -> Iterator[JsonDict]:
    """One message is one of ours, but for tool results: each is a message of its own, before the rest."""
    blocks = content(message.get("content"), f"{where}.content")
    match message.get("role"):
        case "user":
            yield from _user(blocks, where)
        case "assistant":
            uses = [] if isinstance(blocks, str) else [b for b in blocks if b.get("type") == "tool_use"]
            calls = [_call(use, where) for use in uses]
            yield serialised.ai(serialised.joined(blocks), calls)
        case "system":
            yield serialised.system(serialised.joined(blocks))
        case role:
            raise Refused(f"{where}.role {str(role)[:40]!r} is not known")


def _user(blocks: str | list[JsonDict], where: str) -> Iterator[JsonDict]:
    if isinstance(blocks, str):
        yield serialised.human(blocks)
        return
    results = [block for block in blocks if block.get("type") == "tool_result"]
    for result in results:
        said = serialised.joined(content(result.get("content"), f"{where}: the content of a tool_result"))
        ident = text(result.get("tool_use_id"), f"{where}: the tool_use_id of a tool_result")
        yield serialised.tool(said, ident, failed=result.get("is_error") is True)
    rest = [block for block in blocks if block.get("type") != "tool_result"]
    if rest or not results:
        yield serialised.human(serialised.joined(rest))


def _call(use: JsonDict, where: str) -> JsonDict:
    ident = text(use.get("id"), f"{where}: the id of a tool_use")
    name = text(use.get("name"), f"{where}: the name of a tool_use")
    return serialised.call(ident, name, json.dumps(use.get("input") or {}, ensure_ascii=False))


def reply(answer: Answer) -> JsonDict:
    """A `message`."""
    return {
        **_head(answer.head),
        "content": _blocks(answer),
        "stop_reason": _STOP[answer.finish],
        "usage": _usage(answer),
    }


class Stream:
    """The same as events: one block after the other, thinking and text in as many deltas as they come."""

    def __init__(self, head: Head, body: Mapping[str, Any]) -> None:
        self._head = head
        self._index = -1  # of the block that is open
        self._open: str | None = None  # its type
        self._sent = {"text": 0, "thinking": 0}  # characters that have gone out
        self.begun = False

    def piece(self, content: Any) -> str:
        """The text and the thinking of a chunk."""
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        return "".join(self._part(block) for block in blocks if isinstance(block, dict))

    def end(self, answer: Answer) -> str:
        """What has not gone out yet, block by block, and the usage."""
        events = [self._start()]
        if not any(self._sent.values()):
            events += [self._part(block) for block in answer.thinking]
        events.append(self._part({"type": "text", "text": answer.text[self._sent["text"] :]}))
        events.append(self._close())
        for call in answer.calls:
            use = _use(call)
            written = json.dumps(use["input"], ensure_ascii=False)
            events.append(self._begin({**use, "input": {}}))
            events.append(self._delta({"type": "input_json_delta", "partial_json": written}))
            events.append(self._close())
        end = {"stop_reason": _STOP[answer.finish], "stop_sequence": None}
        events.append(_event({"type": "message_delta", "delta": end, "usage": _usage(answer)}))
        return "".join(events) + _event({"type": "message_stop"})

    def broken(self, failure: Failure, message: str) -> str:
        """An error amid the stream."""
        return _event(error(failure, message))

    def _part(self, block: JsonDict) -> str:
        match block.get("type"):
            case "text" | "thinking" as kind:
                said = str(block.get(kind) or "")
                self._sent[kind] += len(said)
                deltas = [{"type": f"{kind}_delta", kind: said}] if said else []
                if block.get("signature"):
                    deltas.append({"type": "signature_delta", "signature": block["signature"]})
                if not deltas:
                    return ""
                empty = {"type": kind, kind: "", **({"signature": ""} if kind == "thinking" else {})}
                opening = "" if self._open == kind else self._begin(empty)
                return opening + "".join(self._delta(delta) for delta in deltas)
            case "redacted_thinking":
                return self._begin({"type": "redacted_thinking", "data": block.get("data")}) + self._close()
            case _:
                return ""  # a piece of a tool call: that goes out whole

    def _start(self) -> str:
        if self.begun:
            return ""
        self.begun = True
        usage = {"input_tokens": 0, "output_tokens": 0}  # the end says how many
        message = {**_head(self._head), "content": [], "stop_reason": None, "usage": usage}
        return _event({"type": "message_start", "message": message})

    def _begin(self, block: JsonDict) -> str:
        before = self._start() + self._close()
        self._index += 1
        self._open = block["type"]
        return before + _event({"type": "content_block_start", "index": self._index, "content_block": block})

    def _delta(self, delta: JsonDict) -> str:
        return _event({"type": "content_block_delta", "index": self._index, "delta": delta})

    def _close(self) -> str:
        if self._open is None:
            return ""
        self._open = None
        return _event({"type": "content_block_stop", "index": self._index})


def _event(data: JsonDict) -> str:
    return event(data, data["type"])


def error(failure: Failure, message: str) -> JsonDict:
    """Anthropic's error object."""
    if failure.code == "context_length_exceeded":  # it has no code for it: clients know it by these words
        message = f"prompt is too long: {message}"
    return {"type": "error", "error": {"type": failure.anthropic, "message": message}}


def _head(head: Head) -> JsonDict:
    message = {"id": f"msg_{head.id}", "type": "message", "role": "assistant", "model": head.model}
    return {**message, "stop_sequence": None}


def _blocks(answer: Answer) -> list[JsonDict]:
    blocks = [*answer.thinking]
    if answer.text:
        blocks.append({"type": "text", "text": answer.text})
    return blocks + [_use(call) for call in answer.calls]


def _use(call: Call) -> JsonDict:
    # Anthropic's own models cannot write arguments that are no object: the nearest thing that a client accepts
    args = {"malformed_arguments": call.arguments} if call.args is None else call.args
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": args}


def _usage(answer: Answer) -> JsonDict:
    """Anthropic counts cached tokens beside the input, LangChain within it."""
    return {
        "input_tokens": answer.input_tokens - answer.cached_tokens,
        "output_tokens": answer.output_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": answer.cached_tokens,
    }
