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

# The one table: every kind has its row. A reached limit is a 403 and a replay's gap a 404: no client tries them again.
FAILURES: dict[ModelErrorKind | Limit, Failure] = {
    ModelErrorKind.RATE_LIMITED: Failure(429, "rate_limit_error", "rate_limit_exceeded", "rate_limit_error"),
    ModelErrorKind.UNAVAILABLE: Failure(503, "server_error", "service_unavailable", "overloaded_error"),
    ModelErrorKind.TIMEOUT: Failure(504, "server_error", "timeout", "timeout_error"),
    ModelErrorKind.AUTH: Failure(401, _INVALID, "invalid_api_key", "authentication_error"),
    ModelErrorKind.BAD_RESPONSE: Failure(502, "server_error", None, _API),
    ModelErrorKind.CONTEXT_OVERFLOW: Failure(400, _INVALID, "context_length_exceeded", _INVALID),
    ModelErrorKind.LENGTH: Failure(400, _INVALID, None, _INVALID),
    ModelErrorKind.REFUSAL: Failure(400, _INVALID, "content_policy_violation", _INVALID),
    ModelErrorKind.BAD_REQUEST: Failure(400, _INVALID, None, _INVALID),
    ModelErrorKind.UNSUPPORTED: Failure(400, _INVALID, "unsupported_value", _INVALID),
    ModelErrorKind.INVALID_TOOL_CALL: Failure(400, _INVALID, "tool_use_failed", _INVALID),
    ModelErrorKind.TOO_LARGE: Failure(413, _INVALID, None, "request_too_large"),
    ModelErrorKind.NOT_ON_TAPE: Failure(404, "not_found_error", "not_on_tape", "not_found_error"),
    ModelErrorKind.INTERNAL: Failure(500, "server_error", None, _API),
    Limit.REACHED: Failure(403, "insufficient_quota", "insufficient_quota", "permission_error"),
}
