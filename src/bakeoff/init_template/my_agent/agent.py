"""The smallest agent: one tool, and the function that bakeoff calls."""

from typing import Any

from langchain.agents import create_agent

PRICES = {"coffee": "2.40", "tea": "1.90", "cake": "3.80"}


def price_of(item: str) -> str:
    """The price of one item on the menu, in euros."""
    return PRICES.get(item, "not on the menu")


def build_agent(model: Any, context: Any) -> Any:
    """Called in the container once for every trial; takes and returns {"messages": [...]}."""
    return create_agent(model, tools=[price_of], system_prompt="You answer questions about a café's menu.")
