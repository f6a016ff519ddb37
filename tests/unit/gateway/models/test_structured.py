"""A simulated model answers in the form that its harness wants, so that such a harness is tried without a provider."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from bakeoff.gateway.models.simulated import SimulatedBackend
from bakeoff.gateway.models.structured import fill
from bakeoff_runner.chat_model import chat_model
from tests.unit.gateway.models.test_fidelity import InProcess, crossed


class Item(BaseModel):
    name: str
    amount: float = Field(ge=0)


class Order(BaseModel):
    """The answer."""

    status: Literal["open", "shipped"]
    items: list[Item]
    express: bool
    note: str | None = None


class Text(BaseModel):
    kind: Literal["info", "refund"]
    answer: str


GET = {"name": "get_order", "args": {"order_id": "A-17"}}
ORDER = {"status": "shipped", "items": [{"name": "pen", "amount": 2.5}], "express": True}


@pytest.mark.parametrize(
    ("schema", "right", "filled"),
    [
        (Order, ORDER, ORDER),
        (Order, json.dumps(ORDER), ORDER),
        (Text, "it has shipped", {"kind": "info", "answer": "it has shipped"}),
        (Text, "refund", {"kind": "refund", "answer": "-"}),
        (Item, 3, {"name": "-", "amount": 3.0}),
    ],
)
def test_a_value_is_made_of_the_reference_and_fits_the_schema(
    schema: type[BaseModel], right: Any, filled: Any
) -> None:
    assert fill(schema.model_json_schema(), right) == filled
    schema.model_validate(filled)


def test_a_wrong_value_fits_too_and_has_nothing_right_in_it() -> None:
    wrong = fill(Order.model_json_schema(), ORDER, wrong="Hm.")
    Order.model_validate(wrong)
    assert wrong == {"status": "open", "items": [{"name": "Hm.", "amount": 3.5}], "express": False}


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {name: {"$ref": "#/$defs/A"} for name in "ab"}, "required": ["a", "b"]},
        {"type": "array", "minItems": 10**12, "items": {"type": "string", "minLength": 10**12}},
    ],
)
def test_a_schema_without_end_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no end"):
        fill({**schema, "$defs": {"A": schema}}, "x")


@tool
def get_order(order_id: str) -> str:
    """Look an order up."""
    return "shipped"


def ends_with(response: Any) -> Callable[[Any], Any]:
    def run(model: Any) -> Any:
        agent = create_agent(model, [get_order], response_format=response)
        return agent.invoke({"messages": [("user", "A-17?")]})["structured_response"]

    return run


def asked(**options: Any) -> Callable[[Any], Any]:
    return lambda model: model.with_structured_output(Order, **options).invoke("A-17?")


def route(model: Any) -> Any:
    bound = model.bind_tools([Text, get_order], tool_choice="Text")
    return Text(**bound.invoke("A-17?").tool_calls[0]["args"])


def test_a_supervisor_and_its_agent_make_their_own_calls() -> None:
    """The reference has the calls of both; each makes those that it has tools for."""
    reference = {
        "answer": "shipped",
        "trajectory": [{"name": "delegate", "args": {"task": "A-17"}}, GET],
    }  # fmt: skip
    model = simulated(1, reference)

    @tool
    def delegate(task: str) -> str:
        """Ask the expert."""
        return create_agent(model, [get_order]).invoke({"messages": [("user", task)]})["messages"][-1].text

    end = create_agent(model, [delegate]).invoke({"messages": [("user", "A-17?")]})["messages"]
    assert [made["name"] for message in end for made in getattr(message, "tool_calls", ())] == ["delegate"]
    assert end[2].text == end[3].text == "Here is what I found: shipped"
    assert model.channel.calls == 4


def simulated(skill: float, reference: Any) -> Any:
    channel = InProcess(SimulatedBackend(f"simulated:skill={skill},errors=wrong_answer"))
    channel.reference = reference
    return chat_model(channel, crossed(asdict(channel.backend.card())))


@pytest.mark.parametrize("skill", [1, 0])
@pytest.mark.parametrize(
    "ask",
    [
        ends_with(Order),
        ends_with(AutoStrategy(Order)),
        ends_with(ProviderStrategy(Order)),
        ends_with(ToolStrategy(Order)),
        asked(),
        asked(method="json_schema"),
        asked(method="json_mode"),
    ],
)
def test_a_structured_answer_in_every_form_is_right_or_wrong(ask: Callable[[Any], Any], skill: int) -> None:
    answer = ask(simulated(skill, {"answer": ORDER, "trajectory": [GET]}))
    assert (answer == Order(**ORDER)) == bool(skill)


def test_a_request_without_tools_gets_no_calls() -> None:
    reply = simulated(1, {"answer": "shipped", "trajectory": [GET]}).invoke("Sum it up.")
    assert (reply.tool_calls, reply.text) == ([], "Here is what I found: shipped")


def test_a_forced_form_comes_before_the_tools() -> None:
    assert route(simulated(1, {"answer": "shipped", "trajectory": [GET]})).answer == "shipped"
