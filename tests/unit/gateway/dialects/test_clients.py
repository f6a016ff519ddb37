"""The loopback endpoint and the dialects against the real SDKs of OpenAI and Anthropic; the channel alone is fake."""

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import anthropic
import httpx
import openai
import pytest

from bakeoff.errors import ModelErrorKind
from bakeoff.gateway.dialects.exchange import Exchange, read
from bakeoff.gateway.dialects.failures import FAILURES, Limit
from bakeoff.gateway.dialects.http import Refused
from bakeoff.gateway.types import ModelReply, ModelRequest
from bakeoff_runner import command, wire
from bakeoff_runner.channel import ModelUnavailable

ADD = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}
CALLS = [
    {"name": "add", "args": {"a": 1, "b": 2}, "id": "c1", "type": "tool_call"},
    {"name": "add", "args": {"a": 3, "b": 4}, "id": "c2", "type": "tool_call"},
]


def ai(content: Any = "", finish: str | None = None, **data: Any) -> ModelReply:
    """A reply of the gateway's."""
    message = {"type": "ai", "data": {"content": content, "tool_calls": [], "invalid_tool_calls": [], **data}}
    return ModelReply(
        message,
        seconds=0.1,
        input_tokens=11,
        output_tokens=5,
        cached_tokens=3,
        finish_reason=finish,
        reasoning_tokens=2,
    )


class Gateway:
    """What stands behind the channel: it keeps the requests and gives the replies in turn."""

    def __init__(self) -> None:
        self.requests: list[ModelRequest] = []
        self.replies: list[ModelReply | tuple[ModelErrorKind | Limit, str]] = []
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.pieces: list[Any] = []  # contents of the chunks that come before the reply

    def notify(self, method: str, params: dict[str, Any]) -> None:
        self.told.append((method, params))

    def report_too_large(self, size: int) -> None:
        self.told.append(("model/too_large", {"bytes": size}))

    def submit(
        self, method: str, params: dict[str, Any], on_chunk: Callable[[dict[str, Any]], None]
    ) -> Future[dict[str, Any]]:
        assert method == "model/http"
        params = json.loads(wire.encode(params))  # it crosses as text
        future: Future[dict[str, Any]] = Future()
        try:
            asked = read(
                params["method"], params["path"], params["body"], f"{len(self.requests)}", 1700000000
            )
        except Refused as refused:
            future.set_result(refused.reply.record())
            return future
        if not isinstance(asked, Exchange):
            future.set_result(asked.record())
            return future
        self.requests.append(asked.request)
        for content in self.pieces:
            if events := asked.piece({"type": "AIMessageChunk", "data": {"content": content}}):
                on_chunk({"body": events})
        reply = self.replies.pop(0)
        said = asked.answered(reply) if isinstance(reply, ModelReply) else asked.failed(*reply)
        future.set_result(json.loads(json.dumps(said.record())))
        return future


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Gateway, str]]:
    gateway = Gateway()
    with command.Endpoint(gateway) as endpoint:  # type: ignore[arg-type]
        yield gateway, endpoint.url


@pytest.fixture
def gateway(served: tuple[Gateway, str]) -> Gateway:
    served[0].requests, served[0].replies, served[0].pieces = [], [], []
    return served[0]


@pytest.fixture
def url(served: tuple[Gateway, str]) -> str:
    return served[1]


@pytest.fixture
def gpt(url: str, monkeypatch: pytest.MonkeyPatch) -> openai.OpenAI:
    for name, value in command.environment(url).items():
        monkeypatch.setenv(name, value)
    return openai.OpenAI()


@pytest.fixture
def claude(url: str, monkeypatch: pytest.MonkeyPatch) -> anthropic.Anthropic:
    for name, value in command.environment(url).items():
        monkeypatch.setenv(name, value)
    return anthropic.Anthropic()


# --- OpenAI, chat completions -----------------------------------------------------------------------

