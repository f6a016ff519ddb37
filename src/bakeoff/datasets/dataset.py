"""Reads the dataset into Examples: JSON Lines in LangSmith's shape, or LangSmith's own.

A bad row is one error with its line, or with its example's address.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import Field

from bakeoff.config.fitting import Loc, dotted, fit, found, nearest
from bakeoff.config.loading import line_of
from bakeoff.config.schema import Config
from bakeoff.config.section import Section
from bakeoff.datasets.langsmith import cache, snapshot
from bakeoff.datasets.langsmith.account import Account, AccountSettings, Unavailable
from bakeoff.datasets.langsmith.example import OURS
from bakeoff.datasets.langsmith.reference import Origin, Reference
from bakeoff.datasets.langsmith.snapshot import ExamplePlace, Snapshot
from bakeoff.errors import InputError
from bakeoff.gateway import keys
from bakeoff.record.base import JsonDict
from bakeoff.record.trial import Example

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ROLES = ("user", "assistant", "system", "developer", "tool")
_LANGCHAIN_ROLES = {"human": "user", "ai": "assistant"}


@dataclass(frozen=True)
class Dataset:
    """The examples of a run.

    `digest` is the SHA-256, in hex, of the whole dataset file and of the content of every file its rows name, or of
    all of a LangSmith version's rows: it says which dataset this is, whichever of its rows are selected.
    `row_digests` says the same of each row, by id, so that a difference can be named; a row has the same one
    wherever it was read.
    """

    shown: str  # its path or its LangSmith name, as errors have it
    digest: str
    examples: list[Example]
    row_digests: dict[str, str]
    file_digests: dict[str, str]  # SHA-256, in hex, by absolute path
    origin: Origin | None = None  # the LangSmith version; None: a file
    remote: Mapping[str, tuple[str, str]] = field(
        default_factory=dict
    )  # by id, the LangSmith example and its URL

    def rows(self, root: Path) -> Iterator[JsonDict]:
        """The selected examples as a run keeps them: whole, each with its digest, and its files by their digests.

        Paths are relative to `root`, the directory of the harness file; those of attachments, which lie in the user's
        cache, are absolute. `langsmith_id` is there where the row is an example of LangSmith's.
        """
        root = root.resolve()
        for example in self.examples:
            row = example.model_dump(mode="json", include={"id", "inputs", "outputs", "metadata"})
            files = {
                name: {
                    "path": str(Path(path).relative_to(root)) if self.origin is None else path,
                    "sha256": self.file_digests[path],
                }
                for name, path in example.files.items()
            }
            row |= {"files": files, "digest": self.row_digests[example.id]}
            if example.id in self.remote:
                row["langsmith_id"] = self.remote[example.id][0]
            yield row

    def error(self, example: Example, loc: Loc, problem: str, hint: str) -> InputError:
        """The error about one key of one row, for checks that need more than the dataset."""
        return self._place(example).error(loc, problem, hint)

    def _place(self, example: Example) -> _Line | ExamplePlace:
        if example.id in self.remote:
            return ExamplePlace(self.shown, example.id, self.remote[example.id][1])
        return _Line(self.shown, example.line)


class _Call(Section):
    """One call of a reference trajectory."""

    name: Annotated[str, Field(min_length=1)]
    args: dict[str, Any] = Field(default_factory=dict)
    result: str | None = None  # text that the call's real result must contain


class _Row(Section):
    """One line of the dataset. `inputs`, `outputs` and `metadata` may have keys of the user's own."""

    id: str
    inputs: dict[str, Any]
    outputs: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)


class _Reference(Section):
    """The keys of `outputs` that the built-in evaluators read."""

    answer: Any = None  # which values an evaluator takes, it says itself
    trajectory: list[_Call] | None = None


class _Metadata(Section):
    """The keys of `metadata` that bakeoff reads."""

    cluster: str | int | None = None
    suite: str | int | None = None
    severity: int | float | None = None  # on a scale of the user's own


@dataclass(frozen=True)
class _Line:
    """One line of the dataset file, for errors."""

    file: str
    line: int

    def error(self, loc: Loc, problem: str, hint: str) -> InputError:
        return InputError(problem, file=self.file, line=self.line, key=dotted(loc) or None, hint=hint)


