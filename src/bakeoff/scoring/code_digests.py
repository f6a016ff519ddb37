"""Digests of the code of a user's own evaluators: a changed evaluator's scores cannot be compared with earlier ones."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import json
import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from bakeoff.config.schema import EvaluatorSpec
from bakeoff.errors import InputError
from bakeoff.scoring.table import EVALUATORS

OURS = ("bakeoff", "bakeoff_runner")  # the manifest has their version


def digests(evaluators: Sequence[EvaluatorSpec], root: Path) -> dict[str, str]:
    """A short digest of the code behind each of the user's own functions, by its `module:function`.

    Of a module or package that is not installed, the digest covers the files (a package's data too) and those of what
    it imports, at any distance; of an installed one, name and version. Imports are read, not run: what is imported by
    a name made at run time, or read from elsewhere, is not seen.

    Args:
        evaluators: as harness.yaml has them.
        root: directory of harness.yaml, which is last on the path (see `user_function.load`).

    Raises:
        InputError: a file cannot be read.
    """
    importlib.invalidate_caches()
    return {path: _digest(path, root) for spec in evaluators for path in _functions(spec)}


def _functions(spec: EvaluatorSpec) -> Iterator[str]:
    if spec.use is not None:
        yield spec.use
    else:
        row = EVALUATORS[spec.kind]
        yield from row.functions(row.options.model_validate(spec.options))


def _digest(use: str, root: Path) -> str:
    facts: dict[str, object] = {}
    pending = [use.partition(":")[0]]
    try:
        while pending:
            if (unit := _unit(pending.pop(), root)) is None or unit[0] in facts:
                continue
            name, spec = unit
            if _installed(spec):
                facts[name] = _versions(name.partition(".")[0])
                continue
            is_package = bool(spec.submodule_search_locations)
            contents = {where: path.read_bytes() for where, path in _files(spec)}
            facts[name] = {where: hashlib.sha256(content).hexdigest() for where, content in contents.items()}
            for where, content in contents.items():
                if where.endswith(".py"):
                    pending += _imports(content, None if is_package else name.rpartition(".")[0])
    except OSError as error:
        raise InputError(
            f"its code cannot be read: {error.strerror or error}", file=error.filename, key=use,
            hint="Let the file be readable: the run's fingerprint has its digest.",
        ) from error  # fmt: skip
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _unit(dotted: str, root: Path) -> tuple[str, ModuleSpec] | None:
    """The module or whole package that a dotted name begins with; None for the standard library's and ours.

    Directories without an `__init__.py` are no package of their own: their modules are.
    """
    first, *_ = parts = dotted.split(".")
    if first in sys.stdlib_module_names or first in OURS:
        return None
    path = [*sys.path, str(root)]
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        spec = PathFinder.find_spec(name, path)
        if spec is None and count == 1:
            spec = _by_other_finders(name)
        if spec is None:
            return None
        if spec.origin is not None:
            return name, spec
        path = list(spec.submodule_search_locations or ())
    return None


def _by_other_finders(name: str) -> ModuleSpec | None:
    """A project that is installed for editing may have a finder of its own."""
    try:
        return importlib.util.find_spec(name)
    except ValueError:  # a module that was made, not found, like __main__
        return None


def _installed(spec: ModuleSpec) -> bool:
    places = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    return any(Path(spec.origin or "").is_relative_to(place) for place in places)


def _versions(name: str) -> list[str]:
    return sorted(f"{each}=={metadata.version(each)}" for each in set(_distributions().get(name, ())))


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


def _files(spec: ModuleSpec) -> Iterator[tuple[str, Path]]:
    """(name below the package, path), sorted; a module is its one file. Caches and hidden files stay out."""
    if not spec.submodule_search_locations:
        yield Path(spec.origin or "").name, Path(spec.origin or "")
        return
    for start in sorted(spec.submodule_search_locations):
        for directory, below, files in os.walk(start):
            below[:] = sorted(each for each in below if each != "__pycache__" and not each.startswith("."))
            for file in sorted(files):
                path = Path(directory, file)
                if not file.startswith(".") and path.suffix != ".pyc" and path.is_file():
                    yield path.relative_to(start).as_posix(), path


def _imports(content: bytes, folder: str | None) -> Iterator[str]:
    """Dotted names that may be imported.

    `folder`: dotted name of where a lone module stands, for its relative imports; None: those stay in its package.
    """
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError):  # not imported by anybody, or found out by `users_own`
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.level == 0 or (node.level == 1 and folder)):
            start = ".".join(filter(None, (folder if node.level else "", node.module)))
            yield from (f"{start}.{alias.name}" if start else alias.name for alias in node.names)
