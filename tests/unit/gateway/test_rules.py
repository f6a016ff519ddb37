"""What providers' error texts mean, and how long they ask to wait."""

# ruff: noqa: E501 - one case a line

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bakeoff.errors import ModelErrorKind as Kind
from bakeoff.gateway.faults import heard
from bakeoff.gateway.rules import RULES, by_status, by_text
from bakeoff.gateway.transport.raw import RawReply
from bakeoff.gateway.transport.retry_after import asked_wait

SAID = [
    # status, codes, message, kind
    (429, "insufficient_quota", "You exceeded your current quota", Kind.AUTH),
    (402, "Insufficient Balance", "", Kind.AUTH),
    (None, "402", "Not enough credits for this request, or lower max_tokens.", Kind.AUTH),
    (402, "402", "This request requires more credits, or fewer max_tokens. You requested up to 4096 tokens", Kind.AUTH),
    (403, "403", "Key limit exceeded (total limit)", Kind.AUTH),
    (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API.", Kind.AUTH),
    (429, "1113", "余额不足", Kind.AUTH),
    (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, check your plan and billing", Kind.RATE_LIMITED),
    (413, "tokens rate_limit_exceeded", "Request too large on tokens per minute (TPM): Limit 6000", Kind.RATE_LIMITED),
    (None, "ThrottlingException", "Too many requests, please wait", Kind.RATE_LIMITED),
    (403, "403", "Your chosen model requires moderation and your input was flagged", Kind.REFUSAL),
    (403, "moderation", "The input was flagged by moderation. No credits were charged.", Kind.REFUSAL),
    (403, "permission_denied", "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO", Kind.REFUSAL),
    (400, "invalid_request_error", "Content Exists Risk", Kind.REFUSAL),
    (400, "data_inspection_failed", "Input data may contain inappropriate content.", Kind.REFUSAL),
    (400, "1301", "系统检测到输入或生成内容可能包含不安全或敏感内容", Kind.REFUSAL),
    (400, "content_filter", "The response was filtered", Kind.REFUSAL),
    (400, "invalid_request_error", "Output blocked by content filtering policy", Kind.REFUSAL),
    (404, "404", 'No endpoints found that support tool use. Try disabling "get_order".', Kind.UNSUPPORTED),
    (400, "", "registry.ollama.ai/library/gemma:2b does not support tools", Kind.UNSUPPORTED),
    (400, "invalid_request_error", "`tool calling` is not supported with this model", Kind.UNSUPPORTED),
    (400, "INVALID_ARGUMENT", "Function calling is not enabled for models/gemma-3", Kind.UNSUPPORTED),
    (400, "", '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser', Kind.UNSUPPORTED),
    (400, "ValidationException", "This model doesn't support tool use in streaming mode.", Kind.UNSUPPORTED),
    (400, "", "max_tokens is too large: 100000. This model supports at most 16384 completion tokens", Kind.UNSUPPORTED),
    (400, "", "max_tokens: 100000 > 8192, which is the maximum allowed number of output tokens", Kind.UNSUPPORTED),
    (400, "", "`max_tokens` must be less than or equal to `8192`", Kind.UNSUPPORTED),
    (400, "", "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", Kind.UNSUPPORTED),
    (400, "", "it has a maxOutputTokens value of 100000 but the supported range is from 1 to 8193", Kind.UNSUPPORTED),
    (400, "unsupported_value", "Unsupported value: 'temperature' does not support 0.2 with this model.", Kind.UNSUPPORTED),
    (
        400,
        "context_length_exceeded",
        "maximum context length is 8192 tokens. However, you requested 10000 tokens (2000 in the messages, 8000 in the"
        " completion).",
        Kind.UNSUPPORTED,
    ),
    (
        400,
        "context_length_exceeded",
        "maximum context length is 8192 tokens. However, you requested 10000 tokens (9000 in the messages, 1000 in the"
        " completion).",
        Kind.CONTEXT_OVERFLOW,
    ),
    (
        400,
        "",
        "'max_tokens' is too large: 9000. This model's maximum context length is 8192 tokens and your request has 30"
        " input tokens (9000 > 8192 - 30).",
        Kind.UNSUPPORTED,
    ),
    (
        400,
        "",
        "'max_tokens' is too large: 900. This model's maximum context length is 8192 tokens and your request has 7800"
        " input tokens (900 > 8192 - 7800).",
        Kind.CONTEXT_OVERFLOW,
    ),
    (400, "", "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000", Kind.CONTEXT_OVERFLOW),
    (400, "", "input length and `max_tokens` exceed context limit: 900 + 300000 > 200000", Kind.UNSUPPORTED),
    (400, "", "prompt is too long: 210000 tokens > 200000 maximum", Kind.CONTEXT_OVERFLOW),
    (400, "", "Prompt contains 40000 tokens, too large for model with 32768 maximum context length", Kind.CONTEXT_OVERFLOW),
    (400, "tool_use_failed", "Failed to call a function. Please adjust your prompt.", Kind.INVALID_TOOL_CALL),
    (400, "", "tool call validation failed: attempted to call tool 'x'", Kind.INVALID_TOOL_CALL),
    (400, "", "foo/bar is not a valid model ID", Kind.AUTH),
    (400, "invalid_request_error", "Model Not Exist", Kind.AUTH),
    (400, "invalid_model", "Invalid model: mistral-huge", Kind.AUTH),
    (400, "model_decommissioned", "The model `x` has been decommissioned", Kind.AUTH),
    (404, "model_not_found", "The model `m-1` does not exist", Kind.AUTH),
    (404, "NOT_FOUND", "models/gemini-9 is not found for API version v1beta", Kind.AUTH),
    (401, "invalid_api_key", "Incorrect API key provided", Kind.AUTH),
    (None, "overloaded_error", "Overloaded", Kind.UNAVAILABLE),
    (None, "server_error", "The server had an error", Kind.UNAVAILABLE),
    (529, "overloaded_error", "Overloaded", Kind.UNAVAILABLE),
    (None, "invalid_request_error", "messages: field required", Kind.BAD_REQUEST),
    (404, "404", "No endpoints found that support image input", Kind.BAD_REQUEST),
    (None, "request_too_large", "Request exceeds the maximum size", Kind.TOO_LARGE),
    (None, "not_found_error", "model: m", Kind.AUTH),
    (500, "", "it says: invalid_api_key, content_filter, context_length_exceeded", None),
    (400, "", "the upstream rejected `messages`", None),
]  # fmt: skip


@pytest.mark.parametrize(("status", "codes", "message", "kind"), SAID)
def test_what_an_error_says(status: int | None, codes: str, message: str, kind: Kind | None) -> None:
    assert by_text(codes, message, status) is kind


def test_every_row_has_a_case_and_a_source() -> None:
    for rule in RULES:
        assert rule.source
        assert rule.kind in {kind for *_, kind in SAID} | {error["kind"] for error in ERRORS}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, None),
        (307, Kind.BAD_RESPONSE),
        (400, Kind.BAD_REQUEST),
        (403, Kind.AUTH),
        (408, Kind.TIMEOUT),
        (413, Kind.TOO_LARGE),
        (429, Kind.RATE_LIMITED),
        (422, Kind.BAD_REQUEST),
        (500, Kind.UNAVAILABLE),
        (504, Kind.UNAVAILABLE),
        (529, Kind.UNAVAILABLE),
    ],
)
def test_a_status_alone(status: int, kind: Kind | None) -> None:
    assert by_status(status) is kind