_Place = _Line | ExamplePlace


def load(config: Config, *, pinned: JsonDict | None = None) -> Dataset:
    """Read and check the dataset that the configuration names.

    Args:
        config: as `config_file.load` gives it.
        pinned: `dataset` of a manifest whose run goes on: a LangSmith dataset is read in the very version that this
            run read, from what was kept on this machine if that is whole.

    Raises:
        InputError: there is none, it has no rows, or its first bad row; LangSmith cannot be asked.
    """
    reference = Reference.of(config.dataset)
    return _of_file(config) if reference is None else _of_langsmith(config, reference, pinned or {})


def _of_file(config: Config) -> Dataset:
    shown = str(config.file.parent / config.dataset)  # as the user would write it from where they are
    root = config.root.resolve()
    digest = hashlib.sha256()
    rows = _Rows(lambda name, given, place: _file(name, given, root, place))
    for number, raw in _lines(config.root / config.dataset, shown, config):
        digest.update(raw)
        place = _Line(shown, number)
        if text := _text(raw, place):
            rows.add(text, place, f"in line {number}")
    if not rows.examples:
        raise InputError("has no rows", file=shown, hint="Write one JSON object a line; see `bakeoff init`.")
    for example in rows.examples:
        for name, file in sorted(example.files.items()):
            digest.update(f"\0{example.id}\0{name}\0{rows.file_digests[file]}".encode())
    return Dataset(shown, digest.hexdigest(), rows.examples, rows.digests(), rows.file_digests)


def _of_langsmith(config: Config, reference: Reference, pinned: JsonDict) -> Dataset:
    origin = Origin.of(pinned)
    found = snapshot.kept(origin, str(pinned["digest"])) if origin else None
    if found is None:
        found = _fetched(config, reference, origin)
    shown = str(reference)
    rows = _Rows(lambda name, sha256, place: cache.file_path(sha256))
    remote = {}
    for line in found.lines:
        place = ExamplePlace(shown, line.id, line.url)
        example = rows.add(line.row, place, f"by the example {line.example_id}")
        remote[example.id] = (line.example_id, line.url)
    return Dataset(
        shown, found.digest, rows.examples, rows.digests(), rows.file_digests, found.origin, remote
    )


def _fetched(config: Config, reference: Reference, pinned: Origin | None) -> Snapshot:
    settings = config.publish.of(AccountSettings) or AccountSettings()
    environ = keys.environment(config, [settings.api_key_env])
    try:
        return snapshot.fetch(reference, Account.of(settings, environ), pinned)
    except Unavailable as error:
        line = line_of(config.file, "dataset")
        raise InputError(
            error.problem, file=str(config.file), line=line, key="dataset", hint=error.hint
        ) from error


class _Rows:
    """Rows in the making: each checked by itself and against those before it."""

    def __init__(self, find: Callable[[str, str, _Place], Path]) -> None:
        """`find` gives the absolute path of one of a row's files, from its name and what the row says of it."""
        self._find = find
        self.examples: list[Example] = []
        self.file_digests: dict[str, str] = {}  # one file is often shared by all rows: read it once
        self._where: dict[str, str] = {}  # casefolded id -> where it was used, in words

    def add(self, text: str, place: _Place, where: str) -> Example:
        """Take one row, as JSON text. Raises InputError for what is wrong with it."""
        row = _row(text, place)
        if (first := self._where.setdefault(row.id.casefold(), where)) != where:
            hint = "Give each row an id of its own; upper and lower case alone do not tell two apart."
            raise place.error(_id_key(place), f"the id {row.id!r} is already used {first}", hint)
        _check_names(row.files, place)
        files = {name: str(self._find(name, given, place)) for name, given in row.files.items()}
        for name, file in files.items():
            if file not in self.file_digests:
                self.file_digests[file] = _file_digest(file, name, place)
        self.examples.append(_example(row, files, place))
        return self.examples[-1]

    def digests(self) -> dict[str, str]:
        """Each row's digest, by id."""
        return {example.id: _row_digest(example, self.file_digests) for example in self.examples}


