"""Load the harness without running it: the last step of the image's build. Prints one JSON object."""

from __future__ import annotations

import json
import sys
from typing import Any

from bakeoff_runner import lazy, load


def check(harness: dict[str, Any]) -> dict[str, Any]:
    """`{"ok": true}`, or the key and problem of the first thing that does not load."""
    lazy.install()
    try:
        if harness.get("command"):
            from bakeoff_runner import command

            command.resolve(harness["command"])
        elif harness["entrypoint"]:
            load.entrypoint(harness["entrypoint"])
        else:
            from langchain_core.tools import tool as as_tool

            for i, path in enumerate(harness["tools"]):
                function = load.named(path, f"harness.tools[{i}]")
                if not hasattr(function, "invoke"):
                    try:
                        as_tool(function)
                    except Exception as error:
                        raise load.LoadError(
                            f"harness.tools[{i}]", f"`{path}` is no tool: {error}"
                        ) from error
            load.middleware(harness["middleware"])
            from langchain.agents import create_agent  # noqa: F401 - it must import
    except load.LoadError as error:
        return {"ok": False, "key": error.key, "problem": error.problem}
    return {"ok": True}


if __name__ == "__main__":
    print(json.dumps(check(json.loads(sys.argv[1]))))
