"""The supervised child: load the user's harness, build it around the gateway's model, run it once, answer."""

from __future__ import annotations

import base64
import inspect
import json
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from bakeoff_runner import failure, lazy, wire
from bakeoff_runner.channel import Channel
from bakeoff_runner.context import HarnessContext, HarnessLimits
from bakeoff_runner.interrupts import unanswered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.runnables import RunnableConfig

INTERRUPT_CHARS = 2000


class WrongResult(TypeError):  # noqa: N818 - reads as what happened
    """The agent ended well, and what it returned has no answer that bakeoff can read."""


def serve(rpc_in: int, rpc_out: int) -> NoReturn:
    """Run one trial over the two file descriptors, in the main thread, and leave without interpreter shutdown."""
    channel = Channel(rpc_in, rpc_out)
    request = channel.first_request()
    try:
        result = run(request["params"], channel)
        channel.send({"id": wire.RUN_ID, "result": result})
        code = 0
    except BaseException as error:  # noqa: BLE001 - whatever ended the harness is evidence, SystemExit included
        traceback.print_exc()
        channel.send({"id": wire.RUN_ID, "error": failure.describe(error)})
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
    waiting: list[Any] = []
    return outcome(run_agent(params, workdir, channel, waiting), params["messages"], waiting)


def run_agent(params: dict[str, Any], workdir: Path, channel: Channel, waiting: list[Any]) -> Any:
    """What the agent returns. It is built and invoked in this thread, and awaited where it has to be.

    `waiting` gets what the latest interrupt waits for.

    An async `build_agent` and the agent's `ainvoke` share one task, as in a production program that awaits both.
    """
    lazy.install()
    limits = HarnessLimits(**params["limits"])
    context = HarnessContext(
        workdir, params["harness"]["config"], params["inputs"], limits, params.get("traceparent", "")
    )
    from bakeoff_runner import asynchrony, interrupts, load, time_limit, tools
    from bakeoff_runner.chat_model import chat_model

    watchdog = time_limit.install(limits.tool_seconds)
    inputs = {**params["inputs"], "messages": params["messages"]}

    def arguments(agent: Any) -> tuple[Any, ...]:
        """Called between building and running."""
        tools.watch(channel, watchdog)
        interrupts.watch(waiting)
        channel.notify("harness/loaded", {})
        config = run_config(agent, params.get("trial_id", "trial"))
        channel.notify("harness/started", {})
        return (inputs,) if config is None else (inputs, config)

    built = load.build(params["harness"], chat_model(channel, params.get("model") or {}), context)
    if not inspect.isawaitable(built):
        built = agent_of(built)
        if not asynchrony.must_be_awaited(built):
            args = arguments(built)
            result = built.invoke(*args)
            state = built.get_state(*args[1:]) if has_breakpoints(built) and built.checkpointer else None
            return at_breakpoint(built, result, state)
        agent, built = built, None

    async def trial() -> Any:
        runnable = agent if built is None else agent_of(await built)
        args = arguments(runnable)
        result = await runnable.ainvoke(*args)
        ask = has_breakpoints(runnable) and runnable.checkpointer
        return at_breakpoint(runnable, result, await runnable.aget_state(*args[1:]) if ask else None)

    import asyncio

    # The loop is not closed: closing it would wait for the harness's own threads, and the process ends anyway.
    return asyncio.Runner().run(trial())


def agent_of(built: Any) -> Any:
    """What `build_agent` returned, as an agent: a plain function of the inputs is one too.

    Raises:
        TypeError: it cannot be invoked or called.
    """
    if hasattr(built, "invoke") or hasattr(built, "ainvoke"):
        return built
    if not callable(built):
        raise TypeError(f"build_agent returned {type(built).__name__}, which is no agent: it has no `invoke`")
    from langchain_core.runnables import RunnableLambda

    return RunnableLambda(built)


def run_config(agent: Any, thread_id: str) -> RunnableConfig | None:
    """The config to invoke a Runnable with: a thread id, so that a checkpointer works, unless the agent has one."""
    from langchain_core.runnables import Runnable

    if not isinstance(agent, Runnable):
        return None
    own: dict[str, Any] = (getattr(agent, "config", None) or {}).get("configurable") or {}
    return None if "thread_id" in own else {"configurable": {"thread_id": thread_id}}


BREAKPOINTS = ("interrupt_before_nodes", "interrupt_after_nodes")  # of a LangGraph graph


def has_breakpoints(agent: Any) -> bool:
    return any(getattr(agent, place, None) for place in BREAKPOINTS)


