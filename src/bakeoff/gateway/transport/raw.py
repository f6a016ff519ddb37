"""What a provider really sent for one call, read as it passes, before a client library interprets it.

Clients drop what blame needs: error events, the code of an error under status 200, a finish word, the usage in a
provider's own field, reasoning. `RawReply` keeps these facts and little else, however long the reply is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

from bakeoff.gateway.transport.shapes import ErrorBody, Facts, error_page, read
from bakeoff.gateway.types import FORMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A reply larger than a line to the container cannot be handed on: `bakeoff_runner.wire.MAX_LINE`.
MAX_BODY_BYTES = 8 * 2**20
# Of a whole stream: its events weigh a multiple of the text in them.
MAX_STREAM_BYTES = 256 * 2**20
# Commas, colons and opening brackets of a JSON value, inside its texts too: a client makes an object of each.
MAX_MARKS = 200_000
# What one form of it takes in memory for each of them, beside its text.
_MARK_BYTES = 80
# A reply asks for room from here on, and again for as much more.
_STEP_BYTES = 64 * 2**10
# How long a client may take to build a request before it sends it; on a busy host a large one takes long. This is not
# the provider's time.
_BUILD_SECONDS = 60.0
# Between looks at whether there is room by now.
_LOOK_SECONDS = 0.05
# Characters of a reply that an error may quote.
_QUOTED = 300

Mode = Literal["whole", "events", "lines"]


class ReplyRefused(Exception):  # noqa: N818 - what was done with the reply
    """The gateway does not read this reply any further; the text says why."""


class RawReply:
    """One try of a call. Its thread fills it through the transport; whoever gave up on it calls `give_up`.

    Attributes:
        status: HTTP status; None before the response has begun.
        headers: of the response, names in lower case.
        facts: what the body says.
        refused: why the gateway stopped reading, if it did.
        complete: the body ended as HTTP ends one.
        waited: seconds for which its reading waited for room.
        waited_until: `time.monotonic` of the end of that; 0: it never waited.
    """

    def __init__(self, *, streamed: bool = False, room: Callable[[int], bool] = lambda _: True) -> None:
        self.streamed = streamed
        self.waited = self.waited_until = 0.0
        self._made, self._sent = time.monotonic(), 0.0
        self._room, self._granted = room, _STEP_BYTES
        self.status: int | None = None
        self.headers: Mapping[str, str] = {}
        self.facts = Facts()
        self.refused: str | None = None
        self.complete = False
        self.origin: str | None = None
        self.last_bytes = 0.0
        self._given_up = False
        self._mode: Mode | None = None
        self._buffer = bytearray()
        self._size = 0
        self._data: list[str] = []
        self._head = ""

    @property
    def error(self) -> ErrorBody | None:
        """The provider's statement that something went wrong, wherever in the reply it is."""
        return self.facts.error

    @property
    def in_pieces(self) -> bool:
        """Whether it is a stream, asked for by the harness or by the client for itself, as Ollama's does."""
        return self.streamed or self._mode in ("events", "lines")

    @property
    def quote(self) -> str:
        """How the body begins."""
        return self._head[:_QUOTED]

    @property
    def page(self) -> bool:
        """Whether the body is a web page: a proxy's or a web server's, never a model's."""
        kind = self.headers.get("content-type", "")
        return "text/html" in kind or error_page(self._head)

    @property
    def unsent_until(self) -> float:
        """`time.monotonic` when the client began to send its request; now, as long as it has not."""
        return self._sent or min(time.monotonic(), self._made + _BUILD_SECONDS)

    def sending(self) -> None:
        """The client sends its request."""
        self._sent = self._sent or time.monotonic()

    def give_up(self) -> None:
        """Nobody waits for this reply: its thread stops at the next byte, or within a second."""
        self._given_up = True

    def check(self) -> None:
        """Raises ReplyRefused when nobody waits for the reply."""
        if self._given_up:
            raise ReplyRefused("nobody waits for this reply any more")

    def take(self, size: int) -> None:
        """Wait until the process has room for a reply of this many bytes.

        Raises:
            ReplyRefused: nobody waits for the reply any more.
        """
        if size <= self._granted:
            return
        began = time.monotonic()
        while not self._room(size):
            self.check()
            time.sleep(_LOOK_SECONDS)
            self.waited_until = time.monotonic()
            self.waited += self.waited_until - began
            began = self.waited_until
        self._granted = size + _STEP_BYTES

    def refuse(self, reason: str) -> ReplyRefused:
        """The exception that ends the reading. The reason survives whatever a client makes of it."""
        self.refused = reason
        self._buffer, self._data = bytearray(), []
        return ReplyRefused(reason)

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """A response has begun. A second one, after a redirect, starts over."""
        self.status, self.headers = status, headers
        self.facts, self._buffer, self._size, self._mode = Facts(), bytearray(), 0, None
        self._data, self._head, self.complete = [], "", False

    def feed(self, data: bytes) -> None:
        """The next decoded bytes of the body. Raises ReplyRefused past a bound."""
        self.check()
        self.last_bytes = time.monotonic()
        self._size += len(data)
        if len(self._head) < _QUOTED:
            self._head += data[:_QUOTED].decode("utf-8", "replace")
        self._buffer += data
        self.take(2 * len(self._buffer))  # the client keeps the pieces too
        self._mode = self._mode or self._detect()
        if self._mode in ("events", "lines"):
            self._lines()
            if self._size > MAX_STREAM_BYTES:
                raise self.refuse(f"the stream is longer than {MAX_STREAM_BYTES // 2**20} MiB")
        if len(self._buffer) > MAX_BODY_BYTES:
            raise self.refuse(f"the reply is larger than {MAX_BODY_BYTES // 2**20} MiB")

    def end(self) -> None:
        """The body has ended as HTTP ends one."""
        self.complete = True
        rest, self._buffer = bytes(self._buffer), bytearray()
        if self._mode == "events":
            self._line(rest)
            self._line(b"")
        elif self._mode == "lines" or rest.strip():
            self._value(rest)

    def _detect(self) -> Mode | None:
        kind = self.headers.get("content-type", "")
        if "event-stream" in kind:
            return "events"
        if "ndjson" in kind or "jsonl" in kind:
            return "lines"
        begun = bytes(self._buffer[:64]).lstrip()
        if not begun:
            return None
        return "events" if begun.startswith((b"data:", b"event:", b"id:", b"retry:", b":")) else "whole"

    def _lines(self) -> None:
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            if self._mode == "lines":
                self._value(line)
            else:
                self._line(line)

    def _line(self, line: bytes) -> None:
        """One line of server-sent events (WHATWG HTML, section 9.2.6)."""
        line = line.rstrip(b"\r")
        if line.startswith(b"data:"):
            self._data.append(line[5:].decode("utf-8", "replace").removeprefix(" "))
        elif not line and self._data:
            data, self._data = "\n".join(self._data), []
            self._value(data)

    def _value(self, text: str | bytes) -> None:
        stripped = text.strip()
        if not stripped or stripped in ("[DONE]", b"[DONE]"):
            return
        if len(stripped) > MAX_MARKS // 4:
            whole = stripped if isinstance(stripped, bytes) else stripped.encode("utf-8", "replace")
            marks = sum(whole.count(mark) for mark in (b",", b":", b"[", b"{"))
            if marks > MAX_MARKS:
                raise self.refuse(f"the reply has more than {MAX_MARKS} values")
            self.take(FORMS * (len(stripped) + marks * _MARK_BYTES))
        try:
            value = json.loads(stripped, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            self.facts.garbled = self.facts.garbled or f"{type(error).__name__}: {error}"
            return
        read(value, self.facts)


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


_current: ContextVar[RawReply | None] = ContextVar("bakeoff_raw_reply", default=None)


def current() -> RawReply | None:
    """The try that this thread is making; None outside of one."""
    return _current.get()


@contextmanager
def listening(raw: RawReply) -> Iterator[RawReply]:
    """Inside, what this thread receives over HTTP goes into `raw` too."""
    token = _current.set(raw)
    try:
        yield raw
    finally:
        _current.reset(token)
