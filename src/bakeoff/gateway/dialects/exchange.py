"""One exchange with a program: what it sends to its provider becomes a ModelRequest, and the reply goes back.

A dialect is a module with four functions (`Dialect`); `DIALECTS` maps the end of a request's path to it. All
are pure and import nothing heavy. What comes in is hostile; a request that has no meaning is `Refused`. A
streamed reply is written as the provider would write it, but in one piece, once the model has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from bakeoff.errors import ModelErrorKind
from bakeoff.gateway.dialects import anthropic_messages, openai_chat, openai_responses
from bakeoff.gateway.dialects.answer import Answer
from bakeoff.gateway.dialects.failures import Failure, Limit, failure
from bakeoff.gateway.dialects.http import HttpReply, Refused, sized
from bakeoff.gateway.types import JsonDict, ModelReply, ModelRequest


class Dialect(Protocol):
    """What the module of a dialect has."""

    def request(self, body: Mapping[str, Any]) -> ModelRequest:
        """The call that this body asks for. Raises Refused."""
        ...

    def reply(self, answer: Answer) -> JsonDict:
        """The body of a whole reply."""
        ...

    def stream(self, answer: Answer, body: Mapping[str, Any]) -> str:
        """The same as server-sent events; `body` is the request's."""
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
MODELS = "/models"  # programs that look up which models there are


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request of a program, understood: what it asks of the model, and how its reply is written."""

    dialect: Dialect
    body: Mapping[str, Any]
    request: ModelRequest

    def answered(self, reply: ModelReply, ident: str, created: int) -> HttpReply:
        """The model's reply. `ident` is unique in the attempt, `created` is in seconds since 1970."""
        answer = Answer.of(reply, ident=ident, model=str(self.body.get("model"))[:200], created=created)
        if self.request.stream:
            return HttpReply(200, self.dialect.stream(answer, self.body), "text/event-stream")
        return HttpReply.json(200, self.dialect.reply(answer))

    def failed(self, kind: ModelErrorKind | Limit, message: str) -> HttpReply:
        """Why there is no reply, as the provider would say it."""
        return _failure(self.dialect, kind, message)


def read(method: str, path: str, body: Any) -> Exchange | HttpReply:
    """A program's request, understood; or its reply, where that needs no model.

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
        return Exchange(dialect, body, dialect.request(sized(body)))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        refused = error if isinstance(error, Refused) else Refused(f"{type(error).__name__}: {error}")
        refused.reply = _failure(dialect, ModelErrorKind.BAD_REQUEST, str(refused))
        raise refused from None


def _failure(dialect: Dialect, kind: ModelErrorKind | Limit, message: str) -> HttpReply:
    said = failure(kind)
    return HttpReply.json(said.status, dialect.error(said, message))
