"""Streams that break, streams of simulated models, and a harness that streams in a supervised process."""

import asyncio
import contextlib
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk, messages_from_dict

from bakeoff import gateway
from bakeoff.config.schema import Candidate
from bakeoff.errors import ModelCallError, ModelErrorKind
from bakeoff.gateway.types import CallContext, JsonDict, ModelRequest
from bakeoff_runner import wire
from bakeoff_runner.chat_model import GatewayChatModel
from tests.fakes.provider_server import ProviderServer
from tests.unit.gateway.models.test_fidelity import InProcess
from tests.unit.gateway.models.test_providers import (
    CALL,
    backend,
    fault,
    request,
    say,
)
from tests.unit.runner.test_runner import AGENT, Runner, result

REFERENCE = {"answer": "it is three", "trajectory": [{"name": "add", "args": {"a": 1, "b": 2}}]}


def events(*words: str, end: bool) -> str:
    top = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m-1"}
    lines = [
        json.dumps({**top, "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]})
        for word in words
    ]
    if end:
        lines.append(json.dumps({**top, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
        lines.append("[DONE]")
    return "".join(f"data: {line}\n\n" for line in lines)


def stream(text: str, cut: bool = False) -> Any:
    more = {"content-length": str(len(text) + 100)} if cut else None
    return say(200, text, more, "text/event-stream")


def collect(chunks: list[JsonDict]) -> CallContext:
    return CallContext("c/e/1", "e", 1, 0, {}, on_chunk=chunks.append)


def test_a_failure_before_the_first_token_is_tried_again(server: ProviderServer) -> None:
    server.answers(fault(503, "busy"), stream(events("it ", "is ", "3", end=True)))
    chunks: list[JsonDict] = []
    reply = backend(server, retries=1).complete(request(stream=True), collect(chunks))
    assert (reply.attempts, reply.message["data"]["content"]) == (2, "it is 3")
    assert "".join(chunk["data"]["content"] for chunk in chunks) == "it is 3"
    assert reply.first_token_seconds is not None
    assert reply.first_token_seconds <= reply.seconds  # the failed try is no part of either


def test_a_failure_after_the_first_token_is_final_for_it_would_be_said_twice(server: ProviderServer) -> None:
    server.answers(stream(events("it ", "is ", end=False), cut=True))
    chunks: list[JsonDict] = []
    with pytest.raises(ModelCallError) as caught:
        backend(server, retries=3).complete(request(stream=True), collect(chunks))
    assert caught.value.attempts == len(server.requests) == 1
    assert caught.value.kind in (ModelErrorKind.UNAVAILABLE, ModelErrorKind.BAD_RESPONSE)
    assert "".join(chunk["data"]["content"] for chunk in chunks) == "it is "


def drip(head: str, drop: str, content_type: str = "text/event-stream") -> Any:
    """A reply whose next byte is never long in coming, and which does not end for three seconds."""

    def answer(handler: Any) -> None:
        handler.begin(200, {"content-type": content_type})
        handler.wfile.write(head.encode())
        for _ in range(60):
            try:
                handler.wfile.write(drop.encode())
                handler.wfile.flush()
            except ConnectionError:
                return
            time.sleep(0.05)

    return answer


SHORT = {"timeout": 0.3, "connect_timeout": 0.2}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("streamed", "answer"),
    [(False, drip("", " ", "application/json")), (True, drip("", ": not yet\n\n"))],
)
def test_a_reply_that_never_ends_is_a_timeout_however_alive_its_connection_is(
    server: ProviderServer, streamed: bool, answer: Any
) -> None:
    server.answers(answer, answer)
    with pytest.raises(ModelCallError) as caught:
        backend(server, retries=1, params=SHORT).complete(request(stream=streamed), CALL)
    assert (caught.value.kind, caught.value.attempts) == (ModelErrorKind.TIMEOUT, 2)
    assert "not whole" in caught.value.message


@pytest.mark.slow
def test_a_try_that_was_given_up_says_no_more(server: ProviderServer) -> None:
    said = threading.Event()

    def late(handler: Any) -> None:
        drip("", ": not yet\n\n")(handler)
        with contextlib.suppress(ConnectionError):
            handler.wfile.write(events("late", end=True).encode())
        said.set()

    server.answers(late, stream(events("it ", "is ", "3", end=True)))
    chunks: list[JsonDict] = []
    reply = backend(server, retries=1, params=SHORT).complete(request(stream=True), collect(chunks))
    assert said.wait(30)
    time.sleep(0.2)
    assert (reply.attempts, "".join(chunk["data"]["content"] for chunk in chunks)) == (2, "it is 3")


@pytest.mark.slow
def test_the_end_of_the_attempt_ends_a_call_that_is_out(server: ProviderServer) -> None:
    server.answers(drip("", " ", "application/json"))
    over = threading.Event()
    threading.Timer(0.3, over.set).start()
    with pytest.raises(ModelCallError):
        backend(server).complete(request(), CallContext("c/e/1", "e", 1, 0, {}, cancelled=over.is_set))


@pytest.mark.parametrize("skill", ["skill=1", "skill=0,errors=malformed", "skill=0,errors=nothing"])
def test_the_pieces_of_a_simulated_reply_add_up_to_it(skill: str) -> None:
    simulated = gateway.open_backend(Candidate(name="c", model=f"simulated:{skill}"))
    for messages in ([], [{"type": "tool", "data": {"tool_call_id": "sim_0_0", "content": "3"}}]):
        asked = [{"type": "human", "data": {"content": "1 + 2?"}}]
        if messages:
            asked.append(
                {"type": "ai", "data": {"content": "", "tool_calls": [{"name": "add", "id": "sim_0_0"}]}}
            )
        chunks: list[JsonDict] = []
        call = CallContext("c/e/1", "e", 1, 0, REFERENCE, on_chunk=chunks.append)
        whole = simulated.complete(ModelRequest([*asked, *messages], stream=True), call)
        pieces = messages_from_dict(chunks)
        assert all(isinstance(piece, AIMessageChunk) for piece in pieces)
        total = pieces[0]
        for piece in pieces[1:]:
            total = total + piece
        said_whole = whole.message["data"]
        assert total.content == said_whole["content"]
        assert [(c["name"], c["args"]) for c in total.tool_calls] == [
            (c["name"], c["args"]) for c in said_whole["tool_calls"]
        ]
        assert len(total.invalid_tool_calls) == len(said_whole["invalid_tool_calls"])
        assert total.usage_metadata == said_whole["usage_metadata"]


def test_an_async_harness_streams_too() -> None:
    simulated = gateway.open_backend(Candidate(name="c", model="simulated:skill=1"))
    channel = InProcess(simulated)
    channel.reference = {"answer": "it is three"}

    async def pieces() -> list[str]:
        return [chunk.text async for chunk in GatewayChatModel(channel=channel).astream("1 + 2?")]

    found = asyncio.run(pieces())
    assert len([piece for piece in found if piece]) > 3
    assert "it is three" in "".join(found)


STREAMING_AGENT = """

def build_streaming(model, context):
    from langchain_core.messages import HumanMessage
    from langchain_core.runnables import RunnableLambda

    def run(inputs):
        whole = None
        for chunk in model.bind_tools([add]).stream(inputs["messages"]):
            print("TOKEN", chunk.text)
            whole = chunk if whole is None else whole + chunk
        return {"messages": [*inputs["messages"], whole]}

    return RunnableLambda(run)
"""


@pytest.mark.slow
def test_tokens_reach_a_streaming_harness_one_by_one(tmp_path: Path) -> None:
    runner = Runner(tmp_path, "build_streaming")
    (tmp_path / "agent_under_test.py").write_text(AGENT + STREAMING_AGENT)
    runner.send(wire.encode({"id": wire.RUN_ID, "method": "harness/run", "params": runner.task}))
    lines = []
    for line in runner.process.stdout:
        lines.append(json.loads(line))
        if lines[-1].get("method") == "model/generate":
            assert lines[-1]["params"]["stream"] is True
            assert "stream" not in lines[-1]["params"]["params"]
            ident = lines[-1]["id"]
            for word in ("it ", "is ", "3"):
                piece = {"type": "AIMessageChunk", "data": {"content": word, "type": "AIMessageChunk"}}
                runner.send(wire.notification("model/chunk", {"id": ident, "chunk": piece}))
            runner.send(wire.encode({"id": ident, "result": {"message": None}}))
    [answer] = [m for m in result(lines)["result"]["messages"] if m["type"] == "ai"]
    assert answer["data"]["content"] == "it is 3"
    assert runner.process.stderr.read().count(b"TOKEN") >= 3


@pytest.mark.slow
def test_an_error_in_the_middle_of_a_stream_reaches_the_harness(tmp_path: Path) -> None:
    runner = Runner(tmp_path, "build_streaming")
    (tmp_path / "agent_under_test.py").write_text(AGENT + STREAMING_AGENT)
    error = {"code": wire.MODEL_ERROR, "message": "gone", "data": {"kind": "unavailable"}}
    lines = runner.play([error])
    assert result(lines)["error"]["data"]["type"] == "bakeoff_runner.channel.ModelUnavailable"


def test_a_stream_of_many_pieces_is_one_reply_and_they_are_not_kept_one_by_one(
    server: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bakeoff.gateway.models import backend as module

    monkeypatch.setattr(module, "MAX_PIECES", 3)
    words = [f"word-{number} " for number in range(10)]
    server.answers(stream(events(*words, end=True)))
    reply = backend(server).complete(request(stream=True), CALL)
    assert reply.message["data"]["content"] == "".join(words)
    assert reply.finish_reason == "stop"


def test_a_stream_without_end_is_cut_off(server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from bakeoff.gateway.models import backend as module

    monkeypatch.setattr(module, "MAX_STREAM_CHARS", 10)
    server.answers(stream(events(*["word "] * 5, end=True)))
    with pytest.raises(ModelCallError, match="longer than 10 characters") as caught:
        backend(server).complete(request(stream=True), CALL)
    assert caught.value.kind is ModelErrorKind.BAD_RESPONSE
