"""A dataset in a file: JSON Lines, one row a line."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from bakeoff.config.fitting import Loc, Place
from bakeoff.config.located import Located
from bakeoff.config.schema import Config
from bakeoff.datasets.base import Dataset
from bakeoff.datasets.rows import Rows
from bakeoff.errors import InputError


def load(config: Config) -> Dataset:
    """Read and check the file. Raises InputError as `table.load` does."""
    shown = str(config.file.parent / config.dataset)  # as the user would write it from where they are
    root = config.root.resolve()
    digest = hashlib.sha256()
    rows = Rows(lambda name, path, place: _file(name, path, root, place))
    for number, raw in _lines(config.root / config.dataset, shown, config):
        digest.update(raw)
        line = Located(shown, number)
        if text := _text(raw, line):
            rows.add(text, line, f"in line {number}", number)
    if not rows.examples:
        raise Located(shown).error((), "has no rows", "Write one JSON object a line; see `bakeoff init`.")
    for example in rows.examples:
        for name, file in sorted(example.files.items()):
            digest.update(f"\0{example.id}\0{name}\0{rows.file_digests[file]}".encode())
    return Dataset(digest.hexdigest(), rows.examples, rows.digests(), rows.file_digests, rows.places)


def _lines(path: Path, shown: str, config: Config) -> Iterator[tuple[int, bytes]]:
    """1-based numbers and raw lines. Only a line feed ends a line: JSON may hold U+2028 as it is."""

    def unusable(problem: str, hint: str) -> InputError:
        return config.error("dataset", problem, hint)

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


def _text(raw: bytes, line: Located) -> str:
    """The line's text; empty for a blank one."""
    try:
        return raw.decode("utf-8-sig" if line.start == 1 else "utf-8").strip()
    except UnicodeDecodeError:
        raise line.error((), "is not UTF-8 text", "Save the file as UTF-8.") from None


def _file(name: str, given: str, root: Path, place: Place) -> Path:
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
        raise place.error(loc, f"{given!r} is outside the project", "Copy the file into the project.")
    if not path.is_file():
        raise place.error(loc, f"{given!r} is not a regular file", "Name each file by itself.")
    return path