CHAT_TOOLS: Any = [
    {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": ADD}}
]
CHAT: Any = [
    {"role": "system", "content": "You add."},
    {"role": "user", "content": [{"type": "text", "text": "1+2? "}, {"type": "text", "text": "3+4?"}]},
]


def test_a_whole_conversation_over_chat_completions(gpt: openai.OpenAI, gateway: Gateway) -> None:
    gateway.replies = [ai("adding", "tool_calls", tool_calls=CALLS), ai("3 and 7", "stop")]
    first = gpt.chat.completions.create(
        model="whatever", messages=CHAT, tools=CHAT_TOOLS, temperature=0.5, max_completion_tokens=99, stop="END",
        user="somebody",
    )  # fmt: skip
    choice = first.choices[0]
    assert (first.model, choice.finish_reason, choice.message.content) == ("whatever", "tool_calls", "adding")
    made = choice.message.tool_calls or []
    assert [(c.id, c.function.name, json.loads(c.function.arguments)) for c in made] == [  # type: ignore[union-attr]
        ("c1", "add", {"a": 1, "b": 2}),
        ("c2", "add", {"a": 3, "b": 4}),
    ]
    assert (first.usage.prompt_tokens, first.usage.completion_tokens, first.usage.total_tokens) == (11, 5, 16)
    assert first.usage.prompt_tokens_details.cached_tokens == 3
    assert first.usage.completion_tokens_details.reasoning_tokens == 2
    results: Any = [{"role": "tool", "tool_call_id": c, "content": r} for c, r in (("c1", "3"), ("c2", "7"))]
    history: Any = [*CHAT, choice.message.model_dump(exclude_none=True), *results]
    second = gpt.chat.completions.create(model="whatever", messages=history, tools=CHAT_TOOLS)
    assert second.choices[0].message.content == "3 and 7"
    asked, again = gateway.requests
    assert asked.messages == [
        {"type": "system", "data": {"content": "You add."}},
        {"type": "human", "data": {"content": "1+2? 3+4?"}},
    ]
    assert asked.tools == CHAT_TOOLS
    assert (asked.stop, asked.params) == (["END"], {"temperature": 0.5, "max_tokens": 99})
    assert [m["type"] for m in again.messages] == ["system", "human", "ai", "tool", "tool"]
    assert again.messages[2]["data"]["tool_calls"] == CALLS
    assert again.messages[4]["data"] == {"content": "7", "tool_call_id": "c2", "status": "success"}


# as the gateway streams: nothing, or the text in pieces, with pieces of calls between, which go out whole later
IN_PIECES = pytest.mark.parametrize(
    "pieces", [[], ["", "add", [{"type": "text", "text": "ing"}], [{"type": "tool_use"}]]]
)


@IN_PIECES
def test_chat_completions_stream(gpt: openai.OpenAI, gateway: Gateway, pieces: list[Any]) -> None:
    gateway.pieces = pieces
    gateway.replies = [ai("adding", "tool_calls", tool_calls=CALLS)] * 2
    with gpt.chat.completions.stream(
        model="m", messages=CHAT, tools=CHAT_TOOLS, stream_options={"include_usage": True}
    ) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "adding"
    assert [c.id for c in final.choices[0].message.tool_calls or []] == ["c1", "c2"]
    assert final.choices[0].finish_reason == "tool_calls"
    assert final.usage.total_tokens == 16
    chunks = list(gpt.chat.completions.create(model="m", messages=CHAT, stream=True))
    assert all(chunk.choices for chunk in chunks), "usage that nobody asked for: clients take choices[0]"
    assert gateway.requests[0].stream
    assert "stream" not in gateway.requests[0].params


def test_a_malformed_call_reaches_the_program_as_the_model_wrote_it(
    gpt: openai.OpenAI, gateway: Gateway
) -> None:
    bad = {"name": "add", "args": '{"a": 1', "id": "c9", "type": "invalid_tool_call"}
    gateway.replies = [ai("", "tool_calls", invalid_tool_calls=[bad]), ai("sorry")]
    message = gpt.chat.completions.create(model="m", messages=CHAT).choices[0].message
    assert (message.tool_calls or [])[0].function.arguments == '{"a": 1'  # type: ignore[union-attr]
    history: Any = [*CHAT, message.model_dump(exclude_none=True)]
    gpt.chat.completions.create(model="m", messages=history)
    sent_back = gateway.requests[1].messages[2]["data"]
    assert (sent_back["tool_calls"], sent_back["invalid_tool_calls"][0]["args"]) == ([], '{"a": 1')


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("auto", "auto"),
        ("required", "required"),
        ({"type": "function", "function": {"name": "add"}}, "add"),
    ],
)
def test_tool_choice_in_langchains_words(
    gpt: openai.OpenAI, gateway: Gateway, given: Any, meant: str
) -> None:
    gateway.replies = [ai("x")]
    gpt.chat.completions.create(model="m", messages=CHAT, tools=CHAT_TOOLS, tool_choice=given)
    assert gateway.requests[0].tool_choice == meant


