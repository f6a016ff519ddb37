"""What an exchange says over HTTP, and what it refuses to understand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

JsonDict = dict[str, Any]

MAX_ITEMS = 10_000  # of messages, tools or calls in one request


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A reply as the container's endpoint writes it."""

    status: int
    body: str
    content_type: str = "application/json"

    @classmethod
    def json(cls, status: int, value: JsonDict) -> HttpReply:
        """A reply whose body is one JSON object."""
        return cls(status, json.dumps(value, ensure_ascii=False))

    def record(self) -> JsonDict:
        """For the wire."""
        return {"status": self.status, "body": self.body, "content_type": self.content_type}


class Refused(ValueError):  # noqa: N818 - what was done with the request
    """A program's request that no dialect understands. `reply` answers the program."""

    reply: HttpReply


def event(data: JsonDict, name: str | None = None) -> str:
    """One server-sent event (WHATWG HTML, section 9.2)."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n"


def sized(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body, none of whose lists is beyond all measure. Raises Refused."""
    for key, value in body.items():
        if isinstance(value, list) and len(value) > MAX_ITEMS:
            raise Refused(f"`{key[:40]}` has more than {MAX_ITEMS} items")
    return body


def text(value: Any, where: str) -> str:
    """The value, known to be text. Raises Refused."""
    if not isinstance(value, str):
        raise Refused(f"{where} is not text")
    return value


def texts(value: Any, where: str) -> list[str] | None:
    """The value, known to be a list of texts; a single text is one, nothing is None. Raises Refused."""
    if not value:
        return None
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
        raise Refused(f"{where} is not a text or a list of texts")
    return given


def objects(value: Any, where: str) -> list[JsonDict]:
    """The value, known to be a list of objects; None is an empty one. Raises Refused."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Refused(f"{where} is not a list of objects")
    return value


def content(value: Any, where: str) -> str | list[JsonDict]:
    """Text, or a list of content blocks; None is empty text. Raises Refused."""
    if value is None:
        return ""
    return value if isinstance(value, str) else objects(value, where)
