"""Watch every LangChain tool call: tell the host when it starts and ends, and hold it to the tool-time limit.

A call past the limit gives the agent an error result, as a production harness would; the processes it started are
killed, and its thread is asked to stop.
"""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import functools
import os
import signal
import threading
import time
from itertools import count
from pathlib import Path
from typing import Any

from bakeoff_runner import wire
from bakeoff_runner.channel import Channel


class ToolTimeout(TimeoutError):  # noqa: N818 - reads as what happened
    """A tool call ran past `limits.tool_seconds`."""


class _Watch:
    """One call under watch: its start is told on entry, its end by `ended` or `failed`."""

    _calls = count(1)

    def __init__(self, channel: Channel, name: str, tool_input: Any, call_id: str | None) -> None:
        self.channel, self.name = channel, name
        self.call_id = call_id or f"direct-{next(self._calls)}"
        self.args = tool_input if isinstance(tool_input, dict) else {"input": tool_input}
        self.start = time.monotonic()
        channel.notify("tool/start", {"call_id": self.call_id, "name": name, "args": _plain(self.args)})

    def ended(self, result: Any, *, error: BaseException | None = None, timed_out: bool = False) -> None:
        text = _text(result)
        status = getattr(result, "status", None)
        failure = f"{type(error).__name__}: {error}" if error else (text if status == "error" else None)
        self.channel.notify(
            "tool/end",
            {
                "call_id": self.call_id,
                "name": self.name,
                "seconds": time.monotonic() - self.start,
                "result": None if error else text[: wire.MAX_RESULT_TEXT],
                "error": failure[: wire.MAX_RESULT_TEXT] if failure else None,
                "errno": error.errno if isinstance(error, OSError) else None,
                "timed_out": timed_out,
            },
        )


def watch(channel: Channel, tool_seconds: float) -> None:
    """Wrap `BaseTool.run` and `arun` for the rest of this process: every LangChain tool passes through them."""
    from langchain_core.messages import ToolMessage
    from langchain_core.tools import BaseTool

    run, arun = BaseTool.run, BaseTool.arun

    def timed_out(call: _Watch, call_id: str | None) -> Any:
        text = f"Error: tool {call.name} was stopped after {tool_seconds:g} seconds."
        if call_id is None:  # called by code, not by a model: there is no message to put it in
            error = ToolTimeout(text)
            call.ended(None, error=error, timed_out=True)
            raise error
        message = ToolMessage(text, tool_call_id=call_id, name=call.name, status="error")
        call.ended(message, timed_out=True)
        return message

    @functools.wraps(run)
    def watched_run(
        self: BaseTool, tool_input: Any, *args: Any, tool_call_id: str | None = None, **kwargs: Any
    ) -> Any:
        call = _Watch(channel, self.name, tool_input, tool_call_id)
        work = functools.partial(run, self, tool_input, *args, tool_call_id=tool_call_id, **kwargs)
        try:
            result = _within(tool_seconds, work)
        except ToolTimeout:
            return timed_out(call, tool_call_id)
        except BaseException as error:
            call.ended(None, error=error)
            raise
        call.ended(result)
        return result

    @functools.wraps(arun)
    async def watched_arun(
        self: BaseTool, tool_input: Any, *args: Any, tool_call_id: str | None = None, **kwargs: Any
    ) -> Any:
        call = _Watch(channel, self.name, tool_input, tool_call_id)
        try:
            async with asyncio.timeout(tool_seconds) as deadline:
                result = await arun(self, tool_input, *args, tool_call_id=tool_call_id, **kwargs)
        except BaseException as error:
            if isinstance(error, TimeoutError) and deadline.expired():
                return timed_out(call, tool_call_id)
            call.ended(None, error=error)
            raise
        call.ended(result)
        return result

    BaseTool.run = watched_run  # type: ignore[method-assign]
    BaseTool.arun = watched_arun  # type: ignore[method-assign]


def _within(seconds: float, work: Any) -> Any:
    """Run `work` in a thread of its own, so that even a blocking call can be left behind.

    Raises:
        ToolTimeout: it had not ended after `seconds`.
    """
    outcome: list[Any] = []

    def body() -> None:
        try:
            outcome.extend((True, work()))
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread as it is
            outcome.extend((False, error))

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(body,), name="tool", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        _abandon(thread)
        raise ToolTimeout
    fine, value = outcome
    if fine:
        return value
    raise value


def _abandon(thread: threading.Thread) -> None:
    """Kill the processes that the thread started and raise in it at its next bytecode."""
    try:
        children = Path(f"/proc/self/task/{thread.native_id}/children").read_text().split()
    except OSError:
        children = []
    for pid in children:
        os.kill(int(pid), signal.SIGKILL)
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(ToolTimeout)
        )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float | bool) else repr(value)


def _text(result: Any) -> str:
    content = getattr(result, "content", result)
    return content if isinstance(content, str) else repr(_plain(content))
