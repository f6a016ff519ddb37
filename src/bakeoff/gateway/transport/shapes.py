"""The facts in a provider's JSON, whatever its dialect: errors, finish words, usage, reasoning.

One function reads a whole reply or one event of a stream. It goes by the fields that are there, not by the address: a
compatible server speaks one dialect with another's fields in it. Nothing here raises; what is odd is left out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bakeoff.gateway.types import TokenCounts
from bakeoff.record.finish import deciding

MAX_TOKENS = 10**9  # a larger count of one call is not a count
_MAX_REASONING = _MAX_ARGUMENTS = 2**20  # characters that are kept
_MAX_TEXT = 2_000  # of an error's message


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """A provider's statement that something went wrong.

    Attributes:
        status: the HTTP status that the statement names; None where it names none.
        codes: its codes and types, as text.
        message: in words, with an upstream's own words where a router passes them on.
        wait_seconds: how long the provider asks to wait.
        headers: a router's copy of its upstream's headers, names in lower case.
    """

    status: int | None
    codes: tuple[str, ...]
    message: str
    wait_seconds: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Codes and message, for a person."""
        codes = " ".join(self.codes)
        return f"{codes}: {self.message}" if codes and self.message else codes or self.message


@dataclass(slots=True)
class Facts:
    """What one reply says, gathered over its events."""

    error: ErrorBody | None = None
    statement: ErrorBody | None = None  # the same, of a body whose HTTP status says that it is one
    word: str | None = None  # why it ended
    counts: TokenCounts | None = None
    refusal: str = ""  # the model's, in the words that LangChain's OpenAI class drops from a stream
    arguments: dict[int, str] = field(default_factory=dict)  # of OpenAI's tool calls, by their index
    reasoning: str = ""
    garbled: str | None = None  # why a part is not JSON
    empty: str | None = None  # the place where the answer should be, and is not
    place: bool = False  # there was a place for an answer, in whatever dialect

    @property
    def bad_call(self) -> bool:
        """Whether the model called a tool with what is no JSON object, which some classes cannot read."""
        return any(map(_no_object, self.arguments.values()))


def error_page(text: str) -> bool:
    """Whether text begins as HTML or XML does."""
    return bool(re.match(r"\s*<(?:!doctype|html|head|body|\?xml|center|h1)\b", text, re.IGNORECASE))


def read(value: Any, facts: Facts) -> None:
    """Add what one JSON value says: a whole reply, or an event."""
    if isinstance(value, list):  # Google streams one array, and sends errors in one
        for one in value:
            read(one, facts)
        return
    if not isinstance(value, dict):
        return
    facts.place = facts.place or bool(_PLACES & value.keys()) or not isinstance(value.get("message", ""), str)
    facts.error = facts.error or error_in(value)
    facts.statement = facts.statement or error_body(value)
    for word in _words(value):
        facts.word = deciding(facts.word, word)
    for choice in _dicts(value.get("choices"))[:1]:
        message, delta = _dict(choice.get("message")), _dict(choice.get("delta"))
        facts.refusal = (facts.refusal + _string(message.get("refusal") or delta.get("refusal")))[:_MAX_TEXT]
        for position, call in enumerate(_dicts(message.get("tool_calls") or delta.get("tool_calls"))):
            index, piece = call.get("index", position), _dict(call.get("function")).get("arguments")
            if isinstance(index, int) and isinstance(piece, str):
                facts.arguments[index] = (facts.arguments.get(index, "") + piece)[:_MAX_ARGUMENTS]
    for text in _reasoning(value):
        facts.reasoning = (facts.reasoning + text)[:_MAX_REASONING]
    if counts := _counts(value):
        before = facts.counts
        # Anthropic's last event says the input again, and may leave out the cached tokens beside it
        if (
            value.get("type") == "message_delta"
            and before
            and counts.input is not None
            and counts.cached is None
        ):
            counts.input += (before.cached or 0) + (before.cache_written or 0)
        facts.counts = _later(facts.counts, counts)
    facts.empty = _empty(value)


# Where dialects put an answer, or an event of its stream says what kind it is. `message` is one if it is no text.
_PLACES = frozenset(
    {
        "choices",
        "output",
        "response",
        "content",
        "candidates",
        "promptFeedback",
        "usageMetadata",
        "delta",
        "type",
    }
)


# --- errors ------------------------------------------------------------------------------------------


def error_in(value: Mapping[str, Any]) -> ErrorBody | None:
    """The error in a JSON object; None where it reports none."""
    for candidate in map(_inner, _error_places(value)):
        if isinstance(candidate, str) and candidate.strip():
            beside = {
                key: value.get(key) for key in ("code", "type", "error_type", "status_code", "retry_after")
            }
            return _error({**beside, "message": candidate})
        if isinstance(candidate, list) and candidate and isinstance(candidate[0], dict):
            return _error(candidate[0])
        if isinstance(candidate, dict) and candidate:
            return _error(candidate)
    return None