# --- OpenAI, responses ------------------------------------------------------------------------------

RESPONSE_TOOLS: Any = [
    {"type": "function", "name": "add", "description": "Adds.", "parameters": ADD, "strict": True}
]

FORMAT: Any = {"format": {"type": "json_schema", "name": "n", "schema": ADD, "strict": True}}


@pytest.mark.slow
def test_a_whole_conversation_over_responses(gpt: openai.OpenAI, gateway: Gateway) -> None:
    gateway.replies = [ai("adding", "tool_calls", tool_calls=CALLS), ai("3 and 7", "stop")]
    first = gpt.responses.create(
        model="m", instructions="You add.", input="1+2? 3+4?", tools=RESPONSE_TOOLS, max_output_tokens=9,
        reasoning={"effort": "low"}, text=FORMAT,
    )  # fmt: skip
    assert (first.status, first.output_text) == ("completed", "adding")
    assert (first.usage.input_tokens, first.usage.output_tokens) == (11, 5)
    assert [i.type for i in first.output] == ["message", "function_call", "function_call"]
    history: Any = [{"role": "user", "content": [{"type": "input_text", "text": "1+2? 3+4?"}]}]
    history += [item.model_dump(exclude_none=True) for item in first.output]
    history += [
        {"type": "function_call_output", "call_id": c, "output": r} for c, r in (("c1", "3"), ("c2", "7"))
    ]
    second = gpt.responses.create(model="m", input=history, tools=RESPONSE_TOOLS)
    assert second.output_text == "3 and 7"
    asked, again = gateway.requests
    function = {"name": "add", "description": "Adds.", "parameters": ADD, "strict": True}
    assert asked.tools == [{"type": "function", "function": function}]
    schema = {"name": "n", "schema": ADD, "strict": True}
    assert asked.params == {"max_tokens": 9, "reasoning_effort": "low"}
    assert asked.bind == {"response_format": {"type": "json_schema", "json_schema": schema}}
    assert [m["type"] for m in again.messages] == ["human", "ai", "tool", "tool"]
    assert again.messages[1]["data"]["content"] == "adding"
    assert again.messages[1]["data"]["tool_calls"] == CALLS


@pytest.mark.slow
@IN_PIECES
def test_responses_stream(gpt: openai.OpenAI, gateway: Gateway, pieces: list[Any]) -> None:
    gateway.pieces = pieces
    gateway.replies = [ai("adding", "tool_calls", tool_calls=CALLS)]
    with gpt.responses.stream(model="m", input="1+2?", tools=RESPONSE_TOOLS) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert final.output_text == "adding"
    assert [i.arguments for i in final.output if i.type == "function_call"] == [
        '{"a": 1, "b": 2}',
        '{"a": 3, "b": 4}',
    ]
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert "response.function_call_arguments.done" in kinds


def test_a_cut_response_is_incomplete(gpt: openai.OpenAI, gateway: Gateway) -> None:
    gateway.replies = [ai("and then", "length")]
    response = gpt.responses.create(model="m", input="talk")
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"


def test_state_that_nobody_keeps_is_refused(gpt: openai.OpenAI, gateway: Gateway) -> None:
    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        gpt.responses.create(model="m", input="go on", previous_response_id="resp_1")
    assert gateway.requests == []


# --- Anthropic, messages ----------------------------------------------------------------------------

