"""Amazon Bedrock's classes, where they are installed (`pip install langchain-aws`): whole, and as event streams."""

import base64
import json
import struct
from binascii import crc32
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import messages_from_dict

from bakeoff import gateway
from bakeoff.config.schema import Candidate
from bakeoff.errors import ModelCallError, ModelErrorKind
from bakeoff.gateway.policy.retry import RetryPolicy
from bakeoff.gateway.types import ChatBackend, JsonDict
from tests.fakes.provider_server import Answer, ProviderServer
from tests.unit.gateway.models.test_providers import CALL, TOOL, request, say
from tests.unit.gateway.models.test_shapes import ARGS, TEXT, message, spoken

pytest.importorskip("langchain_aws")

K = ModelErrorKind
MODEL = "anthropic.claude-3-5-sonnet-20240620-v1:0"


def frame(payload: JsonDict, **headers: str) -> bytes:
    """One message of an AWS event stream: prelude, headers, payload, and a checksum of each half."""
    head = b"".join(
        bytes([len(name) + 1]) + b":" + name.replace("_", "-").encode()
        # 7: a string
        + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in headers.items()
    )  # fmt: skip
    body = json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(head) + len(body), len(head))
    begun = prelude + struct.pack(">I", crc32(prelude)) + head + body
    return begun + struct.pack(">I", crc32(begun))


def event(kind: str, **payload: Any) -> bytes:
    return frame(payload, message_type="event", event_type=kind, content_type="application/json")


def exception(kind: str, text: str) -> bytes:
    return frame({"message": text}, message_type="exception", exception_type=kind)


def stream(*frames: bytes) -> Answer:
    return say(200, b"".join(frames), content_type="application/vnd.amazon.eventstream")


def error(status: int, code: str, text: str) -> Answer:
    return say(status, {"message": text}, {"x-amzn-errortype": code})


# --- Converse

USAGE = {"inputTokens": 20, "outputTokens": 9, "totalTokens": 29, "cacheReadInputTokens": 5}
METADATA = event("metadata", usage=USAGE, metrics={"latencyMs": 12})
BEGUN = [
    event("messageStart", role="assistant"),
    event("contentBlockDelta", contentBlockIndex=0, delta={"text": TEXT}),
]
SAID = [*BEGUN, event("contentBlockStop", contentBlockIndex=0)]
USE = {"toolUseId": "tooluse_1", "name": "get_order"}
CALLED = [
    BEGUN[0],
    event("contentBlockStart", contentBlockIndex=0, start={"toolUse": USE}),
    event("contentBlockDelta", contentBlockIndex=0, delta={"toolUse": {"input": ARGS[:9]}}),
    event("contentBlockDelta", contentBlockIndex=0, delta={"toolUse": {"input": ARGS[9:]}}),
    event("contentBlockStop", contentBlockIndex=0),
]


def converse(word: str, content: list[JsonDict]) -> Answer:
    said = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": word}
    return say(200, {**said, "usage": USAGE, "metrics": {"latencyMs": 3}})


def converse_stream(word: str, *frames: bytes) -> Answer:
    return stream(*frames, event("messageStop", stopReason=word), METADATA)


# --- InvokeModel, which wraps Anthropic's own events

COUNTED = {
    "x-amzn-bedrock-input-token-count": "20",
    "x-amzn-bedrock-output-token-count": "9",
    "x-amzn-bedrock-cache-read-input-token-count": "5",
}
METRICS = {"inputTokenCount": 20, "outputTokenCount": 9, "cacheReadInputTokenCount": 5}


def wrapped(value: JsonDict) -> bytes:
    return event("chunk", bytes=base64.b64encode(json.dumps(value).encode()).decode())


def invoke(stop: str, content: list[JsonDict]) -> Answer:
    return say(200, message(content, stop), COUNTED)


def invoke_stream(stop: str | None, *more: bytes) -> Answer:
    events = [json.loads(text.partition("data: ")[2]) for text in spoken(stop)]
    if stop:
        events[-1]["amazon-bedrock-invocationMetrics"] = METRICS
    return stream(*map(wrapped, events), *more)


