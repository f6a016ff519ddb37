"""A harness runs here as it runs in production: its threads, its event loop, its signals, its files."""

# ruff: noqa: E501 - one case a line

import asyncio
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    HumanInTheLoopMiddleware,
    ModelCallLimitMiddleware,
    ToolCallLimitMiddleware,
)
from langchain.agents.structured_output import ToolStrategy
from langchain.tools import InjectedState, InjectedStore, InjectedToolCallId, ToolRuntime
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import ChatMessage, HumanMessage, ToolMessage, convert_to_messages
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import StructuredTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, interrupt
from pydantic import BaseModel

from bakeoff.verdict import WRONG_RESULT
from bakeoff_runner import wire
from tests.unit.runner.forked import ai, answer, call, play, result, said


def loop_by_hand(model: Any, tools: list[Any]) -> RunnableLambda:
    """An agent loop that calls its tools where it runs."""
    bound, by_name = model.bind_tools(tools), {one.name: one for one in tools}

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        messages = convert_to_messages(inputs["messages"])
        while True:
            messages.append(said := bound.invoke(messages))
            if not said.tool_calls:
                return {"messages": messages}
            messages += [by_name[one["name"]].invoke(one) for one in said.tool_calls]

    return RunnableLambda(run)


# --- threads and loops


def test_it_is_built_and_run_in_the_main_thread(tmp_path: Path) -> None:
    def build(model: Any, context: Any) -> Any:
        database = sqlite3.connect(context.workdir / "orders.db")
        database.execute("create table orders (state text)")
        database.execute("insert into orders values ('shipped')")

        @tool
        def state() -> str:
            """Read a connection that belongs to the thread that opened it."""
            assert threading.current_thread() is threading.main_thread()
            return str(database.execute("select state from orders").fetchone()[0])

        return loop_by_hand(model, [state])

    lines = play(tmp_path, build, call("state"), ai("it has shipped"))
    assert answer(lines) == "it has shipped"
    assert said(lines, "tool/end")[0]["result"] == "shipped"


def test_a_tool_may_set_signal_handlers(tmp_path: Path) -> None:
    def build(model: Any, context: Any) -> Any:
        @tool
        def alarm() -> str:
            """Be woken by an alarm."""
            woken = []
            signal.signal(signal.SIGALRM, lambda *_: woken.append(True))
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            while not woken:
                time.sleep(0.01)
            return f"woken {woken}"

        return loop_by_hand(model, [alarm])

    lines = play(tmp_path, build, call("alarm"), ai("done"))
    assert said(lines, "tool/end")[0]["result"] == "woken [True]"


def test_a_tool_runs_in_the_thread_of_the_middleware_around_it(tmp_path: Path) -> None:
    here = threading.local()

    class Session(AgentMiddleware):
        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            here.session = "mine"
            return handler(request)

    def session() -> str:
        """What the middleware left in thread-local state."""
        return str(getattr(here, "session", "none"))

    def build(model: Any, context: Any) -> Any:
        return create_agent(model, [session], middleware=[Session()])

    lines = play(tmp_path, build, call("session"), ai("done"))
    assert said(lines, "tool/end")[0]["result"] == "mine"


def test_an_async_builder_and_its_agent_share_a_loop(tmp_path: Path) -> None:
    async def build(model: Any, context: Any) -> Any:
        inbox: asyncio.Queue[Any] = asyncio.Queue()

        async def serve() -> None:
            while True:
                question, future = await inbox.get()
                future.set_result(f"{question}: yes")

        worker = asyncio.create_task(serve())

        async def ask(question: str) -> str:
            """Ask a client that lives in the loop it was opened in."""
            assert not worker.done()
            future = asyncio.get_running_loop().create_future()
            await inbox.put((question, future))
            return str(await asyncio.wait_for(future, 5))

        return create_agent(model, [ask])

    lines = play(tmp_path, build, call("ask", question="open?"), ai("done"))
    assert said(lines, "tool/end")[0]["result"] == "open?: yes"


def test_asyncio_run_works_in_the_builder_and_in_the_agent(tmp_path: Path) -> None:
    async def add(a: int, b: int) -> int:
        return a + b

    def build(model: Any, context: Any) -> Any:
        first = asyncio.run(add(1, 1))

        def run(inputs: dict[str, Any]) -> dict[str, Any]:
            text = model.invoke(inputs["messages"]).text
            return {"messages": [{"role": "ai", "content": f"{text} {asyncio.run(add(first, 1))}"}]}

        return RunnableLambda(run)

    assert answer(play(tmp_path, build, ai("said"))) == "said 3"


