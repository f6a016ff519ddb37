"""Why a reply of a model ended: what each provider's word for it means.

`WORDS` is the one table. A word that it does not have means `UNKNOWN`: nobody knows whether the model finished, so the
gateway treats the reply as the provider's broken answer and shows the word. It never passes for `stop`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Finish(StrEnum):
    """What a finish word means. The order is that of precedence, where a stream carries several words."""

    UNKNOWN = "unknown"
    BROKEN = "broken"  # the provider broke off: an error, an abort, no machines left
    REFUSAL = "refusal"  # the model, or the provider's filter for it, stopped the answer
    BAD_CALL = "bad_call"  # the model's tool call could not be read
    LENGTH = "length"  # a limit on tokens, or the context window
    CALLS = "calls"  # the model waits for its tools
    STOP = "stop"  # the model finished


_OPENAI = "https://platform.openai.com/docs/api-reference"

# Dialect or server, where its words are listed, and the words by meaning. Case and hyphens do not matter.
WORDS: tuple[tuple[str, str, dict[Finish, str]], ...] = (
    (
        "OpenAI chat completions",
        f"{_OPENAI}/chat/object",
        {
            Finish.STOP: "stop",
            Finish.CALLS: "tool_calls function_call",
            Finish.LENGTH: "length",
            Finish.REFUSAL: "content_filter",
        },
    ),
    (
        "OpenAI Responses: `status`, or the reason in `incomplete_details`",
        f"{_OPENAI}/responses/object",
        {
            Finish.STOP: "completed",
            Finish.LENGTH: "max_output_tokens",
            Finish.BROKEN: "failed cancelled in_progress queued incomplete",
        },
    ),
    (
        "Anthropic Messages",
        "https://docs.anthropic.com/en/api/handling-stop-reasons",
        {
            Finish.STOP: "end_turn stop_sequence compaction",
            Finish.CALLS: "tool_use pause_turn",
            Finish.LENGTH: "max_tokens model_context_window_exceeded",
            Finish.REFUSAL: "refusal",
        },
    ),
    (
        "Google Gemini: FinishReason, and BlockedReason of the prompt",
        "https://ai.google.dev/api/generate-content#FinishReason",
        {
            Finish.STOP: "stop",
            Finish.LENGTH: "max_tokens continuation",
            Finish.REFUSAL: "safety recitation language blocklist prohibited_content spii image_safety"
            " image_prohibited_content image_recitation model_armor jailbreak blocked_other",
            Finish.BAD_CALL: "malformed_function_call unexpected_tool_call too_many_tool_calls",
        },
    ),
    (
        "Amazon Bedrock Converse",
        "https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html",
        {
            Finish.STOP: "end_turn stop_sequence",
            Finish.CALLS: "tool_use",
            Finish.LENGTH: "max_tokens model_context_window_exceeded",
            Finish.REFUSAL: "guardrail_intervened content_filtered",
            Finish.BAD_CALL: "malformed_model_output malformed_tool_use",
        },
    ),
    (
        "Mistral",
        "https://docs.mistral.ai/api/endpoint/chat",
        {
            Finish.STOP: "stop",
            Finish.CALLS: "tool_calls",
            Finish.LENGTH: "length model_length",
            Finish.BROKEN: "error",
        },
    ),
    (
        "Cohere",
        "https://docs.cohere.com/reference/chat",
        {
            Finish.STOP: "complete stop_sequence",
            Finish.CALLS: "tool_call",
            Finish.LENGTH: "max_tokens error_limit",
            Finish.REFUSAL: "error_toxic",
            Finish.BROKEN: "error timeout user_cancel",
        },
    ),
    (
        "DeepSeek",
        "https://api-docs.deepseek.com/api/create-chat-completion",
        {Finish.BROKEN: "insufficient_system_resource"},
    ),
    (
        "Zhipu (GLM), Tencent Hunyuan",
        "https://docs.z.ai/api-reference/llm/chat-completion",
        {Finish.REFUSAL: "sensitive", Finish.BROKEN: "network_error"},
    ),
    ("Baidu Qianfan", "https://cloud.baidu.com/doc/qianfan-api", {Finish.STOP: "normal"}),
    (
        "Amazon Titan, AI21",
        "https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html",
        {Finish.STOP: "finish finished endoftext"},
    ),
    (
        "LM Studio",
        "https://lmstudio.ai/docs/typescript/api-reference/llm-prediction-stop-reason",
        {
            Finish.STOP: "eosfound stopstringfound",
            Finish.CALLS: "toolcalls",
            Finish.LENGTH: "maxpredictedtokensreached contextlengthreached",
            Finish.BROKEN: "userstopped modelunloaded failed",
        },
    ),
    (
        "OpenRouter and other routers, in their own spelling",
        "https://openrouter.ai/docs/api-reference/errors",
        {
            Finish.CALLS: "tool-calls",
            Finish.REFUSAL: "content-filter moderation",
            Finish.BROKEN: "error engine_overloaded overloaded",
        },
    ),
    (
        "vLLM, SGLang",
        "https://docs.vllm.ai/en/latest/api/vllm/v1/engine/",
        # `repetition`: the server stops a model that repeats itself
        {Finish.BROKEN: "abort error", Finish.LENGTH: "repetition"},
    ),
    (
        "Text Generation Inference, Together, IBM watsonx",
        "https://huggingface.co/docs/text-generation-inference/reference/api_reference",
        {
            Finish.STOP: "eos_token eos stop_sequence",
            Finish.LENGTH: "length token_limit context_length_exceeded",
            Finish.BROKEN: "not_finished cancelled time_limit error",
        },
    ),
    (
        "Ollama: `load` and `unload` answer a request that generated nothing",
        "https://github.com/ollama/ollama/blob/main/docs/api.md",
        {Finish.STOP: "stop", Finish.LENGTH: "length", Finish.BROKEN: "load unload"},
    ),
)

_MEANINGS: dict[str, Finish] = {
    word.replace("-", "_"): finish
    for _, _, table in WORDS
    for finish, words in table.items()
    for word in words.split()
}
_LONGEST = max(map(len, _MEANINGS))
_PRECEDENCE = list(Finish)

# Where LangChain's classes put the word in `response_metadata`.
_KEYS = ("finish_reason", "stop_reason", "stopReason", "done_reason")
# How an API spells "not yet": no word at all.
_NO_WORD = re.compile("null|none|(?:finish_reason_)?unspecified")


def deciding(before: str | None, word: str) -> str | None:
    """Of two words of one stream, the one that decides, where the later one is a word at all."""
    found = [(one, found[1]) for one in (before, word) if (found := meaning(one))]
    return min(found, key=lambda one: _PRECEDENCE.index(one[1]), default=(before, None))[0]


def meaning(word: str | None) -> tuple[str, Finish] | None:
    """The word that decides, and what it means; None where there is no word.

    Some gateways send the word in two chunks of a stream, and LangChain joins them: `stopstop` is `stop`. Of several
    words the one decides that is first in `Finish`.
    """
    plain = _NO_WORD.sub("", (word or "").strip().lower().replace("-", "_"))
    if not plain:
        return None
    parts = _parts(plain.removeprefix("finish_reason_"))
    if parts is None:
        return str(word), Finish.UNKNOWN
    return min(((part, _MEANINGS[part]) for part in parts), key=lambda one: _PRECEDENCE.index(one[1]))


def word_of(metadata: Mapping[str, Any]) -> str | None:
    """The finish word in LangChain's `response_metadata`, of any provider's class."""
    for key in _KEYS:
        if metadata.get(key):
            return str(metadata[key])
    status = metadata.get("status")  # of the Responses API
    details = metadata.get("incomplete_details")
    if status == "incomplete" and isinstance(details, Mapping) and details.get("reason"):
        return str(details["reason"])
    return status if isinstance(status, str) else None


def _parts(text: str, most: int = 8) -> list[str] | None:
    """The known words that `text` is made of, one after the other; None where it is not."""
    if text in _MEANINGS:
        return [text]
    if most == 0:
        return None
    for length in range(min(_LONGEST, len(text) - 1), 0, -1):
        if text[:length] in _MEANINGS and (rest := _parts(text[length:], most - 1)) is not None:
            return [text[:length], *rest]
    return None
