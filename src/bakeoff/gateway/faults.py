"""A failed call -> which kind of failure it is: by what the provider says, then by its HTTP status.

What the provider says is looked for wherever it may be: in the body of a 4xx, in a body under status 200, in an event
of a stream. `rules.RULES` has its meaning. Calls of a chat model and calls of a program (`command:`) both end here. No
provider's library is imported.

Decisions that are not obvious:
- Money and access are AUTH, and so is a model that the provider does not know: nothing gets better by asking again,
  and AUTH stops the candidate at once.
- UNSUPPORTED is a request that this model never serves as it is configured: tools, a parameter, a `max_tokens` beyond
  its window. It stops the candidate too, before it costs every trial.
- A filter that stops one prompt is REFUSAL, also behind a 403: the key is fine.
- A web page is a proxy's or a web server's word, not the provider's, whatever its status: UNAVAILABLE.
- 504 is UNAVAILABLE like every 5xx. TIMEOUT is for the gateway's own clock (and 408).
- A 200 that is not JSON, or has no place for an answer, is BAD_RESPONSE; where its text is an error, that error.
- A tool call without an id is BAD_RESPONSE: no framework can answer it. Empty and equal ids can be answered.
- Some clients raise over what a whole reply says: that it was filtered, or cut at its length, or holds a call whose
  arguments are no object. That is REFUSAL, LENGTH, INVALID_TOOL_CALL: the model's doing, as when a client hands it on.
  JSON inside a string is a slip of the server (BAD_RESPONSE).
- Under a 5xx the message may quote anything, so only codes count, but for parsers' errors about the model's own call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bakeoff.errors import ModelErrorKind as Kind
from bakeoff.gateway.rules import by_status, by_text
from bakeoff.gateway.transport.raw import RawReply
from bakeoff.gateway.transport.retry_after import asked_wait
from bakeoff.gateway.transport.shapes import NO_OUTPUT, ErrorBody, error_body
from bakeoff.record.finish import Finish, meaning

RETRYABLE = frozenset({Kind.RATE_LIMITED, Kind.UNAVAILABLE, Kind.TIMEOUT, Kind.BAD_RESPONSE})


# Looked for in the names of the exception's classes and of their bases, where there is no response to go by.
_BY_CLASS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    (Kind.CONTEXT_OVERFLOW, re.compile(r"ContextOverflow|ContextWindow")),
    (Kind.REFUSAL, re.compile(r"ContentFilter|RefusalError")),
    (Kind.AUTH, re.compile(r"Authentication|PermissionDenied|NoCredentials|CredentialsError|OAuthError")),
    (Kind.TIMEOUT, re.compile(r"Timeout|DeadlineExceeded")),
    (
        Kind.BAD_RESPONSE,
        # the last one: botocore's, of frames of an event stream
        re.compile(
            r"ResponseValidation|JSONDecodeError|DecodingError|ContentDecoding|ResponseParser|ParserError"
        ),
    ),
    # botocore: a stream that reports an error, and one that ends too early
    (Kind.UNAVAILABLE, re.compile(r"EventStreamError|HTTPClientError|IncompleteRead|ResponseStreaming")),
    (Kind.UNAVAILABLE, re.compile(r"Connect|NetworkError|ProtocolError|TransportError|ProxyError|OSError")),
    (Kind.BAD_REQUEST, re.compile(r"NotImplementedError|InvalidArgument|ParamValidation")),
)
_KIND_OF_FINISH = {
    Finish.REFUSAL: Kind.REFUSAL,
    Finish.LENGTH: Kind.LENGTH,
    Finish.BAD_CALL: Kind.INVALID_TOOL_CALL,
    Finish.BROKEN: Kind.UNAVAILABLE,
}
_GARBLED = (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Fault:
    """What a failure means. `retry_after_seconds`: how long the provider asked us to wait, if it did."""

    kind: Kind
    text: str
    status: int | None = None
    retry_after_seconds: float | None = None

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.kind in RETRYABLE


class ProviderFault(Exception):  # noqa: N818 - carries a Fault
    """A failure whose kind is known already."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(fault.text)


@dataclass(frozen=True, slots=True)
class _Heard:
    """What a failure says, from whatever source."""

    status: int | None  # HTTP's, or the one that the error itself names
    codes: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_seconds: float | None = None


def classify(error: BaseException, raw: RawReply | None = None, *, now: datetime | None = None) -> Fault:
    """What an exception of a provider's client means.

    Args:
        error: the exception.
        raw: what the provider sent, where it came over the gateway's transport.
        now: what a date in `Retry-After` is measured from, in UTC.
    """
    if isinstance(error, ProviderFault):
        return error.fault
    if raw is not None and (fault := heard(raw, now=now)):
        return fault
    said = _from_exception(error)
    # of a reply that was read, what the client says about it is not what the provider says
    by_words = raw is None and not isinstance(error, _GARBLED)
    kind = by_text(said.codes, said.message, said.status) if by_words else None
    text = f"{type(error).__name__}: {_text(error)}"
    kind = kind or _by_class_or_status(error, said.status)
    if raw is not None and raw.status is not None and kind in (Kind.BAD_RESPONSE, Kind.INTERNAL):
        kind = _what_the_model_did(raw) or kind
    return _fault(kind, text, said, now)


def _what_the_model_did(raw: RawReply) -> Kind | None:
    """Why a client cannot read a reply that reports no error: it may be the model's doing."""
    found = meaning(raw.facts.word)
    if found and found[1] in _KIND_OF_FINISH:
        return _KIND_OF_FINISH[found[1]]
    if raw.facts.bad_call:
        fault = unfinished(raw, raw.facts.word, empty=False, cut=True)
        return fault.kind if fault else Kind.INVALID_TOOL_CALL
    return None


