"""What the real OpenAI, Anthropic and Google clients send for one harness: in production, and through bakeoff.

The harness is built twice around the same agent code: around the provider's own LangChain client, as production does,
and around the container's chat model, whose calls cross the wire as JSON and go out through the gateway.
"""

import inspect
import json
import re
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy
from langchain.chat_models import init_chat_model
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from bakeoff import gateway
from bakeoff.config.schema import Candidate
from bakeoff.gateway.policy.retry import RetryPolicy
from bakeoff.gateway.types import CallContext, ChatBackend, JsonDict, ModelCard, ModelRequest
from bakeoff_runner import wire
from bakeoff_runner.chat_model import GatewayChatModel, chat_model
from tests.fakes.provider_server import ProviderServer

KEY = "sk-test-0123456789abcdefghij"
MODELS = ("openai:gpt-x", "anthropic:claude-x", "google_genai:gemini-x")
HINT = {"type": "ephemeral"}


class InProcess:
    """The channel without a container: every request and reply crosses as the lines that the wire would carry."""

    def __init__(self, backend: ChatBackend) -> None:
        self.backend, self.calls, self.reference = backend, 0, {}

    def submit(
        self, method: str, params: JsonDict, on_chunk: Callable[[JsonDict], None] | None = None
    ) -> "Future[JsonDict]":
        asked = json.loads(wire.encode({"method": method, "params": params}))["params"]
        context = CallContext(
            "c/e/1", "e", 1, self.calls, self.reference, on_chunk=lambda chunk: on_chunk(crossed(chunk))
        )
        self.calls += 1
        future: Future[JsonDict] = Future()
        reply = self.backend.complete(ModelRequest(**asked), context)
        self.reply = reply
        future.set_result({"message": crossed(reply.message)})
        return future

    @staticmethod
    def card_of(model: GatewayChatModel) -> ModelCard:
        return ModelCard(**crossed(asdict(model.channel.backend.card())))


def crossed(value: JsonDict) -> JsonDict:
    return json.loads(wire.encode({"params": value}))["params"]


@tool(extras={"cache_control": HINT, "defer_loading": True})
def get_order(order_id: str, fields: list[str] | None = None) -> str:
    """Look up one order.

    Args:
        order_id: such as A-17
        fields: which of its fields
    """
    return f"{order_id} has shipped"


@tool
def cancel_order(order_id: str, reason: str = "none") -> str:
    """Cancel one order."""
    return "cancelled"


SYSTEM = SystemMessage([{"type": "text", "text": "Be brief.", "cache_control": HINT}])
PLAIN = SystemMessage("Be brief.")


def production(server: ProviderServer, model: str, **params: Any) -> Any:
    return init_chat_model(model, base_url=server.base_url(model), api_key=KEY, max_retries=0, **params)


def through(server: ProviderServer, model: str, **params: Any) -> GatewayChatModel:
    who = Candidate(
        name="c", model=model, base_url=server.base_url(model), api_key_env="A_KEY", params=params
    )
    backend = gateway.open_backend(who, environ={"A_KEY": KEY}, retry=RetryPolicy(0, first_seconds=0.01))
    return chat_model(InProcess(backend), crossed(asdict(backend.card())))


def converse(model: Any, tools: list[Any], system: SystemMessage) -> list[Any]:
    agent = create_agent(model, tools, system_prompt=system)
    return agent.invoke({"messages": [HumanMessage("Where is A-17?")]})["messages"]


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("params", [{}, {"temperature": 0.25, "max_tokens": 500}], ids=["plain", "params"])
def test_a_request_is_what_production_sends(
    server: ProviderServer, model: str, params: dict[str, Any]
) -> None:
    system = SYSTEM if model.startswith("anthropic") else PLAIN
    converse(production(server, model, **params), [get_order, cancel_order], system)
    addressed, expected = addresses(server), server.bodies()
    said = converse(through(server, model, **params), [get_order, cancel_order], system)
    assert addresses(server) == addressed
    assert server.bodies() == expected
    assert len(expected) == 2
    # Anthropic's hints and both of Anthropic's and Google's signatures were in what was compared
    found = {one for one in ("cache_control", "c2lnbmF0dXJl") if one in json.dumps(expected)}
    assert (
        found == {"ant": {"cache_control", "c2lnbmF0dXJl"}, "goo": {"c2lnbmF0dXJl"}, "ope": set()}[model[:3]]
    )
    assert "has shipped" in said[-1].text


def addresses(server: ProviderServer) -> list[Any]:
    """Where each request went, and every header but those of the client's transport."""
    waits = re.compile("timeout|content-length|accept-encoding")
    return [
        (path, {name: value for name, value in headers.items() if not waits.search(name)})
        for path, headers, _ in server.requests
    ]


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_two_models_of_a_provider_differ_in_nothing_but_the_model(server: ProviderServer, model: str) -> None:
    sent = []
    for name in (model, f"{model}-2"):
        converse(through(server, name), [get_order, cancel_order], PLAIN)
        paths = [path.replace(name.partition(":")[2], "MODEL") for path, _, _ in server.requests]
        sent.append((paths, [{**body, "model": "MODEL"} for body in server.bodies()]))
    assert sent[0] == sent[1]


# --- what harnesses bind beside tools -----------------------------------------------------------------


class Reply(BaseModel):
    """The order's state."""

    status: str
    paid: bool = False


