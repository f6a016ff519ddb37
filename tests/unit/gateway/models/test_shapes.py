"""Shapes of replies, one table: what the harness sees, and what the record says.

Each shape is served over HTTP to the real client of its provider, whole and streamed.
"""

# ruff: noqa: E501 - one case a line

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain_core.messages import messages_from_dict

from bakeoff.errors import ModelCallError, ModelErrorKind
from bakeoff.gateway.types import JsonDict, ModelReply
from bakeoff.record.messages import answer_facts
from tests.fakes.provider_server import ProviderServer
from tests.unit.gateway.models.test_providers import CALL, CLAUDE, TOOL, backend, request, say

K = ModelErrorKind
TEXT = "The order A-17 is shipped."
ARGS = '{"order_id": "A-17"}'


@dataclass(frozen=True)
class Shape:
    """One row. `error` is the kind of a failed call; without one the rest must hold."""

    name: str
    model: str
    whole: Any = None  # body, or (status, body)
    events: list[Any] | None = None  # of the stream: objects, or raw text
    error: ModelErrorKind | None = None
    text: str = ""
    calls: list[str] = field(default_factory=list)
    finish: str | None = "stop"
    tokens: tuple[int | None, int | None, int | None] = (None, None, None)  # input, output, cached
    reasoning: str | None = None
    facts: str = ""  # what is true of the answer: truncated, refusal, invalid_tool_call
    asks: JsonDict = field(default_factory=dict)  # the request's, beside its messages


# --- chat completions ----------------------------------------------------------------------------------

USAGE = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}


def chat(content: str | None = TEXT, finish: str | None = "stop", usage: Any = None, **more: Any) -> JsonDict:
    top = {key: more.pop(key) for key in ("error", "x_groq", "choices") if key in more}
    on_choice = {key: more.pop(key) for key in ("choice_error",) if key in more}
    choice: JsonDict = {"index": 0, "message": {"role": "assistant", "content": content, **more}}
    choice["finish_reason"] = finish
    if on_choice:
        choice["error"] = on_choice["choice_error"]
    body = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return {**body, **({"usage": usage} if usage else {}), **top}


def chunk(delta: JsonDict | None = None, finish: str | None = None, **more: Any) -> JsonDict:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    top = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**top, "choices": [choice], **more}


def call(arguments: str, name: str = "get_order") -> JsonDict:
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}


WORDS = [chunk({"role": "assistant", "content": ""}), chunk({"content": "The order "})]
REST = chunk({"content": "A-17 is shipped."})
DONE = "data: [DONE]\n\n"
SERVER_ERROR = {"error": {"message": "The server failed", "type": "server_error", "code": None}}
RATE = {"error": {"message": "slow down", "code": 429}}


def chat_error(name: str, body: JsonDict, error: ModelErrorKind) -> Shape:
    """An error under status 200, whole, and after the first tokens of a stream."""
    return Shape(f"chat {name}", "openai:m", body, [*WORDS, body], error)


def chat_finish(word: str, error: ModelErrorKind | None = None, **expected: Any) -> Shape:
    events = [*WORDS, REST, chunk(finish=word), DONE]
    text = {} if error else {"text": TEXT, "finish": word}
    return Shape(f"chat finish {word}", "openai:m", chat(finish=word), events, error, **{**text, **expected})


