"""An exception of the harness as the host learns of it."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from types import CodeType
from typing import Any

from bakeoff_runner import wire

TRACEBACK_CHARS = 4000


def describe(error: BaseException) -> dict[str, Any]:
    """A JSON-RPC error object; its data: the class, its bases, the traceback, and `errnos`.

    A group of exceptions that holds a single one, as a TaskGroup raises it, counts as that one.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return {
        "code": wire.HARNESS_ERROR,
        "message": text_of(error)[:TRACEBACK_CHARS],
        "data": {
            "type": qualified_name(type(error)),
            "bases": [qualified_name(base) for base in type(error).__mro__[1:-1]],
            "errnos": errnos(error),
            "traceback": "".join(traceback.format_exception(error))[-TRACEBACK_CHARS:],
        },
    }


def errnos(error: BaseException | None) -> list[int]:
    """What the system refused, by the errno of each OSError behind an exception.

    EAGAIN is among them where a process or a thread could not be started, and nowhere else: any non-blocking call may
    give it. ENOSPC is not, where inotify has no room for another watch: that is no full disk.
    """
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        error = error.__cause__ or error.__context__
    return [number for number in map(_errno, seen) if number is not None]


def _errno(error: BaseException) -> int | None:
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return errno.EAGAIN
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EAGAIN and not any("fork" in name or "spawn" in name for name in _innermost(error)):
        return None
    if number == errno.ENOSPC and any("inotify" in name for code in _codes(error) for name in _names(code)):
        return None
    return number


def _innermost(error: BaseException) -> tuple[str, ...]:
    """The names that the function uses in which an exception arose."""
    codes = list(_codes(error))
    return codes[-1].co_names if codes else ()


def _names(code: CodeType) -> tuple[str, ...]:
    return (code.co_filename, code.co_name, *code.co_names)


def _codes(error: BaseException) -> Iterator[CodeType]:
    """The functions that an exception came through, the innermost last."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        yield frame.f_code


def text_of(error: BaseException) -> str:
    """What the exception says, if its class can say it."""
    try:
        return str(error)
    except Exception as second:  # noqa: BLE001 - a class of the harness's may raise anything
        return f"(its text cannot be read: {qualified_name(type(second))})"


def qualified_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
