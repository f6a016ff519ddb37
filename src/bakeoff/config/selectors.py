"""Which examples a gate speaks of: `suite=benchmark,severity<=0`, every condition to be met."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from bakeoff.config.fitting import nearest
from bakeoff.errors import InputError

TEXTS, NUMBERS = ("id", "suite", "cluster"), ("severity",)
HINT = "Write for example `suite=benchmark,severity<=0`; there are id, suite, cluster and severity."

_FORM = re.compile(r"([A-Za-z_]+)\s*(<=|>=|!=|=|<|>)\s*([^\s,<>=!]+)")
_ORDER: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison with an example's id or metadata; text may be a glob (`id=refund-*`)."""

    key: str
    relation: str
    value: str

    def holds(self, facts: Mapping[str, Any]) -> bool:
        """Whether an example with these facts meets it; one that lacks the key does not."""
        fact = facts.get(self.key)
        if fact is None:
            return False
        if self.key in NUMBERS:
            return _ORDER[self.relation](float(fact), float(self.value))
        return fnmatchcase(str(fact), self.value) is (self.relation == "=")


def parse(text: str) -> list[Condition]:
    """Conditions joined by commas or spaces. Raises InputError."""
    found = [Condition(*match.groups()) for match in _FORM.finditer(text)]
    if not found or _FORM.sub("", text).strip(", \t"):
        raise InputError(f"{text!r} is not a list of conditions", hint=HINT)
    for condition in found:
        if condition.key not in (*TEXTS, *NUMBERS):
            meant = nearest(condition.key, [*TEXTS, *NUMBERS])
            hint = f"Did you mean {meant}? {HINT}" if meant else HINT
            raise InputError(f"{condition.key!r} cannot be asked of an example", hint=hint)
        if condition.key in TEXTS and condition.relation not in ("=", "!="):
            raise InputError(f"{condition.key} is text: {condition.relation} does not order it", hint=HINT)
        if condition.key in NUMBERS and not re.fullmatch(r"-?\d+(\.\d+)?", condition.value):
            raise InputError(f"{condition.value!r} is not a number, which {condition.key} is", hint=HINT)
    return found
