"""What an attempt decides without a container: what is a model call, and whose time it is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.attempt.attempt import NOT_THE_PROTOCOL, covered, model_request
from bakeoff.record.messages import DEEPEST, MalformedMessage, shallow

ASKED = {
    "messages": [{"type": "human", "data": {"content": "1 + 2?"}}],
    "tools": [{"type": "function", "function": {"name": "add"}}],
    "tool_choice": "auto",
    "stop": ["END"],
    "params": {"temperature": 0},
    "stream": True,
}


def test_a_model_call_is_read_as_it_was_made() -> None:
    request = model_request(ASKED)
    assert (request.messages, request.tools, request.tool_choice) == (
        ASKED["messages"],
        ASKED["tools"],
        "auto",
    )
    assert (request.stop, request.params, request.stream) == (["END"], {"temperature": 0}, True)
    assert model_request(ASKED | {"tools": None, "stop": None, "params": {}}).tools is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"messages": [{"type": "chat", "data": {"content": "Is it so?"}}]},
        {"messages": "none"},
        {"tools": 5},
        {"tools": ["add"]},
        {"stop": "END"},
        {"stop": [5]},
        {"params": [["temperature", 0]]},
        {"messages": [{"type": "ai", "data": {"content": "", "response_metadata": "stop"}}]},
        {"messages": [{"type": "ai", "data": {"content": "", "additional_kwargs": ["refusal"]}}]},
    ],
)
def test_what_is_no_model_call_is_not_handed_on(wrong: dict[str, Any]) -> None:
    with pytest.raises(NOT_THE_PROTOCOL):
        model_request(ASKED | wrong)


@pytest.mark.parametrize("missing", ["messages", "tools", "tool_choice", "stop", "params"])
def test_a_call_without_one_of_its_parts_is_none(missing: str) -> None:
    with pytest.raises(NOT_THE_PROTOCOL):
        model_request({key: value for key, value in ASKED.items() if key != missing})


def test_only_so_many_levels_may_stand_in_each_other() -> None:
    def nested(levels: int) -> Any:
        return [nested(levels - 1)] if levels > 1 else ["x"]

    assert shallow(nested(DEEPEST)) == nested(DEEPEST)
    assert shallow({"a": [1] * 1000, "b": "text"}) == {"a": [1] * 1000, "b": "text"}
    with pytest.raises(MalformedMessage):
        shallow(nested(DEEPEST + 1))
    with pytest.raises(MalformedMessage):
        shallow({"beside": 1, "it": [{"x": nested(DEEPEST)}]})


def test_time_in_two_spans_is_counted_once_and_only_between_the_moments() -> None:
    spans = [(5.0, 8.0), (1.0, 3.0), (2.0, 4.0), (9.0, 20.0)]
    assert covered(spans, 0.0, 10.0) == 3.0 + 3.0 + 1.0
    assert covered(spans, 2.5, 6.0) == 1.5 + 1.0
    assert covered(spans, 4.0, 5.0) == 0.0
    assert covered([], 0.0, 10.0) == 0.0


moments = st.integers(0, 40)


@given(st.lists(st.tuples(moments, moments).map(sorted).map(tuple), max_size=6), moments, moments)
def test_coverage_is_what_counting_the_seconds_gives(spans: list[Any], begin: int, end: int) -> None:
    counted = sum(any(a <= second < b for a, b in spans) for second in range(begin, end))
    assert covered(spans, begin, end) == counted
