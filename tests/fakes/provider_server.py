"""A server on the loopback that speaks as OpenAI, Anthropic and Google do, whole and streamed, and keeps what it got.

Its model thinks, looks the order A-17 up, then repeats the result. `/fail/<status>` in the base URL makes it fail,
with the caller's own key in the error's text, as careless servers do. `answers` replaces all this by a script.
"""

import json
import re
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from tests.fakes.http_server import Exchange, HttpServer

Answer = Callable[[Exchange], None]
ARGS = {"order_id": "A-17"}
PAUSE_SECONDS = 0.2  # in the middle of a stream


class ProviderServer(HttpServer):
    """`requests`: what it was asked, as (path, headers in lower case, body)."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.script: list[Answer] = [speak]
        self.lock = threading.Lock()

    def answers(self, *script: Answer) -> Self:
        """Answer each request with the next of these, and all further ones with the last."""
        self.script = list(script)
        return self

    def base_url(self, model: str) -> str:
        """What a candidate of that provider has as `base_url`."""
        return self.url + ("/v1" if model.startswith("openai:") else "")

    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of all requests so far, which are forgotten."""
        found = [body for _, _, body in self.requests]
        self.requests.clear()
        return found

    def of_model(self, model: str) -> list[tuple[dict[str, str], dict[str, Any]]]:
        """Headers and body of each request to that model."""
        return [(headers, body) for _, headers, body in self.requests if body["model"] == model]

    def _answer(self, exchange: Exchange) -> None:
        headers = {name.lower(): value for name, value in exchange.headers.items()}
        with self.lock:
            self.requests.append((exchange.path, headers, json.loads(exchange.body)))
            answer = self.script[min(len(self.requests), len(self.script)) - 1]
        answer(exchange)


def speak(exchange: Exchange) -> None:
    body = json.loads(exchange.body)
    if fails := re.search(r"/fail/(\d+)/", exchange.path):
        text = f"no, not with {dict(exchange.headers.items())}"
        return exchange.say(int(fails[1]), {"type": "error", "error": {"message": text}})
    last = exchange.path.rsplit("/", 1)[1]
    dialect = OTHERS[last] if last in OTHERS else google
    streamed = body.get("stream") is True or "stream" in exchange.path
    pieces = dialect(body, streamed)
    if not streamed:
        return exchange.say(200, pieces[0])
    exchange.begin(200, {"content-type": "text/event-stream"})
    for number, piece in enumerate(pieces):
        event = f"event: {piece['type']}\n" if "type" in piece else ""
        exchange.wfile.write(f"{event}data: {json.dumps(piece)}\n\n".encode())
        if number == len(pieces) // 2:
            time.sleep(PAUSE_SECONDS)
    if dialect is openai:
        exchange.wfile.write(b"data: [DONE]\n\n")
    return None


def completion(message: dict[str, Any], usage: Any, model: str = "m") -> dict[str, Any]:
    """A chat completion of OpenAI's with that message."""
    reason = "tool_calls" if message.get("tool_calls") else "stop"
    choice = {"index": 0, "message": message, "finish_reason": reason}
    fields = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model}
    return {**fields, "choices": [choice], "usage": usage}


