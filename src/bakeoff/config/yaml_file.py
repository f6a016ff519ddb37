"""Reads a YAML file as plain values, with the line of every key."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.scalarbool import ScalarBoolean

from bakeoff.config.fitting import Loc
from bakeoff.config.located import Located

_MAX_VALUES = 100_000  # aliases can make a small file a huge tree


def read(path: Path) -> tuple[Any, Located]:
    """A YAML file as dicts, lists and scalars that JSON can hold, and where they are written.

    Raises:
        InputError: it cannot be read, or has what JSON cannot hold.
    """
    tree = _Tree(str(path))
    try:
        return tree.plain(_parsed(_text(path), str(path)), ()), tree.source
    except RecursionError:
        raise Located(str(path)).error((), "is nested too deeply", "Flatten it.") from None


def _text(path: Path) -> str:
    file = Located(str(path))
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        hint = "Give the path of a harness file, or write one with `bakeoff init`."
        raise file.error((), "there is no such file", hint) from None
    except IsADirectoryError:
        hint = f"Give the file in it, for example {path / 'harness.yaml'}."
        raise file.error((), "is a directory, not a harness file", hint) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise Located(str(path), line).error((), "is not UTF-8 text", "Save the file as UTF-8.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise file.error((), f"cannot be read: {reason}", "Check the path.") from None


def _parsed(text: str, file: str) -> Any:
    """ruamel's tree, in which each mapping and each list knows the lines of its items."""
    try:
        tree = YAML(typ="rt", pure=True).load(text)
    except DuplicateKeyError as error:
        key = re.match(r'found duplicate key "(.*?)" with', str(error.problem))
        place = Located(file, _line(error))
        raise place.error(key[1] if key else (), "the key is given twice", "Keep one of the two.") from None
    except MarkedYAMLError as error:
        problem = f"is not valid YAML: {error.problem or error.context}"
        hint = "Correct the syntax at or just before this line (brackets, quotes, indentation)."
        raise Located(file, _line(error)).error((), problem, hint) from None
    except RecursionError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a parser raises about a text is the text's fault
        problem = f"is not valid YAML: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        raise Located(file).error((), problem, "Correct the value; quote it if it is text.") from None
    if tree is None:
        raise Located(file, 1).error((), "is empty", "Write one with `bakeoff init`.")
    return tree


def _line(error: MarkedYAMLError) -> int | None:
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark else None


class _Tree:
    """ruamel's tree as plain values; `source` learns the line of each key on the way."""

    def __init__(self, file: str) -> None:
        self._count = 0
        self._lines: dict[Loc, int] = {(): 1}
        self.source = Located(file, 1, self._lines)

    def plain(self, node: Any, loc: Loc) -> Any:
        self._count += 1
        if self._count > _MAX_VALUES:
            raise self.source.error((), "the file has too many values", "Use fewer aliases.")
        if (tag := getattr(node, "tag", None)) is not None and tag.value is not None:
            problem = f"the YAML tag {str(tag.value)!r} is not used here"
            raise self.source.error(loc, problem, "Remove the tag.")
        if isinstance(node, dict):
            for key in node:
                if not isinstance(key, str):
                    problem = f"the key {str(key)[:60]!r} is not text"
                    hint = "Write keys as text; quote them if they look like numbers."
                    raise self.source.error(loc, problem, hint)
            return {str(key): self._child(node, str(key), loc) for key in node}
        if isinstance(node, list):
            return [self._child(node, index, loc) for index in range(len(node))]
        return self._scalar(node, loc)

    def _child(self, node: Any, key: str | int, loc: Loc) -> Any:
        # a key merged in by `<<` has no line of its own, nor has what is below it
        if loc in self._lines:
            with suppress(AttributeError, KeyError, IndexError, TypeError):
                at = node.lc.item(key) if isinstance(key, int) else node.lc.key(key)
                self._lines[*loc, key] = at[0] + 1
        return self.plain(node[key], (*loc, key))

    def _scalar(self, node: Any, loc: Loc) -> Any:
        if node is None or isinstance(node, bool):
            return node
        # ruamel's subclasses become plain; what an anchored `true` becomes is not a bool, but an int
        for kind, plain in ((ScalarBoolean, bool), (int, int), (float, float)):
            if isinstance(node, kind):
                return plain(node)
        if isinstance(node, str):
            if any("\ud800" <= character <= "\udfff" for character in node):
                problem = "the text has half a surrogate pair in it"
                raise self.source.error(loc, problem, "Write the character itself.")
            return str(node)
        problem = f"expected text, a number, a list or a mapping, found {str(node)[:60]!r}"
        raise self.source.error(loc, problem, "Quote the value if it is meant as text.")