CHAT = [
    Shape(
        "chat plain",
        "openai:m",
        chat(usage=USAGE),
        [*WORDS, REST, chunk(finish="stop"), {**chunk(), "choices": [], "usage": USAGE}, DONE],
        text=TEXT,
        tokens=(20, 9, None),
    ),
    Shape(
        "chat call",
        "openai:m",
        chat(None, "tool_calls", tool_calls=[call(ARGS)]),
        [
            chunk({"role": "assistant", "tool_calls": [{"index": 0, **call("")}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": ARGS[:9]}}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": ARGS[9:]}}]}),
            chunk(finish="tool_calls"),
            DONE,
        ],
        calls=["A-17"],
        finish="tool_calls",
    ),
    *(
        chat_finish(word, K.UNAVAILABLE)
        for word in ("error", "abort", "insufficient_system_resource", "network_error", "engine_overloaded")
    ),
    chat_finish("eaten_by_a_bear", K.BAD_RESPONSE),
    chat_finish("length", facts="truncated"),
    chat_finish("content_filter", facts="refusal"),
    chat_finish("sensitive", facts="refusal"),
    chat_finish("eos_token"),
    *(
        Shape(
            f"chat {word} twice",
            "openai:m",
            None,
            [*WORDS, chunk({"content": "A-17 is shipped."}, word), chunk({}, word), DONE],
            text=TEXT,
            finish=word,
            facts=facts,
        )
        for word, facts in (("stop", ""), ("length", "truncated"), ("content_filter", "refusal"))
    ),
    *(
        Shape(
            f"chat {word}, then stop",
            "openai:m",
            None,
            [*WORDS, REST, chunk(finish=word), chunk(finish="stop"), chunk(finish="null"), DONE],
            error,
            text="" if error else TEXT,
            finish="stop" if word == "null" else word,
            facts=facts,
        )
        for word, facts, error in (
            ("null", "", None),
            ("length", "truncated", None),
            ("content_filter", "refusal", None),
            ("error", "", K.UNAVAILABLE),
        )
    ),
    Shape("chat cut", "openai:m", None, [*WORDS], K.UNAVAILABLE),
    Shape("chat cut with DONE", "openai:m", None, [*WORDS, DONE], K.UNAVAILABLE),
    Shape(
        "chat cut arguments",
        "openai:m",
        None,
        [chunk({"role": "assistant", "tool_calls": [{"index": 0, **call('{"order_id": "A')}]})],
        K.UNAVAILABLE,
    ),
    Shape(
        "chat malformed arguments",
        "openai:m",
        chat(None, "tool_calls", tool_calls=[call('{"order')]),
        finish="tool_calls",
        facts="invalid_tool_call",
    ),
    Shape("chat cut arguments without an end", "openai:m", chat(None, None, tool_calls=[call('{"order')]), error=K.UNAVAILABLE),
    Shape("chat arguments that are a list", "openai:m", chat(None, "tool_calls", tool_calls=[call('["A-17"]')]), error=K.INVALID_TOOL_CALL),
    Shape("chat arguments in a string", "openai:m", chat(None, "tool_calls", tool_calls=[call(json.dumps(ARGS))]), error=K.BAD_RESPONSE),
    *(
        Shape(
            f"chat calls with {name} ids",
            "openai:m",
            chat(None, "tool_calls", tool_calls=[{**call(ARGS), "id": ident}] * 2),
            [
                chunk({"role": "assistant", "tool_calls": [{"index": i, **call(ARGS), "id": ident}]})
                for i in range(2)
            ]
            + [chunk(finish="tool_calls"), DONE],
            K.BAD_RESPONSE if ident is None else None,
            calls=["A-17", "A-17"],
            finish="tool_calls",
        )
        for name, ident in (("equal", "x"), ("empty", ""), ("no", None))
    ),
    chat_error("server error", SERVER_ERROR, K.UNAVAILABLE),
    chat_error("error in an error", {"error": {"error": {"message": "slow down", "code": 429}}}, K.RATE_LIMITED),
    chat_error("rate limit", RATE, K.RATE_LIMITED),
    chat_error("credits", {"error": {"message": "Not enough credits", "code": 402}}, K.AUTH),
    chat_error("error as text", {"error": "upstream is down"}, K.UNAVAILABLE),
    chat_error("moderation", {"error": {"message": "flagged", "code": "content_filter"}}, K.REFUSAL),
    chat_error("overload", {"error": {"type": "overloaded_error", "message": "Overloaded"}}, K.UNAVAILABLE),
    Shape("chat choice error", "openai:m", chat("The", choice_error={"code": 502, "message": "x"}), error=K.UNAVAILABLE),
    Shape("chat null choices", "openai:m", chat(choices=None), error=K.BAD_RESPONSE),
    Shape("chat no choices", "openai:m", chat(choices=[]), error=K.BAD_RESPONSE),
    Shape(
        "chat MiniMax",
        "openai:m",
        {**chat(choices=None), "base_resp": {"status_code": 1002, "status_msg": "rate limit"}},
        error=K.RATE_LIMITED,
    ),
    Shape("chat empty", "openai:m", chat(""), [chunk({"role": "assistant", "content": ""}), chunk(finish="stop"), DONE]),
    Shape(
        "chat Groq's usage",
        "openai:m",
        chat(x_groq={"usage": USAGE}),
        [*WORDS, REST, chunk(finish="stop", x_groq={"id": "r", "usage": USAGE}), DONE],
        text=TEXT,
        tokens=(20, 9, None),
    ),
    Shape(
        "chat reasoning",
        "openai:m",
        chat(reasoning_content="Let me see."),
        [
            chunk({"reasoning_content": "Let me "}),
            chunk({"reasoning_content": "see."}),
            *WORDS,
            REST,
            chunk(finish="stop"),
        ],
        text=TEXT,
        reasoning="Let me see.",
    ),
    Shape(
        "chat cached beyond",
        "openai:m",
        chat(usage={**USAGE, "prompt_tokens_details": {"cached_tokens": 5000}}),
        text=TEXT,
        tokens=(5020, 9, 5000),
    ),
    *(
        Shape(f"chat usage {usage}", "openai:m", {**chat(), "usage": usage}, text=TEXT)
        for usage in (
            {},
            {"total_tokens": 29},
            {**USAGE, "prompt_tokens": -1},
            {**USAGE, "prompt_tokens": True},
            {**USAGE, "prompt_tokens_details": {"cached_tokens": -1}},
            {**USAGE, "prompt_tokens": None, "completion_tokens": None},
        )
    ),
    Shape(
        "chat xAI's usage",
        "openai:m",
        chat(usage={**USAGE, "total_tokens": 129, "completion_tokens_details": {"reasoning_tokens": 100}}),
        text=TEXT,
        tokens=(20, 109, None),
    ),
    Shape("chat NaN", "openai:m", json.dumps(chat(usage={**USAGE, "prompt_tokens": float("nan")})), error=K.BAD_RESPONSE),
    Shape(
        "chat refusal",
        "openai:m",
        chat(None, refusal="I will not."),
        [chunk({"role": "assistant", "refusal": "I will "}), chunk({"refusal": "not."}, "stop"), DONE],
        facts="refusal",
    ),
    Shape("chat stream of nothing", "openai:m", None, [DONE], K.BAD_RESPONSE),
    Shape("chat page", "openai:m", "<html>502 Bad Gateway</html>", ["<html>502</html>"], K.BAD_RESPONSE),
]  # fmt: skip

