"""The container side, run here as plain processes: the supervisor, the channel, the chat model."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bakeoff_runner import wire

AGENT = '''
import os, sys, time
from langchain.agents import create_agent

HELD = []

def add(a: int, b: int) -> int:
    """Add."""
    return a + b

def build_agent(model, context):
    print("a print of the harness")
    return create_agent(model, [add], system_prompt="You add.")

def build_broken(model, context):
    raise OSError(28, "No space left on device")

def build_exit(model, context):
    os._exit(3)

def build_segfault(model, context):
    os.kill(os.getpid(), 11)

def build_garbage(model, context):
    for end in range(3, 12):
        try:
            os.write(end, b"garbage\\n" + b"x" * 100 + b"\\n")
        except OSError:
            pass
    return build_agent(model, context)

def build_long_line(model, context):
    for end in range(3, 12):
        try:
            view = memoryview(b"y" * (10 * 2**20) + b"\\n")
            while view:
                view = view[os.write(end, view):]
        except OSError:
            pass
    return build_agent(model, context)

def build_wordy(model, context):
    return create_agent(model, [add], system_prompt="z" * (9 * 2**20))

def build_mute(model, context):
    os.closerange(3, 50)
    HELD.extend(open(f"{context.workdir}/{n}", "wb") for n in range(20))
    return build_agent(model, context)
'''


class Runner:
    """A supervisor as a child process, spoken to over its pipes."""

    def __init__(self, tmp_path: Path, entrypoint: str, *, tool_seconds: float = 5.0) -> None:
        (tmp_path / "agent_under_test.py").write_text(AGENT)
        self.workdir = tmp_path / "work"
        self.workdir.mkdir()
        source = Path(wire.__file__).parent.parent
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{source}:{tmp_path}"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bakeoff_runner"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
        )  # fmt: skip
        bounds = {"log_bytes": 2000, "output_bytes": wire.MAX_OUTPUT}
        self.send(
            wire.notification("supervisor/start", {"token": "t0", "workdir": str(self.workdir), **bounds})
        )
        self.task = {
            "token": "t1",
            "workdir": str(self.workdir),
            "files": {"notes/a.txt": "aGVsbG8="},
            "limits": {"turns": 5, "seconds": 30, "tool_seconds": tool_seconds},
            "harness": {"entrypoint": f"agent_under_test:{entrypoint}", "config": {}},
            "inputs": {"question": "1 + 2?"},
            "messages": [{"role": "user", "content": "1 + 2?"}],
            "traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01",
        }

    def send(self, data: bytes) -> None:
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def play(self, answers: list[dict], strays: tuple = ()) -> list[dict]:
        """Run the task, answer its model calls in turn, and return every line until the supervisor is gone.

        Before each answer replies go in that nobody waits for, with the ids `strays`.
        """
        self.send(wire.encode({"id": wire.RUN_ID, "method": "harness/run", "params": self.task}))
        lines, waiting = [], list(answers)
        for line in self.process.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                message = {"garbage": line}
            lines.append(message)
            if message.get("method") == "model/generate":
                for ident in strays:
                    self.send(
                        wire.encode({"id": ident, "error": {"code": wire.INVALID_PARAMS, "message": "?"}})
                    )
                    self.send(wire.notification("model/chunk", {"id": ident, "chunk": {}}))
                answer = waiting.pop(0)
                key = "error" if "code" in answer else "result"
                self.send(wire.encode({"id": message["id"], key: answer}))
        self.process.wait(60)
        return lines


def said(lines: list[dict], method: str) -> list[dict]:
    return [line["params"] for line in lines if line.get("method") == method]


def result(lines: list[dict]) -> dict:
    [answer] = [line for line in lines if line.get("id") == wire.RUN_ID]
    return answer


def ai(content: str = "", **data: object) -> dict:
    return {"message": {"type": "ai", "data": {"content": content, **data}}}


CALL = {"name": "add", "args": {"a": 1, "b": 2}, "id": "c1", "type": "tool_call"}


@pytest.mark.slow
def test_a_whole_trial_over_pipes(tmp_path: Path) -> None:
    runner = Runner(tmp_path, "build_agent")
    lines = runner.play([ai(tool_calls=[CALL]), ai("it is 3")])
    asked = said(lines, "model/generate")[0]
    assert (asked["tools"][0]["function"]["name"], asked["stop"]) == ("add", None)
    assert (asked["messages"][0]["type"], asked["messages"][0]["data"]["content"]) == ("system", "You add.")
    messages = result(lines)["result"]["messages"]
    assert [m["type"] for m in messages] == ["human", "ai", "tool", "ai"]
    assert messages[2]["data"]["content"] == "3"
    [end] = said(lines, "tool/end")
    assert (end["call_id"], end["result"], end["error"]) == ("c1", "3", None)
    [last] = said(lines, "supervisor/exit")
    assert (last["token"], last["exit_code"], last["signal"]) == ("t0", 0, None)
    assert last["stopped_for"] is None
    own = [line for line in lines if not str(line.get("method")).startswith("supervisor/")]
    assert {line["token"] for line in own} == {"t1"}
    assert (runner.workdir / "notes/a.txt").read_text() == "hello"
    assert b"a print of the harness" in runner.process.stderr.read()


@pytest.mark.slow
def test_provider_blocks_cross_both_ways_unchanged(tmp_path: Path) -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "sig=="}
    usage = {
        "input_tokens": 7,
        "output_tokens": 2,
        "total_tokens": 9,
        "input_token_details": {"cache_read": 3},
    }
    data = {
        "content": [thinking, {"type": "text", "text": "adding"}],
        "additional_kwargs": {"x": {"y": [1]}},
        "response_metadata": {"model": "m", "stop_reason": "tool_use"},
        "usage_metadata": usage,
        "tool_calls": [CALL],
        "id": "msg_1",
    }
    lines = Runner(tmp_path, "build_agent").play([{"message": {"type": "ai", "data": data}}, ai("3")])
    second = said(lines, "model/generate")[1]["messages"][2]["data"]
    for key, value in data.items():
        assert second[key] == value, key


@pytest.mark.slow
def test_a_model_error_ends_the_harness_with_its_kind(tmp_path: Path) -> None:
    error = {"code": wire.LIMIT_REACHED, "message": "used up", "data": {"kind": "turns"}}
    lines = Runner(tmp_path, "build_agent").play([error])
    assert result(lines)["error"]["data"]["type"] == "bakeoff_runner.channel.LimitReached"
    assert said(lines, "supervisor/exit")[0]["exit_code"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entrypoint", "exit_code", "signal"), [("build_exit", 3, None), ("build_segfault", None, 11)]
)
def test_how_the_harness_died_is_reported(
    tmp_path: Path, entrypoint: str, exit_code: int | None, signal: int | None
) -> None:
    lines = Runner(tmp_path, entrypoint).play([])
    [last] = said(lines, "supervisor/exit")
    assert (last["exit_code"], last["signal"]) == (exit_code, signal)
    assert not [line for line in lines if line.get("id") == wire.RUN_ID]


@pytest.mark.slow
def test_an_exception_carries_its_errno(tmp_path: Path) -> None:
    error = result(Runner(tmp_path, "build_broken").play([]))["error"]
    assert error["data"]["type"] == "builtins.OSError"
    assert error["data"]["errnos"] == [28]


@pytest.mark.slow
def test_garbage_passes_as_lines_and_replies_that_nobody_waits_for_do_not_deafen_the_harness(
    tmp_path: Path,
) -> None:
    runner = Runner(tmp_path, "build_garbage")
    lines = runner.play([ai(tool_calls=[CALL]), ai("it is 3")], strays=("forged", "h99"))
    assert {"garbage": b"garbage\n"} in lines
    assert result(lines)["result"]["messages"][-1]["data"]["content"] == "it is 3"


@pytest.mark.slow
def test_an_overlong_line_is_dropped_whole(tmp_path: Path) -> None:
    lines = Runner(tmp_path, "build_long_line").play([ai("3")])
    assert not [line for line in lines if "garbage" in line]
    [last] = said(lines, "supervisor/exit")
    assert last["overflow"] == "line"
    assert result(lines)["result"]["messages"][-1]["data"]["content"] == "3"


@pytest.mark.slow
def test_a_request_that_no_line_can_hold_fails_at_once_and_is_told(tmp_path: Path) -> None:
    lines = Runner(tmp_path, "build_wordy").play([])
    [told] = said(lines, "model/too_large")
    assert told["bytes"] > 9 * 2**20
    error = result(lines)["error"]
    assert error["data"]["type"].endswith("ModelUnavailable")
    assert "too_large" in error["message"]
    assert said(lines, "supervisor/exit")[0]["overflow"] is None


@pytest.mark.slow
def test_a_harness_that_closes_its_line_is_ended(tmp_path: Path) -> None:
    """Its next words would go into whatever has the descriptor's number by then, and nobody would answer."""
    lines = Runner(tmp_path, "build_mute").play([])
    [last] = said(lines, "supervisor/exit")
    assert (last["signal"], last["stopped_for"]) == (9, "channel_closed")
    assert not [line for line in lines if line.get("id") == wire.RUN_ID]


