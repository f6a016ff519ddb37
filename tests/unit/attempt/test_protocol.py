"""What a sandbox writes is read strictly: authentic, well-formed, within bounds. All else has a name and no effect."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.attempt import protocol
from bakeoff.attempt.protocol import (
    MAX_LINES,
    MAX_VALUES,
    MAX_VALUES_IN_LINE,
    NOT_THE_PROTOCOL,
    Answered,
    BadCall,
    CallTooLarge,
    Exited,
    Failed,
    HttpAsked,
    Lines,
    Loaded,
    ModelAsked,
    OverBudget,
    Protocol,
    Ready,
    Sample,
    SpansExported,
    Started,
    ToolEnded,
    ToolStarted,
    Violation,
    count_values,
    model_request,
)
from bakeoff.record.base import JsonDict
from bakeoff.record.messages import DEEPEST, MalformedMessage, shallow
from bakeoff_runner import wire
from tests.growth import LINEAR, growth

ASKED = {
    "messages": [{"type": "human", "data": {"content": "1 + 2?"}}],
    "tools": [{"type": "function", "function": {"name": "add"}}],
    "tool_choice": "auto",
    "stop": ["END"],
    "params": {"temperature": 0},
    "stream": True,
    "bind": {"strict": True},
    "structured": {"schema": {"title": "Sum"}},
}
EXIT = {"exit_code": 0, "signal": None, "overflow": None, "terminated": False, "kernel": {"oom_kills": 2}}
ENDED = {"call_id": "c", "seconds": 0.5, "result": "3", "error": None, "errnos": [], "timed_out": False}


def said(message: JsonDict, *, program: bool = False) -> protocol.Event:
    """What a line of the harness, or of the supervisor, is read as."""
    reader = Protocol(program=program)
    if str(message.get("method")).startswith("supervisor/"):
        message = {**message, "params": {"token": reader.supervisor_token, **message["params"]}}
    return reader.parse(json.dumps({"token": reader.harness_token, **message}).encode())


def notice(method: str, **params: Any) -> protocol.Event:
    return said({"method": method, "params": params})


def test_each_line_of_the_protocol_becomes_its_event() -> None:
    ready = notice("supervisor/ready", kernel={"cpus_limit": 1, "memory_limit_bytes": 5, "new_in_2030": 1})
    assert isinstance(ready, Ready)
    assert (ready.kernel.limits.cpus_limit, ready.kernel.facts.memory_limit_bytes) == (1.0, 5)
    assert notice("supervisor/sample", memory_bytes=7) == Sample(7)
    last = notice("supervisor/exit", **EXIT, stopped_for="host_asked")
    assert isinstance(last, Exited)
    assert (last.exit_code, last.signal, last.overflow, last.stopped_for) == (0, None, False, "host_asked")
    assert last.kernel.facts.oom_kills == 2
    assert notice("harness/loaded") == Loaded()
    assert notice("harness/started") == Started()
    assert notice("model/too_large", bytes=9) == CallTooLarge(9)
    started = notice("tool/start", call_id="c", name="add", args={"a": 1})
    assert started == ToolStarted("c", "c", "add", {"a": 1})
    assert notice("tool/end", **ENDED) == ToolEnded("c", 0.5, "3", None, [], False, False)
    exported = notice("trace/export", content_type="t", encoding="e", body="b")
    assert exported == SpansExported("t", "e", "b")
    asked = said({"id": "h1", "method": "model/generate", "params": ASKED})
    assert asked == ModelAsked("h1", model_request(ASKED))
    over_http = {"method": "POST", "path": "/v1/messages", "body": {}}
    assert said({"id": "h1", "method": "model/http", "params": over_http}) == HttpAsked(
        "h1", "POST", "/v1/messages", {}
    )
    result = {"messages": ASKED["messages"], "interrupt": "approve issue_refund?"}
    assert said({"id": wire.RUN_ID, "result": result}) == Answered(
        result["messages"], None, "approve issue_refund?"
    )
    assert said({"id": wire.RUN_ID, "result": {"answer": "3"}}, program=True) == Answered([], "3", None)
    error = {"message": "no", "data": {"type": "m.E", "errnos": [28, "x"], "bases": ["builtins.OSError"]}}
    assert said({"id": wire.RUN_ID, "error": error}) == Failed("m.E", "no", ["builtins.OSError"], [28], None)


def test_a_model_call_is_read_as_it_was_made() -> None:
    request = model_request(ASKED)
    assert (request.messages, request.tools, request.tool_choice) == (
        ASKED["messages"],
        ASKED["tools"],
        "auto",
    )
    assert (request.stop, request.params, request.stream) == (["END"], {"temperature": 0}, True)
    assert (request.bind, request.structured) == (ASKED["bind"], ASKED["structured"])
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
        {"bind": ["strict"]},
        {"structured": "Sum"},
        {"messages": [{"type": "ai", "data": {"content": "", "response_metadata": "stop"}}]},
        {"messages": [{"type": "ai", "data": {"content": "", "additional_kwargs": ["refusal"]}}]},
    ],
)
def test_a_malformed_model_call_is_not_handed_on_and_gets_an_answer(wrong: dict[str, Any]) -> None:
    with pytest.raises(NOT_THE_PROTOCOL):
        model_request(ASKED | wrong)
    event = said({"id": "h1", "method": "model/generate", "params": ASKED | wrong})
    assert isinstance(event, BadCall)
    assert event.ident == "h1"


@pytest.mark.parametrize("missing", ["messages", "tools", "tool_choice", "stop", "params"])
def test_a_model_call_needs_all_its_parts(missing: str) -> None:
    with pytest.raises(NOT_THE_PROTOCOL):
        model_request({key: value for key, value in ASKED.items() if key != missing})


@pytest.mark.parametrize(
    "line",
    [
        b"no JSON",
        b"[]",
        b"5",
        b'"text"',
        b"\xff\xfe",
        b'{"method": ["supervisor/exit"]}',
        b"[" * 100_000,
        b'{"id":' * 2000 + b"1" + b"}" * 2000,
        b"1" + b"0" * 5000,
    ],
)
def test_a_line_that_is_not_the_protocol_is_a_violation(line: bytes) -> None:
    assert isinstance(Protocol(program=False).parse(line), Violation)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tool/end", ENDED | {"seconds": 10**4000}),
        ("tool/end", ENDED | {"seconds": "nan"}),
        ("tool/end", ENDED | {"seconds": -1}),
        ("tool/end", ENDED | {"seconds": 1e999}),
        ("tool/end", {"call_id": "c"}),
        ("tool/start", {"call_id": "c", "name": "add", "args": 5}),
        ("model/too_large", {"bytes": "many"}),
        ("model/too_large", {"bytes": 1e300}),
        ("supervisor/sample", {"memory_bytes": 10**400}),
        ("supervisor/exit", EXIT | {"kernel": {"oom_kills": "lots"}}),
        ("supervisor/exit", EXIT | {"kernel": {"oom_kills": 1e999}}),
        ("supervisor/exit", EXIT | {"exit_code": 1.5}),
        ("harness/forgotten", {}),
        ("trace/export", []),
    ],
)
def test_odd_values_are_violations(method: str, params: Any) -> None:
    try:
        event = said({"method": method, "params": params})
    except ValueError:  # Python's own json refuses to write so long a number
        event = Protocol(program=False).parse(b'{"method": "%s"}' % method.encode())
    assert isinstance(event, Violation)


def test_a_line_without_the_right_token_is_a_violation() -> None:
    reader = Protocol(program=False)
    for token in (None, "", 5, "0" * 32, reader.supervisor_token):
        line = json.dumps({"token": token, "method": "harness/started", "params": {}}).encode()
        assert isinstance(reader.parse(line), Violation)
    for token in (None, reader.harness_token):
        params = {**EXIT, "token": token}
        forged = json.dumps({"token": reader.harness_token, "method": "supervisor/exit", "params": params})
        assert isinstance(reader.parse(forged.encode()), Violation)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.sampled_from(["tool/start", "tool/end", "model/generate", "supervisor/exit", None]), json_values)
def test_no_line_raises(method: str | None, params: Any) -> None:
    reader = Protocol(program=False)
    message = {"token": reader.harness_token, "id": wire.RUN_ID, "result": params, "params": params}
    reader.parse(json.dumps({**message, "method": method}, ensure_ascii=False).encode("utf-8", "replace"))


@given(st.binary())
def test_no_bytes_raise(line: bytes) -> None:
    assert isinstance(Protocol(program=False).parse(line), Violation)


def test_nested_values_have_a_bound() -> None:
    def nested(levels: int) -> Any:
        return [nested(levels - 1)] if levels > 1 else ["x"]

    assert shallow(nested(DEEPEST)) == nested(DEEPEST)
    assert shallow({"a": [1] * 1000, "b": "text"}) == {"a": [1] * 1000, "b": "text"}
    with pytest.raises(MalformedMessage):
        shallow(nested(DEEPEST + 1))
    with pytest.raises(MalformedMessage):
        shallow({"beside": 1, "it": [{"x": nested(DEEPEST)}]})
    event = notice("tool/start", call_id="c", name="add", args={"a": nested(DEEPEST + 1)})
    assert isinstance(event, Violation)


# --- bounds


@given(st.lists(st.binary(max_size=20).map(lambda text: text.replace(b"\r", b"\n")), max_size=20))
def test_lines_are_the_same_however_the_bytes_arrive(pieces: list[bytes]) -> None:
    lines = Lines()
    whole = b"".join(pieces)
    found = [line for piece in pieces for line in lines.feed(piece)]
    assert found == [line for line in whole.split(b"\n")[:-1] if line]


def test_empty_lines_cost_nothing() -> None:
    def feed(blocks: int) -> None:
        lines = Lines()
        for _ in range(blocks):
            assert lines.feed(b"\n" * 2**18) == []
        assert lines.over is None

    assert growth(feed, 25) < LINEAR


@pytest.mark.parametrize(
    ("data", "times", "over"),
    [
        (b"x" * 2**20, 9, "bytes in a line"),
        (b"{}\n" * 1000, MAX_LINES // 1000 + 1, "lines"),
        (b"\n" * 2**20, 70, "bytes"),
    ],
)
def test_past_a_bound_of_lines_nothing_more_is_read(data: bytes, times: int, over: str) -> None:
    lines = Lines()
    for _ in range(times):
        lines.feed(data)
    assert lines.over == over


@given(json_values)
def test_a_line_never_has_more_values_than_are_counted(value: Any) -> None:
    def count(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return 1 + sum(map(count, inner))

    many = [value] * 400  # enough to be counted exactly
    assert (
        count_values(json.dumps(many).encode()) >= count(many) - 400
    )  # empty lists and objects have one mark


def test_text_is_not_counted_as_values() -> None:
    text = '[,:{\\"' * 10_000
    assert count_values(json.dumps({"text": text, "path": "C:\\"}).encode()) < 10


def test_past_a_bound_of_values_the_line_is_not_parsed() -> None:
    reader = Protocol(program=False)
    assert reader.parse(b"[" + b"[]," * MAX_VALUES_IN_LINE + b"[]]") == OverBudget("values in a line")
    line = b"[" + b"1," * 100_000 + b"1]"
    events = [reader.parse(line) for _ in range(MAX_VALUES // 100_000 + 1)]
    assert events[0] != OverBudget("values")
    assert events[-1] == OverBudget("values")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("begin", "piece"),
    [(b'{"a": "', b'\\"'), (b"", b'"'), (b'{"a": "', b"\\\\"), (b'"', b'\\\\"'), (b"", b'""\\')],
)
def test_a_hostile_line_is_counted_in_time_that_grows_with_its_length(begin: bytes, piece: bytes) -> None:
    assert growth(lambda size: count_values(begin + piece * size + b",:[{" * 300), 200_000) < LINEAR
