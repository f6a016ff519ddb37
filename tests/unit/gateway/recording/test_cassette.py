"""Cassettes: a replay says what was recorded, a difference is named, damage is told, and no key is on the tape."""

import json
from pathlib import Path
from typing import Any

import pytest

from bakeoff import gateway
from bakeoff.config.schema import Candidate, Config, Harness
from bakeoff.errors import InputError, ModelCallError, ModelErrorKind
from bakeoff.gateway.policy.context import RunContext
from bakeoff.gateway.policy.retry import RetryPolicy
from bakeoff.gateway.recording.cassette import Recorder, first_difference, read_by_model
from bakeoff.gateway.types import CallContext, ChatBackend, JsonDict, ModelReply, ModelRequest
from tests.fakes.provider_server import ProviderServer

KEY = "canary-0123456789abcdef"
SIMULATED = Candidate(name="sim", model="simulated:skill=1")
REFERENCE = {"answer": "three", "trajectory": [{"name": "add", "args": {"a": 1, "b": 2}}]}
HUMAN = {"type": "human", "data": {"content": "1 + 2?", "id": "random-1"}}


def asked(*more: JsonDict, **fields: Any) -> ModelRequest:
    return ModelRequest([HUMAN, *more], **fields)


def call(index: int = 0, attempt: int = 1, name: str = "sim", **more: Any) -> CallContext:
    return CallContext(f"{name}/e/1", "e", 1, index, REFERENCE, attempt=attempt, **more)


def run(
    candidates: list[Candidate], environ: dict[str, str], root: Path, record: Path | None = None
) -> RunContext:
    config = Config(name="x", harness=Harness(prompt="x"), candidates=candidates, dataset="d", evaluators=[])
    common = RunContext.of(config.model_copy(update={"root": root}), environ)
    recorder = Recorder(record, candidates, common.secrets) if record else None
    return RunContext.of(config.model_copy(update={"root": root}), environ, recorder=recorder)


def converse(backend: ChatBackend, **more: Any) -> list[ModelReply]:
    """Two calls: the tool call, and the answer once its result is there. Ids differ each time, as LangGraph's do."""
    first = backend.complete(asked(), call(**more))
    told = {
        "type": "tool",
        "data": {"content": "3", "tool_call_id": "sim_0_0", "id": None, "status": "success"},
    }
    own = {**first.message, "data": {**first.message["data"], "id": "lc_run--random"}}
    return [first, backend.complete(asked(own, told), call(1, **more))]


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    """The recording of one trial of the simulated candidate."""
    directory = tmp_path / "tape"
    converse(gateway.open_backend(SIMULATED, run=run([SIMULATED], {}, tmp_path, directory)))
    return directory


def replay(tape: Path, name: str = "sim") -> ChatBackend:
    who = Candidate(name=name, model=f"replay:{tape.name}")
    return gateway.open_backend(who, run=run([who], {}, tape.parent))


def test_a_replay_says_what_was_recorded(tape: Path) -> None:
    direct = converse(gateway.open_backend(SIMULATED))
    again = converse(replay(tape))
    for was, now in zip(direct, again, strict=True):
        for field in (
            "message",
            "input_tokens",
            "output_tokens",
            "cached_tokens",
            "cost_usd",
            "finish_reason",
        ):
            assert getattr(now, field) == getattr(was, field), field
        assert now.queued_seconds == 0.0
        assert now.replayed_seconds == now.seconds


def test_the_only_candidate_may_have_another_name(tape: Path) -> None:
    assert converse(replay(tape, "other"), name="other")[1].message["data"]["content"]


def test_a_second_attempt_finds_what_the_first_recorded(tape: Path) -> None:
    assert len(converse(replay(tape), attempt=2)) == 2


@pytest.mark.parametrize(
    ("request_", "index", "says"),
    [
        (asked(params={"temperature": 1}), 0, 'request.params: recorded nothing, now {"temperature": 1}'),
        (asked({"type": "human", "data": {"content": "hurry"}}), 0, "request.messages[1]: recorded nothing"),
        (
            ModelRequest([{"type": "human", "data": {"content": "1 + 3?"}}]),
            0,
            "request.messages[0].content: recorded '1 + 2?', now '1 + 3?'",
        ),
        (asked({"type": "human", "data": {"content": "more"}}), 7, "call 8 of sim/e/1 is not on the tape: 2 were"),
    ],
)  # fmt: skip
def test_what_is_not_on_the_tape_is_said_with_the_first_difference(
    tape: Path, request_: ModelRequest, index: int, says: str
) -> None:
    with pytest.raises(ModelCallError) as caught:
        replay(tape).complete(request_, call(index))
    assert caught.value.kind is ModelErrorKind.NOT_ON_TAPE
    assert says in caught.value.message
    assert str(tape) not in caught.value.message


def test_a_trial_that_was_not_recorded_is_named(tape: Path) -> None:
    with pytest.raises(ModelCallError, match=r"there is no sim__e__2\.jsonl"):
        replay(tape).complete(asked(), CallContext("sim/e/2", "e", 1, 0, {}))


def test_a_difference_far_into_a_text_is_shown_where_it_is() -> None:
    was, now = "x" * 500 + "cat" + "y" * 500, "x" * 500 + "dog" + "y" * 500
    text = first_difference({"a": [was]}, {"a": [now]})
    assert text.startswith("request.a[0]: recorded …'")
    assert "cat" in text
    assert "dog" in text
    assert len(text) < 300


def test_only_what_a_model_reads_is_compared() -> None:
    one = {"messages": [HUMAN], "tools": None, "params": {}, "stream": True}
    two = {"messages": [{"type": "human", "data": {"content": "1 + 2?", "name": None}}], "stop": None}
    assert read_by_model(one) == read_by_model(two)


