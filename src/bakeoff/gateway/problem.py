"""What stands in the way of a candidate, as `check` says it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a candidate, and what to do about it."""

    problem: str  # one sentence, without the place
    hint: str  # one sentence


def nearest(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'openai'?)`, or nothing where no known name is near."""
    close = get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
