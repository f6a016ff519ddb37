"""Bytes from a sandbox become typed events. All of it is hostile until it is checked here: bounded,
authentic, well-formed.

`Lines` cuts bytes into lines, `Protocol.parse` makes an event of a line. Neither raises: what is not the protocol
becomes a `Violation`, what goes over a bound an `OverBudget`.
"""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bakeoff.gateway.types import ModelRequest
from bakeoff.record import messages as msgs
from bakeoff.record.base import JsonDict
from bakeoff.record.limits import KernelReport
from bakeoff_runner import wire

# Bounds of one attempt. The supervisor keeps the bytes of the harness within `wire`'s; here are also the supervisor's.
MAX_BYTES = wire.MAX_OUTPUT + 4 * 2**20
MAX_LINES = 50_000
# Values (numbers, texts, lists, objects) in one line and in all: what Python needs for them is many times their bytes.
MAX_VALUES_IN_LINE = 150_000
MAX_VALUES = 4_000_000
# What a line costs beside its bytes while it waits.
LINE_OVERHEAD = 256

# What reading a hostile value may raise.
NOT_THE_PROTOCOL = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    MemoryError,
)


# --- events


@dataclass(frozen=True, slots=True)
class Ready:
    """The supervisor is up."""

    kernel: KernelReport


@dataclass(frozen=True, slots=True)
class Sample:
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Exited:
    """The supervisor's last word: how the harness ended."""

    kernel: KernelReport
    exit_code: int | None
    signal: int | None
    overflow: bool  # the harness sent more than the supervisor passes on
    terminated: bool  # the supervisor got a SIGTERM from outside the sandbox
    stopped_for: str | None  # why the supervisor killed the harness. None: it did not, or it does not say


@dataclass(frozen=True, slots=True)
class Loaded:
    """The harness is built."""


@dataclass(frozen=True, slots=True)
class Started:
    """The agent starts."""


@dataclass(frozen=True, slots=True)
class ModelAsked:
    """A model call of a harness in LangChain."""

    ident: str
    request: ModelRequest


@dataclass(frozen=True, slots=True)
class HttpAsked:
    """A model call of a program, as it sent it to its provider's API."""

    ident: str
    method: str
    path: str
    body: Any


@dataclass(frozen=True, slots=True)
class BadCall:
    """A model call that makes no sense. It is answered too, or its sender would wait for the time limit."""

    ident: str
    problem: str


@dataclass(frozen=True, slots=True)
class CallTooLarge:
    """A model call that no line can hold: it failed in the sandbox."""

    size: int


@dataclass(frozen=True, slots=True)
class ToolStarted:
    run: str  # names this run of the tool until it ends
    call_id: str  # the model's, which need not be unique; empty: the tool was called without one
    name: str
    args: JsonDict


@dataclass(frozen=True, slots=True)
class ToolEnded:
    run: str
    seconds: float
    result: str | None
    error: str | None
    errnos: list[int]  # what the system refused: see bakeoff_runner.failure
    timed_out: bool
    rejected: bool  # the arguments were refused before the tool ran