# With a form of the answer, OpenAI's SDK reads what the model said, and raises where it cannot.
FORM = {"title": "Reply", "type": "object", "properties": {"status": {"type": "string"}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "Reply", "schema": FORM, "strict": True}}
PROVIDER_STRATEGY = {"tools": [TOOL], "bind": {"response_format": FORMAT, "strict": True}}
CLASS = {"structured": {"schema": FORM, "is_class": True, "options": {"method": "json_schema"}}}


def formed(
    name: str,
    content: str | None,
    finish: str,
    error: ModelErrorKind | None,
    calls: list[str] | None = None,
    asks: JsonDict = PROVIDER_STRATEGY,
    whole: bool = True,
    **expected: Any,
) -> Shape:
    made = [{"index": i, **call(args)} for i, args in enumerate(calls or [])]
    said = {"role": "assistant", "content": content, **({"tool_calls": made} if made else {})}
    body = chat(content, finish, **({"tool_calls": made} if made else {}))
    events = [chunk(said), chunk(finish=finish), DONE]
    return Shape(
        f"form {name}",
        "openai:m",
        body if whole else None,
        events,
        error,
        finish=finish,
        asks=asks,
        **expected,
    )


FORMS = [
    formed("kept to", '{"status": "ok"}', "stop", None, text='{"status": "ok"}'),
    formed("ignored", "It is.", "stop", None, text="It is."),
    formed("cut at its length", '{"sta', "length", K.LENGTH),
    formed("filtered", "", "content_filter", K.REFUSAL),
    formed("broken off", '{"sta', "error", K.UNAVAILABLE),
    formed("call of no JSON", None, "tool_calls", K.INVALID_TOOL_CALL, ['{"order']),
    formed("call with a list", None, "tool_calls", K.INVALID_TOOL_CALL, ['["A-17"]']),
    formed("call with a text", None, "tool_calls", K.BAD_RESPONSE, ['"A-17"']),
    formed("class, cut at its length", '{"sta', "length", K.LENGTH, asks=CLASS),
    formed("class, ignored in a stream", "It is.", "stop", K.INVALID_TOOL_CALL, asks=CLASS, whole=False),
]

# --- Azure ---------------------------------------------------------------------------------------------