CLAUDE_TOOLS: Any = [{"name": "add", "description": "Adds.", "input_schema": ADD}]
THINKING = [
    {"type": "thinking", "thinking": "hm", "signature": "sig==", "index": 0},
    {"type": "text", "text": "adding"},
    {"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1, "b": 2}},
]


def test_a_whole_conversation_over_messages(claude: anthropic.Anthropic, gateway: Gateway) -> None:
    gateway.replies = [ai(THINKING, "tool_use", tool_calls=CALLS), ai("3 and 7", "end_turn")]
    user: Any = {"role": "user", "content": "1+2? 3+4?"}
    first = claude.messages.create(
        model="whatever", max_tokens=99, system="You add.", messages=[user], tools=CLAUDE_TOOLS,
        stop_sequences=["END"], tool_choice={"type": "any"}, metadata={"user_id": "somebody"},
    )  # fmt: skip
    assert (first.model, first.stop_reason) == ("whatever", "tool_use")
    assert [block.type for block in first.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert [b.input for b in first.content if b.type == "tool_use"] == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    usage = first.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (8, 3, 5)
    results: Any = [
        {"type": "tool_result", "tool_use_id": "c1", "content": "3"},
        {
            "type": "tool_result",
            "tool_use_id": "c2",
            "content": [{"type": "text", "text": "7"}],
            "is_error": True,
        },
        {"type": "text", "text": "go on"},
    ]
    turn: Any = {
        "role": "assistant",
        "content": [block.model_dump(exclude_none=True) for block in first.content],
    }
    second = claude.messages.create(
        model="m",
        max_tokens=9,
        messages=[user, turn, {"role": "user", "content": results}],
        tools=CLAUDE_TOOLS,
    )
    assert (second.content[0].type, second.stop_reason) == ("text", "end_turn")
    asked, again = gateway.requests
    assert (asked.tools, asked.tool_choice, asked.stop, asked.params) == (
        CHAT_TOOLS,
        "any",
        ["END"],
        {"max_tokens": 99},
    )
    assert [m["type"] for m in again.messages] == ["human", "ai", "tool", "tool", "human"]
    said = again.messages[1]["data"]
    assert said["tool_calls"] == CALLS
    assert said["content"][0] == {"type": "thinking", "thinking": "hm", "signature": "sig=="}
    assert again.messages[3]["data"] == {"content": "7", "tool_call_id": "c2", "status": "error"}
    assert again.messages[4]["data"]["content"] == "go on"


THINKING_PIECES = [
    [{"type": "thinking", "thinking": "h", "index": 0}],
    [{"type": "thinking", "thinking": "m", "index": 0}],
    [{"type": "thinking", "signature": "sig==", "index": 0}],
    [{"type": "text", "text": "add", "index": 1}],
    "ing",
    [{"type": "input_json_delta", "partial_json": "{", "index": 2}],
]


@pytest.mark.parametrize("pieces", [[], THINKING_PIECES])
def test_messages_stream(claude: anthropic.Anthropic, gateway: Gateway, pieces: list[Any]) -> None:
    gateway.pieces = pieces
    gateway.replies = [ai(THINKING, "tool_use", tool_calls=CALLS)]
    with claude.messages.stream(
        model="m", max_tokens=9, messages=[{"role": "user", "content": "1+2?"}], tools=CLAUDE_TOOLS
    ) as stream:
        final = stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert [b.input for b in final.content if b.type == "tool_use"] == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    thinking = final.content[0]
    assert thinking.type == "thinking"
    assert (thinking.thinking, thinking.signature) == ("hm", "sig==")
    assert (final.stop_reason, final.usage.output_tokens, final.usage.input_tokens) == ("tool_use", 5, 8)


def test_what_only_anthropic_knows_stays_as_it_is(claude: anthropic.Anthropic, gateway: Gateway) -> None:
    gateway.replies = [ai("x")]
    cached: Any = {**CLAUDE_TOOLS[0], "cache_control": {"type": "ephemeral"}}
    system: Any = [{"type": "text", "text": "You add.", "cache_control": {"type": "ephemeral"}}]
    user: Any = {"role": "user", "content": "1+2?"}
    claude.messages.create(
        model="m", max_tokens=2048, system=system, messages=[user], tools=[cached],
        thinking={"type": "enabled", "budget_tokens": 1024},
    )  # fmt: skip
    [asked] = gateway.requests
    assert asked.tools == [cached]
    assert asked.messages[0]["data"]["content"] == system
    assert asked.params["thinking"] == {"type": "enabled", "budget_tokens": 1024}


# --- errors -----------------------------------------------------------------------------------------

OF_OPENAI = {
    ModelErrorKind.RATE_LIMITED: openai.RateLimitError,
    ModelErrorKind.UNAVAILABLE: openai.InternalServerError,
    ModelErrorKind.TIMEOUT: openai.InternalServerError,
    ModelErrorKind.AUTH: openai.AuthenticationError,
    ModelErrorKind.BAD_RESPONSE: openai.InternalServerError,
    ModelErrorKind.CONTEXT_OVERFLOW: openai.BadRequestError,
    ModelErrorKind.LENGTH: openai.BadRequestError,
    ModelErrorKind.REFUSAL: openai.BadRequestError,
    ModelErrorKind.BAD_REQUEST: openai.BadRequestError,
    ModelErrorKind.UNSUPPORTED: openai.BadRequestError,
    ModelErrorKind.INVALID_TOOL_CALL: openai.BadRequestError,
    ModelErrorKind.TOO_LARGE: openai.APIStatusError,
    ModelErrorKind.NOT_ON_TAPE: openai.NotFoundError,
    ModelErrorKind.INTERNAL: openai.InternalServerError,
    Limit.REACHED: openai.PermissionDeniedError,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAILURES)
def test_each_failure_is_the_providers_own_and_is_not_tried_again(
    gpt: openai.OpenAI, claude: anthropic.Anthropic, gateway: Gateway, kind: ModelErrorKind | Limit
) -> None:
    gateway.replies = [(kind, "said so")] * 3
    with pytest.raises(OF_OPENAI[kind], match="said so") as chat:
        gpt.chat.completions.create(model="m", messages=CHAT)
    assert (chat.value.code, chat.value.type) == (FAILURES[kind].code, FAILURES[kind].openai)
    with pytest.raises(OF_OPENAI[kind]):
        gpt.responses.create(model="m", input="x", stream=True)
    with pytest.raises(anthropic.APIStatusError, match="said so") as messages:
        claude.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "x"}])
    assert messages.value.status_code == FAILURES[kind].status
    assert isinstance(messages.value.body, dict)
    assert messages.value.body["error"]["type"] == FAILURES[kind].anthropic
    assert len(gateway.requests) == 3, "a client tried again what the gateway had given up"