@dataclass(frozen=True, slots=True)
class SpansExported:
    """The harness's own spans, unread."""

    content_type: str
    encoding: str
    body: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The harness has ended well."""

    messages: list[JsonDict]  # LangChain's, checked; empty where the harness is a program
    structured: str | None  # its structured answer, or the file that a program left
    interrupt: str | None  # what it waits for a person to decide


@dataclass(frozen=True, slots=True)
class Failed:
    """The harness raised an exception."""

    error_type: str
    message: str
    bases: list[str]
    errnos: list[int]
    traceback: str | None


@dataclass(frozen=True, slots=True)
class Violation:
    """A line that is not the protocol, or not of this attempt."""

    problem: str


@dataclass(frozen=True, slots=True)
class OverBudget:
    """A bound of the host is passed; the attempt ends with its name."""

    budget: str


Event = (
    Ready
    | Sample
    | Exited
    | Loaded
    | Started
    | ModelAsked
    | HttpAsked
    | BadCall
    | CallTooLarge
    | ToolStarted
    | ToolEnded
    | SpansExported
    | Answered
    | Failed
    | Violation
    | OverBudget
)


# --- bytes to lines


class Lines:
    """Cuts what arrives into lines. Empty ones are dropped at once."""

    def __init__(self) -> None:
        self.over: str | None = None  # the bound that was passed; nothing comes after it
        self._partial = bytearray()
        self._bytes = self._lines = 0

    @property
    def partial(self) -> int:
        """Bytes of the line that has begun."""
        return len(self._partial)

    def feed(self, data: bytes) -> list[bytes]:
        self._bytes += len(data)
        if self._bytes > MAX_BYTES:
            self.over = "bytes"
            return []
        if not self._partial and not data.strip(b"\n"):
            return []
        pieces = data.split(b"\n")
        self._partial += pieces[0]
        if len(self._partial) > wire.MAX_LINE + 1024:  # the supervisor keeps lines shorter
            self.over = "bytes in a line"
            return []
        if len(pieces) == 1:
            return []
        pieces[0], self._partial = bytes(self._partial), bytearray(pieces.pop())
        whole = [piece for piece in pieces if piece]
        self._lines += len(whole)
        if self._lines > MAX_LINES:
            self.over = "lines"
            return []
        return whole


# --- a line to an event


class Protocol:
    """The protocol of one attempt, with the two tokens that die with it."""

    def __init__(self, *, program: bool) -> None:
        self.supervisor_token = secrets.token_hex(16)
        self.harness_token = secrets.token_hex(16)
        self._program = program  # a program's messages are known from its traffic, not from its result
        self._values = 0

    def parse(self, line: bytes, values: int | None = None) -> Event:
        """The event of a line. `values`: what `count_values` says of it, where that is known."""
        values = count_values(line) if values is None else values
        self._values += values
        if values > MAX_VALUES_IN_LINE:
            return OverBudget("values in a line")
        if self._values > MAX_VALUES:
            return OverBudget("values")
        try:
            # NaN and infinities are not JSON; as numbers they would spoil every record that they enter
            message = json.loads(line, parse_constant=str)
            if not isinstance(message, dict):
                raise TypeError("not an object")
            return self._event(message)
        except NOT_THE_PROTOCOL as error:
            return Violation(f"{_said(error)}: {line[:80]!r}")

    def _event(self, message: JsonDict) -> Event:
        method, params = message.get("method"), message.get("params")
        if isinstance(method, str) and method.startswith("supervisor/"):
            if not isinstance(params, dict) or not _same(params.get("token"), self.supervisor_token):
                return Violation(f"forged {method[:40]}")
            return _supervisor(method, params)
        return self._of_harness(method, params, message)

    def _of_harness(self, method: Any, params: Any, message: JsonDict) -> Event:
        if not _same(message.get("token"), self.harness_token):
            return Violation(f"not of this attempt: {_short(method)}")
        if method is None and message.get("id") == wire.RUN_ID:
            return _failed(message["error"]) if "error" in message else self._answered(message["result"])
        if method in ("model/generate", "model/http"):
            return _call(method, message.get("id"), params)
        if method in NOTIFICATIONS:
            return NOTIFICATIONS[method](_object(params))
        return Violation(f"unknown method {_short(method)}")

    def _answered(self, result: Any) -> Answered:
        said = msgs.shallow(_object(result))
        answer, interrupt = said.get("answer"), said.get("interrupt")
        messages = (
            said.get("messages", []) if interrupt is not None else [] if self._program else said["messages"]
        )
        return Answered(
            messages=msgs.checked(messages),
            structured=answer if isinstance(answer, str) else None,
            interrupt=None if interrupt is None else str(interrupt)[:2000],
        )


def _supervisor(method: str, params: JsonDict) -> Event:
    if method == "supervisor/sample":
        return Sample(_whole_number(params["memory_bytes"]))
    kernel = KernelReport.of(_object(params["kernel"]))
    if method == "supervisor/ready":
        return Ready(kernel)
    stopped_for = params.get("stopped_for")
    return Exited(
        kernel=kernel,
        exit_code=_optional_number(params["exit_code"]),
        signal=_optional_number(params["signal"]),
        overflow=bool(params["overflow"]),
        terminated=params["terminated"] is True,
        stopped_for=None if stopped_for is None else str(stopped_for)[:40],
    )


def _call(method: str, ident: Any, params: Any) -> Event:
    if not isinstance(ident, str):
        return Violation(f"a call with the unusable id {_short(ident)}")
    try:
        asked = msgs.shallow(_object(params))
        if method == "model/generate":
            return ModelAsked(ident, model_request(asked))
        return HttpAsked(ident, str(asked["method"]), str(asked["path"]), asked["body"])
    except NOT_THE_PROTOCOL as error:
        return BadCall(ident, f"not a {method}: {_said(error)}")


def _tool_started(params: JsonDict) -> ToolStarted:
    call_id = str(params["call_id"])[:200]
    args = dict(msgs.shallow(params["args"]))
    return ToolStarted(str(params.get("run", call_id))[:200], call_id, str(params["name"])[:200], args)


def _tool_ended(params: JsonDict) -> ToolEnded:
    result, error = params["result"], params["error"]
    return ToolEnded(
        run=str(params.get("run", params["call_id"]))[:200],
        seconds=_seconds(params["seconds"]),
        result=None if result is None else str(result)[: wire.MAX_RESULT_TEXT],
        error=None if error is None else str(error)[: wire.MAX_RESULT_TEXT],
        errnos=_errnos(params["errnos"]),
        timed_out=params["timed_out"] is True,
        rejected=params.get("rejected") is True,
    )


def _errnos(said: Any) -> list[int]:
    return [number for number in said if isinstance(number, int)][:20]


def _failed(error: Any) -> Failed:
    data = error["data"]
    trace = data.get("traceback")
    return Failed(
        error_type=str(data["type"])[:200],
        message=str(error["message"])[:2000],
        bases=[str(base)[:200] for base in data.get("bases", ())][:20],
        errnos=_errnos(data["errnos"]),
        traceback=None if trace is None else str(trace)[-4000:],
    )


def model_request(params: JsonDict) -> ModelRequest:
    """What a `model/generate` line asks for.

    Raises:
        ValueError, TypeError, KeyError: it is not a request, and would fail in the gateway.
    """
    tools, stop, others = params["tools"], params["stop"], params["params"]
    if tools is not None and not _list_of(dict, tools):
        raise TypeError("`tools` is not a list of objects")
    if stop is not None and not _list_of(str, stop):
        raise TypeError("`stop` is not a list of strings")
    return ModelRequest(
        messages=msgs.checked(params["messages"]),
        tools=tools,
        tool_choice=params["tool_choice"],
        stop=stop,
        params=dict(_object(others)),
        stream=params.get("stream") is True,
        bind=dict(_object(params.get("bind") or {})),
        structured=None if params.get("structured") is None else dict(_object(params["structured"])),
    )


def _spans_exported(params: JsonDict) -> SpansExported:
    return SpansExported(*(str(params[key]) for key in ("content_type", "encoding", "body")))


NOTIFICATIONS: dict[str, Callable[[JsonDict], Event]] = {
    "harness/loaded": lambda _: Loaded(),
    "harness/started": lambda _: Started(),
    "model/too_large": lambda params: CallTooLarge(_whole_number(params["bytes"])),
    "tool/start": _tool_started,
    "tool/end": _tool_ended,
    "trace/export": _spans_exported,
}


# --- pieces


_STRING = re.compile(rb'"[^"]*"?')


def count_values(line: bytes) -> int:
    """How many values the JSON of a line has at most, from its commas, colons and brackets, without parsing it."""
    most = _marks(line)
    if most <= 1000:
        return most + 1
    # What stands in strings does not count. Escaped backslashes go first, so that every `\"` left is a quote in one.
    bare = _STRING.sub(b"", line.replace(b"\\\\", b"").replace(b'\\"', b""))
    return _marks(bare) + 1


def _marks(text: bytes) -> int:
    return sum(text.count(mark) for mark in (b",", b":", b"[", b"{"))


def _object(value: Any) -> JsonDict:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def _list_of(kind: type, value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _whole_number(value: Any) -> int:
    if not isinstance(value, int) or abs(value) > 2**62:
        raise TypeError("not a whole number")
    return value


def _optional_number(value: Any) -> int | None:
    return None if value is None else _whole_number(value)


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError("not a duration")
    return seconds


def _same(claimed: Any, token: str) -> bool:
    return isinstance(claimed, str) and secrets.compare_digest(
        claimed.encode("utf-8", "replace"), token.encode()
    )


def _short(value: Any) -> str:
    return repr(value[:40]) if isinstance(value, str) else f"of type {type(value).__name__}"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
