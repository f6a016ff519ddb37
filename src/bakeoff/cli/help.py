"""`--help` names values as their reader would: `TEXT`, not `<list[str]>`, and nothing for a flag."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperOption

# By the name that Typer shows for a type, without `list[...]`.
NAMES = {"int": "N", "float": "NUMBER", "path": "PATH", "str": "TEXT"}


class Command(TyperCommand):
    """A command whose options have names for their values."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)
        for param in params:
            if isinstance(param, TyperOption) and param.metavar is None:
                param.metavar = "" if param.is_flag else _name(str(param.display_type(ctx) or ""))
        return params


def _name(shown: str) -> str | None:
    """The name for a type, or for one of a list; None leaves Typer's own."""
    inner = shown.strip("<>").removeprefix("list[").removesuffix("]")
    return NAMES.get(inner) or (inner if "|" in inner else None)
