"""A candidate behind its provider's LangChain class: the request as the harness made it, the reply as it came."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from bakeoff.config.clients import variables
from bakeoff.config.schema import ModelSpec
from bakeoff.errors import InputError, ModelCallError, ModelErrorKind
from bakeoff.gateway.faults import Fault, ProviderFault, classify, heard, unfinished
from bakeoff.gateway.models import providers
from bakeoff.gateway.models.answer_class import answer_class
from bakeoff.gateway.models.card import card_of
from bakeoff.gateway.models.clients import Wiring
from bakeoff.gateway.policy.context import CallPolicy
from bakeoff.gateway.policy.retry import Outcome, call
from bakeoff.gateway.transport.raw import RawReply, listening
from bakeoff.gateway.transport.route import PROXIES
from bakeoff.gateway.transport.shapes import MAX_TOKENS
from bakeoff.gateway.types import (
    FORMS,
    CallContext,
    JsonDict,
    ModelCard,
    ModelReply,
    ModelRequest,
    TokenCounts,
)
from bakeoff.record.finish import meaning, word_of
from bakeoff.record.messages import refusal_of
from bakeoff.text.redact import MAX_MESSAGE_CHARS, masked, redact, secrets_of

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel, LanguageModelInput
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.runnables import Runnable
    from langchain_core.tools import BaseTool

# Characters of a streamed reply: half of what a line to the container may hold.
MAX_STREAM_CHARS = 4 * 2**20
# Pieces of a streamed reply that are held one by one: each weighs a multiple of its text.
MAX_PIECES = 2000
_NO_KEY = "none"  # SDKs insist on a key; servers without one ignore it

# Parameters that decide who answers, or where the request goes: neither a harness nor code that it runs may set them.
_RESERVED = frozenset(
    {"model", "model_name", "model_id", "api_key", "base_url", "endpoint_url", "timeout", "max_retries"}
    | {"extra_headers", "extra_query", "headers", "callbacks", "config", "stream"}
)
_PROXY_PARAMS = ("openai_proxy", "anthropic_proxy", "groq_proxy")


# --- the client --------------------------------------------------------------------------------------


def build(model: ModelSpec, environ: Mapping[str, str]) -> BaseChatModel:
    """The provider's LangChain client: its own retries off, its HTTP over the gateway's transport.

    Args:
        model: which one, and how to reach it.
        environ: the variables that its key and its proxy are looked up in.

    Raises:
        InputError: the provider's class does not take these params.
    """
    from langchain.chat_models import init_chat_model

    provider = providers.PROVIDERS[model.ref.provider]
    params = {k: v for k, v in model.params.items() if k not in ("timeout", "connect_timeout")}
    proxy = providers.proxy_of(model, environ)
    given = [params.pop(name) for name in _PROXY_PARAMS if name in params]
    wiring = Wiring(*providers.timeouts(model.params), given[0] if given else proxy.url if proxy else None)
    own = {**provider.client(wiring)}
    if model.base_url:
        own[provider.address_key] = model.base_url
    if api_key := _key(model, provider, environ):
        own["api_key"] = api_key
    try:
        unread = [*provider.ambient, *providers.ANY_CLASS, *PROXIES, "GOOGLE_GENAI_HTTP_CLIENT"]
        with variables(dict.fromkeys(unread)):
            client: BaseChatModel = init_chat_model(
                model.ref.name, model_provider=model.ref.provider, **{**own, **params}
            )
            provider.wire(client, wiring)
    except (ValueError, TypeError) as error:  # pydantic's ValidationError is a ValueError
        raise InputError(
            redact(f"{model.model} cannot be set up: {error}", secrets_of(environ, also=[api_key])),
            key="params",
            hint=f"look up which parameters LangChain's {model.ref.provider} models take",
        ) from None
    return client


def _key(model: ModelSpec, provider: providers.Provider, environ: Mapping[str, str]) -> str | None:
    if model.api_key_env:
        return environ.get(model.api_key_env)
    if model.base_url:
        return _NO_KEY if provider.key_env else None
    return environ.get(provider.key_env) if provider.key_env else None


# --- the backend -------------------------------------------------------------------------------------


class ProviderBackend:
    """A candidate behind a LangChain client. Threads share the client, which is made for that."""

    def __init__(
        self,
        model: BaseChatModel,
        policy: CallPolicy,
        *,
        wired: bool = True,
        route: str = "",
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._model, self._policy, self._on_close = model, policy, on_close
        self._wired, self._route = wired, route

    def complete(self, request: ModelRequest, call_context: CallContext) -> ModelReply:
        """Send exactly the harness's request, with the retry policy."""
        secrets, limiter = self._policy.secrets, self._policy.limiter
        bound, messages = self._prepare(request)
        tries = _Tries(bound, messages, request, self._wired, self._route, call_context.room)
        tries.hand_on = lambda chunk: call_context.on_chunk(masked(_plain(chunk), secrets))
        estimate = estimated_tokens(request) if limiter.counts_tokens else 0
        try:
            outcome = call(
                tries.send,
                self._policy.retry,
                turn=lambda: limiter.turn(estimate, call_context.cancelled, tries.used),
                cancelled=call_context.cancelled,
                secrets=secrets,
                committed=lambda: tries.stream.given,
                alive=tries.alive,
            )
        finally:
            tries.give_up()
        try:
            return self._reply(outcome, tries)
        except ValueError as error:  # nested too deeply to be written down
            text = redact(str(error), secrets, limit=MAX_MESSAGE_CHARS)
            raise ModelCallError(ModelErrorKind.BAD_RESPONSE, text, attempts=outcome.attempts) from None

    def card(self) -> ModelCard:
        return card_of(self._model)

    def close(self) -> None:
        """Release the local server, if there is one. LangChain's HTTP clients are shared and stay."""
        self._on_close()

    def _prepare(
        self, request: ModelRequest
    ) -> tuple[Runnable[LanguageModelInput, AIMessage], list[BaseMessage]]:
        """The request as LangChain's objects. Raises ModelCallError(BAD_REQUEST) when it has no such form."""
        from langchain_core.messages import messages_from_dict

        structured = (request.structured or {}).get("options") or {}
        for given in (request.params, request.bind, structured):
            extra = given.get("extra_body")
            if reserved := _RESERVED.intersection(given) | _RESERVED.intersection(extra or ()):
                text = f"a harness may not set these: {', '.join(sorted(reserved))}"
                raise ModelCallError(ModelErrorKind.BAD_REQUEST, text, attempts=0)
        try:
            # a fixed list of types: the general `load` would instantiate whatever it is given
            messages = messages_from_dict(request.messages)
            bound = self._bind(request)
        except Exception as error:  # noqa: BLE001 - hostile input: whatever it breaks, it is a bad request
            text = redact(f"{type(error).__name__}: {error}", self._policy.secrets, limit=MAX_MESSAGE_CHARS)
            raise ModelCallError(ModelErrorKind.BAD_REQUEST, text, attempts=0) from None
        return bound, messages

    def _bind(self, request: ModelRequest) -> Runnable[LanguageModelInput, AIMessage]:
        """The client with everything that the harness bound, by the methods of the client's own class."""
        options = dict(request.bind)
        if request.tool_choice is not None:
            options["tool_choice"] = request.tool_choice
        model: Any = self._model
        if request.tools is not None:
            strict = bool(options.get("strict") or options.get("response_format"))
            model = model.bind_tools([_tool(tool, strict=strict) for tool in request.tools], **options)
        elif request.structured is not None:
            asked = request.structured
            schema = answer_class(asked["schema"]) if asked.get("is_class") else asked["schema"]
            chain = model.with_structured_output(schema, **{**asked.get("options", {}), **options})
            model = getattr(chain, "first", chain)  # without its parser, which belongs to the harness
        else:
            model = model.bind(**options)
        bound: Runnable[LanguageModelInput, AIMessage] = model.bind(**request.params)
        return bound

    def _reply(self, outcome: Outcome[AIMessage], tries: _Tries) -> ModelReply:
        message, raw = outcome.value, tries.raw
        counts = counts_of(message, raw)
        word = raw.facts.word or word_of(message.response_metadata)
        if word and word_of(message.response_metadata) is None:
            message.response_metadata["finish_reason"] = (
                word  # a blocked prompt, say, which the class does not note
            )
        found = meaning(word)
        price = self._policy.price
        return ModelReply(
            message=masked(_plain(message), self._policy.secrets),
            seconds=outcome.seconds - raw.waited,
            queued_seconds=outcome.queued_seconds + raw.waited,
            attempts=outcome.attempts,
            input_tokens=counts.input,
            output_tokens=counts.output,
            cached_tokens=counts.cached,
            reasoning_tokens=counts.reasoning,
            cost_usd=price.cost_usd(counts) if price else None,
            finish_reason=found[0] if found else None,
            first_token_seconds=tries.stream.first_token_seconds,
            reasoning=masked(raw.facts.reasoning, self._policy.secrets) or None,
            refusal=masked(raw.facts.refusal, self._policy.secrets) or None,
        )


