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
from typing import Any

from tests.fakes import http_server
from tests.fakes.http_server import HttpServer

RETRY_AFTER_SECONDS = 2.5  # twice that is more than the time limit of the run that asks
HANG_SECONDS = 30.0  # far more than the client's timeout
ANSWER = "done"
USAGE: dict[str, Any] = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
LISTEN = {"name": "listen", "arguments": "{}"}
TOOL_CALL = {"name": "wait", "arguments": '{"seconds": 0}'}


class Provider(HttpServer):
    """Use it as a context manager; `base_url` is what goes into harness.yaml."""

    def __init__(self) -> None:
        super().__init__(respond, exchange=Exchange)
        self.asked: Counter[str] = Counter()  # requests by model
        self.turns: Counter[tuple[str, str]] = Counter()  # requests by model and conversation
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.base_url = f"{self.url}/v1"

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        super().__exit__()


def respond(exchange: Exchange) -> None:
    """The answer that the request's model is named for."""
    server, body = exchange.server, json.loads(exchange.body)
    exchange.model = model = body["model"]
    with server.lock:
        server.asked[model] += 1
        key = (model, json.dumps(body["messages"], sort_keys=True))
        server.turns[key] += 1
        exchange.nth = server.turns[key]
    if "response_format" in body or "tool_choice" in body:
        exchange.judge(body)
    elif body.get("stream"):
        STREAMS[model](exchange)
    elif all(message["role"] != "tool" for message in body["messages"]):
        function = LISTEN if model in STREAMS else TOOL_CALL
        exchange.message(None, tool_calls=[{"id": "call_1", "type": "function", "function": function}])
    else:
        BEHAVIOURS.get(model, BEHAVIOURS["fine"])(exchange)


class Exchange(http_server.Exchange):
    """One request, and what can be said to it. `nth` 1: the request is new; 2: it is sent again."""

    protocol_version = "HTTP/1.1"
    server: Provider
    model: str
    nth: int

    def judge(self, body: dict[str, Any]) -> None:
        """A judge says yes, except about the row that is named for its being down."""
        if "judge-down" in json.dumps(body["messages"]):
            self.refuse(503)
        elif "response_format" in body:
            self.message('{"reasoning": "It is so.", "score": true}')
        else:
            name = body["tools"][0]["function"]["name"]
            function = {"name": name, "arguments": '{"reasoning": "So.", "score": true}'}
            self.message(None, tool_calls=[{"id": "call_1", "type": "function", "function": function}])

    # --- what it can say

    def message(
        self, content: str | None, finish: str = "stop", usage: dict[str, Any] | None = USAGE, **fields: Any
    ) -> None:
        """A good answer."""
        message = {"role": "assistant", "content": content, **fields}
        reason = "tool_calls" if "tool_calls" in fields else finish
        choice = {"index": 0, "finish_reason": reason, "message": message}
        self.give({"choices": [choice], "usage": usage})

    def give(self, fields: dict[str, Any]) -> None:
        """A 200 with these fields and the usual ones."""
        top = {"id": "c1", "object": "chat.completion", "created": 1, "model": self.model, "usage": USAGE}
        self.say(200, {**top, **fields})

    def refuse(self, status: int, code: str = "fault", **headers: str) -> None:
        """An error as OpenAI words it."""
        error = {"message": f"injected: {code}", "type": "injected", "param": None, "code": code}
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self.say(status, {"error": error}, names)

    def state(self, status: int, message: str, code: int | None) -> None:
        """An error as routers word it: a number for a code."""
        self.say(status, {"error": {"message": message, "code": code}})

    def bomb(self) -> None:
        """A small body that is large once it is decompressed."""
        squeeze = zlib.compressobj(wbits=31)
        piece = b" " * 2**20
        body = b"".join([squeeze.compress(piece) for _ in range(512)] + [squeeze.flush()])
        self.say(200, body, {"Content-Encoding": "gzip"})

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
        self.say(200, body.encode(), {"Content-Type": "text/event-stream"})

    def break_off(self, message: str, code: int | str) -> None:
        """A first piece, then an error."""
        self.stream(self.piece("Well, "), {"error": {"message": message, "code": code}})

    def unending(self, content_type: str, piece: bytes, pause: float = 0.2) -> None:
        self.close_connection = True
        self.begin(200, {"Content-Type": content_type, "Connection": "close"})
        while not self.server.closing.wait(pause):
            self.wfile.write(piece)  # until nobody reads it: the error ends this thread

    def reset(self) -> None:
        """Half an answer, then a TCP reset."""
        self.begin(200, {"Content-Length": "4096"})
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
    "page-403": lambda e: e.say(
        403, b"<html><body>Access to this page is blocked</body></html>", {"Content-Type": "text/html"}
    ),
    "redirect": lambda e: e.say(307, b"", {"Location": "http://127.0.0.1:9/v1/chat/completions"}),
    "bomb": lambda e: e.bomb(),
    "endless": lambda e: e.unending("application/json", b" " * 2**20, pause=0.0),
    "cached-beyond": lambda e: e.message(
        ANSWER, usage={**USAGE, "prompt_tokens_details": {"cached_tokens": 5000}}
    ),
    "429-as-detail-in-200": lambda e: e.say(200, b'{"detail": "Rate limit exceeded"}'),
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
    "odd-usage": lambda e: e.message(
        ANSWER, usage={"prompt_tokens": "x", "completion_tokens": 1e300, "total_tokens": 6}
    ),
    "sensitive": lambda e: e.message("do", finish="sensitive"),
    "not-json": lambda e: e.say(200, b"<html>the proxy is having a moment</html>"),
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
