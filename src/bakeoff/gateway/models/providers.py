"""Real models: any LangChain provider by `provider:model`, and any OpenAI-compatible server by `base_url`.

`base_url` goes to the client of the named provider; for an OpenAI-compatible server that is `openai:<model>`,
or the bare model name. With a `base_url` a key is sent only when `api_key_env` names it, lest one provider's
key reach another.

Timeouts are the candidate's params `timeout` (seconds until the reply comes, 120) and `connect_timeout` (10;
where the SDK tells the two apart). Parameters that the harness passes with a call win over the candidate's,
as in production.
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from bakeoff.config.schema import Candidate
from bakeoff.errors import InputError, ModelCallError, ModelErrorKind
from bakeoff.gateway.policy.prices import Price, Unknown, price_of
from bakeoff.gateway.policy.retry import Outcome, call
from bakeoff.gateway.policy.terms import Terms
from bakeoff.gateway.problem import Problem, nearest
from bakeoff.gateway.types import CallContext, JsonDict, ModelCard, ModelReply, ModelRequest
from bakeoff.text.redact import MAX_MESSAGE_CHARS, masked, redact, secrets_of

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel, LanguageModelInput
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.messages.ai import UsageMetadata
    from langchain_core.runnables import Runnable
    from langchain_core.tools import BaseTool

READ_SECONDS = 120.0
CONNECT_SECONDS = 10.0
MOST_CHARS = 4 * 2**20  # of a streamed reply: half of what a line to the container may hold
MOST_TOKENS = 10**9  # of one call: no count beyond it is one
_NO_KEY = "none"  # SDKs insist on a key; servers without one ignore it

# Parameters that decide who answers, or where the request goes: neither a harness nor code that it runs may set them.
_RESERVED = frozenset(
    {"model", "model_name", "model_id", "api_key", "base_url", "endpoint_url", "timeout", "max_retries"}
    | {"extra_headers", "extra_query", "headers", "callbacks", "config", "stream"}
)


# --- the table: a new provider is one new entry -----------------------------------------------------


def _usual(read: float, connect: float) -> JsonDict:
    return {"max_retries": 0, "timeout": read}


def _openai_like(read: float, connect: float) -> JsonDict:
    import openai

    # a streamed reply of a compatible server says what it used only when it is asked to
    return {"max_retries": 0, "timeout": openai.Timeout(read, connect=connect), "stream_usage": True}


def _whole_seconds(read: float, connect: float) -> JsonDict:
    return {"max_retries": 0, "timeout": max(round(read), 1)}


def _ollama(read: float, connect: float) -> JsonDict:
    return {"client_kwargs": {"timeout": read}}  # its client does not retry


def _bedrock(read: float, connect: float) -> JsonDict:
    from botocore.config import Config

    return {"config": Config(read_timeout=read, connect_timeout=connect, retries={"total_max_attempts": 1})}


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider of `langchain.chat_models.init_chat_model`."""

    package: str  # what is imported
    key_env: str | None = None  # None: it finds its credentials itself, or needs none
    extra: str | None = None  # bakeoff's extra; None: the package is to be installed by its own name
    prices: str | None = None  # genai-prices' id of it
    client: Callable[[float, float], JsonDict] = field(
        default=_usual
    )  # (read, connect) -> timeouts, no retries

    @property
    def install(self) -> str:
        """The command that installs its package."""
        return (
            f"pip install 'bakeoff[{self.extra}]'"
            if self.extra
            else f"pip install {self.package.replace('_', '-')}"
        )


