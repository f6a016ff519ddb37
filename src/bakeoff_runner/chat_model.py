"""The model inside the container: a LangChain chat model whose every call goes over the channel to the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, message_to_dict, messages_from_dict
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from bakeoff_runner.channel import Channel


class GatewayChatModel(BaseChatModel):
    """The candidate, as the harness sees it. It has no key, no network and no provider SDK."""

    channel: Any = Field(exclude=True, repr=False)

    @property
    def _llm_type(self) -> str:
        return "bakeoff-gateway"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: Any = None,
        **kwargs: Any,
    ) -> Runnable[Any, AIMessage]:
        """Bind tools as schemas. A dict with a `type` is a schema already, or a provider's own: it passes as it is."""
        schemas = [_schema(tool, kwargs.get("strict")) for tool in tools]
        return self.bind(tools=schemas, tool_choice=tool_choice, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return _result(self._submit(messages, stop, kwargs).result())

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return _result(await asyncio.wrap_future(self._submit(messages, stop, kwargs)))

    def _submit(self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]) -> Any:
        channel: Channel = self.channel
        # keys with None say nothing; `ls_...` is LangChain's own note to its tracer
        params = {k: v for k, v in kwargs.items() if v is not None and not k.startswith("ls_")}
        return channel.submit(
            "model/generate",
            {
                "messages": [message_to_dict(message) for message in messages],
                "tools": params.pop("tools", None),
                "tool_choice": params.pop("tool_choice", None),
                "stop": stop,
                "params": params,
            },
        )


def _schema(
    tool: dict[str, Any] | type | Callable[..., Any] | BaseTool, strict: bool | None
) -> dict[str, Any]:
    if isinstance(tool, dict) and "type" in tool:
        return tool
    return convert_to_openai_tool(tool, strict=strict)


def _result(reply: dict[str, Any]) -> ChatResult:
    [message] = messages_from_dict([reply["message"]])
    return ChatResult(generations=[ChatGeneration(message=message)])