def _double(number: int) -> int:
    return number * 2


def test_a_tool_may_use_a_pool_of_processes(tmp_path: Path) -> None:
    def double(number: int) -> int:
        """Double it in another process."""
        with ProcessPoolExecutor(2) as pool:
            return pool.submit(_double, number).result()

    lines = play(tmp_path, lambda model, _: create_agent(model, [double]), call("double", number=4), ai("8"))
    assert said(lines, "tool/end")[0]["result"] == "8"


MODELS: list[Any] = []


def _ask_model() -> str:
    try:
        return str(MODELS[0].invoke("?").text)
    except RuntimeError as error:
        return str(error)


def test_a_model_call_from_a_forked_process_fails_at_once(tmp_path: Path) -> None:
    """Its reply would reach the first process only, and the caller would wait for it until the time limit."""

    def ask() -> str:
        """Ask the model from a forked process."""
        with ProcessPoolExecutor(1) as pool:
            return pool.submit(_ask_model).result(20)

    def build(model: Any, context: Any) -> Any:
        MODELS.append(model)
        return create_agent(model, [ask])

    lines = play(tmp_path, build, call("ask"), ai("done"))
    assert "only the process that built the agent" in said(lines, "tool/end")[0]["result"]
    assert answer(lines) == "done"


# --- agents that must be awaited


class Audit(AgentMiddleware):
    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        return await handler(request)


async def remote(number: int) -> str:
    """A tool that exists only as a coroutine."""
    await asyncio.sleep(0)
    return f"{number} from afar"


REMOTE = StructuredTool.from_function(coroutine=remote, name="remote")


