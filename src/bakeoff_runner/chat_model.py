"""The model inside the container: a LangChain chat model whose every call goes over the channel to the gateway."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    message_chunk_to_message,
    message_to_dict,
    messages_from_dict,
)
from langchain_core.messages.base import BaseMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from bakeoff_runner.channel import Channel

Chunk = dict[str, Any]


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
        """Bind tools as schemas. A dict with a `type` is OpenAI's or a provider's own: it passes as it is."""
        # the provider's class on the host makes its own schemas of these, with the options given here
        return self.bind(
            tools=[_schema(tool) for tool in tools], tool_choice=tool_choice, bind_options=kwargs
        )

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

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        pieces: queue.SimpleQueue[Chunk | None] = queue.SimpleQueue()
        reply = self._submit(messages, stop, kwargs, pieces.put)
        reply.add_done_callback(lambda _: pieces.put(None))
        while (piece := pieces.get()) is not None:
            chunk = _generation(piece)
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk
        reply.result()  # raises what ended it

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Chunk | None] = asyncio.Queue()

        def put(piece: Chunk | None) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        reply = self._submit(messages, stop, kwargs, put)
        reply.add_done_callback(lambda _: put(None))
        while (piece := await pieces.get()) is not None:
            chunk = _generation(piece)
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk
        reply.result()

    def _submit(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        kwargs: dict[str, Any],
        on_chunk: Callable[[Chunk], None] | None = None,
    ) -> Future[dict[str, Any]]:
        channel: Channel = self.channel
        # keys with None say nothing; `ls_...` is LangChain's own note to its tracer; `stream` chose the method
        params = {
            k: v for k, v in kwargs.items() if v is not None and k != "stream" and not k.startswith("ls_")
        }
        return channel.submit(
            "model/generate",
            {
                "messages": [message_to_dict(whole(message)) for message in messages],
                "tools": params.pop("tools", None),
                "tool_choice": params.pop("tool_choice", None),
                "stop": stop,
                "bind": {k: v for k, v in params.pop("bind_options", {}).items() if v is not None},
                "params": params,
                "stream": on_chunk is not None,
            },
            on_chunk,
        )


def whole(message: BaseMessage) -> BaseMessage:
    """The message that a sum of streamed chunks is."""
    return message_chunk_to_message(message) if isinstance(message, BaseMessageChunk) else message


def _schema(tool: dict[str, Any] | type | Callable[..., Any] | BaseTool) -> dict[str, Any]:
    if isinstance(tool, dict) and "type" in tool:
        return {**tool, "as_is": True} if tool["type"] == "function" else tool
    schema = convert_to_openai_tool(tool)
    # what a tool carries for one provider (cache hints, deferred loading) is no part of its function
    extras = getattr(tool, "extras", None)
    return {**schema, "extras": extras} if extras else schema


def _result(reply: dict[str, Any]) -> ChatResult:
    [message] = messages_from_dict([reply["message"]])
    return ChatResult(generations=[ChatGeneration(message=message)])


def _generation(piece: Chunk) -> ChatGenerationChunk:
    [message] = messages_from_dict([piece])
    if not isinstance(
        message, AIMessageChunk
    ):  # a provider's client that cannot stream gives its reply whole
        message = AIMessageChunk(**message.model_dump(exclude={"type"}))
    return ChatGenerationChunk(message=message)
