"""From import paths to an agent: the user's `build_agent`, or `create_agent` around a prompt, tools and middleware."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

from bakeoff_runner.context import HarnessContext


class LoadError(Exception):
    """The harness cannot be loaded; `key` is the key of harness.yaml that names what is wrong."""

    def __init__(self, key: str, problem: str) -> None:
        self.key, self.problem = key, problem
        super().__init__(f"{key}: {problem}")


def named(path: str, key: str) -> Any:
    """The object behind `module:name`.

    Raises:
        LoadError: the module does not import, or has no such name.
    """
    module_name, _, name = path.partition(":")
    try:
        module = import_module(module_name)
    except (Exception, SystemExit) as error:
        raise LoadError(key, f"`{module_name}` does not import: {type(error).__name__}: {error}") from error
    try:
        return getattr(module, name)
    except AttributeError:
        raise LoadError(key, f"`{module_name}` has no `{name}`") from None


def entrypoint(path: str) -> Any:
    """The user's build_agent, its signature checked.

    Raises:
        LoadError: it does not import, is not callable, or does not take (model, context).
    """
    function = named(path, "harness.entrypoint")
    if not callable(function):
        raise LoadError("harness.entrypoint", f"`{path}` is a {type(function).__name__}, not a function")
    try:
        inspect.signature(function).bind(object(), object())
    except TypeError as error:
        raise LoadError(
            "harness.entrypoint", f"`{path}` cannot be called with (model, context): {error}"
        ) from None
    return function


def build(harness: dict[str, Any], model: Any, context: HarnessContext) -> Any:
    """The agent, or a coroutine of it where `build_agent` is an async function."""
    if harness["entrypoint"]:
        return entrypoint(harness["entrypoint"])(model, context)
    from langchain.agents import create_agent

    tools = [named(path, f"harness.tools[{i}]") for i, path in enumerate(harness["tools"])]
    return create_agent(
        model, tools, system_prompt=harness["prompt"], middleware=middleware(harness["middleware"])
    )


def middleware(specs: list[dict[str, Any]]) -> list[Any]:
    """The middleware instances.

    Raises:
        LoadError: there is no such class, or it does not accept its `with`.
    """
    made = []
    for i, spec in enumerate(specs):
        key = f"harness.middleware[{i}]"
        sort = named(spec["use"], f"{key}.use")
        try:
            made.append(sort(**spec["with"]))
        except Exception as error:
            raise LoadError(
                f"{key}.with", f"`{spec['use']}` does not accept it: {type(error).__name__}: {error}"
            ) from error
    return made