def async_graph(model: Any) -> Any:
    async def ask(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    return graph


@pytest.mark.parametrize(
    "make",
    [
        lambda model: create_agent(model, [], middleware=[Audit()]),
        lambda model: create_agent(model, [REMOTE]),
        lambda model: async_graph(model).compile(),
        lambda model: async_graph(model).compile().with_config(recursion_limit=5),
    ],
    ids=["middleware", "tool", "node", "node, bound"],
)
def test_an_agent_with_asynchronous_parts_is_awaited(tmp_path: Path, make: Any) -> None:
    assert answer(play(tmp_path, lambda model, _: make(model), ai("fine"))) == "fine"


def test_a_harness_without_entrypoint_may_have_asynchronous_middleware(tmp_path: Path) -> None:
    here = f"{__name__}:"
    task = {
        "entrypoint": None,
        "config": {},
        "prompt": "You add.",
        "tools": [f"{here}REMOTE"],
        "middleware": [{"use": f"{here}Audit", "with": {}}],
    }
    lines = play(tmp_path, print, call("remote", number=4), ai("fine"), harness=task)
    assert answer(lines) == "fine"
    assert said(lines, "tool/end")[0]["result"] == "4 from afar"


def test_a_checkpointer_gets_the_trial_as_its_thread(tmp_path: Path) -> None:
    def build(model: Any, context: Any) -> Any:
        @tool
        def where(config: RunnableConfig) -> str:
            """Which thread this is."""
            return str(config["configurable"]["thread_id"])

        return create_agent(model, [where], checkpointer=InMemorySaver())

    lines = play(tmp_path, build, call("where"), ai("done"))
    assert answer(lines) == "done"
    assert said(lines, "tool/end")[0]["result"] == "c/e/1"
    assert said(lines, "tool/start")[0]["args"] == {}


def test_a_thread_and_a_recursion_limit_of_the_harness_stay(tmp_path: Path) -> None:
    def build(model: Any, context: Any) -> Any:
        @tool
        def where(config: RunnableConfig) -> str:
            """Which thread this is."""
            return f"{config['configurable']['thread_id']} {config['recursion_limit']}"

        agent = create_agent(model, [where], checkpointer=InMemorySaver())
        return agent.with_config({"configurable": {"thread_id": "mine"}, "recursion_limit": 7})

    lines = play(tmp_path, build, call("where"), ai("done"))
    assert said(lines, "tool/end")[0]["result"] == "mine 7"


# --- what the host learns


class Tenant(BaseModel):
    name: str


class State(MessagesState):
    tenant: str


def test_only_arguments_that_the_model_gave_are_reported(tmp_path: Path) -> None:
    @tool
    def look_up(
        order_id: str,
        runtime: ToolRuntime,
        state: Annotated[dict, InjectedState],
        tenant: Annotated[str, InjectedState("tenant")],
        store: Annotated[Any, InjectedStore()],
        call_id: Annotated[str, InjectedToolCallId],
        config: RunnableConfig,
    ) -> Command:
        """Look it up."""
        assert (tenant, call_id) == ("secret-tenant", "c1")
        assert runtime.context.name == "secret-tenant"
        return Command(update={"messages": [ToolMessage(f"{order_id} is here", tool_call_id=call_id)]})

    def build(model: Any, context: Any) -> Any:
        agent = create_agent(
            model, [look_up], state_schema=State, context_schema=Tenant, store=InMemoryStore()
        )
        return agent.bind(context=Tenant(name="secret-tenant"))

    inputs = {"question": "?", "tenant": "secret-tenant"}
    lines = play(tmp_path, build, call("look_up", order_id="A-17", colour="red"), ai("done"), inputs=inputs)
    [start], [end] = said(lines, "tool/start"), said(lines, "tool/end")
    assert start["args"] == {"order_id": "A-17", "colour": "red"}
    assert (end["result"], end["error"]) == ("A-17 is here", None)
    assert answer(lines) == "done"


def test_what_a_tool_keeps_for_the_harness_does_not_leave_the_container(tmp_path: Path) -> None:
    @tool(response_format="content_and_artifact")
    def fetch(number: int) -> Any:
        """Fetch."""
        return f"row {number}", object()

    lines = play(tmp_path, lambda model, _: create_agent(model, [fetch]), call("fetch", number=2), ai("done"))
    assert answer(lines) == "done"
    data = said(lines, "model/generate")[1]["messages"][-1]["data"]
    assert (data["content"], "artifact" in data) == ("row 2", False)


def approve(model: Any, checkpointer: Any = None) -> Any:
    def refund(order_id: str, cents: int) -> str:
        """Give money back."""
        return "refunded"

    waits = HumanInTheLoopMiddleware(interrupt_on={"refund": True})
    return create_agent(model, [refund], middleware=[waits], checkpointer=checkpointer)


@pytest.mark.parametrize("checkpointer", [None, InMemorySaver()])
def test_a_tool_that_waits_for_a_person_is_an_interrupt(tmp_path: Path, checkpointer: Any) -> None:
    asked = call("refund", order_id="A-17", cents=500)
    lines = play(tmp_path, lambda model, _: approve(model, checkpointer), asked)
    end = result(lines)["result"]
    assert end["interrupt"] == 'refund({"order_id": "A-17", "cents": 500})'
    assert [message["type"] for message in end["messages"]] == ["human", "ai"]
    assert not said(lines, "tool/start")


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda agent: agent, lambda agent: agent.with_config(tags=["desk"])])
@pytest.mark.parametrize("place", ["interrupt_before", "interrupt_after"])
@pytest.mark.parametrize("checkpointer", [None, InMemorySaver()])
def test_a_breakpoint_is_an_interrupt(tmp_path: Path, checkpointer: Any, place: str, make: Any) -> None:
    node = {"interrupt_before": "tools", "interrupt_after": "model"}[place]

    def build(model: Any, context: Any) -> Any:
        return make(create_agent(model, [count], checkpointer=checkpointer, **{place: [node]}))

    end = result(play(tmp_path, build, call("count", n=2), ai("done")))["result"]
    assert end["interrupt"] == f'"a breakpoint at {node}"'


def test_an_interrupt_of_the_graph_s_own_says_its_payload(tmp_path: Path) -> None:
    class Draft(TypedDict):
        question: str
        text: str

    def build(model: Any, context: Any) -> Any:
        def write(state: Any) -> Any:
            decision = interrupt({"draft": model.invoke(state["question"]).text, "options": ["send", "drop"]})
            return {"text": decision}

        graph = StateGraph(Draft)
        graph.add_node("write", write)
        graph.add_edge(START, "write")
        graph.add_edge("write", END)
        return graph.compile(checkpointer=InMemorySaver())

    end = result(play(tmp_path, build, ai("Dear customer")))
    assert end["result"]["interrupt"] == '{"draft": "Dear customer", "options": ["send", "drop"]}'
    assert end["result"]["messages"] == []


@pytest.mark.parametrize("streamed", [False, True])
def test_a_wrapper_that_drops_an_interrupt_hides_nothing(tmp_path: Path, streamed: bool) -> None:
    def build(model: Any, context: Any) -> Any:
        agent = approve(model, InMemorySaver())

        def run(inputs: Any) -> Any:
            config = {"configurable": {"thread_id": "1"}}
            if not streamed:
                return {"messages": agent.invoke(inputs, config)["messages"]}
            states = list(agent.stream(inputs, config, stream_mode="values"))
            return {"messages": [state for state in states if "messages" in state][-1]["messages"]}

        return RunnableLambda(run)

    end = result(play(tmp_path, build, call("refund", order_id="A-17", cents=500)))["result"]
    assert end["interrupt"] == 'refund({"order_id": "A-17", "cents": 500})'