class _Tries:
    """The tries of one call. Each starts with a new stream and a new raw reply; the one before may still be running."""

    hand_on: Callable[[BaseMessage], None] = staticmethod(lambda _: None)

    def __init__(
        self,
        bound: Runnable[LanguageModelInput, AIMessage],
        messages: list[BaseMessage],
        request: ModelRequest,
        wired: bool,
        route: str,
        room: Callable[[int], bool],
    ) -> None:
        self._bound, self._messages, self._request = bound, messages, request
        self._wired, self._route, self._room = wired, route, room
        self._counts: TokenCounts | None = None
        self._begin()

    def _begin(self) -> tuple[_Stream, RawReply]:
        """A new stream and a new raw reply."""
        self.raw = RawReply(streamed=self._request.stream, room=self._room)
        self.stream = _Stream(self.hand_on, self.raw.take)
        return self.stream, self.raw

    def send(self) -> AIMessage:
        """One try, in its own thread."""
        self.give_up()
        stream, raw = self._begin()
        schema = self._request.structured is not None
        message = received(
            lambda: self._ask(stream), raw, wired=self._wired, route=self._route, structured=schema
        )
        self._counts = counts_of(message, raw)
        return message

    def _ask(self, stream: _Stream) -> AIMessage:
        stop = self._request.stop
        if self._request.stream:
            return stream.gather(self._bound.stream(self._messages, stop=stop))
        return self._bound.invoke(self._messages, stop=stop)

    def give_up(self) -> None:
        """Nobody waits for the current try: it says no more, and stops reading."""
        self.stream.given_up = True
        self.raw.give_up()

    def alive(self) -> float:
        """`time.monotonic` of the last sign of life of the current try."""
        made = self.raw.unsent_until if self._wired else 0.0
        return max(made, self.raw.waited_until, self.stream.last_piece)

    def used(self) -> int | None:
        """Tokens of the last try."""
        return self._counts.total if self._counts else None


