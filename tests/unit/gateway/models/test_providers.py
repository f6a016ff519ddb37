"""Real provider clients against a local HTTP server: what is sent, what comes back, each fault's name."""

import json
import threading
import time

import pytest
from langchain_core.messages import (
    AIMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    message_to_dict,
    messages_from_dict,
)

from bakeoff import gateway
from bakeoff.config.schema import Candidate, ModelSpec
from bakeoff.errors import InputError, ModelCallError, ModelErrorKind
from bakeoff.gateway.policy.retry import RetryPolicy
from bakeoff.gateway.types import CallContext, ModelRequest
from tests.fakes.provider_server import completion, tool_call

KEY = "sk-test-0123456789abcdefghij"
CALL = CallContext("c/e/1", "e", 1, 0, {})
TOOL = {
    "type": "function",
    "function": {
        "name": "get_order",
        "description": "Look up one order",
        "parameters": {
            "type": "object",
            "properties": {"order_id": {"type": "string"}},
            "required": ["order_id"],
        },
    },
}
TWO_CALLS = tool_call("get_order", '{"order_id": "A-17"}')
TWO_CALLS["tool_calls"].append({**TWO_CALLS["tool_calls"][0], "id": "call_2"})
TWO_CALLS["tool_calls"][1]["function"] = {"name": "get_order", "arguments": '{"order'}
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
OPENAI_REPLY = completion(TWO_CALLS, {**USAGE, "prompt_tokens_details": {"cached_tokens": 3}}, "m-2026")
CLAUDE = {
    "input_tokens": 20,
    "output_tokens": 9,
    "cache_read_input_tokens": 5,
    "cache_creation_input_tokens": 0,
}
ANTHROPIC_REPLY = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-x",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "text", "text": "Looking it up."},
        {"type": "tool_use", "id": "toolu_1", "name": "get_order", "input": {"order_id": "A-17"}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": CLAUDE,
}


def say(status=200, body=None, headers=None, content_type="application/json"):
    return lambda exchange: exchange.say(status, body, {"content-type": content_type, **(headers or {})})


def hang(exchange):
    time.sleep(1)


def cut_off(exchange):
    exchange.hang_up()


def fault(status, message, **more):
    return say(status, {"type": "error", "error": {"message": message, **more}})


DEEP = tool_call("f", '{"x": ' + "[" * 300 + "]" * 300 + "}")
OK = say(body=OPENAI_REPLY)


def backend(server, model="openai:m-1", retries=0, pause=0.005, **candidate):
    address = None if model.startswith("azure") else server.base_url(model)  # Azure's is a param
    who = Candidate(name="c", model=model, base_url=address, api_key_env="A_KEY", **candidate)
    environ = {"A_KEY": KEY}
    return gateway.open_backend(who, environ=environ, retry=RetryPolicy(retries, first_seconds=pause))


def request(**more):
    messages = [
        SystemMessage("Be brief."),
        HumanMessage("Where is A-17?"),
        AIMessage("", tool_calls=[{"name": "get_order", "args": {"order_id": "A-1"}, "id": "call_0"}]),
        ToolMessage("not found", tool_call_id="call_0"),
    ]
    return ModelRequest([message_to_dict(m) for m in messages], **more)


def failure(backend, call=CALL):
    with pytest.raises(ModelCallError) as caught:
        backend.complete(request(), call)
    assert KEY not in f"{caught.value!s} {caught.value.__cause__!s}"
    assert caught.value.__suppress_context__
    return caught.value


def test_openai_gets_exactly_the_harness_s_request(server):
    server.answers(OK)
    asked = request(tools=[TOOL], tool_choice="any", stop=["END"], params={"parallel_tool_calls": False})
    backend(server, params={"temperature": 0.25, "max_tokens": 50}).complete(asked, CALL)
    path, headers, body = server.requests[0]
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert [m["role"] for m in body["messages"]] == ["system", "user", "assistant", "tool"]
    assert body["messages"][2]["tool_calls"][0]["function"]["arguments"] == '{"order_id": "A-1"}'
    assert body["messages"][3] == {"role": "tool", "content": "not found", "tool_call_id": "call_0"}
    assert body["tools"] == [TOOL]
    assert body["tool_choice"] == "required"
    assert (body["stop"], body["parallel_tool_calls"], body["temperature"]) == (["END"], False, 0.25)
    assert body.get("max_completion_tokens", body.get("max_tokens")) == 50
    assert body["model"] == "m-1"