def test_streams_and_errors_are_on_the_tape(tmp_path: Path) -> None:
    with ProviderServer() as server:
        working = Candidate(name="w", model="openai:m", base_url=f"{server.url}/v1", api_key_env="A_KEY")
        failing = working.model_copy(update={"name": "f", "base_url": f"{server.url}/fail/401/v1"})
        candidates, tape = [working, failing], tmp_path / "tape"
        common = run(candidates, {"A_KEY": KEY}, tmp_path, tape)
        chunks: list[JsonDict] = []
        live = gateway.open_backend(working, run=common)
        reply = live.complete(asked(stream=True), call(name="w", on_chunk=chunks.append))
        with pytest.raises(ModelCallError) as failed:
            gateway.open_backend(failing, run=common).complete(asked(), call(name="f"))
    again: list[JsonDict] = []
    now = replay(tape, "w").complete(asked(stream=True), call(name="w", on_chunk=again.append))
    assert again == chunks
    assert (now.message, now.first_token_seconds) == (reply.message, reply.first_token_seconds)
    with pytest.raises(ModelCallError) as replayed:
        replay(tape, "f").complete(asked(), call(name="f"))
    for field in ("kind", "message", "status", "attempts"):
        assert getattr(replayed.value, field) == getattr(failed.value, field)
    assert replayed.value.kind is ModelErrorKind.AUTH
    written = "".join(path.read_text() for path in tape.iterdir())
    assert KEY not in written
    assert "[redacted]" in written  # the server had put it into its error


def test_a_rerun_of_a_trial_replaces_what_it_left(tape: Path, tmp_path: Path) -> None:
    common = run([SIMULATED], {}, tmp_path)
    recorder = Recorder(tape, [SIMULATED], (), resumed=True)
    backend = gateway.open_backend(
        SIMULATED, run=RunContext(common.environ, (), tmp_path, {}, {}, common.spending, recorder)
    )
    backend.complete(asked(), call())
    assert len((tape / "sim__e__1.jsonl").read_text().splitlines()) == 1


# --- bad input --------------------------------------------------------------------------------------


def problem(tape: Path, name: str = "sim") -> str:
    found = gateway.check(Candidate(name=name, model=f"replay:{tape.name}"), environ={}, root=tape.parent)
    assert found.hint
    return found.problem


def test_a_sound_tape_has_no_problem(tape: Path) -> None:
    assert (
        gateway.check(Candidate(name="sim", model=f"replay:{tape.name}"), environ={}, root=tape.parent)
        is None
    )


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda line: line[:50], "JSON"),
        (lambda line: json.dumps({**json.loads(line), "attempt": "one"}), "attempt"),
        (lambda line: json.dumps({**json.loads(line), "extra": 1}), "extra"),
    ],
)
def test_damage_is_told_with_file_and_line(tape: Path, damage: Any, says: str) -> None:
    path = tape / "sim__e__1.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], damage(lines[1])]) + "\n")
    text = problem(tape)
    assert "sim__e__1.jsonl:2" in text
    assert says in text


def test_no_recording_and_no_such_candidate(tape: Path) -> None:
    assert "there is no cassette.json" in problem(tape.parent / "absent")
    index = json.loads((tape / "cassette.json").read_text())
    index["candidates"].append({"name": "second", "model": "m", "params": {}})
    (tape / "cassette.json").write_text(json.dumps(index))
    assert "there is no candidate 'third'" in problem(tape, "third")
    (tape / "cassette.json").write_text("{}")
    assert "cassette.json" in problem(tape)


def test_a_recording_is_not_overwritten(tape: Path) -> None:
    with pytest.raises(InputError, match="there is a recording already"):
        Recorder(tape, [SIMULATED], ())


def test_a_run_that_asks_nothing_leaves_no_recording(tmp_path: Path) -> None:
    Recorder(tmp_path / "tape", [SIMULATED], ())
    Recorder(tmp_path / "tape", [SIMULATED], ())


def test_a_recorded_simulation_is_still_one(tape: Path) -> None:
    assert gateway.is_simulated(Candidate(name="sim", model=f"replay:{tape.name}"), tape.parent)
    assert gateway.is_simulated(SIMULATED, tape.parent)
    assert not gateway.is_simulated(Candidate(name="x", model="openai:m"), tape.parent)


def test_the_retries_of_a_recorded_call_are_on_record(server: ProviderServer, tmp_path: Path) -> None:
    who = Candidate(name="c", model="openai:m", base_url=f"{server.url}/fail/503/v1", api_key_env="A_KEY")
    common = run([who], {"A_KEY": KEY}, tmp_path, tmp_path / "tape")
    live = gateway.open_backend(who, retry=RetryPolicy(2, first_seconds=0.01), run=common)
    with pytest.raises(ModelCallError):
        live.complete(asked(), call(name="c"))
    with pytest.raises(ModelCallError) as replayed:
        replay(tmp_path / "tape", "c").complete(asked(), call(name="c"))
    assert (replayed.value.attempts, replayed.value.status) == (3, 503)
    assert len(server.requests) == 3


def test_neither_a_recording_nor_a_key_file_gets_into_the_image(tape: Path) -> None:
    from bakeoff.harness import contents

    root = tape.parent
    (root / "agent.py").write_text("")
    (root / ".env").write_text(f"OPENAI_API_KEY={KEY}\n")
    (root / "harness.yaml").write_text("x")
    config = Config(
        name="x",
        harness=Harness(prompt="x", source="."),
        candidates=[SIMULATED],
        dataset="rows.jsonl",
        evaluators=[],
    )
    names = set(contents.source(config.model_copy(update={"root": root})).files)
    assert names == {"agent.py", "harness.yaml"}