def _id_key(place: _Place) -> Loc:
    """Where a row's id is written."""
    return ("metadata", OURS, "id") if isinstance(place, ExamplePlace) else ("id",)


def select(dataset: Dataset, patterns: Sequence[str], suites: Sequence[str] = ()) -> Dataset:
    """The examples whose id equals or matches (fnmatch) any of the patterns, in the dataset's order.

    No patterns select everything. `suites` keeps those whose `metadata.suite` is among them.

    Raises:
        InputError: a pattern or a suite that matches nothing, or nothing matches both.
    """
    if suites:
        dataset = _of_suites(dataset, suites)
    if not patterns:
        return dataset
    ids = [example.id for example in dataset.examples]
    for pattern in patterns:
        if not any(fnmatchcase(one, pattern) for one in ids):
            meant = nearest(pattern, ids)
            few = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
            hint = f"Did you mean {meant}?" if meant else f"Ids here are {few}; `refund-*` works too."
            raise InputError(f"no example has the id {pattern!r}", key="--example", hint=hint)
    chosen = [one for one in dataset.examples if any(fnmatchcase(one.id, pattern) for pattern in patterns)]
    return replace(dataset, examples=chosen)


def _of_suites(dataset: Dataset, suites: Sequence[str]) -> Dataset:
    known = sorted({str(e.metadata["suite"]) for e in dataset.examples if "suite" in e.metadata})
    for suite in suites:
        if suite not in known:
            hint = f"Suites here are {', '.join(known)}." if known else "Give rows a `metadata.suite`."
            if meant := nearest(suite, known):
                hint = f"Did you mean {meant}? {hint}"
            raise InputError(f"no example is of the suite {suite!r}", key="--suite", hint=hint)
    chosen = [e for e in dataset.examples if str(e.metadata.get("suite", "")) in suites]
    return replace(dataset, examples=chosen)