def _inner(error: Any) -> Any:
    """A router's error may hold its upstream's whole body."""
    while isinstance(error, dict) and isinstance(error.get("error"), dict):
        error = error["error"]
    return error


def _error_places(value: Mapping[str, Any]) -> Iterator[Any]:
    yield value.get("error")
    yield value.get("Error")
    if value.get("type") == "error" or value.get("object") == "error":
        yield {key: one for key, one in value.items() if key not in ("type", "object", "sequence_number")}
    yield _dict(value.get("response")).get("error")
    for choice in _dicts(value.get("choices")):
        yield choice.get("error")
    yield _dict(value.get("x_groq")).get("error")
    base = _dict(value.get("base_resp"))  # MiniMax reports errors here, beside `choices: null`
    if base.get("status_code") not in (None, 0):
        yield {"code": f"MiniMax-{base['status_code']}", "message": base.get("status_msg")}
    if "choices" not in value:
        yield value.get("errors")


def error_body(value: Any) -> ErrorBody | None:
    """The error in the body of a response whose status says that it is one."""
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return ErrorBody(None, (), value[:_MAX_TEXT]) if isinstance(value, str) and value else None
    found = error_in(value)
    if found is None and value.keys() & {
        "message",
        "Message",
        "detail",
        "msg",
        "code",
        "error_code",
        "statusCode",
    }:
        found = _error(value)
    return found


def _error(error: Mapping[str, Any]) -> ErrorBody:
    code, metadata = error.get("code", error.get("error_code")), _dict(error.get("metadata"))
    status = next(
        filter(None, map(_status, (code, *map(error.get, ("status", "status_code", "statusCode"))))), None
    )
    names = [code, *map(error.get, ("type", "error_type", "status", "Code"))]
    names += [metadata.get("error_type"), _dict(error.get("innererror")).get("code")]
    if metadata.get("reasons"):  # OpenRouter: why moderation flagged the prompt
        names.append("moderation")
    codes = tuple(dict.fromkeys(str(name) for name in names if isinstance(name, str | int) and name != ""))
    texts = [error.get(key) for key in ("message", "Message", "msg", "detail")]
    texts.append(metadata.get("raw"))
    message = " ".join(dict.fromkeys(_text(text) for text in texts if text))[:_MAX_TEXT]
    headers = {str(k).lower(): str(v) for k, v in _dict(metadata.get("headers")).items()}
    return ErrorBody(status, codes, message, _asked_wait(error), headers)


def _asked_wait(error: Mapping[str, Any]) -> float | None:
    """Google's RetryInfo in google.rpc.error_details (`"36.5s"`); of Hugging Face and OpenRouter a number."""
    beside = [error.get("retry_after"), error.get("estimated_time")]
    for seconds in (*beside, _dict(error.get("metadata")).get("retry_after_seconds")):
        if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds < math.inf:
            return float(seconds)
    for detail in _dicts(error.get("details")):
        if match := re.fullmatch(r"(\d+(?:\.\d+)?)s", str(detail.get("retryDelay") or "")):
            return float(match[1])
    return None


def _status(code: Any) -> int | None:
    if isinstance(code, str) and re.fullmatch(r"[45]\d\d", code):
        code = int(code)
    return code if type(code) is int and 400 <= code < 600 else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


# --- why it ended ------------------------------------------------------------------------------------


def _words(value: Mapping[str, Any]) -> Iterator[str]:
    """Finish words in one object, in their order."""
    for choice in _dicts(value.get("choices"))[:1]:
        yield from _word(choice.get("finish_reason"))
    message = _dict(value.get("message")) if value.get("type") == "message_start" else value
    for holder in (message, _dict(value.get("delta"))):
        yield from _word(holder.get("stop_reason"))
    for candidate in _dicts(value.get("candidates"))[:1]:
        yield from _word(candidate.get("finishReason"))
    blocked = _dict(value.get("promptFeedback")).get("blockReason")
    yield from _word("blocked_other" if blocked == "OTHER" else blocked)
    response = _response(value)
    if response and str(value.get("type")) not in (
        "response.created",
        "response.in_progress",
        "response.queued",
    ):
        reason = _dict(response.get("incomplete_details")).get("reason")
        yield from _word(
            reason if response.get("status") == "incomplete" and reason else response.get("status")
        )
    if value.get("done") is True:  # Ollama
        yield from _word(value.get("done_reason") or "stop")


def _word(word: Any) -> Iterator[str]:
    if isinstance(word, str) and word:
        yield word


def _no_object(arguments: str) -> bool:
    """Whether the arguments of a tool call are no object. `null` and JSON in a string are a server's slip."""
    try:
        return isinstance(json.loads(arguments or "{}"), list | bool | int | float)
    except (ValueError, RecursionError):
        return True


