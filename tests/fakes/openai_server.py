"""An OpenAI-compatible server of the tests' own: its models follow simple rules, so that real clients meet every case.

`good` calls the tool that the user names (`tool: argument`) and answers with its result; `slow-start` does the same
after one 429; `locked` refuses the key; `judge` gives the score 0.75 through whatever tool it is offered.
"""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}


class Server:
    """Where it listens, and what it was asked: (headers in lower case, body) by model."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: dict[str, list[tuple[dict[str, str], dict[str, Any]]]] = {}

    @property
    def counts(self) -> Counter[str]:
        """How many requests each model got."""
        return Counter({model: len(asked) for model, asked in self.requests.items()})


@contextmanager
def serve() -> Iterator[Server]:
    """The server, on the loopback, until the block ends."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                asked = server.requests.setdefault(body["model"], [])
                asked.append(({name.lower(): value for name, value in self.headers.items()}, body))
                status, headers, reply = respond(body, len(asked))
            data = json.dumps(reply).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Silence."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{http.server_port}/v1")
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()


def respond(body: dict[str, Any], number: int) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Status, headers and body of the reply to a model's `number`-th request."""
    model = body["model"]
    if model == "locked":
        return 401, {}, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}
    if model == "slow-start" and number == 1:
        return 429, {"Retry-After": "1"}, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
    last = body["messages"][-1]
    if model == "judge":
        return (
            200,
            {},
            completion(call(body["tools"][0]["function"]["name"], reasoning="near enough", score=0.75)),
        )
    if last["role"] == "tool":
        return 200, {}, completion({"role": "assistant", "content": f"It is {last['content']}"})
    tool, _, argument = last["content"].partition(": ")
    [parameter] = next(
        t["function"]["parameters"]["properties"] for t in body["tools"] if t["function"]["name"] == tool
    )
    return 200, {}, completion(call(tool, **{parameter: argument}))


def call(tool: str, **arguments: Any) -> dict[str, Any]:
    """A message that calls one tool."""
    function = {"name": tool, "arguments": json.dumps(arguments)}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": function}],
    }


def completion(message: dict[str, Any]) -> dict[str, Any]:
    """A chat completion with that message."""
    reason = "tool_calls" if message.get("tool_calls") else "stop"
    choice = {"index": 0, "message": message, "finish_reason": reason}
    fields = {"id": "x", "object": "chat.completion", "created": 1, "model": "of-the-tests"}
    return {**fields, "choices": [choice], "usage": USAGE}
