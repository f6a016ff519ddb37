"""How long a provider asks to wait: `Retry-After` and the rate-limit headers, in all their forms.

Sources: RFC 9110 (section 10.2.3) and OpenAI's `retry-after-ms`; OpenAI's and Groq's `x-ratelimit-reset-requests` and
`-tokens` (durations such as `6m0s`, `1s`, `20ms`, `7.66s`); Anthropic's `anthropic-ratelimit-*-reset` (RFC 3339);
OpenRouter's and others' `x-ratelimit-reset` (a moment, in seconds or milliseconds since 1970, or seconds from now);
the IETF's `RateLimit-Reset` (seconds from now) and `RateLimit: "name";r=0;t=30`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_RESET = re.compile(r"(?:(anthropic|x)-)?ratelimit(?:bysize)?-(?:(.+)-)?reset(?:-(.+))?")
# OpenAI: "Please try again in 1.2s", "in 6m0s", "in 20ms"; Azure: "Please retry after 26 seconds".
_IN_WORDS = re.compile(
    r"(?:try again|retry|retry after|available again) (?:in|after) ((?:\d+(?:\.\d+)?\s*(?:ms|milliseconds?|"
    r"seconds?|secs?|minutes?|mins?|hours?|[dhms])\s*)+)",
    re.IGNORECASE,
)
_WORDS = (("millisecond", "ms"), ("minute", "m"), ("min", "m"), ("second", "s"), ("sec", "s"), ("hour", "h"))
_YEAR_2001 = 1e9  # a larger number is a moment, not a duration
_LONGEST_SECONDS = 366 * 86_400.0  # a longer wait is not meant


def asked_wait(
    headers: Mapping[str, str], text: str = "", *, limited: bool = True, now: datetime | None = None
) -> float | None:
    """Seconds that the provider asks to wait, never negative; None where it does not say.

    Args:
        headers: of the response, names in lower case.
        text: its error message, read where no header helps.
        limited: it is a rate limit. Providers send the state of the limits with every response, also with a 503 that
            has nothing to do with them: then only a limit that is used up counts.
        now: what dates are measured from, in UTC.
    """
    waits = _waits(headers, text, limited, now or datetime.now(UTC))
    return next((wait for wait in waits if wait is not None and wait <= _LONGEST_SECONDS), None)


def _waits(headers: Mapping[str, str], text: str, limited: bool, now: datetime) -> Iterator[float | None]:
    """What each place says, the most telling one first."""
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        if (number := _number(headers.get(name))) is not None:
            yield number / 1000
    for name in ("retry-after", "x-retry-after"):
        yield _moment_or_duration(headers.get(name), now)
    resets = dict(_resets(headers, now))
    used_up = [wait for limit, wait in resets.items() if _remaining(headers, limit) == 0]
    yield max(used_up, default=None)
    if found := _IN_WORDS.search(text):
        yield _duration(found[1])
    if limited:  # nobody says which of the limits it is
        yield max(resets.values(), default=None)


def _resets(headers: Mapping[str, str], now: datetime) -> Iterator[tuple[str, float]]:
    for name, value in headers.items():
        if match := _RESET.fullmatch(name):
            wait = _moment_or_duration(value, now)
            if wait is not None:
                yield match[2] or match[3] or "", wait
    for item in headers.get("ratelimit", "").split(","):
        parts = dict(part.strip().partition("=")[::2] for part in re.split("[;,]", item))
        if (wait := _number(parts.get("t") or parts.get("reset"))) is not None:
            yield "", wait


def _remaining(headers: Mapping[str, str], limit: str) -> float | None:
    names = [f"x-ratelimit-remaining-{limit}", f"anthropic-ratelimit-{limit}-remaining"]
    if not limit:
        names = ["x-ratelimit-remaining", "ratelimit-remaining"]
    return next((number for name in names if (number := _number(headers.get(name))) is not None), None)


def _moment_or_duration(value: str | None, now: datetime) -> float | None:
    if value is None:
        return None
    value = value.split(",")[0] if value[:1].isdigit() else value  # a header that was sent twice
    if (number := _number(value)) is not None:
        if number > 1000 * _YEAR_2001:
            number /= 1000
        return max(number - now.timestamp(), 0.0) if number > _YEAR_2001 else number
    if (duration := _duration(value)) is not None:
        return duration
    try:
        moment = (
            datetime.fromisoformat(value.strip()) if value[:4].isdigit() else parsedate_to_datetime(value)
        )
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max((moment - now).total_seconds(), 0.0)
    except (ValueError, OverflowError, TypeError):
        return None  # no form that is known, or beyond the calendar: as if it had not been sent


def _duration(text: str) -> float | None:
    """`1h2m3.5s`, `20ms`, `26 seconds`."""
    plain = re.sub(r"\s+", "", text.strip().lower())
    for word, short in _WORDS:
        plain = re.sub(rf"{word}s?(?=\d|$)", short, plain)
    match = _DURATION.fullmatch(plain)
    if not match or not plain:
        return None
    days, hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds + milliseconds / 1000


def _number(text: str | None) -> float | None:
    if text is None or not _NUMBER.fullmatch(text.strip()):
        return None
    number = float(text)
    return number if math.isfinite(number) else None