@pytest.mark.slow
def test_the_log_is_bounded_and_says_so(tmp_path: Path) -> None:
    runner = Runner(tmp_path, "build_agent")
    (tmp_path / "agent_under_test.py").write_text(AGENT + "\nprint('z' * 100_000)\n")
    errors: list[bytes] = []
    threading.Thread(target=lambda: errors.append(runner.process.stderr.read()), daemon=True).start()
    lines = runner.play([ai("3")])
    assert said(lines, "supervisor/exit")[0]["log_dropped"] >= 98_000
    time.sleep(0.1)
    assert len(errors[0]) <= 2000


@pytest.mark.slow
@pytest.mark.parametrize("end", ["the host goes away", "the host says stop"])
def test_the_end_of_the_host_or_its_word_kills_the_harness(tmp_path: Path, end: str) -> None:
    runner = Runner(tmp_path, "build_agent")
    runner.send(wire.encode({"id": wire.RUN_ID, "method": "harness/run", "params": runner.task}))
    for line in runner.process.stdout:
        if b"model/generate" in line:
            break
    if end == "the host goes away":
        runner.process.stdin.close()
    else:
        runner.send(wire.notification("supervisor/stop", {}))
    last = json.loads(runner.process.stdout.read().splitlines()[-1])
    assert (last["method"], last["params"]["signal"]) == ("supervisor/exit", 9)
    assert runner.process.wait(60) == 0


@pytest.mark.slow
def test_the_lazy_package_loads_what_is_asked_of_it() -> None:
    script = (
        "from bakeoff_runner import lazy; lazy.install(); import sys, langsmith.schemas; "
        "before = len([m for m in sys.modules if m.startswith('langsmith.types.')]); "
        "import langsmith.types as t; assert t.Agent is not None; from langsmith.types import AgentCreateParams; "
        "after = len([m for m in sys.modules if m.startswith('langsmith.types.')]); "
        "assert before < after / 4, (before, after)"
    )
    source = str(Path(wire.__file__).parent.parent)
    subprocess.run(
        [sys.executable, "-c", script], check=True, env={"PATH": os.environ["PATH"], "PYTHONPATH": source}
    )
