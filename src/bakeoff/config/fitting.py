"""Fits plain data to a schema, and says what does not fit in one sentence with its hint."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticUndefined

from bakeoff.errors import InputError

Loc = tuple[str | int, ...]  # the way to a value: ("candidates", 1, "model")
Model = TypeVar("Model", bound=BaseModel)

_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "a mapping",
    "string_too_short": "text that is not empty",
    "string_type": "text",
    "too_short": "a list that is not empty",
}
_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("of at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("of at most", "le"),
}


class Place(Protocol):
    """Where the data came from: knows the file, and the line of every key."""

    def error(self, loc: Loc, problem: str, hint: str) -> InputError:
        """The error to raise about the value at `loc`."""
        ...


def fit(model: type[Model], data: object, place: Place, prefix: Loc = ()) -> Model:
    """Build `model` from plain data, without coercing one type into another.

    Args:
        model: the schema.
        data: what JSON can hold.
        place: makes the error.
        prefix: the way from the root of the file to `data`.

    Raises:
        InputError: the first thing that does not fit. Unknown keys come first: a misspelt key is also a
            missing one, and only its own spelling is worth a message.
    """
    try:
        return model.model_validate(data, strict=True)
    except ValidationError as error:
        details = sorted(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
        loc = _real(details[0], data)
        same = [one for one in details if _real(one, data) == loc]
        problem, hint = _explain(same, loc, model)
        raise place.error(prefix + loc, problem, hint) from None


def dotted(loc: Loc) -> str:
    """The key as an error names it: `candidates[1].model`."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if re.fullmatch(r"[\w./-]+", part) else repr(part))
    return text


def found(value: object) -> str:
    """What a value is, in words, with control characters made harmless."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {value if len(value) <= 60 else value[:60] + '…'!r}"
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "a mapping"
    return f"{value!r}"[:60]


def nearest(word: str, known: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """The known word that `word` is most likely a misspelling of; `likeness` is difflib's ratio."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=likeness)
    return close[0] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'openai'?)`, or nothing where no known word is near."""
    meant = nearest(word, known)
    return f" (did you mean {meant!r}?)" if meant else ""


def unknown_key(key: str, known: Sequence[str]) -> tuple[str, str]:
    """Problem and hint for a key that is not in the schema."""
    meant = nearest(key, known)
    return (
        f"unknown key {key!r}",
        f"Did you mean `{meant}`?" if meant else f"Remove it; the keys here are {', '.join(known)}.",
    )


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys that a section may have, as they are written."""
    return [field.alias or name for name, field in model.model_fields.items() if not field.exclude]


def _explain(details: Sequence[ErrorDetails], loc: Loc, model: type[BaseModel]) -> tuple[str, str]:
    """Problem and hint for all complaints about one value (a union complains once for each of its types)."""
    first, value = details[0], details[0]["input"]
    if first["type"] == "extra_forbidden":
        return unknown_key(str(loc[-1]), keys_of(_section_at(model, loc[:-1]) or model))
    if first["type"] == "missing":
        return "is missing", f"Add `{loc[-1]}`; `bakeoff init` writes an example that explains every key."
    if first["type"] == "value_error":
        reason = first["ctx"]["error"]
        return str(reason), getattr(reason, "hint", "Correct the value.")
    expected = " or ".join(dict.fromkeys(_expected(one) for one in details))
    section = _section_at(model, loc)
    if section is not None and "a mapping" in expected:
        hint = f"Write its keys below it: {', '.join(keys_of(section))}."
    elif (default := _default_at(model, loc)) is not None:
        hint = f"Write for example `{loc[-1]}: {default}`."
    else:
        hint = f"Write {expected} there."
    return f"expected {expected}, found {found(value)}", hint


def _expected(one: ErrorDetails) -> str:
    if one["type"] in _BOUNDS:
        words, key = _BOUNDS[one["type"]]
        return f"a number {words} {one['ctx'][key]:g}"
    if one["type"] == "literal_error":
        return str(one["ctx"]["expected"])
    return _EXPECTED.get(one["type"], one["msg"])


def _real(one: ErrorDetails, data: Any) -> Loc:
    """Pydantic's location without the names of union members, which are no keys of the data."""
    loc: Loc = ()
    for part in one["loc"]:
        if part in (data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()):
            data = data[part]
        elif one["type"] != "missing" or part != one["loc"][-1]:
            continue
        loc += (part,)
    return loc


def _section_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((section for arg in get_args(annotation) if (section := _section_in(arg))), None)


def _section_at(model: type[BaseModel], loc: Loc) -> type[BaseModel] | None:
    section: type[BaseModel] | None = model
    for part in loc:
        if isinstance(part, int):
            continue  # a list's annotation names the section of its items
        fields = (
            {field.alias or name: field for name, field in section.model_fields.items()} if section else {}
        )
        section = _section_in(fields[part].annotation) if part in fields else None
    return section


def _default_at(model: type[BaseModel], loc: Loc) -> object:
    section = _section_at(model, loc[:-1]) if loc else None
    field = section.model_fields.get(str(loc[-1])) if section else None
    if field is None or field.default is PydanticUndefined or isinstance(field.default, BaseModel):
        return None
    return field.default