SAFE = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
# comes before the first piece of every stream
OF_PROMPT = {
    "id": "",
    "object": "",
    "created": 0,
    "model": "",
    "choices": [],
    "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": SAFE}],
}
CHECKED = {
    "id": "",
    "object": "",
    "created": 0,
    "model": "",
    "choices": [{"index": 0, "finish_reason": None, "content_filter_results": SAFE}],
}
FILTERED_PROMPT = {
    "error": {
        "message": "The response was filtered due to the prompt triggering a content management policy.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": SAFE},
    }
}
AZURE = [
    Shape(
        "azure plain",
        "azure_openai:m",
        {**chat(usage=USAGE), "prompt_filter_results": OF_PROMPT["prompt_filter_results"]},
        [
            *(OF_PROMPT, *WORDS, REST, chunk(finish="stop"), CHECKED),
            *({**chunk(), "choices": [], "usage": USAGE}, DONE),
        ],
        text=TEXT,
        tokens=(20, 9, None),
    ),
    # its class raises over the whole one, and hands the streamed one on
    Shape("azure filtered answer", "azure_openai:m", chat("The", "content_filter"), error=K.REFUSAL),
    Shape(
        "azure filtered stream",
        "azure_openai:m",
        None,
        [OF_PROMPT, *WORDS, REST, chunk(finish="content_filter"), DONE],
        text=TEXT,
        finish="content_filter",
        facts="refusal",
    ),
    Shape("azure stream cut", "azure_openai:m", None, [OF_PROMPT, *WORDS], K.UNAVAILABLE),
    Shape("azure no answer", "azure_openai:m", None, [OF_PROMPT, DONE], K.UNAVAILABLE),
    Shape("azure filtered prompt", "azure_openai:m", (400, FILTERED_PROMPT), [OF_PROMPT, *WORDS, FILTERED_PROMPT], K.REFUSAL),
    *(
        Shape(
            f"azure {code}",
            "azure_openai:m",
            (status, {"error": {"code": code, "message": text}}),
            None,
            kind,
        )
        for status, code, text, kind in (
            (404, "DeploymentNotFound", "The API deployment for this resource does not exist.", K.AUTH),
            (401, "401", "Access denied due to invalid subscription key or wrong API endpoint.", K.AUTH),
            (
                429,
                "429",
                "Requests have exceeded token rate limit. Please retry after 0 seconds.",
                K.RATE_LIMITED,
            ),
            (429, "NoCapacity", "The system is currently experiencing high demand.", K.RATE_LIMITED),
            (408, "Timeout", "The operation was timeout.", K.TIMEOUT),
            (
                400,
                "OperationNotSupported",
                "The operation does not work with the specified model, x.",
                K.AUTH,
            ),
        )
    ),
]  # fmt: skip

# --- Responses -----------------------------------------------------------------------------------------


def said(text: str = TEXT, kind: str = "output_text") -> JsonDict:
    part = (
        {"type": kind, "annotations": [], "text": text}
        if kind == "output_text"
        else {"type": kind, "refusal": text}
    )
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}