def at_breakpoint(agent: Any, result: Any, state: Any) -> Any:
    """The result, marked as an interrupt where the graph stopped at a breakpoint that it was compiled with.

    LangGraph says so of `interrupt()` alone. `state` is the checkpointer's snapshot. Without one, calls of tools that
    have no result are the sign.
    """
    if not has_breakpoints(agent) or not isinstance(result, dict) or "__interrupt__" in result:
        return result
    last = (result.get("messages") or [None])[-1]
    if not (getattr(last, "tool_calls", None) if state is None else state.next):
        return result
    nodes = ", ".join(node for place in BREAKPOINTS for node in getattr(agent, place))
    return {**result, "__interrupt__": [f"a breakpoint at {nodes.replace('*', 'every node')}"]}


def outcome(result: Any, given: Sequence[dict[str, Any]] = (), waiting: Sequence[Any] = ()) -> dict[str, Any]:
    """The final state of the agent as JSON-able values.

    It has `messages`; `answer`, the structured response, where there is one; `interrupt`, what the agent waits for a
    person to decide, where it stopped for that.

    Args:
        result: what the agent returned.
        given: the example's messages.
        waiting: what the latest interrupt waits for. It counts where the conversation stops there.

    Raises:
        WrongResult: the harness returned something else.
    """
    from langchain_core.messages import AIMessage, convert_to_messages
    from pydantic_core import to_jsonable_python

    from bakeoff_runner.chat_model import serialised

    state = state_of(result)
    interrupts = getattr(result, "interrupts", None) or state.get("__interrupt__")
    if not ({"messages", "structured_response"} & state.keys() or interrupts):
        keys = f" with the keys {', '.join(map(str, state))}" if state else ""
        raise WrongResult(f'the harness must return {{"messages": [...]}}, not {type(result).__name__}{keys}')
    try:
        messages = convert_to_messages(state.get("messages", []))
    except (ValueError, TypeError, NotImplementedError) as error:
        raise WrongResult(f"the harness returned `messages` that LangChain cannot read: {error}") from error
    if messages and messages[-1].type == "human" and messages[-1].name:
        # A team of agents in LangGraph: each speaks as a named human, and the last one's words are the answer.
        asked = sum(message.get("role") == "user" for message in given)
        if sum(message.type == "human" for message in messages) > asked:
            messages[-1] = AIMessage(messages[-1].content, name=messages[-1].name)
    out: dict[str, Any] = {"messages": [serialised(message) for message in messages]}
    structured = state.get("structured_response")
    if structured is None and unanswered(messages):
        interrupts = interrupts or waiting
    answers = sum(message.type in ("ai", "tool") for message in messages)
    before = sum(message.get("role") in ("assistant", "tool") for message in given)
    questions = bool(messages) and messages[-1].type in ("human", "system") and answers <= before
    others = [key for key, value in state.items() if key != "messages" and value is not None]
    if questions and others and structured is None and not interrupts:
        keys = ", ".join(map(str, state))
        raise WrongResult(f"the harness returned its input's messages alone: no answer under the keys {keys}")
    if structured is not None:
        plain = to_jsonable_python(structured, by_alias=False, fallback=str)
        out["answer"] = (
            plain if isinstance(plain, str) else json.dumps(plain, sort_keys=True, ensure_ascii=False)
        )
    if interrupts:
        out["interrupt"] = "; ".join(map(awaited_decision, interrupts))[:INTERRUPT_CHARS]
    return out


def state_of(result: Any) -> dict[str, Any]:
    """The final state that a result is: a dict, or an answer alone, as a text, a message or a list of messages."""
    from langchain_core.messages import BaseMessage

    state = getattr(result, "value", result)  # langgraph's GraphOutput has the state and the interrupts
    match state:
        case dict() if "messages" not in state and isinstance(state.get("output"), str):
            return {"structured_response": state["output"]}  # the key of LangChain's AgentExecutor
        case dict():
            return state
        case str():
            return {"structured_response": state}
        case BaseMessage():
            return {"messages": [state]}
        case list():
            return {"messages": state}
    return {}


def awaited_decision(interrupt: Any) -> str:
    """What one interrupt asks a person: tools with their arguments, or the payload that the graph gave.

    The shape with `action_requests` is that of LangChain's HumanInTheLoopMiddleware.
    """
    payload = getattr(interrupt, "value", interrupt)
    requests = payload.get("action_requests") if isinstance(payload, dict) else None
    try:
        return "; ".join(
            f"{request['name']}({json.dumps(request['args'], ensure_ascii=False, default=str)})"
            for request in requests or ()
        ) or json.dumps(payload, ensure_ascii=False, default=str)
    except (KeyError, TypeError, ValueError):
        return str(payload)
