"""Watch every LangChain tool call: report its start and its end to the host, and hold it to the tool-time limit.

A call past the limit gives the agent an error result, as a production harness would. `time_limit` says how it is ended.
"""

from __future__ import annotations

import asyncio
import functools
import json
import time
import traceback
from itertools import count
from typing import Any

from bakeoff_runner import wire
from bakeoff_runner.channel import Channel
from bakeoff_runner.failure import errnos, text_of
from bakeoff_runner.media import without_media
from bakeoff_runner.time_limit import LimitedCall, ToolTimeout, Watchdog

_runs = count(1)


class _Report:
    """What the host learns of one tool call."""

    def __init__(self, channel: Channel, tool: Any, tool_input: Any, call_id: str | None) -> None:
        self.channel, self.called_by_model = channel, call_id is not None
        self.run = {"run": f"t{next(_runs)}", "call_id": call_id or "", "name": tool.name}
        self.start = time.monotonic()
        channel.notify("tool/start", {**self.run, "args": given_arguments(tool, tool_input)})

    def ended(self, result: Any, *, error: BaseException | None = None, timed_out: bool = False) -> None:
        text = result_text(result)
        status = getattr(result, "status", None)
        failure = (
            f"{type(error).__name__}: {text_of(error)}" if error else (text if status == "error" else None)
        )
        self.channel.notify(
            "tool/end",
            {
                **self.run,
                "seconds": time.monotonic() - self.start,
                "result": None if error else text[: wire.MAX_RESULT_TEXT],
                "error": failure[: wire.MAX_RESULT_TEXT] if failure else None,
                "errnos": errnos(error),
                "timed_out": timed_out,
                "rejected": error is not None and is_rejection(error),
            },
        )

    def timed_out(self, seconds: float) -> Any:
        """The error result that the agent gets. Where code called the tool, and not a model, it raises instead."""
        from langchain_core.messages import ToolMessage

        name, call_id = self.run["name"], self.run["call_id"]
        text = f"Error: tool {name} was stopped after {seconds:g} seconds."
        if not self.called_by_model:
            error = ToolTimeout(text)
            self.ended(None, error=error, timed_out=True)
            raise error
        message = ToolMessage(text, tool_call_id=call_id, name=name, status="error")
        self.ended(message, timed_out=True)
        return message


def watch(channel: Channel, watchdog: Watchdog) -> None:
    """Wrap `BaseTool.run` and `arun` for the rest of this process: every LangChain tool passes through them."""
    from langchain_core.tools import BaseTool

    run, arun = BaseTool.run, BaseTool.arun

    @functools.wraps(run)
    def watched_run(
        self: BaseTool, tool_input: Any, *args: Any, tool_call_id: str | None = None, **kwargs: Any
    ) -> Any:
        report = _Report(channel, self, tool_input, tool_call_id)
        call = LimitedCall(watchdog.seconds)
        work = functools.partial(run, self, tool_input, *args, tool_call_id=tool_call_id, **kwargs)
        try:
            result = call.run(work, watchdog)
        except BaseException as error:
            if call.expired:
                return report.timed_out(watchdog.seconds)
            report.ended(None, error=error)
            raise
        report.ended(result, timed_out=call.expired)
        return result

    @functools.wraps(arun)
    async def watched_arun(
        self: BaseTool, tool_input: Any, *args: Any, tool_call_id: str | None = None, **kwargs: Any
    ) -> Any:
        report = _Report(channel, self, tool_input, tool_call_id)
        try:
            async with asyncio.timeout(watchdog.seconds) as deadline:
                result = await arun(self, tool_input, *args, tool_call_id=tool_call_id, **kwargs)
        except BaseException as error:
            if isinstance(error, TimeoutError) and deadline.expired():
                return report.timed_out(watchdog.seconds)
            report.ended(None, error=error)
            raise
        report.ended(result)
        return result

    BaseTool.run = watched_run  # type: ignore[method-assign]
    BaseTool.arun = watched_arun  # type: ignore[method-assign]


def is_rejection(error: BaseException) -> bool:
    """The arguments did not fit the tool's schema: the exception comes from parsing them, and the tool never ran."""
    return any(frame.name == "_parse_input" for frame in traceback.extract_tb(error.__traceback__))


def given_arguments(tool: Any, tool_input: Any) -> dict[str, Any]:
    """The arguments that the caller gave, without those that the framework adds (state, store, context, call id).

    An added argument is one that the tool takes and does not show to a model, or whose value is no JSON.
    """
    if not isinstance(tool_input, dict):
        return {"input": tool_input} if is_json(tool_input) else {}
    hidden = set(getattr(tool, "_injected_args_keys", ()))
    hidden |= _schema_keys(tool.get_input_schema()) - _schema_keys(tool.tool_call_schema)
    return {str(key): value for key, value in tool_input.items() if key not in hidden and is_json(value)}


def _schema_keys(schema: Any) -> set[str]:
    if isinstance(schema, dict):
        return set(schema.get("properties") or ())
    return set(getattr(schema, "model_fields", None) or getattr(schema, "__fields__", None) or ())


def is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_json(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(is_json(item) for item in value)
    return value is None or isinstance(value, str | int | float | bool)


def result_text(result: Any) -> str:
    """What a model reads of a tool's result: a message's content, also of a message inside a Command."""
    update = getattr(result, "update", None)
    if isinstance(update, dict) and isinstance(update.get("messages"), list):
        return "\n".join(result_text(message) for message in update["messages"])
    content = without_media(getattr(result, "content", result))
    if isinstance(content, str):
        return content
    if isinstance(content, list) and getattr(result, "type", None) == "tool":
        texts = [block if isinstance(block, str) else text_block(block) for block in content]
        if None not in texts:
            return "".join(filter(None, texts))
    return json.dumps(content, ensure_ascii=False) if is_json(content) else str(content)


def text_block(block: Any) -> str | None:
    is_text = isinstance(block, dict) and block.get("type") == "text" and isinstance(block.get("text"), str)
    return block["text"] if is_text else None
