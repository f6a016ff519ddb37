"""Equality of JSON values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def same(one: Any, other: Any, *, text: Callable[[str], str] = str) -> bool:
    """Whether two JSON values are equal, at every depth.

    Numbers are equal by value (`1` and `1.0`), and a truth value is not a number: in Python `True == 1`, in JSON they
    differ. Text is never equal to a number (`"1"` and `1`). Objects have no order, lists do.

    Args:
        one: a value, with lists and objects as Python's.
        other: another.
        text: applied to both texts before they are compared.
    """
    open_pairs = [(one, other)]
    while open_pairs:
        a, b = open_pairs.pop()
        if isinstance(a, dict) and isinstance(b, dict):
            if a.keys() != b.keys():
                return False
            open_pairs += [(value, b[key]) for key, value in a.items()]
        elif isinstance(a, list | tuple) and isinstance(b, list | tuple):
            if len(a) != len(b):
                return False
            open_pairs += zip(a, b, strict=True)
        elif isinstance(a, str) and isinstance(b, str):
            if text(a) != text(b):
                return False
        elif not (a is b or (_is_number(a) and _is_number(b) and a == b)):
            return False
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