def tool_call(name: str, arguments: str) -> dict[str, Any]:
    """A message of OpenAI's that calls one tool."""
    function = {"name": name, "arguments": arguments}
    calls = [{"id": "call_1", "type": "function", "function": function}]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def openai(body: dict[str, Any], streamed: bool) -> list[dict[str, Any]]:
    told = [message for message in body["messages"] if message["role"] == "tool"]
    usage = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}
    usage["completion_tokens_details"] = {"reasoning_tokens": 3}
    said = (
        {"role": "assistant", "content": told[-1]["content"]}
        if told
        else tool_call("get_order", json.dumps(ARGS))
    )
    whole = completion(said, usage, body["model"])
    if not streamed:
        return [whole]
    top = {key: whole[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    if told:
        deltas = [
            {"role": "assistant", "content": ""},
            *({"content": word + " "} for word in str(told[-1]["content"]).split()),
        ]
    else:
        [call] = said["tool_calls"]
        args = call["function"]["arguments"]
        first = {**call, "index": 0, "function": {"name": "get_order", "arguments": ""}}
        parts = [{"index": 0, "function": {"arguments": part}} for part in (args[:5], args[5:])]
        deltas = [{"role": "assistant", "tool_calls": [first]}, *({"tool_calls": [part]} for part in parts)]
    out = [{**top, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    out.append(
        {**top, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop" if told else "tool_calls"}]}
    )
    if (body.get("stream_options") or {}).get("include_usage"):
        out.append({**top, "choices": [], "usage": usage})
    return out


def responses(body: dict[str, Any], streamed: bool) -> list[dict[str, Any]]:
    """OpenAI's Responses API."""
    told = [item for item in body["input"] if item.get("type") == "function_call_output"]
    usage = {"input_tokens": 20, "output_tokens": 9, "total_tokens": 29}
    usage["input_tokens_details"] = {"cached_tokens": 5}
    usage["output_tokens_details"] = {"reasoning_tokens": 3}
    part = {"type": "output_text", "text": str(told[-1]["output"]) if told else "", "annotations": []}
    message = {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }
    call = {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call_1",
        "name": "get_order",
        "status": "completed",
    }
    item = message if told else {**call, "arguments": json.dumps(ARGS)}
    top = {
        "id": "resp_2" if told else "resp_1",  # LangGraph takes messages with one id for one message
        "object": "response",
        "created_at": 1,
        "model": body["model"],
        "error": None,
        "incomplete_details": None,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
    done = {**top, "status": "completed", "output": [item], "usage": usage}
    if not streamed:
        return [done]
    at = {"output_index": 0, "item_id": item["id"]}
    if told:
        empty, words = {**message, "content": [], "status": "in_progress"}, part["text"].split()
        deltas: list[dict[str, Any]] = [
            {"type": "response.output_text.delta", "content_index": 0, "delta": f"{word} ", "logprobs": []}
            for word in words
        ]
    else:
        empty, args = {**item, "arguments": "", "status": "in_progress"}, item["arguments"]
        deltas = [
            {"type": "response.function_call_arguments.delta", "delta": piece}
            for piece in (args[:5], args[5:])
        ]
    events = [
        {
            "type": "response.created",
            "response": {**top, "status": "in_progress", "output": [], "usage": None},
        },
        {"type": "response.output_item.added", "output_index": 0, "item": empty},
        *({**delta, **at} for delta in deltas),
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": done},
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def anthropic(body: dict[str, Any], streamed: bool) -> list[dict[str, Any]]:
    last = body["messages"][-1]["content"]
    told = (
        next((one for one in last if one["type"] == "tool_result"), None) if isinstance(last, list) else None
    )
    said = told["content"] if told else ""
    text = said if isinstance(said, str) else said[0]["text"]
    thinking = {"type": "thinking", "thinking": "I should look.", "signature": "c2lnbmF0dXJl"}
    call = {"type": "tool_use", "id": "toolu_1", "name": "get_order", "input": ARGS}
    content = [{"type": "text", "text": text}] if told else [thinking, call]
    usage = {
        "input_tokens": 20,
        "output_tokens": 9,
        "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": 0,
    }
    stop = "end_turn" if told else "tool_use"
    top = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "stop_sequence": None,
    }
    if not streamed:
        return [{**top, "content": content, "stop_reason": stop, "usage": usage}]
    out: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**top, "content": [], "stop_reason": None, "usage": usage}}
    ]
    for index, block in enumerate(content):
        empty = {
            "thinking": {"thinking": "", "signature": ""},
            "text": {"text": ""},
            "tool_use": {"input": {}},
        }[block["type"]]
        deltas = {
            "thinking": lambda b: [
                {"type": "thinking_delta", "thinking": b["thinking"]},
                {"type": "signature_delta", "signature": b["signature"]},
            ],
            "text": lambda b: [{"type": "text_delta", "text": word + " "} for word in b["text"].split()],
            "tool_use": lambda b: [{"type": "input_json_delta", "partial_json": json.dumps(b["input"])}],
        }[block["type"]](block)
        out.append({"type": "content_block_start", "index": index, "content_block": {**block, **empty}})
        out += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        out.append({"type": "content_block_stop", "index": index})
    out.append(
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop, "stop_sequence": None},
            "usage": usage,
        }
    )
    return [*out, {"type": "message_stop"}]


def google(body: dict[str, Any], streamed: bool) -> list[dict[str, Any]]:
    told = next(
        (part["functionResponse"] for part in body["contents"][-1]["parts"] if "functionResponse" in part),
        None,
    )
    usage = {
        "promptTokenCount": 20,
        "candidatesTokenCount": 6,
        "thoughtsTokenCount": 3,
        "totalTokenCount": 29,
    }
    if told:
        words = str(told["response"]["output"]).split()
        parts = [[{"text": " ".join(words)}]] if not streamed else [[{"text": word + " "}] for word in words]
    else:
        parts = [[{"functionCall": {"name": "get_order", "args": ARGS}, "thoughtSignature": "c2lnbmF0dXJl"}]]
    out = []
    for number, part in enumerate(parts):
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": part}, "index": 0}
        last = number == len(parts) - 1
        if last:
            candidate["finishReason"] = "STOP"
        out.append(
            {"candidates": [candidate], "modelVersion": "gemini-x"}
            | ({"usageMetadata": usage} if last else {})
        )
    return out


OTHERS = {"completions": openai, "messages": anthropic, "responses": responses}
