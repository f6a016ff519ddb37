"""Whatever a program sends, it is understood or refused; what is understood can be recorded and answered."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff.attempt.conversation import Conversation
from bakeoff.gateway.dialects.exchange import DIALECTS, Exchange, read
from bakeoff.gateway.dialects.http import HttpReply, Refused
from bakeoff.gateway.types import ModelReply
from bakeoff.record import messages

WORDS = st.sampled_from(
    "messages input role content type tools tool_calls function name arguments id stop call_id output text format "
    "reasoning system stream tool_use tool_result tool_use_id user assistant tool tool_call_id message function_call "
    "function_call_output input_text json_schema tool_choice stream_options include_usage {} \ud800".split()
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=5)
)
BLOCKS = st.fixed_dictionaries(
    {"type": WORDS}, optional={"text": VALUES, "content": VALUES, "tool_use_id": VALUES, "id": VALUES}
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "system"])},
    optional={
        "content": VALUES | st.lists(BLOCKS, max_size=3),
        "tool_calls": VALUES,
        "tool_call_id": VALUES,
        "type": WORDS,
    },
)
TURNS = st.lists(MESSAGES, min_size=1, max_size=4)
BODIES = VALUES | st.fixed_dictionaries(
    {"messages": TURNS, "input": TURNS}, optional={"tools": VALUES, "stream": st.booleans(), "system": VALUES}
)
REPLIES = [
    ModelReply({"type": "ai", "data": {"content": "hello", "tool_calls": []}}, 0.1),
    ModelReply({"type": "ai", "data": {"content": [{"type": "text", "text": "x"}, "y", {"type": "thinking"}]}}, 0.1),
    ModelReply({"type": "ai", "data": {"content": "", "invalid_tool_calls": [{"name": None, "args": None}]}}, 0.1),
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(path=st.sampled_from([*DIALECTS, "/models", "/", ""]), body=BODIES)
@pytest.mark.slow
def test_anything_is_understood_or_refused(path: str, body: Any) -> None:
    try:
        asked = read("POST", path, body, "1", 0)
    except Refused as refused:
        asked = refused.reply
    if isinstance(asked, HttpReply):
        assert asked.status in (400, 404)
        assert json.loads(asked.body)["error"]["message"]
        return
    conversation = Conversation()
    messages.checked(asked.request.messages)
    conversation.asked(0, asked.request)
    conversation.record([], None, [], watched=False)
    for reply in REPLIES:
        again = read("POST", path, body, "1", 0)
        assert isinstance(again, Exchange)
        again.piece({"data": {"content": "he"}})
        assert again.answered(reply).status == 200


@pytest.mark.parametrize("path", DIALECTS)
def test_a_plain_request_is_understood(path: str) -> None:
    turn = [{"role": "user", "content": "hello"}]
    asked = read("POST", f"/v1{path}?beta=true", {"messages": turn, "input": turn, "model": 7}, "1", 0)
    assert isinstance(asked, Exchange)
    assert asked.request.messages == [{"type": "human", "data": {"content": "hello"}}]
    assert json.loads(asked.answered(REPLIES[0]).body)["model"] == "7"
