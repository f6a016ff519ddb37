"""What of a reply is let in, and for how long: over HTTP, with the real clients."""

import gc
import gzip
import json
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from langchain_openai import ChatOpenAI

from bakeoff.errors import ModelCallError, ModelErrorKind
from bakeoff.gateway.transport import raw
from bakeoff.gateway.types import CallContext
from tests.fakes.provider_server import ProviderServer
from tests.unit.gateway.models.test_providers import (
    ANTHROPIC_REPLY,
    CALL,
    OPENAI_REPLY,
    backend,
    request,
    say,
)

K = ModelErrorKind
MODELS = {"openai:m": OPENAI_REPLY, "anthropic:m": ANTHROPIC_REPLY}


def refused(server: ProviderServer, model: str, answer: Any, streamed: bool = False) -> ModelCallError:
    with pytest.raises(ModelCallError) as caught:
        backend(server.answers(answer), model).complete(request(stream=streamed), CALL)
    return caught.value


def endless(head: bytes, piece: bytes, headers: dict[str, str], ended: threading.Event) -> Any:
    """A body that goes on until nobody reads it."""

    def answer(handler: Any) -> None:
        handler.begin(200, headers)
        try:
            handler.wfile.write(head)
            while not ended.is_set():
                handler.wfile.write(piece)
        except OSError:
            ended.set()

    return answer


