"""What crosses between the attempt and the gateway: one request, one reply, and who is calling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

JsonDict = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One model call as the harness made it. The gateway repeats it on the provider's own LangChain class.

    Attributes:
        messages: LangChain's serialised messages, `{"type": "human", "data": {...}}` as made by
            `langchain_core.messages.message_to_dict`. The attempt has checked that each is of a known type.
        tools: what `bind_tools` was given; None when it was not called. A tool object, function or class is
            `{"type": "function", "function": {name, description, parameters}}`, not strict, with `extras` where the
            tool has them: the provider's class makes its own schema of it. A dict passes as it is; one of the type
            `function` carries `"as_is": true`, since no class makes it strict in production either.
        tool_choice: as given to `bind_tools`.
        stop: stop sequences.
        params: what the harness bound with `bind` or passed with the call (`temperature`, ...).
        stream: the harness takes the reply token by token.
        bind: further options of `bind_tools` (`strict`, `parallel_tool_calls`, `response_format`, ...).
        structured: `with_structured_output` was called: `{"schema": JSON schema with a title, "options": {method,
            strict, ...}}`. The provider's class chooses how to ask for it; parsing the reply is the caller's part.
    """

    messages: list[JsonDict]
    tools: list[JsonDict] | None = None
    tool_choice: Any = None
    stop: list[str] | None = None
    params: JsonDict = field(default_factory=dict)
    stream: bool = False
    bind: JsonDict = field(default_factory=dict)
    structured: JsonDict | None = None


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a harness can ask its chat model about itself, with the answers of the provider's own class.

    It crosses into the container as JSON, so that `create_agent` and middleware decide there as in production.
    """

    name: str  # `model_name`
    llm_type: str  # `_llm_type`: openai-chat, anthropic-chat, ...
    profile: JsonDict | None = None  # langchain_core's ModelProfile: context size, structured output, ...
    ls_params: JsonDict = field(default_factory=dict)  # `_get_ls_params()`: ls_provider, ls_model_name, ...
    use_responses_api: bool = False  # of OpenAI's class: create_agent asks for it
    class_path: str = ""  # of the class: "langchain_openai.chat_models.base.ChatOpenAI"
    bind_parameters: list[str] = field(
        default_factory=list
    )  # names that its `bind_tools` takes beside the tools
    # Method of `with_structured_output`, or "default" -> how its reply is read: "tools" or "text"; else why not
    structured_output: dict[str, str] = field(default_factory=dict)
    attributes: JsonDict = field(default_factory=dict)  # harmless ones, such as `temperature`


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a candidate cannot be called, and what to do about it."""

    problem: str  # one sentence, without the place
    hint: str  # one sentence


@dataclass(frozen=True, slots=True)
class CallContext:
    """Who is calling."""

    trial_id: str
    example_id: str
    seed: int  # the trial's seed: the same in every attempt
    index: int  # 0-based model call of this attempt
    reference: JsonDict  # the example's `outputs`, for simulated models; it never enters the container
    cancelled: Callable[[], bool] = lambda: False  # the attempt has ended: give up
    attempt: int = 1  # 1-based execution of the trial
    # takes each piece of a streamed reply: a serialised AIMessageChunk; the pieces add up to the reply
    on_chunk: Callable[[JsonDict], None] = lambda _: None
    # whether the process has room for so many bytes that a reply takes in all; asked again until it has
    room: Callable[[int], bool] = lambda _: True


@dataclass(slots=True)
class TokenCounts:
    """Tokens of one call. None: the provider did not say, or said what cannot be."""

    input: int | None = None  # cached ones included, wherever the provider counts them
    output: int | None = None
    cached: int | None = None  # of the input
    cache_written: int | None = None  # of the input
    reasoning: int | None = None  # of the output

    @property
    def total(self) -> int | None:
        return None if self.input is None or self.output is None else self.input + self.output


# A request or a reply is in memory in so many forms at once: as it came, the client's object, JSON, the record.
FORMS = 4


@dataclass(frozen=True, slots=True)
class ModelReply:
    """The model's answer. Token counts are None when the provider gave none, and so is an unknown price."""

    message: JsonDict  # LangChain's serialised AIMessage: {"type": "ai", "data": {...}}
    seconds: float  # time with the provider, the last try
    queued_seconds: float = 0.0  # waiting for a slot, for a rate limit, backing off
    attempts: int = 1
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cost_usd: float | None = None
    finish_reason: str | None = None  # the provider's own word
    reasoning_tokens: int | None = None  # of the output tokens
    first_token_seconds: float | None = None  # from the last try's start; None when nothing was streamed
    replayed_seconds: float = 0.0  # of `seconds`: what a recorded call took and its replay did not
    # What came beside the message, and LangChain's OpenAI class leaves out
    reasoning: str | None = None
    refusal: str | None = None

    @property
    def recorded(self) -> JsonDict:
        """The message for the record: with what the harness, as in production, does not see."""
        beside = {"reasoning_content": self.reasoning, "refusal": self.refusal}
        beside = {name: text for name, text in beside.items() if text}
        if not beside:
            return self.message
        data = self.message["data"]
        kwargs = {**(data.get("additional_kwargs") or {}), **beside}
        return {**self.message, "data": {**data, "additional_kwargs": kwargs}}


class ChatBackend(Protocol):
    """One candidate's model. Called from many threads at once.

    `complete` raises `bakeoff.errors.ModelCallError` when the call failed for good, and nothing else.
    """

    def complete(self, request: ModelRequest, call: CallContext) -> ModelReply:
        """Send one request, with the retry budget, and return the reply."""
        ...

    def card(self) -> ModelCard:
        """What the chat model in the container says about itself."""
        ...

    def close(self) -> None:
        """Release what it holds (a server, a connection pool)."""
        ...
