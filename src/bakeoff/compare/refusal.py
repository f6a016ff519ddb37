"""The reason for a refused comparison, in every requested file: a CI job may not show stderr."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bakeoff.errors import IncomparableRuns, InputError
from bakeoff.record.base import JsonDict
from bakeoff.report.document import Block, Callout, Code, Items, Paragraph, Strong


def sentence(error: InputError) -> str:
    """What `result` says, here and in JUnit."""
    return f"REFUSED, nothing was compared: {error}."


def reasons(error: InputError) -> Sequence[str]:
    """One phrase for each reason."""
    return error.differences if isinstance(error, IncomparableRuns) else [str(error)]


def document(error: InputError, base: str, head: str) -> Iterator[Block]:
    """The refusal for Markdown; `base` and `head` as the user named them."""
    if isinstance(error, IncomparableRuns):
        yield Callout("decision", "REFUSED, nothing was compared: the harness of HEAD is not that of BASE.")
        yield Items(error.differences)
    else:
        yield Callout("decision", sentence(error))
    yield Paragraph((Strong("BASE"), " ", Code(base), "; ", Strong("HEAD"), " ", Code(head), "."))
    if error.hint:
        yield Paragraph(error.hint)


def summary(error: InputError, base: str, head: str) -> JsonDict:
    """The one JSON object: `refused` is true; `base` and `head` have only the name that the user gave."""
    return {
        "base": {"asked": base},
        "head": {"asked": head},
        "exit_code": error.exit_code,
        "result": sentence(error),
        "refused": True,
        "reasons": list(reasons(error)),
        "hint": error.hint,
    }
