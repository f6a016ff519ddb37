"""The agent itself: `build_agent(model, context)`, the entrypoint that harness.yaml names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from langchain.agents import create_agent
from langchain.agents.middleware import PIIMiddleware, ToolCallLimitMiddleware, ToolErrorMiddleware

from support_desk import shop, tools
from support_desk.prompt import PROMPT

if TYPE_CHECKING:
    from langchain.agents.middleware import AgentMiddleware, ToolCallRequest
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import Runnable


class Context(Protocol):
    """The part of bakeoff's HarnessContext that this harness reads."""

    @property
    def workdir(self) -> Path:
        """A fresh, writable directory."""
        ...

    @property
    def config(self) -> dict[str, Any]:
        """`harness.config` of harness.yaml."""
        ...


def unstorable_text(error: Exception, request: ToolCallRequest) -> str | None:
    """The error that the model sees when its text is not valid Unicode (half an emoji). Raises any other exception."""
    return (
        "the arguments hold text that is not valid Unicode" if isinstance(error, UnicodeEncodeError) else None
    )


def build_agent(model: BaseChatModel, context: Context) -> Runnable[Any, Any]:
    """The support agent on a fresh shop, around any chat model.

    `context.config` may give `exports_per_conversation` (int, default 2); past it an export is refused.
    """
    os.chdir(context.workdir)  # where the tools look for the shop; bakeoff's runner starts there anyway
    with shop.connect() as connection:
        today = shop.today(connection)
    exports = context.config.get("exports_per_conversation", 2)
    middleware: list[AgentMiddleware[Any, Any, Any]] = [
        # a card number that a customer mailed in reaches neither the model nor the reply
        PIIMiddleware("credit_card", strategy="mask", apply_to_output=True, apply_to_tool_results=True),
        # emails are needed to find people, but have no place in a reply
        PIIMiddleware("email", strategy="redact", apply_to_input=False, apply_to_output=True),
        ToolCallLimitMiddleware(tool_name="export_orders_report", run_limit=exports),
        ToolErrorMiddleware(unstorable_text),
    ]
    return create_agent(
        model,
        tools=tools.ALL,
        system_prompt=PROMPT.format(today=today),
        middleware=middleware,
    )
