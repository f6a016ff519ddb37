"""The classes of other providers, where they are installed: `pip install langchain-groq langchain-xai ...`."""

import importlib.util
from typing import Any

import pytest
from langchain_core.messages import messages_from_dict

from bakeoff import gateway
from bakeoff.config.schema import Candidate
from bakeoff.errors import ModelCallError, ModelErrorKind
from bakeoff.gateway.faults import unfinished
from bakeoff.gateway.models.providers import PROVIDERS
from bakeoff.gateway.policy.retry import RetryPolicy
from bakeoff.gateway.transport.raw import RawReply
from tests.fakes.provider_server import ProviderServer
from tests.unit.gateway.models.test_providers import CALL, KEY, TOOL, request, say
from tests.unit.gateway.models.test_shapes import ARGS, DONE, RATE, USAGE, WORDS, call, chat, chunk, served

OF_OPENAI_S_KIND = {
    "groq": "",
    **dict.fromkeys(("mistralai", "deepseek", "xai", "together", "fireworks"), "/v1"),
}
CALLING = {"index": 0, **call(ARGS)}
ANSWERS: dict[str, tuple[Any, Any, ModelErrorKind | None]] = {  # whole, streamed, the kind of the error
    "call": (
        say(200, chat(None, "tool_calls", tool_calls=[call(ARGS)], usage=USAGE)),
        served([chunk({"role": "assistant", "tool_calls": [CALLING]}, "tool_calls", usage=USAGE), DONE]),
        None,
    ),
    "broken off": (say(200, chat(finish="error")), served([*WORDS, chunk(finish="error")]), ModelErrorKind.UNAVAILABLE),
    "limited in 200": (say(200, RATE), served([*WORDS, RATE]), ModelErrorKind.RATE_LIMITED),
    "page": (say(503, "<html>x</html>"), say(503, "<html>x</html>"), ModelErrorKind.UNAVAILABLE),
}  # fmt: skip


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("provider", OF_OPENAI_S_KIND)
def test_what_its_class_hands_on(server: ProviderServer, provider: str, answer: str, streamed: bool) -> None:
    if importlib.util.find_spec(PROVIDERS[provider].package) is None:
        pytest.skip(f"{PROVIDERS[provider].package} is not installed")
    address = server.url + OF_OPENAI_S_KIND[provider]
    who = Candidate(name="c", model=f"{provider}:m", base_url=address, api_key_env="A_KEY")
    model = gateway.open_backend(who, environ={"A_KEY": KEY}, retry=RetryPolicy(0))
    server.answers(ANSWERS[answer][streamed])
    asked = request(stream=streamed, tools=[TOOL])
    if (kind := ANSWERS[answer][2]) is not None:
        with pytest.raises(ModelCallError) as caught:
            model.complete(asked, CALL)
        assert caught.value.kind is kind
    else:
        reply = model.complete(asked, CALL)
        [message] = messages_from_dict([reply.message])
        assert [made["args"] for made in message.tool_calls] == [{"order_id": "A-17"}]  # type: ignore[attr-defined]
        assert (reply.finish_reason, reply.input_tokens, reply.output_tokens) == ("tool_calls", 20, 9)
    assert len(server.requests) == 1


def test_a_stream_that_a_client_asks_for_by_itself_needs_its_end() -> None:
    raw = RawReply()
    raw.begin(200, {"content-type": "application/x-ndjson"})
    raw.feed(b'{"message": {"role": "assistant", "content": "The"}, "done": false}\n')
    assert unfinished(raw, raw.facts.word, empty=False) is not None
    raw.feed(b'{"message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "stop"}\n')
    assert unfinished(raw, raw.facts.word, empty=False) is None
