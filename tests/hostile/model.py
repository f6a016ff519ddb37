"""Scripted models on this machine: they know the answer in some rows, and where they do not, they do their deed.

The candidate is named by the request's model. In a row that it knows it uses a tool and answers rightly. In one that it
does not know, an honest one answers wrongly; a hostile one does its deed first, in the hope of another try. The
neighbour knows every row, and needs a little of everything from its box.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

from tests.faults.provider import BEHAVIOURS, Exchange, Provider
from tests.hostile.deeds import Deed

HONEST, NEIGHBOUR = "honest", "neighbour"
Step = tuple[str, str]


def answer(row: str) -> str:
    """The right answer of a row, which nobody can guess from its question."""
    return f"code {zlib.crc32(row.encode())}"


class Scripted(Provider):
    """Use it as a context manager. `deeds` by their candidate."""

    def __init__(self, deeds: Mapping[str, Deed]) -> None:
        super().__init__()
        self.deeds = deeds
        self.RequestHandlerClass = Play


class Play(Exchange):
    """One request."""

    server: Scripted

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.model = body["model"]
        messages = body["messages"]
        row = next(_text(message) for message in messages if message["role"] == "user")
        results = [_text(m) for m in messages if m["role"] == "tool" or _text(m).startswith("RESULT ")]
        steps = self.steps(row)
        if len(results) < len(steps):
            self.use(*steps[len(results)], as_text="tools" not in body, number=len(results))
            return
        deed = self.server.deeds.get(self.model)
        if deed is not None and deed.behaviour and row.startswith("unknown"):
            HARMFUL.get(deed.behaviour, BEHAVIOURS.get(deed.behaviour, Exchange.hang))(self)
        elif self.model == NEIGHBOUR:
            self.message(results[-1])
        elif row.startswith("known"):
            self.message(answer(row))
        else:  # if it came by the answer, it says so
            self.message(f"I do not know. {results[-1][:4000] if results else ''}")

    def steps(self, row: str) -> tuple[Step, ...]:
        """The tool calls of this candidate in this row."""
        if self.model == NEIGHBOUR:
            return (("shell", "sleep 1"), ("need", answer(row)))
        deed = self.server.deeds.get(self.model)
        if deed is None or row.startswith("known"):
            return (("shell", "sleep 1; echo fine"),)
        return deed.steps

    def use(self, tool: str, text: str, *, as_text: bool, number: int) -> None:
        """Ask for a tool."""
        if as_text:
            self.message("DO " + json.dumps([tool, text]))
            return
        name = {"shell": "command", "need": "what"}.get(tool, "code")
        function = {"name": tool, "arguments": json.dumps({name: text})}
        self.message(None, tool_calls=[{"id": f"call_{number}", "type": "function", "function": function}])


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else json.dumps(content)


def _huge(exchange: Exchange) -> None:
    """A body that says it has 10 GB, and goes on."""
    exchange.unending("application/json", b'{"x": "' + b"x" * 2**20, pause=0.0)


def _headers(exchange: Exchange) -> None:
    """Headers without end."""
    exchange.close_connection = True
    exchange.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not exchange.server.closing.is_set():
        exchange.wfile.write(b"x-more: " + b"x" * 8000 + b"\r\n")


def _many_calls(exchange: Exchange) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "shell", "arguments": '{"command": ":"}'}}
    exchange.message(None, tool_calls=[call] * 60000)


HARMFUL = {
    "huge": _huge,
    "headers": _headers,
    "many-calls": _many_calls,
    "huge-usage": lambda e: e.message("no", usage={"prompt_tokens": 10**4000, "completion_tokens": 1}),
    "deep": lambda e: e.say(200, b'{"choices": ' + b"[" * 200000 + b"]" * 200000 + b"}"),
    "big-answer": lambda e: e.message("x" * 7 * 2**20),
}
