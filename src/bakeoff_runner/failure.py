"""An exception of the harness as the host learns of it."""

from __future__ import annotations

import traceback
from typing import Any

from bakeoff_runner import wire

TRACEBACK_CHARS = 4000


def describe(error: BaseException) -> dict[str, Any]:
    """A JSON-RPC error object; its data: the class, its bases, the traceback, and the errno of every OSError behind it.

    A group of exceptions that holds a single one, as a TaskGroup raises it, counts as that one.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return {
        "code": wire.HARNESS_ERROR,
        "message": text_of(error)[:TRACEBACK_CHARS],
        "data": {
            "type": qualified_name(type(error)),
            "bases": [qualified_name(base) for base in type(error).__mro__[1:-1]],
            "errnos": [e.errno for e in chain if isinstance(e, OSError) and e.errno is not None],
            "traceback": "".join(traceback.format_exception(error))[-TRACEBACK_CHARS:],
        },
    }


def text_of(error: BaseException) -> str:
    """What the exception says, if its class can say it."""
    try:
        return str(error)
    except Exception as second:  # noqa: BLE001 - a class of the harness's may raise anything
        return f"(its text cannot be read: {qualified_name(type(second))})"


def qualified_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
