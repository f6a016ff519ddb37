"""A clerk with one tool."""

from typing import Any

from langchain.agents import create_agent

ORDERS = {"A-17": "shipped on Monday", "B-20": "waiting for payment"}


def get_order(order_id: str) -> str:
    """Look up the state of one order by its id."""
    return ORDERS.get(order_id, "there is no such order")


def build_agent(model: Any, context: Any) -> Any:
    """The agent."""
    return create_agent(model, [get_order], system_prompt="You are a clerk. Look orders up with get_order.")
