"""Whether an agent must be awaited: whether a part of it has no synchronous form, so that `invoke` would fail."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import FunctionType, MethodType
from typing import Any

FRAMEWORKS = ("langchain", "langgraph", "langsmith", "deepagents")  # beginnings of their modules' names
HOOKS = ("before_agent", "before_model", "after_model", "after_agent", "wrap_model_call", "wrap_tool_call")
# What an agent remembers, and what its synchronous functions mention.
NOT_PARTS = {"checkpointer", "store", "cache", "deps"}
MAX_PARTS = 20_000


def must_be_awaited(agent: Any) -> bool:
    """A coroutine-only tool, node or sub-agent, or middleware with asynchronous hooks only, is enough.

    Only the framework's own objects are searched. What the harness's own functions call is their business: one that
    is synchronous runs its coroutines itself.
    """
    if not hasattr(agent, "invoke"):
        return True
    return any(_only_async(part) for part in _parts(agent))


def _only_async(part: Any) -> bool:
    middleware = _class("langchain.agents.middleware.types", "AgentMiddleware")
    if isinstance(part, middleware):
        return any(
            _overrides(part, middleware, f"a{hook}") and not _overrides(part, middleware, hook)
            for hook in HOOKS
        )
    if isinstance(part, _class("langchain_core.tools", "BaseTool")):
        if getattr(part, "coroutine", None) is not None:
            return getattr(part, "func", None) is None
        return _only_refuses(type(part), "_run")
    if not isinstance(part, _class("langchain_core.runnables", "Runnable")):
        return False
    # RunnableLambda, and langgraph's RunnableCallable
    only_coroutine = hasattr(part, "afunc") and getattr(part, "func", None) is None
    return only_coroutine or _only_refuses(type(part), "invoke")


def _parts(agent: Any) -> Iterator[Any]:
    """The agent and everything that it is made of, as far as the framework made it."""
    queue, seen = [agent], {id(agent): agent}
    while queue and len(seen) < MAX_PARTS:
        part = queue.pop()
        yield part
        for inner in _inside(part):
            if id(inner) not in seen:
                seen[id(inner)] = inner  # kept alive, so that no other object gets its id
                queue.append(inner)


def _inside(part: Any) -> list[Any]:
    match part:
        case dict():
            return list(part.values())
        case list() | tuple() | set() | frozenset():
            return list(part)
        case MethodType():
            return [part.__self__, part.__func__]
        case FunctionType():
            # `__module__` would be that of the function that a decorator wraps
            ours = str(part.__globals__.get("__name__")).startswith(FRAMEWORKS)
            return [*_closure(part), getattr(part, "__wrapped__", None)] if ours else []
    if isinstance(part, type) or not type(part).__module__.startswith(FRAMEWORKS):
        return []
    attributes = getattr(part, "__dict__", {})
    slots = [getattr(part, name, None) for name in getattr(type(part), "__slots__", ())]
    return [value for name, value in attributes.items() if name not in NOT_PARTS] + slots


def _closure(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # it is still empty
            yield cell.cell_contents


def _class(module: str, name: str) -> type:
    """A class of a framework, or one without instances where the harness has not imported it."""
    found: type = getattr(sys.modules.get(module), name, _Nothing)
    return found


class _Nothing:
    pass


def _overrides(part: Any, base: type, method: str) -> bool:
    return getattr(type(part), method, None) is not getattr(base, method, None)


def _only_refuses(kind: type, method: str) -> bool:
    """The method does nothing but raise NotImplementedError, which asks for its asynchronous twin."""
    code = getattr(getattr(kind, method, None), "__code__", None)
    return code is not None and code.co_names == ("NotImplementedError",)