PROVIDERS: dict[str, Provider] = {
    "openai": Provider("langchain_openai", "OPENAI_API_KEY", "openai", "openai", _openai_like),
    "anthropic": Provider("langchain_anthropic", "ANTHROPIC_API_KEY", "anthropic", "anthropic"),
    "google_genai": Provider("langchain_google_genai", "GOOGLE_API_KEY", "google-genai", "google"),
    "mistralai": Provider("langchain_mistralai", "MISTRAL_API_KEY", "mistralai", "mistral", _whole_seconds),
    "ollama": Provider("langchain_ollama", None, "ollama", None, _ollama),
    "bedrock_converse": Provider("langchain_aws", None, "bedrock", "aws", _bedrock),
    "azure_openai": Provider("langchain_openai", "AZURE_OPENAI_API_KEY", "openai", "azure", _openai_like),
    "deepseek": Provider("langchain_deepseek", "DEEPSEEK_API_KEY", None, "deepseek"),
    "fireworks": Provider("langchain_fireworks", "FIREWORKS_API_KEY", None, "fireworks"),
    "groq": Provider("langchain_groq", "GROQ_API_KEY", None, "groq"),
    "together": Provider("langchain_together", "TOGETHER_API_KEY", None, "together"),
    "xai": Provider("langchain_xai", "XAI_API_KEY", None, "x-ai"),
}


def split(model: str, base_url: str | None) -> tuple[str, str]:
    """`provider:model` in two. A bare name is an OpenAI-compatible server's when there is a `base_url`."""
    provider, colon, name = model.partition(":")
    return (provider, name) if colon else ("openai" if base_url else "", model)


def check(candidate: Candidate, environ: Mapping[str, str]) -> Problem | None:
    """What stands in the way of calling this model, without importing its package."""
    name, model = split(candidate.model, candidate.base_url)
    provider = PROVIDERS.get(name)
    if provider is None:
        known = ("simulated", "local", *PROVIDERS)
        hint = f"write provider:model with one of {', '.join(known)}"
        if candidate.base_url:
            hint = f"for an OpenAI-compatible server write openai:{candidate.model}"
        return Problem(f"unknown provider {name or model!r}{nearest(name or model, known)}", hint)
    if not model:
        return Problem(f"{candidate.model!r} names no model", f"write {name}:<model>")
    if importlib.util.find_spec(provider.package) is None:
        return Problem(
            f"provider {name!r} needs the package {provider.package}, which is not installed",
            provider.install,
        )
    key_env = candidate.api_key_env or (None if candidate.base_url else provider.key_env)
    if key_env and not environ.get(key_env):
        return Problem(
            f"the environment variable {key_env} is not set", f"export {key_env}=... or put it into .env"
        )
    return _check_timeouts(candidate.params)