def test_openai_s_reply_is_lossless(server):
    reply = backend(server.answers(OK)).complete(request(tools=[TOOL]), CALL)
    message = messages_from_dict([json.loads(json.dumps(reply.message))])[0]
    assert message.tool_calls == [
        {"name": "get_order", "args": {"order_id": "A-17"}, "id": "call_1", "type": "tool_call"}
    ]
    assert message.invalid_tool_calls[0]["args"] == '{"order'
    assert (reply.input_tokens, reply.output_tokens, reply.cached_tokens) == (11, 7, 3)
    assert (reply.finish_reason, reply.attempts, reply.cost_usd) == ("tool_calls", 1, None)
    assert reply.first_token_seconds is None  # it was not streamed


def test_anthropic_both_ways(server):
    server.answers(say(body=ANTHROPIC_REPLY))
    reply = backend(server, "anthropic:claude-x", params={"max_tokens": 64}).complete(
        request(tools=[TOOL], tool_choice="any", stop=["END"]), CALL
    )
    path, headers, body = server.requests[0]
    assert path == "/v1/messages"
    assert KEY in (headers.get("x-api-key", "") + headers.get("authorization", ""))
    assert body["system"] in ("Be brief.", [{"type": "text", "text": "Be brief."}])
    assert body["messages"][1]["content"][-1]["input"] == {"order_id": "A-1"}
    assert body["messages"][2]["content"][0]["tool_use_id"] == "call_0"
    assert body["tools"][0]["input_schema"] == TOOL["function"]["parameters"]
    assert body["tool_choice"] == {"type": "any"}
    assert (body["stop_sequences"], body["max_tokens"]) == (["END"], 64)
    message = messages_from_dict([json.loads(json.dumps(reply.message))])[0]
    assert [block["type"] for block in message.content] == ["thinking", "text", "tool_use"]
    assert message.content[0]["signature"] == "c2ln"
    assert message.tool_calls[0]["args"] == {"order_id": "A-17"}
    assert (reply.input_tokens, reply.output_tokens, reply.cached_tokens) == (25, 9, 5)
    assert reply.finish_reason == "tool_use"


Kind = ModelErrorKind
PAGE = "<html>invalid_api_key in a proxy's page</html>"
FAULTS = [
    (fault(401, f"Incorrect API key provided: {KEY}", code="invalid_api_key"), Kind.AUTH, 401),
    (fault(429, "Rate limit reached", type="requests", code="rate_limit_exceeded"), Kind.RATE_LIMITED, 429),
    (fault(400, "Your credit balance is too low", type="invalid_request_error"), Kind.AUTH, 400),
    (say(503, PAGE, content_type="text/html"), Kind.UNAVAILABLE, 503),
    (fault(529, "Overloaded", type="overloaded_error"), Kind.UNAVAILABLE, 529),
    (fault(400, "prompt is too long: 9 tokens > 8 maximum"), Kind.CONTEXT_OVERFLOW, 400),
    (fault(422, "temperature must be a number"), Kind.BAD_REQUEST, 422),
    (cut_off, Kind.UNAVAILABLE, None),
]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["openai:m-1", "anthropic:claude-x"])
@pytest.mark.parametrize(("answer", "kind", "status"), FAULTS)
def test_each_fault_has_its_kind(server, model, answer, kind, status):
    error = failure(backend(server.answers(answer), model))
    assert (error.kind, error.status, error.attempts, len(server.requests)) == (kind, status, 1, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "answer"),
    [
        ("openai:m-1", say(200, "{half", content_type="application/json")),
        ("openai:m-1", say(200, {**OPENAI_REPLY, "choices": [{"index": 0, "finish_reason": "stop"}]})),
        ("openai:m-1", say(200, {"hello": "world"})),
        ("openai:m-1", say(200, [])),
        ("openai:m-1", say(200, "[" * 100_000)),
        ("openai:m-1", say(200, {**OPENAI_REPLY, "choices": [{"index": 0, "message": DEEP}]})),
        ("anthropic:claude-x", say(200, "<html>Welcome</html>", content_type="text/html")),
        ("anthropic:claude-x", say(200, "{half")),
        ("anthropic:claude-x", say(200, {"hello": "world"})),
        ("anthropic:claude-x", say(200, {**ANTHROPIC_REPLY, "content": None})),
    ],
)
def test_a_200_that_is_no_reply_is_a_bad_response(server, model, answer):
    assert failure(backend(server.answers(answer), model)).kind is Kind.BAD_RESPONSE


