"""final_answer: the agent's answer against the reference answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from bakeoff.config.evaluators import FinalAnswer
from bakeoff.record.trial import Example
from bakeoff.record.values import same
from bakeoff.scoring.types import Context, Evaluate, Flaw, Outputs, Score
from bakeoff.scoring.wording import comparable, plain

# An agent can write a text that a careless pattern searches for hours. `regex`, unlike `re`, takes a time limit.
REGEX_SECONDS = 2.0
_FENCE = re.compile(r"```[\w-]*(.*?)(?:```|\Z)", re.DOTALL)


def make(options: FinalAnswer, _: Context) -> Evaluate:
    """1 when the answer agrees with `outputs.answer`, else 0. An answer that is not JSON agrees with no JSON."""

    def evaluate(example: Example, outputs: Outputs) -> Score:
        lacking = _LACKING[options.match](outputs.answer, example.outputs["answer"], options)
        return Score(float(not lacking), f"{options.match}: wanted {', '.join(lacking)}" if lacking else "")

    return evaluate


def flaws(options: FinalAnswer, reference: Any) -> Iterator[Flaw]:
    """What is wrong with a reference answer."""
    if options.match == "json":
        if isinstance(reference, str) and (problem := _unparsable(reference)):
            hint = "Write a JSON value, or JSON as text."
            yield (), f"is not JSON, which `match: json` compares: {problem}", hint
        return
    listed = isinstance(reference, list) and options.match != "exact"
    if listed and not reference:
        yield (), "is an empty list, which every answer agrees with", "Write what the answer must say."
    for i, item in enumerate(reference if listed else [reference]):
        for problem, hint in _item_flaws(options, item):
            yield ((i,) if listed else ()), problem, hint


def _item_flaws(options: FinalAnswer, item: Any) -> Iterator[tuple[str, str]]:
    if isinstance(item, bool) or not isinstance(item, str | int | float):
        kinds = "text or a number" if options.match == "exact" else "text, a number, or a list of these"
        yield f"is not what `match: {options.match}` compares", f"Write {kinds}."
    elif not (str(item) if options.match == "regex" else _form(item, options)).strip():
        yield "is empty, and every answer contains the empty text", "Write what the answer must say."
    elif options.match == "regex":
        import regex

        try:
            regex.compile(str(item), _flags(options))
        except (regex.error, OverflowError, RecursionError) as error:
            yield (
                f"is not a regular expression: {error}",
                "Correct the pattern; `\\(` is a literal parenthesis.",
            )


# --- one function a mode: what of the reference the answer lacks -------------------------------------


def _exact(answer: str, reference: Any, options: FinalAnswer) -> list[str]:
    return [] if _form(answer, options) == _form(reference, options) else [_text(reference)]


def _contains(answer: str, reference: Any, options: FinalAnswer) -> list[str]:
    said = [_form(answer, options), *(_form(text, options) for text in _texts(answer))]
    return [
        _text(fact) for fact in _items(reference) if not any(_form(fact, options) in text for text in said)
    ]


def _regex(answer: str, reference: Any, options: FinalAnswer) -> list[str]:
    """A pattern may have been written for the answer's typography or for ASCII: either may be found."""
    import regex

    texts = dict.fromkeys((answer, plain(answer)))
    return [
        str(pattern)
        for pattern in _items(reference)
        if not any(
            regex.search(str(pattern), text, _flags(options), timeout=REGEX_SECONDS) is not None
            for text in texts
        )
    ]


def _json(answer: str, reference: Any, options: FinalAnswer) -> list[str]:
    wanted = _parse(reference) if isinstance(reference, str) else reference
    return [] if any(same(value, wanted, text=plain) for value in _values(answer)) else [_text(reference)]


_LACKING = {"exact": _exact, "contains": _contains, "regex": _regex, "json": _json}


def _items(reference: Any) -> list[Any]:
    return reference if isinstance(reference, list) else [reference]


def _text(reference: Any) -> str:
    return repr(reference) if isinstance(reference, str) else json.dumps(reference, ensure_ascii=False)


def _form(value: Any, options: FinalAnswer) -> str:
    return comparable(
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False),
        case_sensitive=options.case_sensitive,
        collapse_whitespace=options.collapse_whitespace,
    )


def _flags(options: FinalAnswer) -> int:
    import regex

    return 0 if options.case_sensitive else regex.IGNORECASE


def _texts(answer: str) -> Iterator[str]:
    """The texts in an answer that is JSON: there they are without the escapes of JSON."""
    left = [] if _unparsable(answer) else [_parse(answer)]
    while left:
        value = left.pop()
        if isinstance(value, dict | list):
            left += value.values() if isinstance(value, dict) else value
        elif isinstance(value, str):
            yield value


def _values(answer: str) -> Iterator[Any]:
    """The JSON value that the answer is; else the one in its only code fence that holds JSON."""
    if not _unparsable(answer):
        yield _parse(answer)
        return
    fenced = [content for content in _FENCE.findall(answer) if not _unparsable(content)]
    if len(fenced) == 1:
        yield _parse(fenced[0])


def _unparsable(text: str) -> str:
    """What is wrong with a JSON text; empty if nothing is."""
    try:
        _parse(text)
    except (ValueError, RecursionError) as error:
        return str(error)
    return ""


def _parse(text: str) -> Any:
    def constant(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    return json.loads(text, parse_constant=constant)
