"""One exchange with a program: what it sends to its provider becomes a ModelRequest, and the reply goes back.

A dialect is a module with three functions and a class (`Dialect`); `DIALECTS` maps the end of a request's path to
it. All import nothing heavy. What comes in is hostile; a request that has no meaning is `Refused`. In a streamed
reply, text and thinking go out as they come; tool calls whole, once the model has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from bakeoff.errors import ModelErrorKind
from bakeoff.gateway.dialects import anthropic_messages, openai_chat, openai_responses
from bakeoff.gateway.dialects.answer import Answer, Head
from bakeoff.gateway.dialects.failures import FAILURES, Failure, Limit
from bakeoff.gateway.dialects.http import HttpReply, Refused, sized
from bakeoff.gateway.types import JsonDict, ModelReply, ModelRequest


class Stream(Protocol):
    """A streamed reply as it is written: text of server-sent events."""

    begun: bool  # something has gone out: the status is beyond recall

    def piece(self, content: Any) -> str:
        """The events for the content of one AIMessageChunk, which may be none."""
        ...

    def end(self, answer: Answer) -> str:
        """All that has not gone out yet, and the end."""
        ...

    def broken(self, failure: Failure, message: str) -> str:
        """The end of a stream that broke off."""
        ...


class Dialect(Protocol):
    """What the module of a dialect has."""

    def request(self, body: Mapping[str, Any]) -> ModelRequest:
        """The call that this body asks for. Raises Refused."""
        ...

    def reply(self, answer: Answer) -> JsonDict:
        """The body of a whole reply."""
        ...

    def Stream(self, head: Head, body: Mapping[str, Any]) -> Stream:  # noqa: N802 - a class
        """A streamed reply; `body` is the request's."""
        ...

    def error(self, failure: Failure, message: str) -> JsonDict:
        """The body of an error."""
        ...


# A new dialect is one new entry. Programs differ in what they put before these (`/v1`, nothing, a proxy's prefix).
DIALECTS: dict[str, Dialect] = {
    "/chat/completions": openai_chat,
    "/responses": openai_responses,
    "/messages": anthropic_messages,
}
EVENTS = "text/event-stream"
MODELS = "/models"  # programs that look up which models there are


class Exchange:
    """One request of a program, understood: what it asks of the model, and how its reply is written."""

    def __init__(self, dialect: Dialect, body: Mapping[str, Any], head: Head) -> None:
        self.dialect, self.head = dialect, head
        self.request = dialect.request(body)
        self.stream = dialect.Stream(head, body) if self.request.stream else None

    def piece(self, chunk: JsonDict) -> str:
        """What goes out for one serialised AIMessageChunk, which may be nothing."""
        return self.stream.piece(chunk["data"]["content"]) if self.stream else ""

    def answered(self, reply: ModelReply) -> HttpReply:
        """The model's reply; of a streamed one, what has not gone out yet."""
        answer = Answer.of(self.head, reply)
        if self.stream:
            return HttpReply(200, self.stream.end(answer), EVENTS)
        return HttpReply.json(200, self.dialect.reply(answer))

    def failed(self, kind: ModelErrorKind | Limit, message: str) -> HttpReply:
        """Why there is no reply, as the provider would say it."""
        if self.stream and self.stream.begun:
            return HttpReply(200, self.stream.broken(FAILURES[kind], message), EVENTS)
        return _failure(self.dialect, kind, message)


def read(method: str, path: str, body: Any, ident: str, created: int) -> Exchange | HttpReply:
    """A program's request, understood; or its reply, where that needs no model.

    Args:
        method: of HTTP.
        path: with or without a query.
        body: the parsed JSON.
        ident: unique in the attempt.
        created: now, in seconds since 1970.

    Raises:
        Refused: the request makes no sense in its dialect; `reply` says so to the program.
    """
    path = urlsplit(path).path.rstrip("/")
    dialect = next((one for end, one in DIALECTS.items() if path.endswith(end)), None)
    if method == "GET" and path.endswith(MODELS):
        return HttpReply.json(200, {"object": "list", "data": [], "has_more": False})
    if dialect is None or method != "POST":
        known = ", ".join(DIALECTS)
        message = f"bakeoff has no {method} {path[:200]}; there are POST {known}"
        return HttpReply.json(
            404, openai_chat.error(Failure(404, "not_found_error", None, "not_found_error"), message)
        )
    try:
        if not isinstance(body, dict):
            raise Refused("the body is no JSON object")
        return Exchange(dialect, sized(body), Head(ident, str(body.get("model"))[:200], created))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        refused = error if isinstance(error, Refused) else Refused(f"{type(error).__name__}: {error}")
        refused.reply = _failure(dialect, ModelErrorKind.BAD_REQUEST, str(refused))
        raise refused from None


def _failure(dialect: Dialect, kind: ModelErrorKind | Limit, message: str) -> HttpReply:
    said = FAILURES[kind]
    return HttpReply.json(said.status, dialect.error(said, message))