def test_nobody_listening_is_unavailable_and_says_so(server):
    candidate = backend(server)
    server.shutdown()
    server.server_close()
    error = failure(candidate)
    assert (error.kind, error.status) == (Kind.UNAVAILABLE, None)
    assert "refused" in error.message


def test_a_read_timeout_is_a_timeout(server):
    began = time.monotonic()
    assert failure(backend(server.answers(hang), params={"timeout": 0.1})).kind is Kind.TIMEOUT
    assert failure(backend(server.answers(hang), "anthropic:c", params={"timeout": 0.1})).kind is Kind.TIMEOUT
    assert time.monotonic() - began < 60  # the clients' own default is ten minutes


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer", [fault(503, "busy"), fault(429, "slow down"), cut_off, say(200, "no JSON")]
)
@pytest.mark.parametrize("model", ["openai:m-1", "anthropic:claude-x"])
def test_the_retry_budget_is_spent_once(server, model, answer):
    error = failure(backend(server.answers(answer), model, retries=2))
    assert error.attempts == len(server.requests) == 3


def test_what_cannot_get_better_is_not_retried(server):
    for answer in (
        fault(401, "no"),
        fault(400, "prompt is too long"),
        fault(400, "bad"),
        fault(404, "no model"),
    ):
        server.requests.clear()
        assert failure(backend(server.answers(answer), retries=3)).attempts == len(server.requests) == 1


def test_backing_off_is_queued_time_not_the_provider_s(server):
    server.answers(fault(429, "slow down"), fault(500, "oops"), OK)
    candidate = backend(server, retries=2, pause=0.1)
    began = time.monotonic()
    reply = candidate.complete(request(), CALL)
    assert reply.attempts == 3
    assert reply.queued_seconds >= 0.3  # 0.1, then 0.2, and jitter
    assert 0 < reply.seconds <= time.monotonic() - began - reply.queued_seconds


@pytest.mark.slow
def test_retry_after_is_honoured(server):
    server.answers(say(429, {"error": {"message": "slow down"}}, {"retry-after": "1"}), OK)
    reply = backend(server, retries=1).complete(request(), CALL)
    assert 0.9 <= reply.queued_seconds < 30


@pytest.mark.parametrize("wrong", [{"prompt_tokens": "x", "total_tokens": {}}, {"completion_tokens": 1e300}])
def test_a_count_of_tokens_that_cannot_be_is_not_known_and_costs_no_trial(server, wrong):
    server.answers(say(body={**OPENAI_REPLY, "usage": {**USAGE, **wrong}}))
    reply = backend(server).complete(request(), CALL)
    assert (reply.input_tokens, reply.output_tokens, reply.cached_tokens, reply.cost_usd) == (None,) * 4
    [read] = messages_from_dict([reply.message])  # as the harness does
    assert read.usage_metadata is None


def test_a_retry_after_beyond_patience_ends_the_call(server):
    server.answers(say(429, {"error": {"message": "come back tomorrow"}}, {"retry-after": "86400"}), OK)
    assert failure(backend(server, retries=3)).kind is Kind.RATE_LIMITED
    assert len(server.requests) == 1


