"""How a call that failed for good is said in each provider's words: status, type and code."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from bakeoff.errors import ModelErrorKind


class Limit(Enum):
    """A limit of the harness is used up: no provider has a word for that."""

    REACHED = "limit"


@dataclass(frozen=True, slots=True)
class Failure:
    """One class of failure. Sources: the providers' own error references."""

    status: int
    openai: str  # error.type
    code: str | None  # OpenAI's error.code
    anthropic: str  # error.type


_INVALID, _API = "invalid_request_error", "api_error"

# The one table. A kind that no provider knows stands with INTERNAL. A reached limit is a 403: no client tries it again.
FAILURES: dict[ModelErrorKind | Limit, Failure] = {
    ModelErrorKind.RATE_LIMITED: Failure(429, "rate_limit_error", "rate_limit_exceeded", "rate_limit_error"),
    ModelErrorKind.UNAVAILABLE: Failure(503, "server_error", "service_unavailable", "overloaded_error"),
    ModelErrorKind.TIMEOUT: Failure(504, "server_error", "timeout", "timeout_error"),
    ModelErrorKind.AUTH: Failure(401, _INVALID, "invalid_api_key", "authentication_error"),
    ModelErrorKind.BAD_RESPONSE: Failure(502, "server_error", None, _API),
    ModelErrorKind.CONTEXT_OVERFLOW: Failure(400, _INVALID, "context_length_exceeded", _INVALID),
    ModelErrorKind.REFUSAL: Failure(400, _INVALID, "content_policy_violation", _INVALID),
    ModelErrorKind.BAD_REQUEST: Failure(400, _INVALID, None, _INVALID),
    ModelErrorKind.INTERNAL: Failure(500, "server_error", None, _API),
    Limit.REACHED: Failure(403, "insufficient_quota", "insufficient_quota", "permission_error"),
}


def failure(kind: ModelErrorKind | Limit) -> Failure:
    """The row of a kind."""
    return FAILURES.get(kind, FAILURES[ModelErrorKind.INTERNAL])