def heard(raw: RawReply, *, now: datetime | None = None) -> Fault | None:
    """The failure that the provider's own bytes report; None where they report none."""
    if raw.refused:
        return Fault(
            Kind.BAD_RESPONSE, f"the provider's reply was not read to its end: {raw.refused}", raw.status
        )
    failed = raw.status is not None and raw.status >= 300
    if raw.page:
        text = f"a web page came in place of a reply (HTTP {raw.status}): {raw.quote}"
        rate_limited = raw.status == 429
        kind = Kind.RATE_LIMITED if rate_limited else Kind.UNAVAILABLE if failed else Kind.BAD_RESPONSE
        return _fault(kind, text, _Heard(raw.status, "", "", raw.headers), now)
    # of a body that has no place for an answer, too, whatever its status
    statement = raw.error or (raw.facts.statement if failed or not raw.facts.place else None)
    if statement is None and failed:
        statement = ErrorBody(None, (), raw.quote)
    if statement is not None:
        return _stated(statement, raw, failed, now)
    if raw.facts.garbled:
        return Fault(Kind.BAD_RESPONSE, f"the reply is not JSON: {raw.facts.garbled}", raw.status)
    return None


def _stated(statement: ErrorBody, raw: RawReply, failed: bool, now: datetime | None) -> Fault:
    status = raw.status if failed else statement.status
    headers = {**statement.headers, **raw.headers}
    said = _Heard(status, " ".join(statement.codes), statement.message, headers, statement.wait_seconds)
    kind = by_text(said.codes, said.message, status) or by_status(status) or Kind.UNAVAILABLE
    return _fault(kind, statement.text or f"HTTP {raw.status}", said, now)


def unfinished(raw: RawReply, word: str | None, *, empty: bool, cut: bool = False) -> Fault | None:
    """Why a reply that reports no error is not the model's whole answer; None where it is.

    Args:
        raw: what came.
        word: the finish word, by the provider's bytes or by the client's message.
        empty: the message holds neither text nor calls.
        cut: the arguments of a call do not parse. With a finish word that is the model's doing.
    """
    shown, finish = meaning(word) or ("", None)
    if finish is Finish.BROKEN:
        return Fault(Kind.UNAVAILABLE, f"the provider broke the reply off (finish reason {shown!r})")
    if finish is Finish.UNKNOWN:
        text = f"nobody knows whether the reply is whole: its finish reason is {shown[:80]!r}"
        return Fault(Kind.BAD_RESPONSE, text)
    if finish is None and (raw.in_pieces or cut):
        return Fault(Kind.UNAVAILABLE, "the reply ended without its end: no finish reason came")
    # the last event of a stream of chat completions has no choices either
    no_place = raw.facts.empty and (not raw.streamed or raw.facts.empty.startswith(NO_OUTPUT))
    if empty and (finish is None or (finish is Finish.STOP and no_place)):
        return Fault(
            Kind.BAD_RESPONSE, f"the reply has no answer: {raw.facts.empty or 'nor a finish reason'}"
        )
    return None


def _fault(kind: Kind, text: str, said: _Heard, now: datetime | None) -> Fault:
    wait = said.wait_seconds
    if wait is None:
        wait = asked_wait(said.headers, said.message, limited=kind is Kind.RATE_LIMITED, now=now)
    return Fault(kind, text, said.status, wait)


# --- from the exception alone, of clients that do not use the gateway's transport ---------------------------


def _by_class_or_status(error: BaseException, status: int | None) -> Kind:
    names = " ".join(base.__name__ for one in _chain(error) for base in type(one).__mro__)
    own_clock = "DeadlineExceeded" in names  # Google's, dressed as a 504
    if not own_clock and (kind := by_status(status)):
        return kind
    for kind, pattern in _BY_CLASS:
        if pattern.search(names):
            return kind
    return Kind.BAD_RESPONSE if isinstance(error, _GARBLED) else Kind.INTERNAL


def _from_exception(error: BaseException) -> _Heard:
    response = getattr(error, "response", None)
    bodies = [getattr(error, "body", None), response if isinstance(response, dict) else None]
    found = next((body for one in bodies if (body := error_body(one))), ErrorBody(None, (), ""))
    codes = [str(part) for key in ("code", "type") if (part := getattr(error, key, None)) is not None]
    headers = getattr(response, "headers", None) or {}
    if isinstance(response, dict):
        headers = response.get("ResponseMetadata", {}).get("HTTPHeaders") or {}
    return _Heard(
        _status(error) or found.status,
        " ".join([*codes, *found.codes, type(error).__name__]),
        _text(error),
        {str(name).lower(): str(value) for name, value in headers.items()},
        found.wait_seconds,
    )


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    candidates: list[Any] = [getattr(error, "status_code", None), getattr(response, "status_code", None)]
    if isinstance(response, dict):  # botocore
        candidates.append(response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    candidates.append(getattr(error, "code", None))  # google.api_core: an HTTPStatus
    for value in candidates:
        if isinstance(value, int) and 100 <= value < 600:
            return int(value)
    return None


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__
    return chain


def _text(error: BaseException) -> str:
    """The message; of a bare "Connection error." also the cause, which says which one."""
    text = str(error)
    for cause in _chain(error)[1:]:
        if str(cause) and str(cause) not in text and len(text) < 200:
            text = f"{text} ({type(cause).__name__}: {cause})"
    return text
