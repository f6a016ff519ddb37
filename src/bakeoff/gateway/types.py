"""What crosses between the attempt and the gateway: one request, one reply, and who is calling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

JsonDict = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One model call as the harness made it.

    `messages` are LangChain's serialised messages: `{"type": "human", "data": {...}}` as made by
    `langchain_core.messages.message_to_dict`, already checked by the attempt to be of a known type.
    `tools` are OpenAI-style tool schemas, or a provider's own dicts, exactly as the harness bound them.
    `params` are whatever else the harness bound or passed (`stop`, `tool_choice`, `temperature`, ...).
    """

    messages: list[JsonDict]
    tools: list[JsonDict] | None = None
    tool_choice: Any = None
    stop: list[str] | None = None
    params: JsonDict = field(default_factory=dict)
    stream: bool = False  # the harness takes the reply token by token


@dataclass(frozen=True, slots=True)
class CallContext:
    """Who is calling. The reference is for simulated models only; it never enters the container."""

    trial_id: str
    example_id: str
    seed: int  # the trial's seed: the same in every attempt
    index: int  # 0-based model call of this attempt
    reference: JsonDict  # the example's `outputs`
    cancelled: Callable[[], bool] = lambda: False  # the attempt ended; give up between retries
    attempt: int = 1  # 1-based execution of the trial
    # takes each piece of a streamed reply: a serialised AIMessageChunk; the pieces add up to the reply
    on_chunk: Callable[[JsonDict], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class ModelReply:
    """The model's answer. Token counts are None when the provider gave none; so is an unknown price."""

    message: JsonDict  # LangChain's serialised AIMessage: {"type": "ai", "data": {...}}
    seconds: float  # time with the provider, the last try
    queued_seconds: float = 0.0  # waiting for a slot, for a rate limit, backing off
    attempts: int = 1
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cost_usd: float | None = None
    finish_reason: str | None = None
    reasoning_tokens: int | None = None  # of the output tokens
    first_token_seconds: float | None = None  # from the last try's start; None when nothing was streamed
    unwaited_seconds: float = 0.0  # of `seconds`: what a recorded call took and its replay did not


class ChatBackend(Protocol):
    """One candidate's model. Called from many threads at once.

    `complete` raises `bakeoff.errors.ModelCallError` when the call failed for good, and nothing else.
    """

    def complete(self, request: ModelRequest, call: CallContext) -> ModelReply:
        """Send one request, with the retry budget, and return the reply."""
        ...

    def close(self) -> None:
        """Release what it holds (a server, a connection pool)."""
        ...
