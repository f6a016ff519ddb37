"""The supervised child: load the user's harness, build it around the gateway's model, run it once, answer."""

from __future__ import annotations

import base64
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

from bakeoff_runner import lazy, wire
from bakeoff_runner.channel import Channel
from bakeoff_runner.context import HarnessContext, HarnessLimits

TRACEBACK_CHARS = 4000


def serve(rpc_in: int, rpc_out: int) -> NoReturn:
    """Run one trial over the two file descriptors and leave without interpreter shutdown (it has nothing to save)."""
    channel = Channel(rpc_in, rpc_out)
    request = channel.first_request()
    try:
        result = run(request["params"], channel)
        channel.send({"id": wire.RUN_ID, "result": result})
        code = 0
    except BaseException as error:  # noqa: BLE001 - whatever ended the harness is evidence, SystemExit included
        traceback.print_exc()
        channel.send({"id": wire.RUN_ID, "error": describe(error)})
        code = 1
    if request["params"]["harness"].get("traces"):
        from bakeoff_runner import traces

        traces.flush()  # after the answer: it takes none of the agent's time
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(params: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Build the harness and run it on the example; the result is JSON-able."""
    workdir = Path(params["workdir"])
    os.chdir(workdir)
    for name, content in params["files"].items():
        target = workdir / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(base64.b64decode(content))
    traceparent = params.get("traceparent", "")
    if traceparent:
        os.environ["TRACEPARENT"] = traceparent
    if params["harness"].get("traces"):
        from bakeoff_runner import traces

        traces.receive(channel)
    if params["harness"].get("command"):
        from bakeoff_runner import command

        return command.run(params, workdir, channel)
    lazy.install()
    limits = HarnessLimits(**params["limits"])
    context = HarnessContext(workdir, params["harness"]["config"], params["inputs"], limits, traceparent)

    from bakeoff_runner import load, tools
    from bakeoff_runner.chat_model import GatewayChatModel

    model = GatewayChatModel(channel=channel)
    agent, asynchronous = load.build(params["harness"], model, context)
    tools.watch(channel, limits.tool_seconds)
    channel.notify("harness/loaded", {})
    inputs = {**params["inputs"], "messages": params["messages"]}
    channel.notify("harness/started", {})
    if asynchronous:
        import asyncio

        result = asyncio.run(agent.ainvoke(inputs))
    else:
        result = agent.invoke(inputs)
    return outcome(result)


def outcome(result: Any) -> dict[str, Any]:
    """`{"messages": [...]}` (or the state of an agent with structured output) as JSON-able values.

    Raises:
        TypeError: the harness returned something else.
    """
    from langchain_core.messages import convert_to_messages, message_to_dict

    from bakeoff_runner.chat_model import whole

    if not isinstance(result, dict) or "messages" not in result:
        raise TypeError(f'the harness must return {{"messages": [...]}}, not {type(result).__name__}')
    out: dict[str, Any] = {
        "messages": [message_to_dict(whole(m)) for m in convert_to_messages(result["messages"])]
    }
    structured = result.get("structured_response")
    if structured is not None:
        plain = structured.model_dump(mode="json") if hasattr(structured, "model_dump") else structured
        out["answer"] = plain if isinstance(plain, str) else json.dumps(plain, sort_keys=True, default=str)
    return out


def describe(error: BaseException) -> dict[str, Any]:
    """A JSON-RPC error object: the exception's class, text, and the errno of every OSError in its chain."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return {
        "code": wire.HARNESS_ERROR,
        "message": str(error)[:TRACEBACK_CHARS],
        "data": {
            "type": f"{type(error).__module__}.{type(error).__qualname__}",
            "errnos": [e.errno for e in chain if isinstance(e, OSError) and e.errno is not None],
            "traceback": "".join(traceback.format_exception(error))[-TRACEBACK_CHARS:],
        },
    }