TEXT_BLOCK = {"text": TEXT}
BUSY = "The system encountered an unexpected error during processing. Try your request again."
ROWS: list[tuple[str, str, Answer | None, Answer | None, Any]] = [
    # provider, name, whole, streamed; the finish word of a reply or the kind of an error
    *(
        row
        for word in ("end_turn", "max_tokens", "stop_sequence")
        for row in (
            ("bedrock_converse", word, converse(word, [TEXT_BLOCK]), converse_stream(word, *SAID), word),
            ("bedrock", word, invoke(word, [{"type": "text", **TEXT_BLOCK}]), invoke_stream(word), word),
        )
    ),
    *(
        ("bedrock_converse", word, converse(word, []), converse_stream(word, BEGUN[0]), word)
        for word in ("guardrail_intervened", "content_filtered", "malformed_model_output", "malformed_tool_use")
    ),
    (
        "bedrock_converse",
        "call",
        converse("tool_use", [{"toolUse": {**USE, "input": json.loads(ARGS)}}]),
        converse_stream("tool_use", *CALLED),
        "tool_use",
    ),
    ("bedrock", "refusal", invoke("refusal", []), invoke_stream("refusal"), "refusal"),
    *(
        row
        for word in ("eaten_by_a_bear",)
        for row in (
            ("bedrock_converse", word, converse(word, []), converse_stream(word, *SAID), K.BAD_RESPONSE),
            ("bedrock", word, invoke(word, []), invoke_stream(word), K.BAD_RESPONSE),
        )
    ),
    ("bedrock_converse", "cut", None, stream(*BEGUN), K.UNAVAILABLE),
    ("bedrock", "cut", None, invoke_stream(None), K.UNAVAILABLE),
    ("bedrock_converse", "damaged", None, stream(*BEGUN, METADATA[:-3] + b"xyz"), K.BAD_RESPONSE),
    ("bedrock_converse", "page", *[say(200, "<html>x</html>", content_type="text/html")] * 2, K.BAD_RESPONSE),
    ("bedrock_converse", "nothing", say(200, {}), None, K.BAD_RESPONSE),
    *(
        row
        for code, text, kind in (
            ("throttlingException", "Too many requests", K.RATE_LIMITED),
            ("modelStreamErrorException", BUSY, K.UNAVAILABLE),
            ("modelStreamErrorException", "Model produced invalid sequence as part of ToolUse.", K.INVALID_TOOL_CALL),
            ("internalServerException", BUSY, K.UNAVAILABLE),
            ("serviceUnavailableException", BUSY, K.UNAVAILABLE),
            ("validationException", "Malformed input request", K.BAD_REQUEST),
            ("validationException", "Input is too long for requested model.", K.CONTEXT_OVERFLOW),
        )
        for row in (
            ("bedrock_converse", code, None, stream(*BEGUN, exception(code, text)), kind),
            ("bedrock", code, None, invoke_stream(None, exception(code, text)), kind),
        )
    ),
    ("bedrock", "timeout", None, invoke_stream(None, exception("modelTimeoutException", BUSY)), K.TIMEOUT),
    *(
        row
        for status, code, text, kind in (
            (429, "ThrottlingException", "Too many tokens, please wait before trying again.", K.RATE_LIMITED),
            (429, "ModelNotReadyException", "Model is not ready for inference", K.UNAVAILABLE),
            (400, "ServiceQuotaExceededException", "Your request exceeds the service quota.", K.RATE_LIMITED),
            (400, "ValidationException", "This model doesn't support tool use.", K.UNSUPPORTED),
            (400, "ValidationException", "The provided model identifier is invalid.", K.AUTH),
            (403, "AccessDeniedException", "You don't have access to the model.", K.AUTH),
            (408, "ModelTimeoutException", "It took too long", K.TIMEOUT),
            (424, "ModelErrorException", BUSY, K.UNAVAILABLE),
            (500, "InternalServerException", BUSY, K.UNAVAILABLE),
        )
        for row in (
            ("bedrock_converse", code, *[error(status, code, text)] * 2, kind),
            ("bedrock", code, *[error(status, code, text)] * 2, kind),
        )
    ),
]  # fmt: skip


def cases() -> Iterator[Any]:
    for provider, name, *answers, expected in ROWS:
        for streamed, answer in enumerate(answers):
            if answer is not None:
                how = "streamed" if streamed else "whole"
                yield pytest.param(
                    provider, answer, bool(streamed), expected, id=f"{provider}, {name}, {how}"
                )


def bedrock(server: ProviderServer, monkeypatch: pytest.MonkeyPatch, provider: str) -> ChatBackend:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    who = Candidate(
        name="c", model=f"{provider}:{MODEL}", base_url=server.url, params={"region_name": "us-east-1"}
    )
    return gateway.open_backend(who, environ={}, retry=RetryPolicy(0))


@pytest.mark.parametrize(("provider", "answer", "streamed", "expected"), list(cases()))
def test_what_its_class_hands_on(
    server: ProviderServer,
    monkeypatch: pytest.MonkeyPatch,
    provider: str,
    answer: Answer,
    streamed: bool,
    expected: Any,
) -> None:
    model = bedrock(server.answers(answer), monkeypatch, provider)
    asked = request(stream=streamed, tools=[TOOL])
    if isinstance(expected, ModelErrorKind):
        with pytest.raises(ModelCallError) as caught:
            model.complete(asked, CALL)
        assert caught.value.kind is expected, caught.value
    else:
        reply = model.complete(asked, CALL)
        [seen] = messages_from_dict([reply.message])
        assert reply.finish_reason == expected
        assert (reply.input_tokens, reply.output_tokens, reply.cached_tokens) == (25, 9, 5)
        assert seen.text in ("", TEXT)
        made = [call["args"] for call in seen.tool_calls]  # type: ignore[attr-defined]
        assert made == ([json.loads(ARGS)] if expected == "tool_use" else [])
    assert len(server.requests) == 1


@pytest.mark.parametrize("provider", ["bedrock", "bedrock_converse"])
def test_a_proxy_of_the_environment_does_not_get_what_goes_to_loopback(
    server: ProviderServer, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    answer = {
        "bedrock": invoke("end_turn", [{"type": "text", **TEXT_BLOCK}]),
        "bedrock_converse": converse("end_turn", [TEXT_BLOCK]),
    }[provider]
    bedrock(server.answers(answer), monkeypatch, provider).complete(request(tools=[TOOL]), CALL)
    assert len(server.requests) == 1