def test_an_interrupt_that_the_harness_answers_itself_is_none(tmp_path: Path) -> None:
    def build(model: Any, context: Any) -> Any:
        agent = approve(model, InMemorySaver())

        def run(inputs: Any) -> Any:
            config = {"configurable": {"thread_id": "1"}}
            agent.invoke(inputs, config)
            decisions = {"decisions": [{"type": "approve"}]}
            return {"messages": agent.invoke(Command(resume=decisions), config)["messages"]}

        return RunnableLambda(run)

    end = result(play(tmp_path, build, call("refund", order_id="A-17", cents=500), ai("done")))["result"]
    assert "interrupt" not in end


class Sum(BaseModel):
    """The answer."""

    total: int
    day: date = date(2026, 1, 2)


@dataclass
class Place:
    """The answer."""

    town: str


def structured(schema: Any) -> Callable[[Any], Any]:
    return lambda model: create_agent(model, [], response_format=ToolStrategy(schema))


def returns(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """An agent that asks its model once, and returns what is made of the reply."""
    return lambda model: RunnableLambda(lambda inputs: make(model.invoke(inputs["messages"])))


@pytest.mark.parametrize(
    ("agent", "reply", "answer"),
    [
        (structured(Sum), call("Sum", total=3), '{"day": "2026-01-02", "total": 3}'),
        (structured(Place), call("Place", town="Zürich"), '{"town": "Zürich"}'),
        (returns(lambda reply: {"messages": [], "structured_response": Place("Ulm")}), ai(), '{"town": "Ulm"}'),
        (returns(lambda reply: reply.text), ai("3"), "3"),
        (returns(lambda reply: {"input": "?", "output": reply.text}), ai("3"), "3"),
    ],
)  # fmt: skip
def test_a_structured_response_or_a_text_is_the_answer(
    tmp_path: Path, agent: Any, reply: Any, answer: str
) -> None:
    end = result(play(tmp_path, lambda model, context: agent(model), reply))["result"]
    assert end["answer"] == answer
    assert "interrupt" not in end


@pytest.mark.parametrize("is_async", [False, True])
def test_a_function_is_an_agent(tmp_path: Path, is_async: bool) -> None:
    def build(model: Any, context: Any) -> Any:
        async def arun(inputs: Any) -> Any:
            return {"messages": [*inputs["messages"], await model.ainvoke(inputs["messages"])]}

        return arun if is_async else lambda inputs: model.invoke(inputs["messages"])

    assert answer(play(tmp_path, build, ai("3"))) == "3"


def test_what_is_no_agent_says_so(tmp_path: Path) -> None:
    end = result(play(tmp_path, lambda model, context: {"agent": 1}))
    assert end["error"]["message"] == "build_agent returned dict, which is no agent: it has no `invoke`"


def test_a_conversation_without_an_answer_is_one_unless_another_key_may_have_it(tmp_path: Path) -> None:
    class State(MessagesState, total=False):
        answer: str

    def build(put: Callable[[str], dict[str, Any]]) -> Any:
        def make(model: Any, context: Any) -> Any:
            graph = StateGraph(State)
            graph.add_node("route", lambda state: put(model.invoke(state["messages"]).text))
            graph.add_edge(START, "route")
            return graph.compile()

        return make

    silent = result(play(tmp_path, build(lambda reply: {}), ai("nowhere")))
    assert [message["type"] for message in silent["result"]["messages"]] == ["human"]
    elsewhere = result(play(tmp_path, build(lambda reply: {"answer": reply}), ai("3")))
    assert elsewhere["error"]["data"]["type"] == "bakeoff_runner.harness.WrongResult"


def test_the_words_of_a_team_s_last_agent_are_the_answer(tmp_path: Path) -> None:
    def build(model: Any, context: Any) -> Any:
        def run(inputs: Any) -> Any:
            said = model.invoke(inputs["messages"]).text
            return {"messages": [*inputs["messages"], HumanMessage(said, name="clerk")], "next": "FINISH"}

        return RunnableLambda(run)

    end = result(play(tmp_path, build, ai("3")))["result"]
    assert [(message["type"], message["data"]["content"]) for message in end["messages"]][1:] == [("ai", "3")]


def test_a_message_with_a_role_of_its_own_crosses_as_that_role_and_what_is_no_role_as_it_is(
    tmp_path: Path,
) -> None:
    def build(model: Any, context: Any) -> Any:
        asked = [ChatMessage("Be brief.", role=role) for role in ("system", "user", "critic")]
        return RunnableLambda(lambda inputs: model.invoke(asked))

    [asked] = said(play(tmp_path, build, ai("3")), "model/generate")
    assert [message["type"] for message in asked["messages"]] == ["system", "human", "chat"]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_context_that_is_too_long_is_the_error_that_harnesses_catch(tmp_path: Path, streamed: bool) -> None:
    def build(model: Any, context: Any) -> Any:
        def run(inputs: Any) -> Any:
            try:
                return list(model.stream("long")) if streamed else model.invoke("long")
            except ContextOverflowError as error:
                return f"{type(error).__name__}: {error}"

        return RunnableLambda(run)

    refusal = {
        "error": {"code": wire.MODEL_ERROR, "message": "too long", "data": {"kind": "context_overflow"}}
    }
    end = result(play(tmp_path, build, refusal))["result"]
    assert end["answer"] == "ContextOverflow: context_overflow: too long"


@pytest.mark.parametrize("make", [lambda reply: reply, lambda reply: [reply]])
def test_a_message_alone_is_the_answer(tmp_path: Path, make: Any) -> None:
    assert answer(play(tmp_path, lambda model, context: returns(make)(model), ai("3"))) == "3"


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda reply: {"draft": reply, "next": 1}, "not dict with the keys draft, next"),
        (lambda reply: 3, "not int"),
        (lambda reply: {"messages": [("user", "1 + 2?")], "draft": reply}, "no answer under the keys messages, draft"),
        (lambda reply: {"messages": [{"content": reply}]}, "`messages` that LangChain cannot read"),
    ],
)  # fmt: skip
def test_a_result_without_an_answer_is_the_harness_s_mistake(tmp_path: Path, make: Any, problem: str) -> None:
    error = result(play(tmp_path, lambda model, context: returns(make)(model), ai("3")))["error"]
    assert error["data"]["type"] == WRONG_RESULT
    assert problem in error["message"]


