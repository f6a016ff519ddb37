"""The trajectory of a program, rebuilt from its traffic with the model.

What the model said is taken from the gateway's own replies alone: a program may shorten, change or repeat it. What
the program said (prompts, questions, tool results) is taken from its requests, each message once. So a harness
that compacts its history, or runs several conversations, leaves one list in which nothing is missing and
nothing stands twice.
"""

from __future__ import annotations

import json
from collections import Counter

from bakeoff.gateway.types import JsonDict


class Transcript:
    """Messages in the order in which the gateway first saw them."""

    def __init__(self) -> None:
        self.messages: list[JsonDict] = []
        self._seen: Counter[str] = Counter()
        self._answered = False  # the model has spoken: from here on its turns are ours

    def asked(self, messages: list[JsonDict]) -> None:
        """A request: what is new in it is added. Assistant turns before the model first spoke are examples."""
        here: Counter[str] = Counter()
        for message in messages:
            if message["type"] == "ai" and self._answered:
                continue
            key = _key(message)
            here[key] += 1
            if here[key] > self._seen[key]:
                self._seen[key] = here[key]
                self.messages.append(message)

    def answered(self, message: JsonDict) -> None:
        """The model's reply."""
        self._answered = True
        self.messages.append(message)


def _key(message: JsonDict) -> str:
    """Equal for the same message in two requests. A tool result is known by its call, for programs shorten old ones."""
    data = message["data"]
    if message["type"] == "tool":
        return f"tool {data['tool_call_id']}"
    return json.dumps([message["type"], data["content"], data.get("tool_calls")], sort_keys=True)