def _response(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The response object of the Responses API: the whole reply, or what an event carries."""
    return value if value.get("object") == "response" else _dict(value.get("response"))


NO_OUTPUT = "`output`"


def _empty(value: Mapping[str, Any]) -> str | None:
    """Where a whole reply should have an answer and has no place for one."""
    if "choices" in value and not value["choices"] and value.get("object") != "chat.completion.chunk":
        return f"`choices` is {'null' if value['choices'] is None else 'empty'}"
    response = value if value.get("object") == "response" else None
    if value.get("type") == "response.completed":  # its stream's last event has it whole
        response = _dict(value.get("response"))
    if response is not None and not response.get("output"):
        return f"{NO_OUTPUT} is {'missing' if response.get('output') is None else 'empty'}"
    return None


# --- reasoning ---------------------------------------------------------------------------------------


def _reasoning(value: Mapping[str, Any]) -> Iterator[str]:
    """The fields of compatible servers that LangChain's OpenAI class drops; other reasoning stays in the message."""
    for choice in _dicts(value.get("choices"))[:1]:
        for holder in (_dict(choice.get("message")), _dict(choice.get("delta"))):
            yield _string(holder.get("reasoning_content") or holder.get("reasoning"))


# --- usage -------------------------------------------------------------------------------------------


def _counts(value: Mapping[str, Any]) -> TokenCounts | None:
    for usage in _usages(value):
        try:
            counts = _read_counts(usage)
        except ValueError:
            continue  # a count that cannot be: half of the others would be a guess
        if counts.input is not None or counts.output is not None:
            return counts
    return None


def _usages(value: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Where providers put the usage: the protocol's place first."""
    yield _dict(value.get("usage"))
    yield _dict(_dict(value.get("usage")).get("tokens"))  # Cohere
    yield _dict(_dict(value.get("message")).get("usage"))
    yield _dict(_response(value).get("usage"))
    yield _dict(value.get("usageMetadata"))
    yield _dict(_dict(value.get("x_groq")).get("usage"))
    for choice in _dicts(value.get("choices"))[:1]:  # Moonshot
        yield _dict(choice.get("usage"))
    yield _dict(_dict(value.get("meta")).get("tokens"))  # Cohere, version 1
    if "eval_count" in value:  # Ollama
        yield {"input_tokens": value.get("prompt_eval_count", 0), "output_tokens": value["eval_count"]}


def _read_counts(usage: Mapping[str, Any]) -> TokenCounts:
    inside = _dict(usage.get("prompt_tokens_details") or usage.get("input_tokens_details"))
    made = _dict(usage.get("completion_tokens_details") or usage.get("output_tokens_details"))
    counts = TokenCounts(
        input=_count(usage, "prompt_tokens", "input_tokens", "promptTokenCount"),
        output=_count(usage, "completion_tokens", "output_tokens", "candidatesTokenCount"),
        cached=_count(inside, "cached_tokens"),
        reasoning=_count(made, "reasoning_tokens"),
    )
    if (
        "cache_read_input_tokens" in usage or "cache_creation_input_tokens" in usage
    ):  # Anthropic: beside the input
        counts.cached = _count(usage, "cache_read_input_tokens")
        counts.cache_written = _count(usage, "cache_creation_input_tokens")
        if counts.input is not None:
            counts.input += (counts.cached or 0) + (counts.cache_written or 0)
    elif counts.cached is None:
        counts.cached = _count(usage, "prompt_cache_hit_tokens", "cached_tokens", "cachedContentTokenCount")
    thoughts = _count(usage, "thoughtsTokenCount")  # Google: beside the candidates'
    if thoughts is not None:
        counts.reasoning, counts.output = thoughts, (counts.output or 0) + thoughts
    if (of_tools := _count(usage, "toolUsePromptTokenCount")) and counts.input is not None:  # the same
        counts.input += of_tools
    # xAI: beside the completion's, as the sum shows
    if counts.reasoning and counts.total and _count(usage, "total_tokens") == counts.total + counts.reasoning:
        counts.output = (counts.output or 0) + counts.reasoning
    return counts


def _later(before: TokenCounts | None, now: TokenCounts) -> TokenCounts:
    """Counts of a later event win; what it leaves out stays."""
    if before is None:
        return now
    for name in TokenCounts.__slots__:
        if getattr(now, name) is None:
            setattr(now, name, getattr(before, name))
    return now


def _count(usage: Mapping[str, Any], *names: str) -> int | None:
    """The first of these counts that is given. Raises ValueError when it cannot be."""
    value = next((usage[name] for name in names if usage.get(name) is not None), None)
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value < MAX_TOKENS or value != int(value):
        raise ValueError(f"not a count of tokens: {value!r}")
    return int(value)


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
