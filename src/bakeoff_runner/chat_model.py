"""The model inside the container: a LangChain chat model whose every call goes over the channel to the gateway.

The gateway repeats each call on the provider's own class, so what is bound here is sent there as it was given. The
`card` has that class's answers to what a harness may ask its model. So it looks like the class, and needs no key, no
network and no provider SDK.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import queue
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from operator import itemgetter
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    convert_to_messages,
    message_chunk_to_message,
    message_to_dict,
    messages_from_dict,
)
from langchain_core.messages.base import BaseMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, Field
from pydantic_core import to_jsonable_python

from bakeoff_runner.channel import Channel, ModelUnavailable, RemoteError

Chunk = dict[str, Any]
Toolish = dict[str, Any] | type | Callable[..., Any] | BaseTool

CHARS_PER_TOKEN = 4  # the estimate of langchain_core's count_tokens_approximately


def chat_model(channel: Channel, card: dict[str, Any]) -> GatewayChatModel:
    """The candidate, in a class that is named like the provider's and passes for an instance of it.

    Args:
        channel: to the host.
        card: the gateway's ModelCard; empty where nothing is known of the model.
    """
    module, _, name = card.get("class_path", "").rpartition(".")
    kind: type[GatewayChatModel] = (
        type(name, (GatewayChatModel,), {"__module__": module}) if module else GatewayChatModel
    )
    if parameters := card.get("bind_parameters"):
        kind.bind_tools = _with_parameters(GatewayChatModel.bind_tools, parameters)  # type: ignore[method-assign]
    known = {"model_name": card.get("name", ""), "profile": card.get("profile")}
    # a langchain_core before 1.0 has no profiles
    return kind(
        channel=channel, card=card, **{k: v for k, v in known.items() if v and k in kind.model_fields}
    )


class GatewayChatModel(BaseChatModel):
    """The candidate, as the harness sees it."""

    channel: Any = Field(exclude=True, repr=False)
    card: dict[str, Any] = Field(default_factory=dict, exclude=True, repr=False)
    model_name: str = ""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """What `isinstance` asks for: the provider's own class, where the harness has imported it."""
        kind = type(self)
        real = getattr(sys.modules.get(kind.__module__), kind.__name__, None)
        return real if isinstance(real, type) and issubclass(real, BaseChatModel) else kind

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in (found := self.card.get("attributes") or {}):
            return found[name]
        parent: Any = super()
        return parent.__getattr__(name)

    @property
    def _llm_type(self) -> str:
        return str(self.card.get("llm_type") or "bakeoff-gateway")

    @property
    def model(self) -> str:
        return self.model_name

    @property
    def use_responses_api(self) -> bool:
        return self.card.get("use_responses_api") is True

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        return cls.__module__.split(".")

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        known = dict(self.card.get("ls_params") or super()._get_ls_params(stop=stop, **kwargs))
        for name in ("temperature", "max_tokens"):
            if name in kwargs:
                known[f"ls_{name}"] = kwargs[name]
        return {**known, "ls_stop": stop} if stop else known

    def get_num_tokens(self, text: str) -> int:
        """An estimate: providers count with files or requests that need a network."""
        return -(-len(text) // CHARS_PER_TOKEN)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Any = None, **_: Any) -> int:
        from langchain_core.messages.utils import count_tokens_approximately

        return count_tokens_approximately(messages)

    def bind_tools(
        self, tools: Sequence[Toolish], *, tool_choice: Any = None, **kwargs: Any
    ) -> Runnable[Any, AIMessage]:
        """Bind tools and options as they are given: the provider's class makes its own schemas of them."""
        return self.bind(
            tools=[_schema(tool) for tool in tools],
            tool_choice=tool_choice,
            bind_options={name: _plain(value) for name, value in kwargs.items()},
        )

    def with_structured_output(
        self, schema: Any = None, method: str | None = None, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[Any, Any]:
        """As the provider's class does it, which also chooses the method where none is given.

        Raises:
            ValueError: that class has no such method.
        """
        ways = self.card.get("structured_output") or {}
        way = ways.get(method or "default", "tools")
        if way not in ("tools", "text"):
            raise ValueError(way)
        options = {**kwargs, **({"method": method} if method else {})}
        asked = {
            "schema": None if schema is None else _json_schema(schema),
            "is_class": _is_pydantic(schema),
            "options": {
                name: [_schema(tool) for tool in value] if name == "tools" and value else _plain(value)
                for name, value in options.items()
                if value is not None
            },
        }
        model = self.bind(structured=asked)
        parser = _parser(schema, way)
        if not include_raw:
            return model | parser
        parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        unparsed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=model) | parsed.with_fallbacks([unparsed], exception_key="parsing_error")

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with as_langchain_raises():
            return _result(self._submit(messages, stop, kwargs).result())

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with as_langchain_raises():
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
        with as_langchain_raises():
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
        with as_langchain_raises():
            reply.result()

    def _submit(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        kwargs: dict[str, Any],
        on_chunk: Callable[[Chunk], None] | None = None,
    ) -> Future[dict[str, Any]]:
        channel: Channel = self.channel
        # keys with None say nothing; `ls_...` is for LangChain's tracer; `stream` chose the method
        params = {
            name: value
            for name, value in {**self._changed(), **kwargs}.items()
            if value is not None and name != "stream" and not name.startswith("ls_")
        }
        options = params.pop("bind_options", {})
        return channel.submit(
            "model/generate",
            {
                "messages": [serialised(message) for message in messages],
                "tools": params.pop("tools", None),
                "tool_choice": params.pop("tool_choice", None),
                "stop": stop,
                "bind": {name: value for name, value in options.items() if value is not None},
                "structured": params.pop("structured", None),
                "params": {name: _plain(value) for name, value in params.items()},
                "stream": on_chunk is not None,
            },
            on_chunk,
        )

    def _changed(self) -> dict[str, Any]:
        """Attributes of the provider's class that the harness gave another value, by `model_copy`."""
        return {
            name: self.__dict__[name] for name in self.card.get("attributes") or () if name in self.__dict__
        }


@contextlib.contextmanager
def as_langchain_raises() -> Iterator[None]:
    """A context that is too long is the error that harnesses catch to shorten it; an older langchain_core has none."""
    try:
        yield
    except RemoteError as error:
        from langchain_core import exceptions

        overflow = getattr(exceptions, "ContextOverflowError", None)
        if error.kind != "context_overflow" or overflow is None:
            raise
        kind = type("ContextOverflow", (ModelUnavailable, overflow), {"__module__": __name__})
        raise kind(error.kind, error.message) from None


def whole(message: BaseMessage) -> BaseMessage:
    """The message that a sum of streamed chunks is."""
    return message_chunk_to_message(message) if isinstance(message, BaseMessageChunk) else message


def serialised(message: BaseMessage) -> dict[str, Any]:
    """The message as JSON-able values, without what a tool keeps beside its result: no model is sent an artifact."""
    if isinstance(message, ChatMessage):  # it has a role, and the host knows messages by their type
        with contextlib.suppress(ValueError):  # an unknown role: the host refuses it
            [message] = convert_to_messages([{"role": message.role, "content": message.content}])
    said = message_to_dict(whole(message))
    said["data"].pop("artifact", None)
    plain: dict[str, Any] = to_jsonable_python(said, by_alias=False, bytes_mode="base64", fallback=str)
    return plain


def _schema(tool: Toolish) -> dict[str, Any]:
    """What the gateway needs of a tool. It makes an object of it again, but not of a dict that was one here."""
    if isinstance(tool, dict):
        return {**tool, "as_is": True} if tool.get("type") == "function" else tool
    schema = convert_to_openai_tool(tool)
    # what a tool carries for one provider (cache hints, deferred loading) is no part of its function
    extras = getattr(tool, "extras", None)
    return {**schema, "extras": extras} if extras else schema


def _is_pydantic(schema: Any) -> bool:
    return isinstance(schema, type) and issubclass(schema, BaseModel)


def _json_schema(schema: Any) -> dict[str, Any]:
    if isinstance(schema, dict):
        return schema
    if _is_pydantic(schema):
        found: dict[str, Any] = schema.model_json_schema()
        return found
    function = convert_to_openai_tool(schema)["function"]
    described = {"title": function["name"], "description": function.get("description", "")}
    return {**described, **function["parameters"]}


def _plain(value: Any) -> Any:
    """Options as JSON: a class that describes an answer becomes its schema."""
    if isinstance(value, type):
        return _json_schema(value)
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _parser(schema: Any, way: str) -> Runnable[Any, Any]:
    from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
    from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser

    if way == "text":
        return PydanticOutputParser(pydantic_object=schema) if _is_pydantic(schema) else JsonOutputParser()
    if _is_pydantic(schema):
        return PydanticToolsParser(tools=[schema], first_tool_only=True)
    name = convert_to_openai_tool(schema)["function"]["name"]
    return JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)


def _with_parameters(function: Any, names: Sequence[str]) -> Any:
    """The function with the signature of the provider's: some harnesses ask it which options it takes."""

    def bind_tools(self: GatewayChatModel, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    own = inspect.signature(function)
    known = [one for one in own.parameters.values() if one.name not in names or one.name == "tool_choice"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
        for name in names
        if name not in own.parameters
    ]
    bind_tools.__signature__ = own.replace(parameters=[*known[:-1], *added, known[-1]])  # type: ignore[attr-defined]
    return bind_tools


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