def response(output: Any = None, status: str = "completed", **more: Any) -> JsonDict:
    usage: JsonDict = {"input_tokens": 20, "output_tokens": 9, "total_tokens": 29}
    usage |= {"input_tokens_details": {"cached_tokens": 4}, "output_tokens_details": {"reasoning_tokens": 3}}
    body = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "status": status,
        "error": None,
    }
    rest = {"incomplete_details": None, "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    return {**body, **rest, "usage": usage, "output": [said()] if output is None else output, **more}


def event(kind: str, **more: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': 0, **more})}\n\n"


OPENING = [
    event("response.created", response=response([], "in_progress")),
    event("response.output_item.added", output_index=0, item={**said(), "content": [], "status": "in_progress"}),
    event("response.output_text.delta", output_index=0, content_index=0, item_id="msg_1", delta=TEXT, logprobs=[]),
]  # fmt: skip


def responses(
    name: str, body: JsonDict, last: str | None, error: ModelErrorKind | None = None, **expected: Any
) -> Shape:
    """`last` names the event that ends the stream; None: none comes."""
    events = [*OPENING, *([event(last, response=body)] if last else [])]
    more = {} if error else {"tokens": (20, 9, 4), "text": TEXT}
    return Shape(f"responses {name}", "openai:m", body, events, error, **{**more, **expected})


CUT = {"incomplete_details": {"reason": "max_output_tokens"}}
FILTERED = {"incomplete_details": {"reason": "content_filter"}}
RESPONSES = [
    responses("plain", response(), "response.completed", finish="completed"),
    responses("cut", response(status="incomplete", **CUT), "response.incomplete", finish="max_output_tokens", facts="truncated"),
    responses("filtered", response(status="incomplete", **FILTERED), "response.incomplete", finish="content_filter", facts="refusal"),
    responses("failed", response([], "failed", error={"code": "server_error", "message": "x"}), "response.failed", K.UNAVAILABLE),
    responses("limited", response([], "failed", error={"code": "rate_limit_exceeded", "message": "x"}), "response.failed", K.RATE_LIMITED),
    responses("cancelled", response([], "cancelled"), "response.cancelled", K.UNAVAILABLE),
    Shape("responses queued", "openai:m", response([], "queued"), error=K.UNAVAILABLE),
    Shape(
        "responses nothing",
        "openai:m",
        response([]),
        [OPENING[0], event("response.completed", response=response([]))],
        K.BAD_RESPONSE,
    ),
    Shape("responses stream cut", "openai:m", None, OPENING, K.UNAVAILABLE),
    Shape(
        "responses error event",
        "openai:m",
        None,
        [*OPENING, event("error", code="rate_limit_exceeded", message="slow down", param=None)],
        K.RATE_LIMITED,
    ),
    Shape(
        "responses refusal",
        "openai:m",
        response([said("I will not.", "refusal")]),
        tokens=(20, 9, 4),
        finish="completed",
        facts="refusal",
    ),
    Shape(
        "responses call",
        "openai:m",
        response(
            [{"type": "function_call", "id": "fc_1", "call_id": "c", "name": "get_order", "arguments": ARGS}]
        ),
        tokens=(20, 9, 4),
        calls=["A-17"],
        finish="completed",
    ),
    Shape(
        "responses server tool",
        "openai:m",
        response(
            [
                {
                    "type": "web_search_call",
                    "id": "ws_1",
                    "status": "completed",
                    "action": {"type": "search", "query": "x"},
                },
                said(),
            ]
        ),
        tokens=(20, 9, 4),
        text=TEXT,
        finish="completed",
    ),
]  # fmt: skip

# --- Messages ------------------------------------------------------------------------------------------

OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


def message(content: Any = None, stop: str | None = "end_turn") -> JsonDict:
    blocks = [{"type": "text", "text": TEXT}] if content is None else content
    top = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
    return {**top, "content": blocks, "stop_reason": stop, "usage": CLAUDE}


def spoken(stop: str | None) -> list[str]:
    def one(data: JsonDict) -> str:
        return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n"

    events = [
        one({"type": "message_start", "message": message([], None)}),
        one({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        one({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT}}),
    ]
    if stop:
        events.append(one({"type": "content_block_stop", "index": 0}))
        delta = {"stop_reason": stop, "stop_sequence": None}
        usage = {"input_tokens": 20, "output_tokens": 9} if stop == "pause_turn" else {"output_tokens": 9}
        events.append(one({"type": "message_delta", "delta": delta, "usage": usage}))
        events.append(one({"type": "message_stop"}))
    return events


def claude(stop: str, error: ModelErrorKind | None = None, facts: str = "") -> Shape:
    expected = {} if error else {"text": TEXT, "finish": stop, "tokens": (25, 9, 5), "facts": facts}
    return Shape(f"messages {stop}", "anthropic:m", message(stop=stop), spoken(stop), error, **expected)


MESSAGES = [
    claude("end_turn"),
    claude("stop_sequence"),
    claude("pause_turn"),
    claude("max_tokens", facts="truncated"),
    claude("model_context_window_exceeded", facts="truncated"),
    claude("refusal", facts="refusal"),
    claude("eaten_by_a_bear", K.BAD_RESPONSE),
    Shape("messages cut", "anthropic:m", None, spoken(None), K.UNAVAILABLE),
    Shape(
        "messages overloaded",
        "anthropic:m",
        OVERLOADED,
        [*spoken(None), f"event: error\ndata: {json.dumps(OVERLOADED)}\n\n"],
        K.UNAVAILABLE,
    ),
    Shape("messages no usage", "anthropic:m", {**message(), "usage": None}, text=TEXT, finish="end_turn"),
    Shape(
        "messages unknown model",
        "anthropic:m",
        {"type": "error", "error": {"type": "not_found_error", "message": "model: m"}},
        error=K.AUTH,
    ),
    Shape(
        "messages server tool",
        "anthropic:m",
        message(
            [
                {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}},
                {"type": "text", "text": TEXT},
            ]
        ),
        text=TEXT,
        finish="end_turn",
        tokens=(25, 9, 5),
    ),
]

# --- Google --------------------------------------------------------------------------------------------

GEMINI = {"promptTokenCount": 20, "candidatesTokenCount": 6, "thoughtsTokenCount": 3, "totalTokenCount": 29}


def gemini(word: str, error: ModelErrorKind | None = None, facts: str = "", text: str = TEXT) -> Shape:
    parts = [{"text": text}] if text else []
    body = {
        "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": word, "index": 0}],
        "usageMetadata": GEMINI,
    }
    expected = (
        {} if error else {"text": text, "finish": word.lower(), "tokens": (20, 9, None), "facts": facts}
    )
    return Shape(f"google {word}", "google_genai:gemini-x", body, [body], error, **expected)