def count(n: int) -> str:
    """Count."""
    return str(n)


def raises(n: int) -> str:
    """Raise."""
    raise KeyError(n)


class SilentError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def silent(n: int) -> str:
    """Raise what has no text."""
    raise SilentError


async def grouped(model: Any, context: Any) -> Any:
    async def ask(state: Any) -> Any:
        async with asyncio.TaskGroup() as group:
            group.create_task(create_agent(model, [count]).ainvoke(state, {"recursion_limit": 1}))

    return RunnableLambda(ask)


def limited(limit: Any) -> Any:
    return lambda model, _: create_agent(
        model, [count], middleware=[limit(run_limit=1, exit_behavior="error")]
    )


COUNT, TWICE = [call("count", n=1)], [call("count", n=1), call("count", "c2", n=2)]
RECURSION = ("langgraph.errors.GraphRecursionError", "builtins.RecursionError")
# the harness, its model's answers, the exception and one of its bases
BROKEN: dict[str, tuple[Any, list[Any], str, str]] = {
    "recursion": (lambda model, _: create_agent(model, [count]).with_config(recursion_limit=2), COUNT, *RECURSION),
    "recursion in a task group": (grouped, COUNT, *RECURSION),
    "model calls": (
        *(limited(ModelCallLimitMiddleware), COUNT),
        *("langchain.agents.middleware.model_call_limit.ModelCallLimitExceededError", "builtins.Exception"),
    ),
    "tool calls": (
        *(limited(ToolCallLimitMiddleware), TWICE),
        *("langchain.agents.middleware.tool_call_limit.ToolCallLimitExceededError", "builtins.Exception"),
    ),
    "structured output": (
        lambda model, _: create_agent(model, [], response_format=ToolStrategy(Sum, handle_errors=False)),
        [call("Sum", total="many")],
        "langchain.agents.structured_output.StructuredOutputValidationError",
        "langchain.agents.structured_output.StructuredOutputError",
    ),
    "a tool": (*(lambda model, _: create_agent(model, [raises]), [call("raises", n=1)]), *("builtins.KeyError", "builtins.LookupError")),
    "a tool, with an exception that has no text": (
        *(lambda model, _: create_agent(model, [silent]), [call("silent", n=1)]),
        *(f"{__name__}.SilentError", "builtins.Exception"),
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_an_exception_is_reported_with_its_bases(tmp_path: Path, name: str) -> None:
    build, answers, kind, base = BROKEN[name]
    error = result(play(tmp_path, build, *answers))["error"]
    assert error["data"]["type"] == kind
    assert base in error["data"]["bases"]
    assert kind.rpartition(".")[2] in error["data"]["traceback"]