BOUND: list[tuple[dict[str, Any], bool]] = [
    ({"parallel_tool_calls": False}, True),
    ({"tool_choice": "any"}, True),
    ({"tool_choice": "get_order"}, True),
    ({"strict": True}, True),
    (ProviderStrategy(Reply).to_model_kwargs(), True),
    (ProviderStrategy(Reply).to_model_kwargs(), False),
]


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("options", "with_tools"), BOUND)
def test_what_a_harness_binds_is_what_production_sends(
    server: ProviderServer, model: str, options: dict[str, Any], with_tools: bool
) -> None:
    if model.startswith("google") and "parallel_tool_calls" in options:
        pytest.skip("Google's class has no such option")
    tools = [get_order, cancel_order] if with_tools else []
    asked = [PLAIN, HumanMessage("Where is A-17?")]
    production(server, model).bind_tools(tools, **options).invoke(asked)
    expected = server.bodies()
    through(server, model).bind_tools(tools, **options).invoke(asked)
    assert server.bodies() == expected


@pytest.mark.parametrize("model", ["openai:gpt-4.1", "openai:unheard-of", "anthropic:claude-opus-4-7"])
def test_a_card_says_what_the_provider_s_class_says(server: ProviderServer, model: str) -> None:
    real = production(server, model)
    card = InProcess.card_of(through(server, model))
    assert (card.name, card.llm_type) == (model.partition(":")[2], real._llm_type)
    assert (card.profile, card.ls_params) == (real.profile or None, real._get_ls_params())


# --- streaming --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_a_sum_of_chunks_goes_back_as_the_message_it_is(server: ProviderServer, model: str) -> None:
    bound = through(server, model).bind_tools([get_order])
    asked: list[Any] = [PLAIN, HumanMessage("Where is A-17?")]
    whole = None
    for chunk in bound.stream(asked):
        whole = chunk if whole is None else whole + chunk
    asked += [whole, get_order.invoke(whole.tool_calls[0])]
    pieces = [chunk.text for chunk in bound.stream(asked)]
    assert "".join(pieces).strip() == "A-17 has shipped"
    assert sum(bool(piece) for piece in pieces) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "params"), [*((model, {}) for model in MODELS), ("openai:gpt-x", {"use_responses_api": True})]
)
def test_the_harness_sees_the_messages_that_production_sees(
    server: ProviderServer, model: str, params: dict[str, Any]
) -> None:
    both, sent = [], []
    for kind in (production, through):
        both.append(converse(kind(server, model, **params), [get_order, cancel_order], PLAIN))
        sent.append(server.bodies())
    assert sent[0] == sent[1]
    drawn = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # Google's client makes up ids of calls
    expected, seen = (
        json.loads(drawn.sub("-", json.dumps([one.model_dump(exclude={"id"}) for one in said])))
        for said in both
    )
    assert seen == expected
    assert seen[-1]["usage_metadata"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "params"), [*((model, {}) for model in MODELS), ("openai:gpt-x", {"use_responses_api": True})]
)
def test_a_harness_that_streams_asks_and_sees_what_production_asks_and_sees(
    server: ProviderServer, model: str, params: dict[str, Any]
) -> None:
    asked, seen, sent = [PLAIN, HumanMessage("Where is A-17?")], [], []
    counted = {"stream_usage": True} if model.startswith("openai") else {}  # the gateway needs the tokens
    ours = through(server, model, **params)
    for kind in (production(server, model, **params, **counted), ours):
        whole = None
        for chunk in kind.bind_tools([get_order]).stream(asked):
            whole = chunk if whole is None else whole + chunk
        drawn = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
        plain = json.loads(drawn.sub("-", json.dumps(whole.model_dump(exclude={"id"}))))
        seen.append({key: plain[key] for key in ("content", "tool_calls", "usage_metadata")})
        sent.append(server.bodies())
    assert (seen[1], sent[1]) == (seen[0], sent[0])
    assert seen[1]["tool_calls"][0]["args"] == {"order_id": "A-17"}
    reply, usage = ours.channel.reply, seen[1]["usage_metadata"]
    assert (reply.input_tokens, reply.output_tokens) == (usage["input_tokens"], usage["output_tokens"])
    assert reply.message["data"]["tool_calls"][0]["args"] == {"order_id": "A-17"}
    assert 0 < reply.first_token_seconds <= reply.seconds


@pytest.mark.parametrize("model", MODELS)
def test_the_model_passes_for_one_of_the_provider_s_class(server: ProviderServer, model: str) -> None:
    real, ours = production(server, model, temperature=0.25), through(server, model, temperature=0.25)
    assert isinstance(ours, type(real))
    assert type(ours).__name__ == type(real).__name__
    assert (ours.temperature, ours.model) == (real.temperature, getattr(real, "model", ours.model))
    assert (ours._llm_type, ours._get_ls_params()) == (real._llm_type, real._get_ls_params())
    takes = [set(inspect.signature(one.bind_tools).parameters) for one in (ours, real)]
    assert takes[1] <= takes[0]


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("schema", [Reply, Reply.model_json_schema()], ids=["class", "dict"])
@pytest.mark.parametrize("method", [None, "function_calling", "json_schema"])
def test_a_structured_answer_is_asked_for_as_in_production(
    server: ProviderServer, model: str, schema: Any, method: str | None
) -> None:
    options = {"method": method} if method else {}
    asked = [HumanMessage("Where is A-17?")]
    outcomes, requests = [], []
    for kind in (production, through):
        structured = kind(server, model).with_structured_output(schema, include_raw=True, **options)
        try:
            outcomes.append(type(structured.invoke(asked)["parsed"]))
        except ValueError:  # OpenAI's client itself reads the reply of a class
            outcomes.append(type(None))
        requests.append(server.bodies())
    assert requests[1] == requests[0]
    assert outcomes[1] == outcomes[0]