@pytest.mark.parametrize("polled", [True, False])
def test_the_end_of_the_attempt_ends_the_waiting(server, polled):
    server.answers(say(429, {"error": {"message": "slow down"}}, {"retry-after": "60"}))
    ended = threading.Event()
    threading.Timer(0.2, ended.set).start()
    cancelled = (lambda: bool(ended.is_set())) if polled else ended.is_set
    began = time.monotonic()
    error = failure(backend(server, retries=3), CallContext("c/e/1", "e", 1, 0, {}, cancelled))
    assert (error.kind, error.attempts) == (Kind.RATE_LIMITED, 1)
    assert time.monotonic() - began < 50


def test_messages_are_bounded_and_redacted(server):
    other = "sk-ant-api03-" + "Zz9" * 12
    page = fault(400, f"key {KEY} and {other} " + "x" * 5000)
    error = failure(backend(server.answers(page)))
    assert len(error.message) <= 2000
    assert other not in error.message
    assert "[redacted]" in error.message


@pytest.mark.parametrize(
    "broken",
    [
        ModelRequest([{"type": "constructor", "data": {"content": "x"}}]),
        ModelRequest([{"type": "human", "data": {"content": 7}}]),
        ModelRequest([{"type": "human"}]),
        ModelRequest([], params={"model": "dearer-model"}),
        ModelRequest([], params={"extra_body": {"model": "dearer-model"}}),
        ModelRequest([], params={"extra_headers": {"x": "y"}}),
    ],
)
def test_a_hostile_request_is_a_bad_request_and_is_not_sent(server, broken):
    with pytest.raises(ModelCallError) as caught:
        backend(server.answers(OK)).complete(broken, CALL)
    assert caught.value.kind is Kind.BAD_REQUEST
    assert server.requests == []


def test_many_threads_share_a_backend(server):
    shared = backend(server.answers(OK))
    replies = []
    threads = [
        threading.Thread(target=lambda: replies.append(shared.complete(request(), CALL))) for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == len(server.requests) == 12


def test_params_the_client_does_not_take_are_an_input_error(server):
    with pytest.raises(InputError) as caught:
        backend(server, params={"temperature": "hot"})
    assert caught.value.key == "params"
    assert KEY not in str(caught.value)


def test_without_api_key_env_no_key_reaches_another_server(server):
    server.answers(OK)
    who = Candidate(name="c", model="my-model", base_url=server.url)
    gateway.open_backend(who, environ={"OPENAI_API_KEY": KEY}).complete(request(), CALL)
    assert KEY not in json.dumps(server.requests)
    assert server.requests[0][2]["model"] == "my-model"


# --- the judge --------------------------------------------------------------------------------------


def judge(server, retries=0):
    return gateway.judge_model(
        ModelSpec(model="openai:m-1", base_url=server.url, api_key_env="A_KEY"),
        environ={"A_KEY": KEY},
        retry=RetryPolicy(retries, first_seconds=0.005),
    )


def test_openevals_takes_the_judge(server):
    from openevals.llm import create_llm_as_judge

    def answer(exchange):  # under whatever name the evaluator gave its tool
        tool = json.loads(exchange.body)["tools"][0]["function"]["name"]
        exchange.say(200, completion(tool_call(tool, '{"reasoning": "fine", "score": 0.5}'), USAGE))

    server.answers(fault(503, "busy"), answer)
    evaluate = create_llm_as_judge(prompt="Rate {outputs}", judge=judge(server, retries=1), continuous=True)
    assert evaluate(outputs="an answer")["score"] == 0.5
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(fault(401, f"no {KEY}"), Kind.AUTH), (say(200, {**OPENAI_REPLY, "choices": []}), Kind.BAD_RESPONSE)],
)
def test_the_judge_s_failures_are_model_call_errors(server, answer, kind):
    server.answers(answer)
    with pytest.raises(ModelCallError) as caught:
        judge(server).invoke("hello")
    assert caught.value.kind is kind
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("model", ["simulated:skill=1", "local:smollm2", "opnai:x"])
def test_who_cannot_judge_is_an_input_error(model):
    with pytest.raises(InputError):
        gateway.judge_model(ModelSpec(model=model), environ={})
