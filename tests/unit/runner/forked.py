"""Run a harness in a forked child of the test, where its libraries are loaded already, and play the host."""

import json
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import langchain.agents  # noqa: F401 - loaded once, before the fork

from bakeoff_runner import harness, wire

Answer = dict[str, Any]


def play(
    workdir: Path, build_agent: Callable[..., Any], *answers: Answer, **task: Any
) -> list[dict[str, Any]]:
    """Every line that the harness sends; its model calls get the `answers` in turn."""
    module = types.ModuleType("agent_under_test")
    module.build_agent = build_agent  # type: ignore[attr-defined]
    sys.modules["agent_under_test"] = module
    child_in, to_child = os.pipe()
    from_child, child_out = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(to_child)
        os.close(from_child)
        log = os.open(workdir / "log.txt", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        harness.serve(child_in, child_out)
    os.close(child_in)
    os.close(child_out)
    params = {
        "token": "t1",
        "trial_id": "c/e/1",
        "workdir": str(workdir),
        "files": {},
        "limits": {"turns": 5, "seconds": 30, "tool_seconds": 5.0},
        "harness": {"entrypoint": "agent_under_test:build_agent", "config": {}},
        "inputs": {"question": "1 + 2?"},
        "messages": [{"role": "user", "content": "1 + 2?"}],
        **task,
    }
    lines, waiting = [], list(answers)
    with os.fdopen(to_child, "wb", 0) as writer, os.fdopen(from_child, "rb") as reader:
        writer.write(wire.encode({"id": wire.RUN_ID, "method": "harness/run", "params": params}))
        for line in reader:
            lines.append(message := json.loads(line))
            if message.get("method") == "model/generate":
                reply = waiting.pop(0)
                said = reply if "error" in reply else {"result": reply}
                writer.write(wire.encode({"id": message["id"], **said}))
    os.waitpid(pid, 0)
    return lines


def said(lines: list[dict[str, Any]], method: str) -> list[dict[str, Any]]:
    """The parameters of each line with this method."""
    return [line["params"] for line in lines if line.get("method") == method]


def result(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The line that ends the run: it has `result` or `error`."""
    [answer] = [line for line in lines if line.get("id") == wire.RUN_ID]
    return answer


def answer(lines: list[dict[str, Any]]) -> str:
    """The text of the last message, of a run that ended well."""
    end = result(lines)
    assert "result" in end, end["error"]["data"]["traceback"]
    text: str = end["result"]["messages"][-1]["data"]["content"]
    return text


def ai(content: str = "", **data: Any) -> Answer:
    """A reply of the model."""
    return {"message": {"type": "ai", "data": {"content": content, **data}}}


def call(name: str, ident: str = "c1", /, **args: Any) -> Answer:
    """A reply of the model that calls a tool."""
    return ai(tool_calls=[{"name": name, "args": args, "id": ident, "type": "tool_call"}])
