"""A provider on this machine: a real server of OpenAI's chat completions that fails as the model's name says.

`BEHAVIOURS` is the list of what it can do. Every conversation begins well, with a tool call; what the model is named
for happens when the tool's result comes back, in mid-trial.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import zlib
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

RETRY_AFTER_SECONDS = 2.5  # twice that is more than the time limit of the run that asks
HANG_SECONDS = 30.0  # far more than the client's timeout
ANSWER = "done"
USAGE: dict[str, Any] = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
LISTEN = {"name": "listen", "arguments": "{}"}
TOOL_CALL = {"name": "wait", "arguments": '{"seconds": 0}'}


class Provider(ThreadingHTTPServer):
    """Use it as a context manager; `base_url` is what goes into harness.yaml."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.asked: Counter[str] = Counter()  # requests by model
        self.turns: Counter[tuple[str, str]] = Counter()  # requests by model and conversation
        self.lock = threading.Lock()
        self.closing = threading.Event()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def __enter__(self) -> Provider:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what half of the behaviours are about."""


class Exchange(BaseHTTPRequestHandler):
    """One request, and the answer that its model is named for."""

    protocol_version = "HTTP/1.1"
    server: Provider

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.model: str = body["model"]
        with self.server.lock:
            self.server.asked[self.model] += 1
            key = (self.model, json.dumps(body["messages"], sort_keys=True))
            self.server.turns[key] += 1
            self.nth = self.server.turns[key]  # 1: this request is new; 2: it is sent again
        if "response_format" in body or "tool_choice" in body:
            self.judge(body)
        elif body.get("stream"):
            STREAMS[self.model](self)
        elif all(message["role"] != "tool" for message in body["messages"]):
            function = LISTEN if self.model in STREAMS else TOOL_CALL
            self.message(None, tool_calls=[{"id": "call_1", "type": "function", "function": function}])
        else:
            BEHAVIOURS.get(self.model, BEHAVIOURS["fine"])(self)

    def judge(self, body: dict[str, Any]) -> None:
        """A judge says yes, except about the row that is named for its being down."""
        if "judge-down" in json.dumps(body["messages"]):
            self.refuse(503)
        elif "response_format" in body:
            self.message('{"reasoning": "It is so.", "score": true}')
        else:
            function = {
                "name": body["tools"][0]["function"]["name"],
                "arguments": '{"reasoning": "So.", "score": true}',
            }
            self.message(None, tool_calls=[{"id": "call_1", "type": "function", "function": function}])

    # --- what it can say

    def message(
        self, content: str | None, finish: str = "stop", usage: dict[str, Any] | None = USAGE, **fields: Any
    ) -> None:
        """A good answer."""
        message = {"role": "assistant", "content": content, **fields}
        choice = {
            "index": 0,
            "finish_reason": "tool_calls" if "tool_calls" in fields else finish,
            "message": message,
        }
        self.give({"choices": [choice], "usage": usage})

    def give(self, fields: dict[str, Any]) -> None:
        """A 200 with these fields and the usual ones."""
        whole = {
            "id": "c1",
            "object": "chat.completion",
            "created": 1,
            "model": self.model,
            "usage": USAGE,
            **fields,
        }
        self.send(200, json.dumps(whole).encode())

    def refuse(self, status: int, code: str = "fault", **headers: str) -> None:
        """An error as OpenAI words it."""
        error = {"message": f"injected: {code}", "type": "injected", "param": None, "code": code}
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self.send(status, json.dumps({"error": error}).encode(), names)

    def state(self, status: int, message: str, code: int | None) -> None:
        """An error as routers word it: a number for a code."""
        self.send(status, json.dumps({"error": {"message": message, "code": code}}).encode())

    def bomb(self) -> None:
        """A small body that is large once it is decompressed."""
        squeeze = zlib.compressobj(wbits=31)
        piece = b" " * 2**20
        body = b"".join([squeeze.compress(piece) for _ in range(512)] + [squeeze.flush()])
        self.send(200, body, {"Content-Encoding": "gzip"})

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def hang(self) -> None:
        """Say nothing for longer than anybody waits."""
        self.server.closing.wait(HANG_SECONDS)
        self.close_connection = True

    def drip(self) -> None:
        """A reply that never comes, on a connection that is never silent for long."""
        self.unending("application/json", b" ")

    def piece(self, text: str, finish: str | None = None) -> dict[str, Any]:
        """One event of a streamed reply."""
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
        top = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": self.model}
        return {**top, "choices": [choice]}

    def babble(self) -> None:
        """A streamed reply that never ends."""
        self.unending("text/event-stream", f"data: {json.dumps(self.piece('and '))}\n\n".encode(), pause=1.0)

    def stream(self, *events: dict[str, Any]) -> None:
        """These events, and the end of the connection."""
        body = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
        self.send(200, body.encode(), {"Content-Type": "text/event-stream"})

    def break_off(self, message: str, code: int | str) -> None:
        """A first piece, then an error."""
        self.stream(self.piece("Well, "), {"error": {"message": message, "code": code}})

    def unending(self, content_type: str, piece: bytes, pause: float = 0.2) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Connection", "close")
        self.end_headers()
        while not self.server.closing.wait(pause):
            self.wfile.write(piece)  # until nobody reads it: the error ends this thread

    def reset(self) -> None:
        """Half an answer, then a TCP reset."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "4096")
        self.end_headers()
        self.wfile.write(b'{"id": "c1", "choices": [')
        self.wfile.flush()
        # with this, close() throws away what is unsent and sends RST (socket(7), SO_LINGER)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RD)
        self.connection.close()
        self.close_connection = True

    def recover(self, times: int, fail: Callable[[Exchange], None]) -> None:
        """Fail so often, then answer well."""
        if self.nth <= times:
            fail(self)
        else:
            self.message(ANSWER)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class has it
        """Nothing: the campaign prints a table."""


