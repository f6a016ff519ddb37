"""Tells a model's reasoning from its answer, where a server leaves both in one text or one list of content blocks.

Reasoning comes in three forms. Content blocks have a type (`thinking`, `reasoning`, ...). Tags in the text, `<think>`
and its relatives, come from the chat templates of DeepSeek-R1, Qwen 3, Seed-OSS, Magistral (`[THINK]`), Command A
(`<|START_THINKING|>`), Sky-T1 (`<|begin_of_thought|>`) and Kimi-VL (`◁think▷`). And gpt-oss writes OpenAI's harmony
format: each message names its channel, and only `final` is for the user.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

_NAMES = "think|thinking|thoughts?|reasoning|reflection|scratchpad|inner_monologue|antthinking"
# A tag may have a prefix (`seed:think`, `longcat_think`) and attributes.
_TAG = re.compile(
    rf"""(?:
        <(?P<close>/)?(?:\w{{1,20}}[:_])?(?:{_NAMES})(?:\s[^<>]{{0,200}})?>
      | \[(?P<close_bracket>/)?THINK\]
      | ◁(?P<close_triangle>/)?think▷
      | <\|(?:START_THINKING|begin_of_thought)\|> | <\|(?P<close_token>END_THINKING|end_of_thought)\|>
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_QUOTES = ("`", '"', "'")
_FENCE = "```"
_WRAPPER = re.compile(
    r"<\|(?:(?:START|END)_RESPONSE|(?:begin|end)_of_solution|return|end|im_end|eot_id)\|>", re.IGNORECASE
)
_CHANNEL = re.compile(
    r"(?:<\|start\|>[^<]{0,80})?<\|channel\|>\s*(\w+)[^<]{0,200}(?:<\|constrain\|>\w+\s*)?<\|message\|>"
)
_END_OF_MESSAGE = re.compile(r"<\|(?:end|return|call)\|>")
# The same with its special tokens dropped by the server: `analysisThe user asks ...assistantfinalIt is shipped.`
_BARE_CHANNEL = re.compile(r"assistant(final|analysis|commentary)")
_BARE_START = re.compile(r"(?:analysis|commentary)(?=[A-Z])")


class Said(NamedTuple):
    """What a model said, in two parts; either may be empty."""

    answer: str
    reasoning: str


def said(content: Any) -> Said:
    """The answer and the reasoning in a message's content: a text, or a list of content blocks."""
    if isinstance(content, str):
        return split(content)
    texts, thoughts = [], []
    for block in content if isinstance(content, list) else ():
        if is_reasoning(block):
            thoughts.append(_thought(block))
        elif isinstance(text := block.get("text") if isinstance(block, dict) else block, str):
            texts.append(text)
    answer, reasoning = split("".join(texts))
    return Said(answer, "\n".join(part for part in (*thoughts, reasoning) if part))


def is_reasoning(block: Any) -> bool:
    """Whether a content block is the model's reasoning: by its type, or by Google's `thought`."""
    if not isinstance(block, dict):
        return False
    kind = str(block.get("type") or "")
    return (
        kind.endswith(("thinking", "thought")) or kind.startswith("reasoning") or block.get("thought") is True
    )


def _thought(block: Any) -> str:
    """The text of a reasoning block, wherever its provider puts it; empty where it is encrypted."""
    if isinstance(block, str):
        return block
    if isinstance(block, list):
        return "\n".join(filter(None, map(_thought, block)))
    if not isinstance(block, dict):
        return ""
    keys = ("thinking", "reasoning", "reasoning_content", "summary", "content", "text")
    return next((text for key in keys if (text := _thought(block.get(key)))), "")


def split(text: str) -> Said:
    """The answer and the reasoning in one text. A text without reasoning is returned as it is.

    A thought that is never closed goes to the end of the text. One that is closed but never opened, as where the chat
    template opens it, begins with the text. Tags in a fenced code block belong to the answer.
    """
    for parts in (_channels(text), _tags(text)):
        if parts is not None:
            answer, reasoning = ("\n".join(filter(None, (piece.strip() for piece in part))) for part in parts)
            return Said(_WRAPPER.sub("", answer).strip(), reasoning)
    return Said(text, "")


Parts = tuple[list[str], list[str]]  # pieces of the answer, pieces of the reasoning


def _channels(text: str) -> Parts | None:
    """A text in the harmony format. None: it is not."""
    heads = list(_CHANNEL.finditer(text))
    bare = not heads
    if bare:
        heads = list(_BARE_CHANNEL.finditer(text)) if _BARE_START.match(text) else []
        if not heads:
            return ([], [text]) if _BARE_START.match(text) else None
    answer: list[str] = []
    reasoning = [text[: heads[0].start()]]  # the template may have opened the first message
    for head, following in zip(heads, [*heads[1:], None], strict=True):
        body = text[head.end() : following.start() if following else None]
        if not bare and (end := _END_OF_MESSAGE.search(body)):
            body = body[: end.start()]
        (answer if head[1] == "final" else reasoning).append(body)
    return answer, reasoning


def _tags(text: str) -> Parts | None:
    """A text with reasoning markup. None: it has none outside code."""
    answer: list[str] = []
    reasoning: list[str] = []
    here, thinking, paired, fences, end = 0, False, False, 0, len(text.rstrip())
    for tag in _TAG.finditer(text):
        closes = tag.lastgroup is not None
        mentioned = (
            text[tag.start() - 1 : tag.start()] in _QUOTES and text[tag.end() : tag.end() + 1] in _QUOTES
        )
        if mentioned or (thinking and not closes):
            continue
        piece = text[here : tag.start()]
        if thinking:
            reasoning.append(piece)
            here, thinking, paired = tag.end(), False, True
            continue
        if (fences + piece.count(_FENCE)) % 2:
            continue
        fences += piece.count(_FENCE)
        if not closes:
            answer.append(piece)
        elif paired and tag.end() >= end:
            answer.append(piece)  # closed twice: a slip at the end of the answer
        else:
            reasoning += [*answer, piece]
            answer, paired = [], True
        here, thinking = tag.end(), not closes
    if not here:
        return None
    (reasoning if thinking else answer).append(text[here:])
    return answer, reasoning
