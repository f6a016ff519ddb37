"""OpenAI's Chat Completions (POST /v1/chat/completions), as OpenAI's API reference has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bakeoff.gateway.dialects import serialised
from bakeoff.gateway.dialects.answer import Answer, Call, Head
from bakeoff.gateway.dialects.failures import Failure
from bakeoff.gateway.dialects.http import Refused, content, event, objects, text, texts
from bakeoff.gateway.types import JsonDict, ModelRequest
from bakeoff.record.finish import Finish
from bakeoff.record.messages import text_of

# Taken apart below, or about the program's account and connection. Everything else is the harness's parameter.
_OWN = frozenset({"messages", "model", "tools", "tool_choice", "stop", "stream", "stream_options", "n"})
_ACCOUNT = frozenset(
    {
        "metadata",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    }
)
_BIND = frozenset({"parallel_tool_calls", "response_format"})
_FINISH = {
    Finish.STOP: "stop",
    Finish.CALLS: "tool_calls",
    Finish.LENGTH: "length",
    Finish.REFUSAL: "content_filter",
}


def request(body: Mapping[str, Any]) -> ModelRequest:
    """The call that this body asks for. Raises Refused."""
    if body.get("n") not in (None, 1):
        raise Refused("`n` is not 1: a harness has one answer")
    params = {k: v for k, v in body.items() if k not in _OWN | _ACCOUNT and v is not None}
    if "max_completion_tokens" in params:  # LangChain's own name for it, in every provider
        params["max_tokens"] = params.pop("max_completion_tokens")
    bind, params = bound(params)
    return ModelRequest(
        messages=[_message(one, f"messages[{i}]") for i, one in enumerate(_given(body))],
        tools=objects(body.get("tools"), "tools") or None,
        tool_choice=choice(body.get("tool_choice")),
        stop=texts(body.get("stop"), "stop"),
        params=params,
        stream=body.get("stream") is True,
        bind=bind,
    )


def bound(params: JsonDict) -> tuple[JsonDict, JsonDict]:
    """The options that LangChain's `bind_tools` takes, in every provider's words, and the rest."""
    return {k: v for k, v in params.items() if k in _BIND}, {
        k: v for k, v in params.items() if k not in _BIND
    }


def choice(given: Any) -> Any:
    """OpenAI's `tool_choice` as LangChain's: `{"function": {"name": x}}` and `{"name": x}` are x."""
    if not isinstance(given, dict):
        return given
    function = given.get("function", given)
    return function.get("name", given) if isinstance(function, dict) else given


def _given(body: Mapping[str, Any]) -> list[JsonDict]:
    messages = objects(body.get("messages"), "messages")
    if not messages:
        raise Refused("there are no `messages`")
    return messages


def _message(message: JsonDict, where: str) -> JsonDict:
    said = serialised.joined(content(message.get("content"), f"{where}.content"))
    match message.get("role"):
        case "system" | "developer" as role:
            return serialised.system(said, developer=role == "developer")
        case "user":
            return serialised.human(said)
        case "tool":
            return serialised.tool(said, text(message.get("tool_call_id"), f"{where}.tool_call_id"))
        case "assistant":
            calls = enumerate(objects(message.get("tool_calls"), f"{where}.tool_calls"))
            return serialised.ai(said, [_call(one, f"{where}.tool_calls[{i}]") for i, one in calls])
        case role:
            raise Refused(f"{where}.role {str(role)[:40]!r} is not known")


def _call(call: JsonDict, where: str) -> JsonDict:
    function = call.get("function")
    if not isinstance(function, dict):
        raise Refused(f"{where} is no function call")
    name = text(function.get("name"), f"{where}.function.name")
    arguments = text(function.get("arguments"), f"{where}.function.arguments")
    return serialised.call(text(call.get("id"), f"{where}.id"), name, arguments)


def reply(answer: Answer) -> JsonDict:
    """A `chat.completion`."""
    message: JsonDict = {"role": "assistant", "content": answer.text or None, "refusal": answer.refusal}
    if answer.calls:
        message["tool_calls"] = [_called(call) for call in answer.calls]
    finish = _FINISH[answer.finish]
    return {
        **_head(answer.head, "chat.completion"),
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
        "usage": _usage(answer),
    }


class Stream:
    """The same as `chat.completion.chunk` events; usage only where `stream_options` asks for it."""

    def __init__(self, head: Head, body: Mapping[str, Any]) -> None:
        options = body.get("stream_options")
        self._wants_usage = isinstance(options, dict) and bool(options.get("include_usage"))
        self._head = _head(head, "chat.completion.chunk")
        self._sent = 0  # characters of the text that have gone out
        self.begun = False

    def piece(self, content: Any) -> str:
        """The text of a chunk."""
        said = text_of(content)
        self._sent += len(said)
        return self._delta({"content": said}) if said else ""

    def end(self, answer: Answer) -> str:
        """The rest of the text, the calls, why it ended."""
        events = [self.piece(answer.text[self._sent :])]
        if answer.refusal:
            events.append(self._delta({"refusal": answer.refusal}))
        for i, call in enumerate(answer.calls):
            events.append(self._delta({"tool_calls": [{"index": i, **_called(call)}]}))
        events.append(self._delta({}, _FINISH[answer.finish]))
        if self._wants_usage:
            events.append(event({**self._head, "choices": [], "usage": _usage(answer)}))
        return "".join(events) + "data: [DONE]\n\n"

    def broken(self, failure: Failure, message: str) -> str:
        """An error amid the stream."""
        return event(error(failure, message))

    def _delta(self, delta: JsonDict, finish: str | None = None) -> str:
        first = "" if self.begun else {"role": "assistant", "content": ""}
        self.begun = True
        deltas = [(first, None), (delta, finish)] if first else [(delta, finish)]
        return "".join(
            event({**self._head, "choices": [{"index": 0, "delta": one, "finish_reason": why}]})
            for one, why in deltas
        )


def error(failure: Failure, message: str) -> JsonDict:
    """OpenAI's error object."""
    return {"error": {"message": message, "type": failure.openai, "param": None, "code": failure.code}}


def _head(head: Head, kind: str) -> JsonDict:
    return {"id": f"chatcmpl-{head.id}", "object": kind, "created": head.created, "model": head.model}


def _called(call: Call) -> JsonDict:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _usage(answer: Answer) -> JsonDict:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
    }