GOOGLE = [
    gemini("STOP"),
    gemini("MAX_TOKENS", facts="truncated"),
    gemini("SAFETY", facts="refusal"),
    gemini("RECITATION", facts="refusal", text=""),
    gemini("MALFORMED_FUNCTION_CALL", facts="invalid_tool_call", text=""),
    gemini("UNEXPECTED_TOOL_CALL", facts="invalid_tool_call", text=""),
    gemini("OTHER", K.BAD_RESPONSE),
    Shape(
        "google overloaded",
        "google_genai:gemini-x",
        (503, {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}),
        [
            {"candidates": [{"content": {"role": "model", "parts": [{"text": "The"}]}, "index": 0}]},
            {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}},
        ],
        K.UNAVAILABLE,
    ),
    Shape(
        "google stream cut",
        "google_genai:gemini-x",
        None,
        [{"candidates": [{"content": {"role": "model", "parts": [{"text": "The"}]}, "index": 0}]}],
        K.UNAVAILABLE,
    ),
    *(
        Shape(
            f"google blocked prompt, {reason}",
            "google_genai:gemini-x",
            {
                "promptFeedback": {"blockReason": reason},
                "usageMetadata": {"promptTokenCount": 20, "totalTokenCount": 20},
            },
            finish=word,
            tokens=(20, None, None),
            facts="refusal",
        )
        for reason, word in (("PROHIBITED_CONTENT", "prohibited_content"), ("OTHER", "blocked_other"))
    ),
]

SHAPES = [*CHAT, *FORMS, *AZURE, *RESPONSES, *MESSAGES, *GOOGLE]


def served(events: list[Any]) -> Any:
    text = "".join(one if isinstance(one, str) else f"data: {json.dumps(one)}\n\n" for one in events)

    return say(200, text, content_type="text/event-stream")


def cases() -> Iterator[Any]:
    for shape in SHAPES:
        if shape.whole is not None:
            yield pytest.param(shape, False, id=f"{shape.name}, whole")
        if shape.events is not None:
            yield pytest.param(shape, True, id=f"{shape.name}, streamed")


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "streamed"), cases())
def test_a_shape_is_what_it_is(server: ProviderServer, shape: Shape, streamed: bool) -> None:
    status, whole = shape.whole if isinstance(shape.whole, tuple) else (200, shape.whole)
    server.answers(served(shape.events or []) if streamed else say(status, whole))
    params: JsonDict = {"use_responses_api": True} if shape.name.startswith("responses") else {}
    if shape in AZURE:
        params = {"azure_endpoint": server.url, "api_version": "2025-03-01-preview"}
    chunks: list[JsonDict] = []
    context = CALL.__class__("c/e/1", "e", 1, 0, {}, on_chunk=chunks.append)
    model = backend(server, shape.model, params=params)
    asked = request(stream=streamed, **shape.asks)
    if shape.error is not None:
        with pytest.raises(ModelCallError) as caught:
            model.complete(asked, context)
        assert caught.value.kind is shape.error, caught.value
        return
    reply = model.complete(asked, context)
    check(shape, reply)
    if streamed:
        pieces = messages_from_dict(chunks)
        assert "".join(piece.text for piece in pieces) == shape.text


def check(shape: Shape, reply: ModelReply) -> None:
    [seen] = messages_from_dict([json.loads(json.dumps(reply.message))])
    assert seen.text == shape.text
    assert [made["args"]["order_id"] for made in seen.tool_calls] == shape.calls  # type: ignore[attr-defined]
    assert (reply.finish_reason or "").lower() == (shape.finish or "")
    assert (reply.input_tokens, reply.output_tokens) == shape.tokens[:2]
    assert (reply.cached_tokens or None) == shape.tokens[2]
    assert reply.reasoning == shape.reasoning
    facts = answer_facts([reply.recorded])
    assert facts is not None
    true = [name for name in ("truncated", "refusal", "invalid_tool_call") if getattr(facts, name)]
    assert true == ([shape.facts] if shape.facts else [])
