"""What providers' errors say, and what each means: one table for every dialect, whole, streamed and under status 200.

The patterns are searched in an error's codes, types and message, without regard to case. The first row that holds
decides. A new phrase of a provider is one new pattern in its row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bakeoff.errors import ModelErrorKind as Kind


@dataclass(frozen=True, slots=True)
class Rule:
    """One row.

    Attributes:
        kind: what the error means.
        source: whose error texts these are.
        said: the patterns.
        code_only: of a 4xx, only codes and types count.
        in_5xx: of a 5xx, the message counts too. Of every other row it does not: it may quote anything.
        no_status: holds only where no status is known, which would say it better.
    """

    kind: Kind
    source: str
    said: re.Pattern[str]
    code_only: bool = False
    in_5xx: bool = False
    no_status: bool = False


def _rule(kind: Kind, source: str, *patterns: str, **when: bool) -> Rule:
    return Rule(kind, source, re.compile("|".join(patterns), re.IGNORECASE), **when)


_TOOLS = r"(?:tool|function)s?(?:[ _-]?(?:use|call(?:s|ing)?|choice))?"
_NOT = r"(?:not|n't|no provider|no endpoints? found)"
_MAX = r"max_?(?:completion|output|new)?_?tokens[`'\"]?"

RULES: tuple[Rule, ...] = (
    _rule(
        Kind.BAD_REQUEST,
        "OpenRouter, OpenAI, Anthropic: what one prompt holds, such as an image, and this model does not take",
        r"support (?:image|audio|video|file|pdf)s? inputs?|image_url is only supported",
    ),
    _rule(
        Kind.INVALID_TOOL_CALL,
        "the model's call or its JSON was malformed; console.groq.com/docs/tool-use and /structured-outputs",
        r"tool_use_failed|json_validate_failed|output_parse_failed",
        r"failed to call a function|tool call validation failed",
        r"failed to (?:parse|validate) (?:the )?(?:tool|function) call",
        r"model (?:generated|produced|returned) (?:an )?(?:invalid|malformed) (?:sequence|tool|function)",
        r"HarmonyError|unexpected tokens? (?:remaining|\d+ while)",
    ),
    _rule(
        Kind.INVALID_TOOL_CALL,
        "Ollama, llama.cpp: the server's parser of the model's text, under a 500",
        r"error parsing tool call: raw=|failed to parse input at pos|failed to parse tool call arguments",
        in_5xx=True,
    ),
    _rule(Kind.UNSUPPORTED, "llama.cpp, under a 500", r"tools? param requires --jinja", in_5xx=True),
    _rule(
        Kind.LENGTH,
        "OpenAI: the model's answer did not fit into `max_tokens`",
        r"could not finish the message because max_tokens",
    ),
    _rule(
        Kind.UNSUPPORTED,
        "no tools with this model: OpenRouter, Ollama, vLLM, Groq, Google, Bedrock, DeepSeek",
        rf"{_TOOLS}`?\b.{{0,60}}\b(?:is|are) (?:not |un)(?:supported|enabled|available)",
        rf"{_NOT} (?:that |configured to )?(?:support|enable)\w*\b.{{0,40}}\b{_TOOLS}\b",
        r"tool_choice\b.{0,80}\b(?:incompatible|not support|forces tool use)",
        r"no endpoints found that (?:support|can handle)",
        r"enable-auto-tool-choice|tools are only supported",
    ),
    _rule(
        Kind.UNSUPPORTED,
        "`max_tokens` beyond the model: OpenAI, Anthropic, AWS, Groq, DeepSeek, Google, DashScope, Fireworks, Zhipu",
        rf"{_MAX}.{{0,60}}\b(?:too large|at most|less than or equal|must be between|exceeds the maximum)",
        rf"{_MAX}: \d+ (?:>|is not)|at most \d+ (?:completion|output) tokens|{_MAX}: integer (?:below|above)",
        r"maximum allowed number of output tokens|maximum tokens you requested exceeds",
        rf"(?:range of|invalid) {_MAX}|{_MAX}.{{0,60}}range|{_MAX}\s?参数",
        rf"{_MAX}.{{0,20}} must (?:be (?:greater|at least)(?!.{{0,20}}got -)|have stream)",
        r"streaming is required for operations",
    ),
    _rule(
        Kind.UNSUPPORTED,
        "a parameter that this model does not take; platform.openai.com/docs/guides/error-codes",
        r"\bunsupported[_ ](?:parameter|value)",
        r"does not support the (?:\S+ )?parameter|does not support parameters",
        r"(?:param(?:eter)?|argument)s?\b.{0,60}\bnot supported (?:with|by|for|on) (?:this|the) model",
        r"(?:deprecated|cannot both be specified) for this model",
        r"enable_thinking must be set|response_format\b.{0,40}\bunavailable",
    ),
    _rule(
        Kind.CONTEXT_OVERFLOW,
        "OpenAI, Anthropic, Google, AWS, Mistral, Cohere, Moonshot, Zhipu (1261), MiniMax, DashScope, Together,"
        " LiteLLM, GitHub, llama.cpp, LM Studio, vLLM, SGLang, TGI",
        r"context_length_exceeded|exceed_context_size|ContextWindowExceeded|model_context_window",
        r"max_prompt_tokens_exceeded|^1261\b|exceeds max length",
        r"maximum context length|context length is only|maximum prompt length|maximum model length",
        r"(?:prompt|input) (?:is )?too long|exceed(?:s|ed)? (?:the |max |available |maximum )*context",
        r"context (?:size|window).{0,30}exceed|exceed context limit|range of input length",
        r"input token count .*(?:exceeds|only supports)|input tokens exceed",
        r"exceeds the maximum number of tokens|number of input tokens.{0,20}(?:exceeds|cannot exceed)",
        r"too large for model with \d+ maximum|`inputs` tokens \+ `max_new_tokens` must be",
        r"(?:input|prompt).{0,40}\b(?:longer|more) than.{0,40}\bcontext|input length.{0,20}\bexceeds",
        r"`inputs` must have less than|too many tokens: (?:total|size)|exceeded model token limit",
        r"reduce the length of the (?:messages|input)|tokens to keep from the initial prompt|keep the first \d+ tokens",
        r"max_tokens must be at least 1, got -",
    ),
    _rule(Kind.RATE_LIMITED, "DashScope, beside the code `insufficient_quota`", r"allocated quota exceeded"),
    _rule(
        Kind.AUTH,
        "no money: OpenAI, Anthropic, Google, OpenRouter, Together, Moonshot, DeepSeek, DashScope, Zhipu (1113, 1309),"
        " MiniMax (1008), SiliconFlow, Hugging Face, xAI, LiteLLM",
        r"insufficient[_ ](?:quota|balance|credits?|funds)|credit balance is too low",
        r"(?:not enough|more|out of|all (?:available|your)|exhausted .{0,20}) credits?\b",
        r"payment[ _]required|billing_(?:error|hard_limit\w*|not_active)|arrearage|overdue.payment",
        r"budget.{0,20}exceeded|key limit exceeded|spending limit",
        r"usage limits?\b.{0,40}\bregain access|^(?:1113|1309|MiniMax-1008)\b|余额不足",
        r"exceeded_current_quota|balance is insufficient|credit[_ ]limit|included credits|enable billing",
    ),
    _rule(
        Kind.RATE_LIMITED,
        "OpenAI, Anthropic, Groq, AWS, Google, DashScope, LiteLLM, Zhipu (1302, 1303), MiniMax (1002, 1039, 1041)",
        r"\bThrottling(?:Exception)?\b|RateLimitReached|too[_ ]many[_ ]requests",
        r"\brate[-_ ]?limit(?:s|_?error|_exceeded|ed|ing)?\b|request was throttled",
        r"RESOURCE_EXHAUSTED|ServiceQuotaExceeded|\btokens per (?:minute|day)\b",
        r"\blimit_(?:requests|tokens|burst_rate)\b|^(?:1302|1303|MiniMax-(?:1002|1039|1041))\b",
    ),
    _rule(
        Kind.REFUSAL,
        "a filter: OpenAI, Azure, Anthropic, xAI, OpenRouter, DeepSeek, DashScope, Volcengine, Zhipu, MiniMax,"
        " Moonshot, LiteLLM, Portkey, Cloudflare",
        r"content_(?:filter|moderation|blocked)|content.?policy.?violation|ResponsibleAIPolicyViolation",
        r"content (?:management|filtering) policy|usage_policy_violation",
        r"violat\w+ (?:our |the )?(?:usage|content) (?:policy|policies|guidelines)",
        r"blocked by .*(?:safety|content filter|guardrail)|prompt_blocked|safety_block|SAFETY_CHECK",
        r"\bmoderation(?:_blocked)?\b|considered high risk|rejected by our safety system",
        r"guardrails?\b.{0,60}\b(?:failed|block|interven)|violated guardrail|(?:prompt|response) blocked",
        r"(?:was|is|been) flagged (?:by|for|as)|invalid_prompt",
        r"content exists risk|data_?inspection_?failed|bio_policy|cyber_policy|misalignment_policy",
        r"(?:inappropriate|prohibited) content|sensitive[_ ]?(?:content|words)|SensitiveContentDetected",
        r"RiskDetect|不安全或敏感|new_sensitive|^(?:1301|MiniMax-102[67])\b",
    ),
    _rule(
        Kind.AUTH,
        "key or account: OpenAI, Anthropic, Google, AWS, Groq, MiniMax (1004, 2049)",
        r"API key (?:not valid|expired)|^MiniMax-(?:1004|2049)\b|terms acceptance",
        r"(?:invalid|incorrect)[_ -]?(?:x-)?api[_ -]?key|authentication_error",
        r"Could not resolve authentication|Unable to locate cred|ExpiredToken|UnrecognizedClient",
        r"InvalidSignature|AccessDenied|permission_(?:error|denied)",
        r"(?:account|organization)\b.{0,30}(?:deactivated|suspended|disabled|banned|restricted|not active)",
        r"unsupported_country|country, region,? or territory|location is not supported",
    ),
    _rule(
        Kind.BAD_REQUEST,
        "OpenAI's Responses: what the request refers to is not kept",
        r"\bitem with id\b.{0,80}\bnot found|previous_response_not_found",
    ),
    _rule(
        Kind.AUTH,
        "an unknown model: OpenAI, Anthropic, Google, OpenRouter, DeepSeek, Mistral, Groq, Ollama, vLLM, Azure, AWS,"
        " Zhipu (1211), LiteLLM",
        r"model_not_(?:found|available|active|exist\w*)|model_decommissioned|unknown[_ ]model",
        r"invalid[_ ]model\b|not a valid model|model identifier is invalid|DeploymentNotFound",
        r"\bmodels?\b.{0,200}\b(?:does not exist|do(?:es)? not have access|not found|not exist)",
        r"\bmodels?\b.{0,200}\bbeen (?:decommissioned|deprecated)",
        r"\bmodels?\b.{0,100}\b(?:no longer (?:available|supported)|end of life|is not available)",
        r"no endpoints found for|not found the model|unable to access model|^not_found_error: model",
        r"\bNotFoundError\b|no (?:available )?channels? (?:available )?for model|^1211\b|模型不存在",
        r"on-demand throughput isn.t supported|does not work with the specified model|LLM Provider NOT provided",
    ),
    _rule(
        Kind.AUTH,
        "Anthropic, Google: an address or a model",
        r"\bnot_found_error\b|^\d*\s?NOT_FOUND\b",
        no_status=True,
    ),
    _rule(Kind.TOO_LARGE, "Anthropic", r"\brequest_too_large\b", no_status=True),
    _rule(
        Kind.UNAVAILABLE,
        "Anthropic, OpenAI, Google, AWS, Zhipu (1305)",
        r"overloaded|\bserver_error\b|internal_(?:server_)?error|api_error\b|InternalServer",
        r"service_?unavailable|\bUNAVAILABLE\b|\bINTERNAL\b|ModelNotReady|temporarily unavailable",
        r"no healthy upstream|upstream|bad gateway|(?:model|server) is (?:currently )?loading",
        r"server (?:is )?busy|at capacity|^1305\b",
        code_only=True,
    ),
    _rule(
        Kind.TIMEOUT,
        "OpenAI, Google, AWS",
        r"\btimeout(?:_error)?\b|timed[ _]out|DEADLINE_EXCEEDED|ModelTimeout",
        code_only=True,
    ),
    _rule(
        Kind.BAD_REQUEST,
        "OpenAI, Anthropic, Google, AWS, vLLM",
        r"invalid_request_error|INVALID_ARGUMENT|BadRequest|validation_?(?:error|exception)",
        no_status=True,
    ),
)

# By HTTP status, where no row holds. Other 3xx are BAD_RESPONSE, other 4xx BAD_REQUEST, all 5xx UNAVAILABLE.
BY_STATUS = {
    401: Kind.AUTH,
    402: Kind.AUTH,
    403: Kind.AUTH,
    404: Kind.AUTH,
    405: Kind.AUTH,
    407: Kind.UNAVAILABLE,  # a proxy wants to know who asks
    408: Kind.TIMEOUT,
    409: Kind.UNAVAILABLE,
    413: Kind.TOO_LARGE,
    424: Kind.UNAVAILABLE,
    425: Kind.UNAVAILABLE,
    429: Kind.RATE_LIMITED,
    498: Kind.UNAVAILABLE,  # Groq: flex capacity exceeded
    499: Kind.UNAVAILABLE,  # nginx, Google: the client's connection was cut
}


def by_status(status: int | None) -> Kind | None:
    """What a status alone means; None below 300."""
    if status is None or status < 300:
        return None
    rest = (Kind.BAD_RESPONSE, Kind.BAD_REQUEST, Kind.UNAVAILABLE)[min(status // 100, 5) - 3]
    return BY_STATUS.get(status, rest)


def by_text(codes: str, message: str, status: int | None = None) -> Kind | None:
    """What an error says; None where no row holds.

    Args:
        codes: its codes and types, with a blank between them.
        message: its words.
        status: HTTP's, or the one that the error itself names.
    """
    everything = f"{codes}: {message}" if codes else message
    server_error = status is not None and status >= 500
    client_error = status is not None and 400 <= status < 500
    for rule in RULES:
        if rule.no_status and status is not None:
            continue
        only_codes = (server_error and not rule.in_5xx) or (client_error and rule.code_only)
        if rule.said.search(codes if only_codes else everything):
            return _window(everything, rule.kind)
    return None


_N = r"[\d,_]+"
# Providers reject the sum of the prompt and of what is reserved for the answer, and say both.
_SUMS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?P<prompt>{_N}) in the messages.{{0,80}}?(?P<answer>{_N}) in the completion",
        rf"(?P<prompt>{_N}) of (?:text )?input.{{0,80}}?(?P<answer>{_N}) in the output",
        rf"context limit: (?P<prompt>{_N}) \+ (?P<answer>{_N}) >",
        rf"(?P<prompt>{_N}) `inputs` tokens and (?P<answer>{_N}) `max_new_tokens`",
        rf"(?P<prompt>{_N}) tokens from the input.{{0,40}}?(?P<answer>{_N}) tokens for the completion",
        rf"requested (?P<answer>{_N}) output tokens.{{0,60}}?(?P<prompt>{_N}) input tokens",
        rf"(?P<prompt>{_N}) (?:input|prompt) tokens.{{0,80}}?(?P<answer>{_N}) (?:output|completion) tokens",
        rf"too large: (?P<answer>{_N})\..{{0,120}}?request has (?P<prompt>{_N}) input tokens",
    )
)


def _window(text: str, kind: Kind) -> Kind:
    """Who fills the context window: the conversation, or the room that the request reserves for its answer.

    Where the reserved part is the larger one, the configuration is at fault, and the first call of every trial fails
    alike. Where the conversation is, it has outgrown the window.
    """
    if kind not in (Kind.UNSUPPORTED, Kind.CONTEXT_OVERFLOW):
        return kind
    for pattern in _SUMS:
        if match := pattern.search(text):
            prompt, answer = (int(re.sub(r"\D", "", match[name]) or 0) for name in ("prompt", "answer"))
            return Kind.UNSUPPORTED if answer > prompt else Kind.CONTEXT_OVERFLOW
    return kind
