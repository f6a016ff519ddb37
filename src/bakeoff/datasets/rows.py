"""One row of a dataset, from JSON text to an `Example`. Everything that is wrong with it is one error with its place.

What only an evaluator can tell of a reference, `scoring.check` says.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import Field

from bakeoff.config.fitting import Loc, Place, fit
from bakeoff.config.section import Section
from bakeoff.datasets.opening import opening
from bakeoff.record.base import JsonDict
from bakeoff.record.messages import DEEPEST, too_deep
from bakeoff.record.trial import Example

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

# Finds one of a row's files: its name below /task, what the row says of it, the row's place -> its absolute path.
FindFile = Callable[[str, str, Place], Path]


class _Call(Section):
    """One call of a reference trajectory."""

    name: Annotated[str, Field(min_length=1)]
    args: dict[str, Any] = Field(default_factory=dict)
    result: str | None = None  # text that the call's real result must contain


class _Row(Section):
    """One row. `inputs`, `outputs` and `metadata` may have further keys, of the user's."""

    id: str
    inputs: dict[str, Any]
    outputs: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)


class _Reference(Section):
    """The keys of `outputs` that bakeoff reads. Each evaluator says which answers it can compare."""

    answer: Any = None
    trajectory: list[_Call] | None = None
    ways: dict[str, list[_Call]] | None = None  # other trajectories by name, for simulated models


class _Metadata(Section):
    """The keys of `metadata` that bakeoff reads."""

    cluster: str | int | None = None
    suite: str | int | None = None
    severity: int | float | None = None  # on the user's own scale


class Rows:
    """The rows that were read so far, each checked by itself and against those before it."""

    def __init__(self, find_file: FindFile, id_key: Loc = ("id",)) -> None:
        """`id_key` is where a row's id is written, for errors."""
        self._find_file, self._id_key = find_file, id_key
        self.examples: list[Example] = []
        self.places: dict[str, Place] = {}
        self.file_digests: dict[str, str] = {}  # many rows often share one file: it is read once
        self._ids: dict[str, str] = {}  # casefolded id -> where it was used, in words

    def add(self, text: str, place: Place, where: str, line: int = 0) -> Example:
        """Take one row, as JSON text. Raises InputError for the first thing that is wrong with it."""
        row = self._row(text, place)
        if (first := self._ids.setdefault(row.id.casefold(), where)) != where:
            hint = "Give each row its own id; ids that differ in case alone count as one."
            raise place.error(self._id_key, f"the id {row.id!r} is already used {first}", hint)
        _check_names(row.files, place)
        files = {name: str(self._find_file(name, given, place)) for name, given in row.files.items()}
        for name, file in files.items():
            if file not in self.file_digests:
                self.file_digests[file] = _file_digest(file, name, place)
        messages = opening(row.inputs, place)
        example = Example(
            id=row.id, inputs=row.inputs, messages=messages, outputs=row.outputs, files=files,
            metadata=row.metadata, line=line,
        )  # fmt: skip
        self.examples.append(example)
        self.places[example.id] = place
        return example

    def _row(self, text: str, place: Place) -> _Row:
        value = _json(text, place)
        if too_deep(value):
            raise place.error((), f"is nested deeper than {DEEPEST} levels", "Flatten it.")
        row = fit(_Row, value, place)
        if not _ID.fullmatch(row.id):
            hint = "Use up to 100 letters, digits, `.`, `_` or `-`, starting with a letter or digit."
            raise place.error(self._id_key, f"{row.id[:120]!r} cannot be part of a file name", hint)
        fit(_Reference, _known(row.outputs, _Reference), place, ("outputs",))
        fit(_Metadata, _known(row.metadata, _Metadata), place, ("metadata",))
        return row

    def digests(self) -> dict[str, str]:
        """Each row's digest, by id."""
        return {example.id: _row_digest(example, self.file_digests) for example in self.examples}


def _known(values: JsonDict, model: type[Section]) -> JsonDict:
    return {key: value for key, value in values.items() if key in model.model_fields}


def _json(text: str, place: Place) -> Any:
    """One JSON value. Python's parser would also take keys that are given twice, NaN, and half surrogate pairs."""

    def pairs(items: list[tuple[str, Any]]) -> JsonDict:
        values: JsonDict = {}
        for key, value in items:
            if key in values:
                raise place.error((key,), "the key is given twice", "Keep one of the two.")
            values[key] = value
        return values

    def constant(name: str) -> None:
        raise place.error((), f"{name} is not JSON", "Write a number, or null.")

    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        problem = f"is not JSON: {error.msg} at column {error.colno}"
        raise place.error((), problem, "Write one complete JSON object a line.") from None
    except UnicodeEncodeError:
        raise place.error((), "has half a surrogate pair in it", "Write the character itself.") from None
    except RecursionError:
        raise place.error((), "is nested too deeply", "Flatten it.") from None
    except ValueError as error:  # a whole number of thousands of digits
        raise place.error((), f"is not usable JSON: {error}", "Write the number as text.") from None
    return value


def _row_digest(example: Example, file_digests: Mapping[str, str]) -> str:
    """Of the row's content, however it is written, and of its files' content."""
    content = example.model_dump(mode="json", exclude={"files", "line"})
    content["files"] = {name: file_digests[file] for name, file in sorted(example.files.items())}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _check_names(names: Iterable[str], place: Place) -> None:
    """Each name is a plain path below /task, and none is the directory of another."""
    names = set(names)
    for name in sorted(names):
        pure = PurePosixPath(name)
        plain = not pure.is_absolute() and ".." not in pure.parts and str(pure) == name != "."
        if not plain or not name.isprintable():
            hint = "Write a plain relative path, for example `orders.json` or `data/orders.json`."
            raise place.error(("files", name), "is not a path below /task", hint)
        if parent := next((str(one) for one in pure.parents if str(one) in names), None):
            problem = f"{parent!r} is a file, not a directory"
            raise place.error(("files", name), problem, "Rename one of them.")


def _file_digest(file: str, name: str, place: Place) -> str:
    try:
        with Path(file).open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise place.error(("files", name), problem, "Make the file readable.") from None
