"""A server on the loopback that speaks as OpenAI, Anthropic and Google do, whole and streamed, and keeps what it got.

Its model thinks, looks the order A-17 up, then says what it was told. `/fail/<status>` in the base URL makes it
fail, with the caller's own key in the error's text, as careless servers do.
"""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ARGS = {"order_id": "A-17"}
PAUSE_SECONDS = 0.2  # in the middle of a stream


class ProviderServer:
    """Where it listens, and what it was asked: (path, headers in lower case, body)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []

    def base_url(self, model: str) -> str:
        """What a candidate of that provider has as `base_url`."""
        return self.url + ("/v1" if model.startswith("openai:") else "")

    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of all requests so far, which are forgotten."""
        found = [body for _, _, body in self.requests]
        self.requests.clear()
        return found


@contextmanager
def serve() -> Iterator[ProviderServer]:
    """The server, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            server.requests.append((self.path, headers, body))
            if fails := re.search(r"/fail/(\d+)/", self.path):
                text = f"no, not with {headers}"
                self.answer(int(fails[1]), json.dumps({"type": "error", "error": {"message": text}}))
                return
            speak = (
                google
                if "generateContent" in self.path.replace("streamG", "g")
                else OTHERS[self.path.rsplit("/", 1)[1]]
            )
            streamed = body.get("stream") is True or "stream" in self.path
            pieces = speak(body, streamed)
            if not streamed:
                self.answer(200, json.dumps(pieces[0]))
                return
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            for number, piece in enumerate(pieces):
                event = f"event: {piece['type']}\n" if "type" in piece else ""
                self.wfile.write(f"{event}data: {json.dumps(piece)}\n\n".encode())
                self.wfile.flush()
                if number == len(pieces) // 2:
                    time.sleep(PAUSE_SECONDS)
            if speak is openai:
                self.wfile.write(b"data: [DONE]\n\n")

        def answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Silence."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server = ProviderServer(f"http://127.0.0.1:{http.server_port}")
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    http.shutdown()
    http.server_close()


def openai(body: dict[str, Any], streamed: bool) -> list[dict[str, Any]]:
    told = [message for message in body["messages"] if message["role"] == "tool"]
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "get_order", "arguments": json.dumps(ARGS)},
    }
    usage = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}
    usage["completion_tokens_details"] = {"reasoning_tokens": 3}
    top = {"id": "chatcmpl-1", "created": 1, "model": body["model"], "object": "chat.completion"}
    if not streamed:
        message = (
            {"role": "assistant", "content": told[-1]["content"]}
            if told
            else {"role": "assistant", "content": None, "tool_calls": [call]}
        )
        return [
            {
                **top,
                "choices": [
                    {"index": 0, "finish_reason": "stop" if told else "tool_calls", "message": message}
                ],
                "usage": usage,
            }
        ]
    if told:
        deltas = [
            {"role": "assistant", "content": ""},
            *({"content": word + " "} for word in str(told[-1]["content"]).split()),
        ]
    else:
        name, args = call["function"]["name"], call["function"]["arguments"]
        first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}}
        parts = [{"index": 0, "function": {"arguments": part}} for part in (args[:5], args[5:])]
        deltas = [{"role": "assistant", "tool_calls": [first]}, *({"tool_calls": [part]} for part in parts)]
    top["object"] = "chat.completion.chunk"
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