def _check_timeouts(params: Mapping[str, Any]) -> Problem | None:
    for name in ("timeout", "connect_timeout"):
        value = params.get(name, 1.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            return Problem(
                f"params.{name} is not a positive number of seconds: {value!r}", f"write {name}: 60"
            )
    return None


def timeouts(params: Mapping[str, Any]) -> tuple[float, float]:
    """Seconds until the reply comes, and of these until the connection stands."""
    return params.get("timeout", READ_SECONDS), params.get("connect_timeout", CONNECT_SECONDS)


# --- the client -------------------------------------------------------------------------------------


def build(candidate: Candidate, environ: Mapping[str, str], **more: Any) -> BaseChatModel:
    """The provider's LangChain client, its own retries off. `more` goes to its constructor.

    Raises:
        InputError: the provider's class does not take these params.
    """
    from langchain.chat_models import init_chat_model

    name, model = split(candidate.model, candidate.base_url)
    provider = PROVIDERS[name]
    read, connect = timeouts(candidate.params)
    params = {k: v for k, v in candidate.params.items() if k not in ("timeout", "connect_timeout")}
    more = {**provider.client(read, connect), **more}
    if candidate.base_url:
        more["base_url"] = candidate.base_url
    if key := _key(candidate, provider, environ):
        more["api_key"] = key
    try:
        client: BaseChatModel = init_chat_model(model, model_provider=name, **{**more, **params})
    except (ValueError, TypeError) as error:  # pydantic's ValidationError is a ValueError
        raise InputError(
            redact(f"{candidate.model} cannot be set up: {error}", secrets_of(environ, also=[key])),
            key=f"candidates.{candidate.name}.params",
            hint=f"look up which parameters LangChain's {name} models take",
        ) from None
    return client


def _key(candidate: Candidate, provider: Provider, environ: Mapping[str, str]) -> str | None:
    if candidate.api_key_env:
        return environ.get(candidate.api_key_env)
    if candidate.base_url:
        return _NO_KEY if provider.key_env else None
    return environ.get(provider.key_env) if provider.key_env else None


# --- the backend ------------------------------------------------------------------------------------


def price(candidate: Candidate) -> Price:
    """What the bundled table says. It knows the provider's own address only."""
    name, model = split(candidate.model, candidate.base_url)
    return Unknown() if candidate.base_url else price_of(PROVIDERS[name].prices, model)


def open_backend(candidate: Candidate, terms: Terms) -> ProviderBackend:
    """The candidate behind its provider's client."""
    return ProviderBackend(
        build(candidate, terms.environ), replace(terms, price=terms.price or price(candidate))
    )


class ProviderBackend:
    """A candidate behind a LangChain client. Threads share the client, which is made for that."""

    def __init__(
        self,
        model: BaseChatModel,
        terms: Terms,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._model, self._terms, self._on_close = model, terms, on_close
        self._secrets, self._price = terms.secrets, terms.price or Unknown()

    def complete(self, request: ModelRequest, call_context: CallContext) -> ModelReply:
        """Send exactly the harness's request, with the retry budget."""
        bound, messages = self._prepare(request)
        used: int | None = None

        def hand_on(chunk: BaseMessage) -> None:
            call_context.on_chunk(masked(_plain(chunk), self._secrets))

        stream = _Stream(hand_on)

        def send() -> AIMessage:
            nonlocal used, stream
            stream.given_up = True  # a try that was given up goes on in its thread, and must say no more
            stream = _Stream(hand_on)
            # whole trials are published, if the user wishes; single calls are not traced behind his back
            with tracing_context(enabled=False):
                message = (
                    stream.gather(bound.stream(messages, stop=request.stop))
                    if request.stream
                    else bound.invoke(messages, stop=request.stop)
                )
            usage = _usage(message)
            used = usage["total_tokens"] if usage else None
            return message

        from langsmith import tracing_context

        limiter = self._terms.limiter
        estimate = estimated_tokens(request) if limiter.counts_tokens else 0
        try:
            outcome = call(
                send,
                self._terms.retry,
                turn=lambda: limiter.turn(estimate, call_context.cancelled, lambda: used),
                cancelled=call_context.cancelled,
                secrets=self._secrets,
                committed=lambda: stream.given,
                alive=lambda: stream.last_piece,
            )
        finally:
            stream.given_up = True
        try:
            reply = _reply(outcome, self._price, self._secrets)
        except ValueError as error:  # nested too deeply to be written down
            text = redact(str(error), self._secrets, limit=MAX_MESSAGE_CHARS)
            raise ModelCallError(ModelErrorKind.BAD_RESPONSE, text, attempts=outcome.attempts) from None
        return replace(reply, first_token_seconds=stream.first_token_seconds)

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
            if theirs := _RESERVED.intersection(given) | _RESERVED.intersection(extra or ()):
                names = ", ".join(sorted(theirs))
                text = f"a harness may not set these: {names}"
                raise ModelCallError(ModelErrorKind.BAD_REQUEST, text, attempts=0)
        try:
            # a fixed list of types: the general `load` would instantiate whatever it is given
            messages = messages_from_dict(request.messages)
            bound = self._bind(request)
        except Exception as error:  # noqa: BLE001 - hostile input: whatever it breaks, it is a bad request
            text = redact(f"{type(error).__name__}: {error}", self._secrets, limit=MAX_MESSAGE_CHARS)
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
            chain = model.with_structured_output(
                request.structured["schema"], **{**request.structured.get("options", {}), **options}
            )
            model = getattr(chain, "first", chain)  # without its parser, which belongs to the harness
        else:
            model = model.bind(**options)
        bound: Runnable[LanguageModelInput, AIMessage] = model.bind(**request.params)
        return bound

    def card(self) -> ModelCard:
        """The answers of the provider's class."""
        model = self._model
        name = next(
            (value for key in ("model_name", "model", "model_id") if (value := getattr(model, key, None))), ""
        )
        return ModelCard(
            name=str(name),
            llm_type=model._llm_type,
            profile=_jsonable(model.profile) if model.profile else None,
            ls_params=_jsonable(model._get_ls_params()),
            use_responses_api=getattr(model, "use_responses_api", None) is True,
        )


def estimated_tokens(request: ModelRequest) -> int:
    """Of a request, at four characters a token: held against the rate limit until the true number is known."""
    return len(json.dumps([request.messages, request.tools])) // 4


class _Stream:
    """The pieces of one streamed reply, handed on as they come.

    Attributes:
        given: whether any piece has been handed on.
        given_up: nobody waits for it any more.
        last_piece: when the last one came (`time.monotonic`); 0: none has.
        first_token_seconds: from the start of the last try to the first piece that says something.
    """

    def __init__(self, hand_on: Callable[[BaseMessage], None]) -> None:
        self._hand_on = hand_on
        self.given = self.given_up = False
        self.last_piece = 0.0
        self.first_token_seconds: float | None = None

    def gather(self, pieces: Iterator[AIMessage]) -> AIMessage:
        """The whole reply. Raises ValueError when there was no piece at all, or no end of them."""
        from langchain_core.messages import message_chunk_to_message

        began, size = time.monotonic(), 0
        got: list[AIMessage] = []
        for piece in pieces:
            size += len(str(piece.content))
            if size > MOST_CHARS:
                raise ValueError(f"the stream is longer than {MOST_CHARS} characters")
            if self.first_token_seconds is None and (
                piece.content or piece.tool_calls or getattr(piece, "tool_call_chunks", None)
            ):
                self.first_token_seconds = time.monotonic() - began
            if self.given_up:
                raise ValueError("nobody waits for this stream any more")
            self.given, self.last_piece = True, time.monotonic()
            self._hand_on(piece)
            got.append(piece)
        if not got:
            raise ValueError("the stream ended before it began")
        # all at once: adding them up one by one takes quadratic time
        whole: Any = got[0] + got[1:] if len(got) > 1 else got[0]
        return cast("AIMessage", message_chunk_to_message(whole))


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


def _plain(message: BaseMessage) -> JsonDict:
    from langchain_core.messages import message_to_dict

    return _jsonable(message_to_dict(message))


def _jsonable(value: Any) -> JsonDict:
    from pydantic_core import to_jsonable_python

    plain: JsonDict = to_jsonable_python(value, bytes_mode="base64")
    return plain


def _usage(message: AIMessage) -> UsageMetadata | None:
    """What the provider says was used; None where it says nothing, or what cannot be: half of it would be a guess."""
    usage = message.usage_metadata
    if usage is None:
        return None
    details: tuple[Mapping[str, Any], ...] = (
        {"input": usage["input_tokens"], "output": usage["output_tokens"], "all": usage["total_tokens"]},
        cast("Mapping[str, Any]", usage.get("input_token_details") or {}),
        cast("Mapping[str, Any]", usage.get("output_token_details") or {}),
    )
    counts = [count for detail in details for count in detail.values() if count is not None]
    return usage if all(type(count) is int and 0 <= count < MOST_TOKENS for count in counts) else None


def _reply(outcome: Outcome[AIMessage], price: Price, secrets: tuple[str, ...]) -> ModelReply:
    message = outcome.value
    usage = _usage(message)
    facts = message.response_metadata
    finish = next(
        (
            facts[key]
            for key in ("finish_reason", "stop_reason", "stopReason", "done_reason")
            if facts.get(key)
        ),
        None,
    )
    return ModelReply(
        message=masked(_plain(message), secrets),
        seconds=outcome.seconds,
        queued_seconds=outcome.queued_seconds,
        attempts=outcome.attempts,
        input_tokens=usage["input_tokens"] if usage else None,
        output_tokens=usage["output_tokens"] if usage else None,
        cached_tokens=(usage.get("input_token_details") or {}).get("cache_read") if usage else None,
        reasoning_tokens=(usage.get("output_token_details") or {}).get("reasoning") if usage else None,
        cost_usd=price.cost_usd(usage),
        finish_reason=None if finish is None else str(finish),
    )