@pytest.mark.parametrize("model", MODELS)
def test_a_body_without_end_is_cut_off(
    server: ProviderServer, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "MAX_BODY_BYTES", 2**20)
    ended = threading.Event()
    error = refused(
        server, model, endless(b'{"a": "', b"x" * 65536, {"content-type": "application/json"}, ended)
    )
    assert (error.kind, "larger than 1 MiB" in error.message) == (K.BAD_RESPONSE, True)
    assert ended.wait(30), "the connection was left open"


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("model", MODELS)
def test_a_bomb_is_cut_off(
    server: ProviderServer, model: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "MAX_BODY_BYTES", 2**20)
    squeeze = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    bomb = squeeze.compress(b" " * 2**26) + squeeze.flush()

    assert (
        "larger than 1 MiB" in refused(server, model, say(200, bomb, {"content-encoding": encoding})).message
    )


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("squeeze", [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", None)])
def test_a_compressed_reply_is_read(server: ProviderServer, model: str, squeeze: Any) -> None:
    encoding, how = squeeze
    data = json.dumps(MODELS[model]).encode()
    if how is None:  # without zlib's header
        bare = zlib.compressobj(wbits=-15)
        body = bare.compress(data) + bare.flush()
    else:
        body = how(data)

    server.answers(say(200, body, {"content-encoding": encoding}))
    reply = backend(server, model).complete(request(), CALL)
    assert reply.message["data"]["tool_calls"][0]["args"] == {"order_id": "A-17"}


def test_an_encoding_that_was_not_asked_for_is_refused(server: ProviderServer) -> None:
    error = refused(server, "openai:m", say(200, OPENAI_REPLY, {"content-encoding": "br"}))
    assert (error.kind, "'br' was not asked for" in error.message) == (K.BAD_RESPONSE, True)


@pytest.mark.parametrize("model", MODELS)
def test_a_redirect_to_another_origin_is_not_followed(server: ProviderServer, model: str) -> None:
    with ProviderServer() as other:
        other.answers(say(200, MODELS[model]))
        error = refused(server, model, say(307, "", {"location": f"{other.url}/v1/messages"}))
        assert error.kind is K.BAD_RESPONSE
        assert "write that address as base_url" in error.message
        assert other.requests == []


@pytest.mark.slow
def test_a_header_that_trickles_in_ends_with_its_call(server: ProviderServer) -> None:
    gone = threading.Event()

    def answer(handler: Any) -> None:
        try:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
            for _ in range(600):
                handler.wfile.write(b"x")
                handler.wfile.flush()
                time.sleep(0.05)
        except OSError:
            gone.set()

    server.answers(answer)
    with pytest.raises(ModelCallError) as caught:
        backend(server, params={"timeout": 0.4, "connect_timeout": 0.1}).complete(request(), CALL)
    assert caught.value.kind is K.TIMEOUT
    assert gone.wait(20), "an abandoned call went on reading"


@pytest.mark.slow
def test_an_abandoned_stream_stops_reading(server: ProviderServer) -> None:
    ended = threading.Event()
    server.answers(endless(b"", b": not yet\n\n", {"content-type": "text/event-stream"}, ended))
    with pytest.raises(ModelCallError):
        backend(server, params={"timeout": 0.4, "connect_timeout": 0.1}).complete(request(stream=True), CALL)
    assert ended.wait(20), "an abandoned call went on reading"


def with_room(grants: Callable[[int], bool]) -> CallContext:
    return CallContext("c/e/1", "e", 1, 0, {}, room=grants)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_a_large_reply_waits_for_room_and_the_wait_is_no_time_of_the_model(
    server: ProviderServer, model: str
) -> None:
    asked: list[int] = []
    began = time.monotonic()

    def grants(size: int) -> bool:
        asked.append(size)
        return time.monotonic() - began > 1.0

    large = {**MODELS[model], "more": ["x" * 100] * 10_000}
    reply = backend(server.answers(say(200, large)), model).complete(request(), with_room(grants))
    assert 0.5 < reply.queued_seconds
    assert reply.seconds < time.monotonic() - began - 0.5
    assert max(asked) > 4 * len(json.dumps(large)), "every form of it is asked for before it is made"


def test_a_small_reply_asks_for_no_room(server: ProviderServer) -> None:
    server.answers(say(200, OPENAI_REPLY))
    assert backend(server).complete(request(), with_room(lambda _: False)).message


@pytest.mark.slow
def test_nobody_waits_for_room_after_the_attempts_end(server: ProviderServer) -> None:
    ended = threading.Event()
    threading.Timer(0.3, ended.set).start()
    context = CallContext("c/e/1", "e", 1, 0, {}, ended.is_set, room=lambda _: False)
    large = {**OPENAI_REPLY, "more": "x" * 2**20}
    with pytest.raises(ModelCallError):
        backend(server.answers(say(200, large))).complete(request(), context)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("where", ["its values", "the text of its arguments"])
def test_a_reply_with_more_values_than_anybody_says_is_refused(
    server: ProviderServer, where: str, streamed: bool
) -> None:
    many: Any = [[]] * 300_000 if where == "its values" else json.dumps([[]] * 300_000)
    body = {**OPENAI_REPLY, "more": many}
    answer = (
        say(200, f"data: {json.dumps(body)}\n\n", None, "text/event-stream") if streamed else say(200, body)
    )
    error = refused(server, "openai:m", answer, streamed)
    assert (error.kind, f"more than {raw.MAX_MARKS} values" in error.message) == (K.BAD_RESPONSE, True)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("reply", ["too large", "too many values", "no reply", "an error", "an answer"])
def test_a_large_reply_leaves_nothing_in_memory(
    server: ProviderServer, model: str, streamed: bool, reply: str
) -> None:
    """The collector is off: it runs when objects are many, however large they are."""
    size = 4 * 2**20
    said = MODELS[model]
    status, body = {
        "too large": (200, b'{"a": "' + b"x" * (raw.MAX_BODY_BYTES + 1)),
        "too many values": (200, b"[" + b"0," * raw.MAX_MARKS + b"0, 0]"),
        "no reply": (200, b'{"a": "' + b"x" * size + b'"}'),
        "an error": (400, b'{"error": {"message": "' + b"x" * size + b'"}}'),
        "an answer": (200, json.dumps({**said, "beside": "x" * size}).encode()),
    }[reply]
    answers = server.answers(say(status, body, {"content-type": "application/json"}))

    def asked() -> bool:
        """Whether it answered."""
        try:
            backend(answers, model).complete(request(stream=streamed), CALL)
        except ModelCallError:
            return False
        return True

    assert asked() == (reply == "an answer" and not streamed)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(3):
            asked()
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert left < size / 4


def test_the_time_in_which_a_client_makes_its_request_is_not_the_provider_s(
    server: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client on a busy host takes seconds for a large one."""
    make = ChatOpenAI._get_request_payload

    def slowly(*args: Any, **options: Any) -> Any:
        time.sleep(1.5)
        return make(*args, **options)

    monkeypatch.setattr(ChatOpenAI, "_get_request_payload", slowly)
    model = backend(server.answers(say(200, OPENAI_REPLY)), params={"timeout": 0.3, "connect_timeout": 0.3})
    assert model.complete(request(), CALL).attempts == 1