def received(
    ask: Callable[[], AIMessage], raw: RawReply, *, wired: bool, route: str = "", structured: bool = False
) -> AIMessage:
    """What a client's method returns, known to be the model's whole answer.

    Args:
        ask: calls the client.
        raw: notes what the provider really sends.
        wired: whether the client uses the gateway's transport, and so whether there is anything in `raw`.
        route: how calls get there, for the message of one that did not.
        structured: the client reads the pieces of a stream as JSON, and raises ValueError where they are not.

    Raises:
        ProviderFault: the call failed, or its reply is not an answer.
    """
    from langsmith import tracing_context

    fault: Fault | None = None
    try:
        # whole trials are published, if the user wishes; single calls are never traced on the side
        with tracing_context(enabled=False), listening(raw):
            message = ask()
    except Exception as error:  # noqa: BLE001 - the SDKs share no base class; classify() names them all
        fault = _fault_of(error, raw, wired=wired, route=route, structured=structured)
    if (
        fault is not None
    ):  # raised out here without a context, whose frames would keep the request and the reply
        raise ProviderFault(fault)
    said = message.text or message.tool_calls or message.invalid_tool_calls
    empty = not (said or raw.facts.refusal or refusal_of(vars(message)))
    word = raw.facts.word or word_of(message.response_metadata)
    if problem := heard(raw) or unfinished(raw, word, empty=empty, cut=bool(message.invalid_tool_calls)):
        raise ProviderFault(problem)
    # No framework can answer such a call, and ids are the server's doing, not the model's.
    if any(made.get("id") is None for made in message.tool_calls):
        raise ProviderFault(Fault(ModelErrorKind.BAD_RESPONSE, "a tool call in the reply has no id"))
    return message


def _fault_of(error: Exception, raw: RawReply, *, wired: bool, route: str, structured: bool) -> Fault:
    """What a client's exception says: see `received`."""
    fault = classify(error, raw if wired else None)
    bad_response = fault.kind is ModelErrorKind.BAD_RESPONSE
    readable = raw.streamed and raw.facts.place and not raw.facts.garbled
    if structured and readable and type(error) is ValueError and bad_response:
        fault = replace(fault, kind=ModelErrorKind.INVALID_TOOL_CALL)
    if wired and raw.status is None:
        if bad_response:  # nothing was sent: the client refused the request itself
            fault = replace(fault, kind=ModelErrorKind.BAD_REQUEST)
        elif route:
            fault = replace(fault, text=f"{fault.text} ({route})")
    return fault