NOW = datetime(2026, 1, 1, tzinfo=UTC)
EPOCH = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("headers", "text", "seconds"),
    [
        ({"retry-after": "7"}, "", 7.0),
        ({"retry-after": "1.5"}, "", 1.5),
        ({"retry-after": "30s"}, "", 30.0),
        ({"retry-after": "7, 7"}, "", 7.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:09 GMT"}, "", 9.0),
        ({"retry-after": "Wed, 31 Dec 2025 00:00:09 GMT"}, "", 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, "", 0.25),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0s"}, "", 360.0),
        (
            {
                "x-ratelimit-reset-requests": "20ms",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "6m0s",
                "x-ratelimit-remaining-tokens": "900",
            },
            "",
            0.02,
        ),
        ({"x-ratelimit-reset": str(EPOCH + 12)}, "", 12.0),
        ({"x-ratelimit-reset": str((EPOCH + 12) * 1000)}, "", 12.0),
        ({"x-ratelimit-reset": "12"}, "", 12.0),
        ({"anthropic-ratelimit-requests-reset": "2026-01-01T00:00:11Z"}, "", 11.0),
        ({"ratelimit-reset": "40"}, "", 40.0),
        ({"ratelimit": '"default";r=0;t=30'}, "", 30.0),
        ({"ratelimit": "limit=10, remaining=0, reset=50"}, "", 50.0),
        ({"x-ratelimitbysize-reset": "34"}, "", 34.0),
        ({"x-ratelimit-reset-tokens": "6m0s", "x-ratelimit-remaining-tokens": "900"}, "try again in 2s", 2.0),
        ({}, "Rate limit reached. Please try again in 1m26.4s.", 86.4),
        ({}, "Please retry after 26 seconds.", 26.0),
        ({}, "Please try again in 20ms.", 0.02),
        ({"retry-after": "soon"}, "", None),
        ({"retry-after": "-5"}, "", None),
        ({"retry-after": "inf"}, "", None),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 -1200"}, "", None),
        ({}, "", None),
    ],
)
def test_how_long_a_provider_asks_to_wait(headers: dict[str, str], text: str, seconds: float | None) -> None:
    found = asked_wait(headers, text, now=NOW)
    assert found == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(("remaining", "seconds"), [("900", None), ("0", 360.0)])
def test_a_failure_that_is_no_rate_limit_waits_for_a_used_up_limit_only(
    remaining: str, seconds: float | None
) -> None:
    headers = {"x-ratelimit-reset-tokens": "6m0s", "x-ratelimit-remaining-tokens": remaining}
    assert asked_wait(headers, limited=False) == seconds


ERRORS = [json.loads(line) for line in Path(__file__).with_name("errors.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: json.dumps(error)[:120])
def test_what_a_body_says(error: dict[str, Any]) -> None:
    raw = RawReply()
    raw.begin(error["status"], {"content-type": "application/json"})
    raw.feed(json.dumps(error["body"]).encode())
    raw.end()
    fault = heard(raw, now=NOW)
    assert (fault.kind, fault.retry_after_seconds) == (error["kind"], error.get("wait"))