def _limited(exchange: Exchange) -> None:
    exchange.refuse(429, "rate_limit_exceeded", Retry_After=str(RETRY_AFTER_SECONDS))


BEHAVIOURS: dict[str, Callable[[Exchange], None]] = {
    "fine": lambda e: e.message(ANSWER),
    "wrong": lambda e: e.message("something else"),
    "429": lambda e: e.refuse(429, "rate_limit_exceeded"),
    "429-retry-after": lambda e: e.refuse(429, "rate_limit_exceeded", Retry_After="1"),
    "429-then-fine": lambda e: e.recover(2, _limited),
    "429-then-wrong": lambda e: e.recover(1, _limited) if e.nth == 1 else e.message("something else"),
    "500": lambda e: e.refuse(500),
    "503": lambda e: e.refuse(503),
    "503-then-fine": lambda e: e.recover(1, lambda again: again.refuse(503)),
    "hang": lambda e: e.hang(),
    "drip": lambda e: e.drip(),
    "babble": lambda e: e.message("nobody came so far"),
    "reset": lambda e: e.reset(),
    "reset-then-fine": lambda e: e.recover(1, lambda again: again.reset()),
    "401": lambda e: e.refuse(401, "invalid_api_key"),
    # a reply that the provider broke off, or that nobody knows to be whole
    "finish-error": lambda e: e.message("do", finish="error"),
    "finish-abort": lambda e: e.message("do", finish="abort"),
    "finish-no-resource": lambda e: e.message("do", finish="insufficient_system_resource"),
    "finish-unknown": lambda e: e.message(ANSWER, finish="eaten_by_a_bear"),
    "finish-error-then-fine": lambda e: e.recover(1, lambda again: again.message("do", finish="error")),
    "null-choices": lambda e: e.give({"choices": None}),
    # errors by what they say, whatever their status
    "429-in-200": lambda e: e.state(200, "slow down", 429),
    "credits-in-200": lambda e: e.state(200, "Not enough credits for this request", 402),
    "no-money-429": lambda e: e.refuse(429, "insufficient_quota"),
    "unknown-model-400": lambda e: e.state(400, "the-model is not a valid model ID", 400),
    "no-tools-404": lambda e: e.state(404, "No endpoints found that support tool use.", 404),
    "max-tokens-400": lambda e: e.state(
        400, "max_tokens is too large: 9000. This model supports at most 4096 completion tokens", None
    ),
    "moderation-403": lambda e: e.state(403, "The input was flagged by moderation", 403),
    "tool-use-failed-400": lambda e: e.refuse(400, "tool_use_failed"),
    "page-403": lambda e: e.send(
        403, b"<html><body>Access to this page is blocked</body></html>", {"Content-Type": "text/html"}
    ),
    "redirect": lambda e: e.send(307, b"", {"Location": "http://127.0.0.1:9/v1/chat/completions"}),
    "bomb": lambda e: e.bomb(),
    "endless": lambda e: e.unending("application/json", b" " * 2**20, pause=0.0),
    "cached-beyond": lambda e: e.message(
        ANSWER, usage={**USAGE, "prompt_tokens_details": {"cached_tokens": 5000}}
    ),
    "429-as-detail-in-200": lambda e: e.send(200, b'{"detail": "Rate limit exceeded"}'),
    # limits have room left: the failure has nothing to do with them, and nobody waits for their reset
    "503-with-limits": lambda e: e.refuse(
        503, x_ratelimit_reset_tokens="6m0s", x_ratelimit_remaining_tokens="900"
    ),
    "unfinished-400": lambda e: e.state(
        400, "Could not finish the message because max_tokens or model output limit was reached.", None
    ),
    "list-arguments": lambda e: e.message(
        None,
        tool_calls=[{"id": "call_2", "type": "function", "function": {"name": "wait", "arguments": "[0]"}}],
    ),
    "no-usage": lambda e: e.message(ANSWER, usage=None),
    "nan-usage": lambda e: e.message(ANSWER, usage={**USAGE, "prompt_tokens": float("nan")}),
    "sensitive": lambda e: e.message("do", finish="sensitive"),
    "not-json": lambda e: e.send(200, b"<html>the proxy is having a moment</html>"),
    "no-choices": lambda e: e.give({"choices": []}),
    "no-message": lambda e: e.give({"choices": [{"index": 0, "finish_reason": "stop"}]}),
    "context-overflow": lambda e: e.refuse(400, "context_length_exceeded"),
    "content-filter": lambda e: e.refuse(400, "content_filter"),
    "refusal": lambda e: e.message(None, refusal="I will not."),
    "empty": lambda e: e.message(""),
    "cut": lambda e: e.message("d", finish="length"),
    "bad-arguments": lambda e: e.message(
        None,
        tool_calls=[{"id": "call_2", "type": "function", "function": {"name": "wait", "arguments": '{"sec'}}],
    ),
}

# What happens in the middle of a stream that the agent's tool asks for. What follows it is fine.
STREAMS: dict[str, Callable[[Exchange], None]] = {
    "babble": lambda e: e.babble(),
    "stream-cut": lambda e: e.stream(e.piece("Well, ")),
    "stream-finish-error": lambda e: e.stream(e.piece("Well, "), e.piece("", "error")),
    "stream-overloaded": lambda e: e.break_off("Overloaded", "overloaded_error"),
    "stream-429": lambda e: e.stream({"error": {"message": "slow down", "code": 429}}),
    "stream-no-money": lambda e: e.break_off("Not enough credits", 402),
    "stream-flagged": lambda e: e.break_off("flagged", "content_filter"),
    "stream-stop-twice": lambda e: e.stream(e.piece(ANSWER, "stop"), e.piece("", "stop")),
}
