"""Keeping keys out of everything that is written down: error messages, evidence, logs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

MAX_MESSAGE_CHARS = 2_000
MASK = "[redacted]"

# A variable whose name says so holds a secret. Shorter values ("1", "none", "test") would mask ordinary
# words.
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|_PAT$", re.IGNORECASE)
_SHORTEST_SECRET = 8

# What keys look like, for keys that are in no known variable. Providers echo them half-masked:
# `sk-ab***yz`.
_LOOKS_LIKE_KEY = re.compile(
    r"""
      \b(?:sk|pk|rk|gsk|xai|pplx|hf|lsv2|tgp|fw|csk|nvapi|r8)[-_][\w*.\-]{6,}   # OpenAI, Anthropic, xAI, ...
    | \bAIza[\w*\-]{10,}                                                     # Google
    | \b(?:AKIA|ASIA)[A-Z0-9*]{12,}                                          # AWS
    | \b(?:gh[pousr]|github_pat)_\w{10,}                                     # GitHub
    | \beyJ[\w\-]{8,}\.[\w\-]{8,}\.[\w\-]*                                   # JSON Web Token
    | (?<=://)[^/\s:@]+:[^/\s@]+(?=@)                                        # user:password@host
    | (?<=Bearer\ )[\w.~+/*=\-]{6,}
    | (?i:(?<=key=)|(?<=token=))[\w.~+/*%\-]{6,}                             # ?key=...
    | (?i:(?<=x-api-key:\ ))\S{6,}
    """,
    re.VERBOSE,
)


def secrets_of(environ: Mapping[str, str], *, also: Iterable[str | None] = ()) -> tuple[str, ...]:
    """The secret values of an environment: those of variables named like one, and `also`. Longest first."""
    named = (value for name, value in environ.items() if _SECRET_NAME.search(name))
    found = {value for value in (*named, *also) if value and len(value) >= _SHORTEST_SECRET}
    return tuple(sorted(found, key=len, reverse=True))


def masked(value: Any, secrets: tuple[str, ...]) -> Any:
    """A JSON value with every known secret masked in its texts, keys of objects too.

    Only known values: what merely looks like a key may be the agent's data, and must stay unchanged.
    """
    if not secrets:
        return value
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, MASK)
        return value
    if isinstance(value, dict):
        return {masked(key, secrets): masked(one, secrets) for key, one in value.items()}
    if isinstance(value, list):
        return [masked(one, secrets) for one in value]
    return value


def redact(text: str, secrets: Iterable[str] = (), *, limit: int = MAX_MESSAGE_CHARS) -> str:
    """`text` without `secrets` and without anything that looks like a key, at most `limit` characters.

    Redaction comes before the cut: no half of a key stays at the end.
    """
    for secret in secrets:
        text = text.replace(secret, MASK)
    text = _LOOKS_LIKE_KEY.sub(MASK, text)
    return text if len(text) <= limit else text[: limit - 1] + "…"