def _lines(path: Path, shown: str, config: Config) -> Iterator[tuple[int, bytes]]:
    """1-based numbers and raw lines. Only a line feed ends a line: JSON may hold U+2028 as it is."""

    def unusable(problem: str, hint: str) -> InputError:
        line = line_of(config.file, "dataset")
        return InputError(problem, file=str(config.file), line=line, key="dataset", hint=hint)

    try:
        with path.open("rb") as file:
            yield from enumerate(file, start=1)
    except FileNotFoundError:
        hint = "Give a path relative to the harness file's directory."
        raise unusable(f"there is no file {shown}", hint) from None
    except IsADirectoryError:
        raise unusable(f"{shown} is a directory", "Give the JSON Lines file in it.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise unusable(f"{config.dataset!r} cannot be read: {reason}", "Check the path.") from None


def _text(raw: bytes, place: _Line) -> str:
    """One line of the file; empty for a blank one."""
    try:
        return raw.decode("utf-8-sig" if place.line == 1 else "utf-8").strip()
    except UnicodeDecodeError:
        raise place.error((), "is not UTF-8 text", "Save the file as UTF-8.") from None


def _row(text: str, place: _Place) -> _Row:
    """One checked row."""
    row = fit(_Row, _json(text, place), place)
    if not _ID.fullmatch(row.id):
        hint = "Use up to 100 letters, digits, `.`, `_` or `-`, starting with a letter or digit."
        raise place.error(_id_key(place), f"{row.id[:120]!r} cannot be part of a file name", hint)
    # `outputs` and `metadata` may hold anything else for the user's own evaluators and analyses
    fit(_Reference, _known(row.outputs, _Reference), place, ("outputs",))
    fit(_Metadata, _known(row.metadata, _Metadata), place, ("metadata",))
    return row


def _known(values: JsonDict, model: type[Section]) -> JsonDict:
    return {key: value for key, value in values.items() if key in model.model_fields}


def _json(text: str, place: _Place) -> Any:
    """One JSON value, without what Python's parser lets pass: twice-given keys, NaN, half surrogates."""

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


def _example(row: _Row, files: dict[str, str], place: _Place) -> Example:
    return Example(
        id=row.id,
        inputs=row.inputs,
        messages=_messages(row.inputs, place),
        outputs=row.outputs,
        files=files,
        metadata=row.metadata,
        line=place.line if isinstance(place, _Line) else 0,
    )


def _row_digest(example: Example, file_digests: Mapping[str, str]) -> str:
    """Of the row's content, however it is written, and of its files' content."""
    content = example.model_dump(mode="json", exclude={"files", "line"})
    content["files"] = {name: file_digests[file] for name, file in sorted(example.files.items())}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _messages(inputs: JsonDict, place: _Place) -> list[JsonDict]:
    """The conversation that starts the trial, OpenAI-style."""
    if ("messages" in inputs) == ("question" in inputs):
        both = "messages" in inputs
        problem = "has both `messages` and `question`" if both else "has neither `messages` nor `question`"
        hint = 'Write `{"question": "..."}` or `{"messages": [{"role": "user", "content": "..."}]}`.'
        raise place.error(("inputs",), problem, hint)
    if "question" in inputs:
        question = inputs["question"]
        if not isinstance(question, str) or not question.strip():
            problem = f"expected text that is not empty, found {found(question)}"
            raise place.error(("inputs", "question"), problem, "Write the user's question.")
        return [{"role": "user", "content": question}]
    messages = inputs["messages"]
    loc: Loc = ("inputs", "messages")
    if not isinstance(messages, list) or not messages:
        problem = f"expected a list that is not empty, found {found(messages)}"
        raise place.error(loc, problem, 'Write `[{"role": "user", "content": "..."}]`.')
    for i, message in enumerate(messages):
        _check_message(message, (*loc, i), place)
    return messages


def _check_message(message: object, loc: Loc, place: _Place) -> None:
    if not isinstance(message, dict):
        problem = f"expected a message, found {found(message)}"
        raise place.error(loc, problem, 'Write `{"role": "user", "content": "..."}`.')
    role, content = message.get("role"), message.get("content")
    if role not in _ROLES:
        meant = _LANGCHAIN_ROLES.get(role) if isinstance(role, str) else None
        hint = f"Write `{meant}`." if meant else f"Write one of {', '.join(_ROLES)}."
        raise place.error((*loc, "role"), f"expected a role, found {found(role)}", hint)
    calls_only = content is None and role == "assistant" and message.get("tool_calls")
    if not isinstance(content, (str, list)) and not calls_only:
        problem = f"expected text or a list of content blocks, found {found(content)}"
        raise place.error((*loc, "content"), problem, "Write the message's text.")


# --- files ------------------------------------------------------------------------------------------


def _check_names(names: Iterable[str], place: _Place) -> None:
    """Each name is a plain path below /task, and none is another's directory."""
    names = set(names)
    for name in sorted(names):
        pure = PurePosixPath(name)
        plain = not pure.is_absolute() and ".." not in pure.parts and str(pure) == name != "."
        if not plain or not name.isprintable():
            hint = "Write a plain relative path, for example `orders.json` or `data/orders.json`."
            raise place.error(("files", name), "is not a path below /task", hint)
        if parent := next((str(one) for one in pure.parents if str(one) in names), None):
            raise place.error(
                ("files", name), f"{parent!r} is a file, not a directory", "Rename one of them."
            )


def _file(name: str, given: str, root: Path, place: _Place) -> Path:
    """The absolute path of one of a row's files: a regular file below the root, links resolved."""
    loc: Loc = ("files", name)
    if PurePosixPath(given).is_absolute() or not given.isprintable():
        hint = "Write it relative to the harness file's directory."
        raise place.error(loc, f"{given!r} is not a relative path", hint)
    try:
        path = (root / given).resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: a loop of links, before Python 3.13
        hint = "Add the file, or write its path relative to the harness file's directory."
        raise place.error(loc, f"there is no file {given!r}", hint) from None
    if not path.is_relative_to(root):
        hint = "Copy the file into the project."
        raise place.error(loc, f"{given!r} climbs out of the project", hint)
    if not path.is_file():
        raise place.error(loc, f"{given!r} is not a regular file", "Name each file by itself.")
    return path


def _file_digest(file: str, name: str, place: _Place) -> str:
    try:
        with Path(file).open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        hint = "Make the file readable."
        raise place.error(("files", name), f"cannot be read: {error.strerror}", hint) from None
