"""Finds what the harness's source defines, by reading it: the host never imports a user's agent."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class SourceTree:
    """Where imports start in the image.

    `harness.source` is either one package (it has an `__init__.py`), importable by its own name, or a
    directory of modules and packages, which goes on `sys.path` itself.
    """

    directory: Path  # what is on sys.path
    package: str | None  # the only name importable from it; None: everything in it

    @classmethod
    def of(cls, source: Path) -> SourceTree:
        """The tree of a `harness.source`, an existing directory."""
        if (source / "__init__.py").is_file():
            return cls(source.parent, source.name)
        return cls(source, None)

    def module_file(self, module: str) -> Path | None:
        """The file of a module by its dotted name, if it is in the tree."""
        parts = module.split(".")
        if self.package is not None and parts[0] != self.package:
            return None
        stem = self.directory.joinpath(*parts)
        candidates = (stem / "__init__.py", stem.with_name(stem.name + ".py"))
        return next((file for file in candidates if file.is_file()), None)

    def owns(self, module: str) -> bool:
        """Whether the first part of a dotted name is in the tree, so that the rest has to be there too."""
        return module.partition(".")[0] in self._roots()

    def modules(self) -> list[str]:
        """The dotted names of all modules and packages in the tree."""
        start = self.directory / self.package if self.package else self.directory
        names = set()
        for directory, below, files in os.walk(start):
            below[:] = [one for one in below if one.isidentifier()]  # neither .git nor .venv
            parts = Path(directory).relative_to(self.directory).parts
            for stem in (file.removesuffix(".py") for file in files if file.endswith(".py")):
                if stem.isidentifier():
                    names.add(".".join(parts if stem == "__init__" else (*parts, stem)))
        return sorted(names)

    def _roots(self) -> Iterable[str]:
        if self.package is not None:
            return [self.package]
        return [one.stem for one in self.directory.iterdir() if one.is_dir() or one.suffix == ".py"]


@dataclass(frozen=True)
class Definitions:
    """The names at the top level of one module; None for what is not a `def`: a class, an import, a value."""

    names: dict[str, Function | None]
    complete: bool  # False: `from x import *` or a module-level __getattr__ may add names


def definitions(file: Path) -> Definitions:
    """What a module defines.

    Raises:
        SyntaxError, ValueError, RecursionError: this Python cannot parse it.
        OSError: it cannot be read.
    """
    names: dict[str, Function | None] = {}
    for statement in _top_level(ast.parse(file.read_bytes()).body):
        for name, function in _defined(statement):
            names[name] = function
    return Definitions(names, complete="*" not in names and "__getattr__" not in names)


def misfit(function: Function) -> str | None:
    """Why a function cannot be called with (model, context); None when it can, or a decorator decides."""
    if function.decorator_list:
        return None
    args = function.args
    positional = [*args.posonlyargs, *args.args]
    required = len(positional) - len(args.defaults)
    keyword_required = any(default is None for default in args.kw_defaults)
    if (len(positional) >= 2 or args.vararg) and required <= 2 and not keyword_required:
        return None
    return f"`{function.name}({ast.unparse(args)})` cannot be called with (model, context)"


def _top_level(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run on import in the module's own scope, those inside `if`, `try` and `with` too."""
    for statement in body:
        yield statement
        if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            for field in ("body", "orelse", "finalbody"):
                yield from _top_level(getattr(statement, field, []))
            for handler in getattr(statement, "handlers", []):
                yield from _top_level(handler.body)


def _defined(statement: ast.stmt) -> Iterator[tuple[str, Function | None]]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        yield statement.name, statement
    elif isinstance(statement, ast.ClassDef):
        yield statement.name, None
    elif isinstance(statement, (ast.Import, ast.ImportFrom)):
        for alias in statement.names:
            yield alias.asname or alias.name.split(".")[0], None
    else:
        targets = [getattr(statement, "target", None), *getattr(statement, "targets", [])]
        for target in filter(None, targets):
            yield from ((node.id, None) for node in ast.walk(target) if isinstance(node, ast.Name))