def test_every_kind_of_failure_has_its_words() -> None:
    assert set(FAILURES) == {*ModelErrorKind, Limit.REACHED}


@pytest.mark.parametrize("kind", [ModelErrorKind.UNAVAILABLE, ModelErrorKind.TIMEOUT])
def test_a_stream_that_breaks_off_is_an_error_and_no_answer(
    gpt: openai.OpenAI, claude: anthropic.Anthropic, gateway: Gateway, kind: ModelErrorKind
) -> None:
    gateway.pieces = ["half an ans"]
    gateway.replies = [(kind, "gone")] * 3
    with pytest.raises(openai.APIError, match="gone"):
        list(gpt.chat.completions.create(model="m", messages=CHAT, stream=True))
    with pytest.raises(openai.APIError, match="gone"):
        list(gpt.responses.create(model="m", input="x", stream=True))
    with (
        pytest.raises(anthropic.APIError, match="gone"),
        claude.messages.stream(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "x"}]
        ) as stream,
    ):
        stream.get_final_message()
    assert len(gateway.requests) == 3


def test_what_has_come_is_there_before_the_rest(
    url: str, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest: Future[dict[str, Any]] = Future()

    def slowly(
        method: str, params: object, on_chunk: Callable[[dict[str, Any]], None]
    ) -> Future[dict[str, Any]]:
        on_chunk({"body": "data: 1\n\n"})
        return rest

    monkeypatch.setattr(gateway, "submit", slowly)
    with httpx.stream("POST", f"{url}/v1/messages", json={}, timeout=60) as reply:
        lines = reply.iter_lines()
        assert next(lines) == "data: 1"
        rest.set_result({"status": 200, "content_type": "text/event-stream", "body": "data: 2\n\n"})
        assert [line for line in lines if line] == ["data: 2"]


BAD: list[tuple[str, Any, str]] = [
    ("/v1/chat/completions", {"model": "m", "messages": []}, "no `messages`"),
    ("/v1/chat/completions", {"model": "m", "messages": "hi"}, "messages is not a list"),
    ("/v1/chat/completions", {"messages": [{"role": "wizard", "content": ""}]}, r"messages\[0\].role 'wizard'"),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": 7}]}, "not a list of objects"),
    ("/v1/chat/completions", {"messages": [{"role": "tool", "content": "x"}]}, "tool_call_id is not text"),
    ("/v1/chat/completions", {"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "no function call"),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "n": 2}, "`n` is not 1"),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "stop": 7}, "stop is not"),
    ("/v1/chat/completions", {"messages": [{}] * 10_001}, "more than 10000"),
    ("/v1/chat/completions", None, "no JSON object"),
    ("/v1/responses", {"input": [{"type": "item_reference", "id": "x"}]}, "'item_reference' is not known"),
    ("/v1/responses", {"instructions": "x", "input": []}, "no `input`"),
    ("/v1/messages", {"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "tool_use_id"),
    ("/v1/messages", {"messages": [{"role": "assistant", "content": [{"type": "tool_use"}]}]}, "tool_use"),
    ("/v1/messages", {"system": 7, "messages": [{"role": "user", "content": "x"}]}, "system is not"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "problem"), BAD)
def test_hostile_and_mistaken_requests_are_told_what_is_wrong(path: str, body: Any, problem: str) -> None:
    with pytest.raises(Refused, match=problem) as refused:
        read("POST", path, body, "1", 0)
    reply = refused.value.reply
    assert reply.status == 400
    assert json.loads(reply.body)["error"]["type"] == "invalid_request_error"


def test_an_unknown_address_is_not_found(gpt: openai.OpenAI, gateway: Gateway) -> None:
    with pytest.raises(openai.NotFoundError, match="/v1/embeddings"):
        gpt.embeddings.create(model="m", input="x")
    assert list(gpt.models.list()) == []


# --- the endpoint itself ----------------------------------------------------------------------------


def test_the_channel_gone_is_a_bad_gateway(
    url: str, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(method: str, params: object, on_chunk: object) -> Future[dict[str, Any]]:
        future: Future[dict[str, Any]] = Future()
        future.set_exception(ModelUnavailable("unavailable", "gone"))
        return future

    monkeypatch.setattr(gateway, "submit", gone)
    reply = httpx.post(f"{url}/v1/messages", json={}, timeout=60)
    assert (reply.status_code, reply.json()["error"]["message"]) == (502, "unavailable: gone")


RAW: list[tuple[Callable[[str], bytes], int]] = [
    (lambda host: f"POST /v1/messages HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), 411),
    (lambda host: f"POST /v1/messages HTTP/1.1\r\nHost: {host}\r\nContent-Length: -1\r\n\r\n".encode(), 411),
    (lambda host: (f"POST /v1/messages HTTP/1.1\r\nHost: {host}\r\nContent-Length: 99999999\r\n\r\n".encode()), 413),
    (lambda host: f"POST /v1/messages HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\n{{no".encode(), 400),
    (lambda host: f"PUT /v1/messages HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n".encode(), 501),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("request_bytes", "status"), RAW)
def test_requests_that_are_no_requests(
    url: str, gateway: Gateway, request_bytes: Callable[[str], bytes], status: int
) -> None:
    host = url.removeprefix("http://")
    name, _, port = host.partition(":")
    with socket.create_connection((name, int(port)), timeout=60) as connection:
        connection.sendall(request_bytes(host))
        assert connection.recv(4096).startswith(f"HTTP/1.1 {status} ".encode())
    assert gateway.requests == []
    assert "model/too_large" not in dict(gateway.told), "a length that is only announced is no request"


@pytest.mark.slow
def test_a_request_that_would_not_fit_into_a_line_is_refused_not_cut(url: str, gateway: Gateway) -> None:
    # a list of digits grows: it is written anew with ", " for each ","
    body = "[" + ",".join(["1"] * (command.MAX_BODY // 2 - 10)) + "]"
    assert len(body) < command.MAX_BODY
    reply = httpx.post(f"{url}/v1/messages", content=body, timeout=60)
    assert (reply.status_code, reply.json()["error"]["type"]) == (413, "request_too_large")
    told, params = gateway.told[-1]
    assert told == "model/too_large"
    assert params["bytes"] > command.MAX_BODY


def test_a_client_that_sends_all_before_it_reads_gets_its_answer_too(url: str, gateway: Gateway) -> None:
    size = 4 * command.MAX_BODY
    reply = httpx.post(f"{url}/v1/messages", content=b"x" * size, timeout=60)
    assert (reply.status_code, reply.json()["error"]["type"]) == (413, "request_too_large")
    assert gateway.told[-1] == ("model/too_large", {"bytes": size})


def test_one_connection_serves_many_requests_at_once(gpt: openai.OpenAI, gateway: Gateway) -> None:
    gateway.replies = [ai(f"{n}") for n in range(20)]
    said = [
        gpt.chat.completions.create(model="m", messages=CHAT).choices[0].message.content for _ in range(20)
    ]
    assert said == [f"{n}" for n in range(20)]
