"""A model's reply as every dialect needs it: text, reasoning, calls, why it ended, and what it cost in tokens."""

from __future__ import annotations

import json
from dataclasses import dataclass

from bakeoff.gateway.types import JsonDict, ModelReply
from bakeoff.record.finish import Finish, meaning
from bakeoff.record.messages import refusal_of, text_of

_THINKING = {"thinking": ("thinking", "signature"), "redacted_thinking": ("data",)}


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a reply before the model has spoken."""

    id: str  # unique in the attempt
    model: str  # as the program named it
    created: int  # seconds since 1970


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call. `args` is None where the model's arguments are no JSON object."""

    id: str
    name: str
    arguments: str  # as JSON text, or as the model wrote it
    args: JsonDict | None


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply. Tokens that nobody counted are 0 here, since clients insist on a number; the record has None."""

    head: Head
    text: str
    thinking: list[JsonDict]  # Anthropic's blocks, as they are
    calls: list[Call]
    refusal: str | None
    finish: Finish
    input_tokens: int
    output_tokens: int
    cached_tokens: int  # of the input
    reasoning_tokens: int  # of the output

    @classmethod
    def of(cls, head: Head, reply: ModelReply) -> Answer:
        """From the gateway's reply."""
        data = reply.message["data"]
        blocks = data["content"] if isinstance(data["content"], list) else []
        calls = [
            Call(
                str(one.get("id") or ""),
                str(one["name"]),
                json.dumps(one["args"], ensure_ascii=False),
                one["args"],
            )
            for one in data.get("tool_calls") or []
        ]
        calls += [
            Call(str(one.get("id") or ""), str(one.get("name") or ""), str(one.get("args") or ""), None)
            for one in data.get("invalid_tool_calls") or []
        ]
        refusal = refusal_of(data)
        return cls(
            head=head,
            text=text_of(data["content"]),
            thinking=[
                _only(block) for block in blocks if isinstance(block, dict) and block.get("type") in _THINKING
            ],
            calls=calls,
            refusal=refusal,
            finish=_finish(reply.finish_reason, calls, refusal),
            input_tokens=reply.input_tokens or 0,
            output_tokens=reply.output_tokens or 0,
            cached_tokens=reply.cached_tokens or 0,
            reasoning_tokens=reply.reasoning_tokens or 0,
        )


def _finish(word: str | None, calls: list[Call], refusal: str | None) -> Finish:
    """One of STOP, CALLS, LENGTH and REFUSAL: what every dialect has a word for."""
    found = meaning(word)
    if found and found[1] is Finish.LENGTH:
        return Finish.LENGTH
    if refusal or (found and found[1] is Finish.REFUSAL):
        return Finish.REFUSAL
    return Finish.CALLS if calls else Finish.STOP


def _only(block: JsonDict) -> JsonDict:
    """A thinking block without what LangChain adds to it; the provider refuses what it did not send."""
    kind = str(block["type"])
    return {"type": kind, **{key: block[key] for key in _THINKING[kind] if key in block}}