class _Stream:
    """The pieces of one streamed reply, handed on as they come.

    Attributes:
        given: whether any piece has been handed on.
        given_up: nobody waits for it any more.
        last_piece: when the last one came (`time.monotonic`); 0: none has.
        first_token_seconds: from the start of the try to the first piece that says something.
    """

    def __init__(self, hand_on: Callable[[BaseMessage], None], take: Callable[[int], None]) -> None:
        self._hand_on, self._take = hand_on, take
        self.given = self.given_up = False
        self.last_piece = 0.0
        self.first_token_seconds: float | None = None

    def gather(self, pieces: Iterator[AIMessage]) -> AIMessage:
        """The whole reply. Raises ValueError when there was no piece at all, or no end of them."""
        from langchain_core.messages import message_chunk_to_message

        began, size = time.monotonic(), 0
        got: list[AIMessage] = []
        for piece in pieces:
            calls = getattr(piece, "tool_call_chunks", None)
            size += len(str(piece.content)) + (len(str(calls)) if calls else 0)
            if size > MAX_STREAM_CHARS:
                raise ValueError(f"the stream is longer than {MAX_STREAM_CHARS} characters")
            self._take(FORMS * size)
            if self.first_token_seconds is None and (piece.content or piece.tool_calls or calls):
                self.first_token_seconds = time.monotonic() - began
            if self.given_up:
                raise ValueError("nobody waits for this stream any more")
            self.given, self.last_piece = True, time.monotonic()
            self._hand_on(piece)
            got.append(piece)
            if len(got) > MAX_PIECES:
                got = [_sum(got)]
        if not got:
            raise ValueError("the stream ended before it began")
        return cast("AIMessage", message_chunk_to_message(_sum(got)))


def _sum(pieces: list[AIMessage]) -> Any:
    """All at once: adding them up one by one takes quadratic time."""
    first: Any = pieces[0]
    return first + pieces[1:] if len(pieces) > 1 else first


# --- between LangChain's objects and JSON ----------------------------------------------------------------


def estimated_tokens(request: ModelRequest) -> int:
    """Of a request, at four characters a token: held against the rate limit until the true number is known."""
    return len(json.dumps([request.messages, request.tools])) // 4


def _tool(schema: JsonDict, *, strict: bool) -> JsonDict | BaseTool:
    """The tool as a dict, or as an object where the provider's class must read more from it than its schema.

    A class takes extras (cache hints) from objects alone, and makes only objects strict, which OpenAI's API needs
    beside a `response_format`.
    """
    plain = {key: value for key, value in schema.items() if key != "as_is"}
    if "as_is" in schema or not ("extras" in schema or (strict and schema.get("type") == "function")):
        return plain
    from langchain_core.tools import StructuredTool

    function = schema["function"]
    return StructuredTool(
        name=function["name"],
        description=function.get("description", ""),
        args_schema=function.get("parameters") or {"type": "object", "properties": {}},
        extras=schema.get("extras"),
    )


def counts_of(message: AIMessage, raw: RawReply) -> TokenCounts:
    """What the provider says was used: by its own bytes, or as its class reads them where there are none.

    A class makes 0 of a missing count and 1 of `true`. A count that cannot be makes all of them unknown, since half of
    them would be a guess.
    """
    read = None if raw.status else cast("Mapping[str, Any] | None", message.usage_metadata)
    counts = raw.facts.counts or _read(read)
    beside = (counts.cached or 0) + (counts.cache_written or 0)
    if (
        counts.input is not None and counts.input < beside
    ):  # a gateway that counts cached tokens beside the prompt's
        counts = replace(counts, input=counts.input + beside)
    return counts


def _read(usage: Mapping[str, Any] | None) -> TokenCounts:
    if usage is None:
        return TokenCounts()
    read, made = usage.get("input_token_details") or {}, usage.get("output_token_details") or {}
    counts = TokenCounts(
        usage["input_tokens"],
        usage["output_tokens"],
        read.get("cache_read"),
        read.get("cache_creation"),
        made.get("reasoning"),
    )
    given = [
        count for count in (getattr(counts, name) for name in TokenCounts.__slots__) if count is not None
    ]
    return counts if all(type(count) is int and 0 <= count < MAX_TOKENS for count in given) else TokenCounts()


def _plain(message: BaseMessage) -> JsonDict:
    """The message as JSON that any LangChain can read back.

    A class sets a provider's usage unchecked. Usage that no message may hold is left out: reading it back would fail.
    """
    from langchain_core.messages import AIMessage, message_to_dict
    from pydantic import ValidationError

    if isinstance(message, AIMessage) and message.usage_metadata:
        try:
            AIMessage("", usage_metadata=message.usage_metadata)
        except ValidationError:
            message = message.model_copy(update={"usage_metadata": None})
    return _jsonable(message_to_dict(message))


def _jsonable(value: Any) -> JsonDict:
    from pydantic_core import to_jsonable_python

    plain: JsonDict = to_jsonable_python(value, bytes_mode="base64")
    return plain
