"""A provider's exception -> which kind of failure it is. One table of status codes, no provider imported.

Providers' exceptions are told apart by HTTP status, then by error code, then by the names of their classes,
so that the SDKs of openai, anthropic, google, boto3, httpx and requests are covered without importing any.

Decisions that are not obvious:
- Money and access are AUTH: `insufficient_quota` (a 429), "credit balance is too low" (a 400), 402, and 404
  for a model the account does not know. Nothing gets better by asking again, and AUTH stops the candidate at
  once.
- 504 is UNAVAILABLE like every 5xx; TIMEOUT is for our own clock running out (and 408).
- A 200 that is no JSON, has no choices or no message surfaces from the SDKs as ValueError, KeyError,
  TypeError, IndexError or AttributeError: BAD_RESPONSE.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from bakeoff.errors import ModelErrorKind as Kind

RETRYABLE = frozenset({Kind.RATE_LIMITED, Kind.UNAVAILABLE, Kind.TIMEOUT, Kind.BAD_RESPONSE})

_BY_STATUS = {
    401: Kind.AUTH,
    402: Kind.AUTH,
    403: Kind.AUTH,
    404: Kind.AUTH,
    408: Kind.TIMEOUT,
    409: Kind.UNAVAILABLE,
    425: Kind.UNAVAILABLE,
    429: Kind.RATE_LIMITED,
}

# Looked for in the error's code, type and message, in this order, before its status is asked.
_BY_TEXT: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    (
        Kind.CONTEXT_OVERFLOW,
        re.compile(
            r"context_length_exceeded|exceed_context_size|ContextWindowExceeded|maximum context length"
            r"|prompt is too long|input is too long|exceeds? the (?:available )?context"
            r"|exceeds the maximum number of tokens|input token count .*exceeds|Input tokens exceed",
            re.IGNORECASE,
        ),
    ),
    (
        Kind.REFUSAL,
        re.compile(
            r"content_filter|content_policy_violation|ResponsibleAIPolicyViolation|content management policy"
            r"|content filtering policy|usage_policy_violation|blocked by .*(?:safety|content filter)",
            re.IGNORECASE,
        ),
    ),
    (
        Kind.AUTH,
        re.compile(
            r"insufficient_quota|credit balance is too low|billing_(?:error|hard_limit|not_active)"
            r"|API key not valid|invalid_api_key|Could not resolve authentication|Unable to locate cred"
            r"|ExpiredToken|UnrecognizedClient|InvalidSignature|AccessDenied|Incorrect API key",
            re.IGNORECASE,
        ),
    ),
    (Kind.RATE_LIMITED, re.compile(r"\bThrottlingException\b|\brate_limit_(?:error|exceeded)\b")),
)

# Looked for in the names of the exception's classes and of its bases.
_BY_CLASS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    (Kind.CONTEXT_OVERFLOW, re.compile(r"ContextOverflow|ContextWindow")),
    (Kind.REFUSAL, re.compile(r"ContentFilter|RefusalError")),
    (Kind.AUTH, re.compile(r"Authentication|PermissionDenied|NoCredentials|CredentialsError|OAuthError")),
    (Kind.TIMEOUT, re.compile(r"Timeout|DeadlineExceeded")),
    (
        Kind.BAD_RESPONSE,
        re.compile(r"ResponseValidation|JSONDecodeError|DecodingError|ContentDecoding|ResponseParser"),
    ),
    (
        Kind.UNAVAILABLE,
        re.compile(r"Connect|NetworkError|ProtocolError|TransportError|OSError"),
    ),
    (Kind.BAD_REQUEST, re.compile(r"NotImplementedError|InvalidArgument|ParamValidation")),
)
_GARBLED = (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Fault:
    """What an exception means. `retry_after_seconds`: how long the provider asked us to wait, if it did."""

    kind: Kind
    text: str
    status: int | None = None
    retry_after_seconds: float | None = None

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.kind in RETRYABLE


def classify(error: BaseException, *, now: datetime | None = None) -> Fault:
    """What a provider's exception means. `now` (UTC) is what a Retry-After date is measured from."""
    status = _status(error)
    text = f"{type(error).__name__}: {_text(error)}"
    return Fault(_kind(error, status, text), text, status, _retry_after(error, now or datetime.now(UTC)))


def _kind(error: BaseException, status: int | None, text: str) -> Kind:
    said = f"{text} {_code(error)}"
    if status is None or status < 500:  # a 5xx's page may quote anything
        for kind, pattern in _BY_TEXT:
            if pattern.search(said):
                return kind
    names = " ".join(base.__name__ for base in type(error).__mro__)
    own_clock = "DeadlineExceeded" in names  # google's, dressed as a 504
    if status is not None and status >= 300 and not own_clock:
        rest = (Kind.BAD_RESPONSE, Kind.BAD_REQUEST, Kind.UNAVAILABLE)[status // 100 - 3]
        return _BY_STATUS.get(status, rest)
    for kind, pattern in _BY_CLASS:
        if pattern.search(names):
            return kind
    return Kind.BAD_RESPONSE if isinstance(error, _GARBLED) else Kind.INTERNAL


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


def _code(error: BaseException) -> str:
    """The provider's own code and type of error, where its body has them."""
    response = getattr(error, "response", None)
    bodies = [getattr(error, "body", None), response if isinstance(response, dict) else None]
    parts = [getattr(error, "code", None), getattr(error, "type", None)]
    for body in bodies:
        inner = body.get("error", body.get("Error", body)) if isinstance(body, dict) else None
        if isinstance(inner, dict):
            parts += [inner.get("code"), inner.get("type"), inner.get("Code")]
    return " ".join(str(part) for part in parts if part is not None)


def _text(error: BaseException) -> str:
    """The message; of a bare "Connection error." also the cause, which says which one."""
    text = str(error)
    cause = error.__cause__
    while cause is not None and len(text) < 200:
        if str(cause) and str(cause) not in text:
            text = f"{text} ({type(cause).__name__}: {cause})"
        cause = cause.__cause__
    return text


def _retry_after(error: BaseException, now: datetime) -> float | None:
    """Seconds from `retry-after-ms` or `Retry-After`, which is seconds or an HTTP date (RFC 9110, 10.2.3)."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    if headers is None:
        return None
    milliseconds, after = headers.get("retry-after-ms"), headers.get("retry-after")
    if milliseconds is not None and _number(milliseconds) is not None:
        return (_number(milliseconds) or 0.0) / 1000
    if after is None:
        return None
    if (seconds := _number(after)) is not None:
        return seconds
    try:
        wait = parsedate_to_datetime(after).astimezone(UTC) - now
    except (ValueError, OverflowError):
        return None  # neither form, or beyond the calendar: as if it had not been sent
    return max(wait.total_seconds(), 0.0)


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\s*\d+(\.\d+)?\s*", text) else None
