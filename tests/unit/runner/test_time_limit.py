"""A tool call that runs too long is ended where it runs, and the agent goes on with an error result."""

import asyncio
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import StructuredTool, tool

from tests.unit.runner.forked import ai, answer, call, play, said
from tests.unit.runner.test_harness import loop_by_hand

TOO_LONG = 30.0
LIMITS = {"turns": 5, "seconds": 60, "tool_seconds": 0.3}


def sleeps() -> str:
    """Block in the kernel."""
    time.sleep(TOO_LONG)
    return "never"


def spins() -> str:
    """Use the CPU."""
    end = time.monotonic() + TOO_LONG
    while time.monotonic() < end:
        pass
    return "never"


def waits_for_a_child() -> str:
    """Wait for a process, and for its child that holds the pipe."""
    return subprocess.run(["sh", "-c", "sleep 30 & wait"], capture_output=True, check=False, text=True).stdout


async def awaits() -> str:
    """Await."""
    await asyncio.sleep(TOO_LONG)
    return "never"


def insists() -> str:
    """Swallow the first interrupt."""
    try:
        time.sleep(TOO_LONG)
    except TimeoutError:
        time.sleep(TOO_LONG)
    return "never"


def locked() -> str:
    """Wait for a lock, which only the main thread can be woken from."""
    threading.Event().wait(TOO_LONG)
    return "never"


def in_workers(model: Any, tools: list[Any]) -> Any:
    return create_agent(model, tools)


TOOLS: dict[str, list[Callable[..., Any]]] = {
    "loop_by_hand": [sleeps, spins, waits_for_a_child, insists, locked],
    "in_workers": [sleeps, spins, waits_for_a_child, insists, awaits],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "function"),
    [(make, one) for make in (loop_by_hand, in_workers) for one in TOOLS[make.__name__]],
    ids=lambda value: value.__name__,
)
def test_a_tool_past_its_limit_is_ended(tmp_path: Path, make: Any, function: Callable[..., Any]) -> None:
    name = function.__name__

    def build(model: Any, context: Any) -> Any:
        one = (
            StructuredTool.from_function(coroutine=function, name=name)
            if asyncio.iscoroutinefunction(function)
            else tool(function)
        )
        return make(model, [one])

    began = time.monotonic()
    lines = play(tmp_path, build, call(name), ai("sorry"), limits=LIMITS)
    assert answer(lines) == "sorry"
    [end] = said(lines, "tool/end")
    assert (end["timed_out"], end["errnos"]) == (True, [])
    assert end["error"] == f"Error: tool {name} was stopped after 0.3 seconds."
    assert time.monotonic() - began < 10


def test_what_the_tool_makes_of_its_timeout_is_its_result(tmp_path: Path) -> None:
    def careful() -> str:
        """Answer politely."""
        try:
            time.sleep(TOO_LONG)
        except TimeoutError:
            return "nothing found in time"
        return "never"

    lines = play(
        tmp_path, lambda model, _: create_agent(model, [careful]), call("careful"), ai("done"), limits=LIMITS
    )
    [end] = said(lines, "tool/end")
    assert (end["result"], end["error"], end["timed_out"]) == ("nothing found in time", None, True)


def test_processes_from_before_the_call_live_on(tmp_path: Path) -> None:
    def build(model: Any, context: Any) -> Any:
        server = subprocess.Popen(["sleep", "30"])

        def check() -> str:
            """Whether the server of the harness still runs."""
            alive = server.poll() is None
            server.kill()
            return f"alive {alive}"

        return loop_by_hand(model, [tool(sleeps), tool(check)])

    lines = play(tmp_path, build, call("sleeps"), call("check", "c2"), ai("done"), limits=LIMITS)
    assert said(lines, "tool/end")[1]["result"] == "alive True"


@pytest.mark.slow
def test_a_tool_inside_a_tool_ends_with_it(tmp_path: Path) -> None:
    inner = tool(sleeps)

    def outer() -> str:
        """Call a tool."""
        return str(inner.invoke({}))

    lines = play(
        tmp_path,
        lambda model, _: create_agent(model, [outer]),
        call("outer"),
        ai("done"),
        limits={**LIMITS, "tool_seconds": 1.0},
    )
    assert [(end["name"], end["timed_out"]) for end in said(lines, "tool/end")] == [
        ("sleeps", True),
        ("outer", True),
    ]
    assert answer(lines) == "done"


@pytest.mark.slow
def test_nothing_is_interrupted_once_the_call_is_over(tmp_path: Path) -> None:
    """Calls that end right at their limit, many times: an interrupt that comes late must not hit what follows."""

    def build(model: Any, context: Any) -> Any:
        @tool
        def close_call(seconds: float) -> str:
            """End near the limit."""
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                pass
            return "made it"

        def many() -> str:
            """In this worker thread."""
            outcomes = []
            for number in range(60):
                try:
                    close_call.invoke({"seconds": 0.015 + number % 5 * 0.005})
                    outcomes.append("made it")
                except TimeoutError:
                    outcomes.append("stopped")
                sum(range(20_000))
            return str(len(outcomes))

        def run(inputs: Any) -> Any:
            box: list[str] = [many()]
            worker = threading.Thread(target=lambda: box.append(many()))
            worker.start()
            worker.join()
            return {"messages": [{"role": "ai", "content": " ".join(box)}]}

        return RunnableLambda(run)

    lines = play(tmp_path, build, limits={**LIMITS, "tool_seconds": 0.02})
    assert answer(lines) == "60 60"
    assert {end["timed_out"] for end in said(lines, "tool/end")} == {True, False}
