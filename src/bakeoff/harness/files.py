"""The files of a directory that go into an image, and what stays out and why.

Everything goes in, hidden files too, except what the tables below name. Symbolic links are followed, since the target
of a link is not in the image. What a name alone cannot decide is decided by content: a package of the user's may be
called `runs`, `venv` or `build`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from bakeoff.errors import InputError
from bakeoff.gateway.recording import cassette
from bakeoff.record.store import BASELINE, EXAMPLES, MANIFEST, RUNS, TRIALS

MAX_BYTES = 200 * 2**20
MAX_FILES = 50_000  # links can make a small tree a huge one

ANSWERS = "has the answers"
KEYS = "may hold keys, which stay on the host"
CACHE = "a cache"

# By name: the reason that a directory stays out.
DIRECTORIES = {
    **dict.fromkeys((".git", ".hg", ".svn", ".jj", ".bzr"), "version control"),
    **dict.fromkeys(("__pycache__", ".tox", ".nox", ".eggs", ".hypothesis", ".ipynb_checkpoints"), CACHE),
    **dict.fromkeys((".mypy_cache", ".ruff_cache", ".pytest_cache"), CACHE),
    **dict.fromkeys((".idea", ".vscode", ".vs"), "an editor's settings"),
    **dict.fromkeys((".ssh", ".aws", ".azure", ".gnupg", ".docker", ".kube"), KEYS),
}
# By pattern: the reason that a file stays out.
FILES = {
    **dict.fromkeys((".env", ".env.*", ".envrc", ".netrc", ".pypirc", ".npmrc", ".git-credentials"), KEYS),
    **dict.fromkeys((".git", ".gitignore", ".gitattributes", ".gitmodules"), "version control"),
    **dict.fromkeys((".DS_Store", "Thumbs.db", ".coverage"), "of the host"),
    **dict.fromkeys((".*.sw?", ".#*"), "an editor's lock"),
}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file or directory that does not go into the image."""

    path: str  # below the directory that was read
    reason: str


@dataclass(slots=True)
class Tree:
    """What was found below one directory. Names are relative to it, with `/`."""

    files: dict[str, Path] = field(default_factory=dict)  # name -> path on this host
    empty: list[str] = field(default_factory=list)  # directories without content, which a program may list
    left_out: list[LeftOut] = field(default_factory=list)
    outside: list[str] = field(
        default_factory=list
    )  # links that were followed out of the project: `name -> target`
    size: int = 0  # bytes

    def below(self, name: str) -> Tree:
        """The same with every name below a directory."""
        return Tree(
            files={f"{name}/{one}": path for one, path in self.files.items()},
            empty=[f"{name}/{one}" for one in self.empty],
            left_out=[LeftOut(f"{name}/{one.path}", one.reason) for one in self.left_out],
            outside=[f"{name}/{one}" for one in self.outside],
            size=self.size,
        )

    def digest(self) -> str:
        """SHA-256 over names, contents and what can be executed, in hex; its first 16 characters.

        A tree of plain files has the digest that older versions gave it: their runs can be compared and resumed.

        Raises:
            InputError: a file cannot be read.
        """
        plain, special = [], []
        for name, path in sorted(self.files.items(), key=lambda item: item[0].split("/")):
            try:
                plain.append((name, hashlib.sha256(path.read_bytes()).hexdigest()))
            except OSError as error:
                raise _unreadable(path, error) from error
            if executable(path):
                special.append(name)
        value = [plain, special, sorted(self.empty)] if special or self.empty else plain
        return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def executable(path: Path) -> bool:
    """Whether anyone may execute the file: all that an image keeps of its mode."""
    return bool(path.stat().st_mode & 0o111)


def read(top: Path, *, project: Path, answers: Iterable[Path] = (), node_modules: str | None = None) -> Tree:
    """What goes into an image from `top`.

    Args:
        top: an existing directory.
        project: links that lead out of it are noted.
        answers: resolved paths of files that stay out, wherever a link to them lies.
        node_modules: why directories of this name stay out; None: they go in.

    Raises:
        InputError: a link is broken, something cannot be read, or it is too large. The file is named; the key is left
            to the caller.
    """
    reader = _Reader(top, project.resolve(), frozenset(answers), node_modules)
    reader.enter(top, "", ())
    return reader.tree


@dataclass(slots=True)
class _Reader:
    top: Path
    project: Path
    answers: frozenset[Path]
    node_modules: str | None
    tree: Tree = field(default_factory=Tree)

    def enter(self, directory: Path, prefix: str, above: tuple[Path, ...]) -> None:
        """Read one directory. `above`: the resolved directories that lead to it, in which a loop would end."""
        try:
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError as error:
            raise _unreadable(directory, error) from error
        here = (*above, directory.resolve())
        names = {entry.name for entry in entries}
        if not entries and prefix:
            self.tree.empty.append(prefix.rstrip("/"))
        for entry in entries:
            name, path = prefix + entry.name, directory / entry.name
            resolved = self._target(path, name) if entry.is_symlink() else None
            reason = self._reason(path, names, here)
            if reason is not None:
                self.tree.left_out.append(LeftOut(name, reason))
                continue
            if resolved is not None and not resolved.is_relative_to(self.project):
                self.tree.outside.append(f"{name} -> {resolved}")
            if path.is_dir():
                self.enter(path, f"{name}/", here)
            else:
                self._add(name, path)

    def _target(self, path: Path, name: str) -> Path | None:
        """Where a link leads; None for one that stays out by its own name, broken or not."""
        try:
            return path.resolve(strict=True)
        except (OSError, RuntimeError):  # before Python 3.13 a link to itself is a RuntimeError
            if _by_name(FILES, path.name) or path.name in DIRECTORIES:
                return None
            raise InputError(
                f"{self.top.name}/{name} is a broken link to {os.readlink(path)}",  # noqa: PTH115 - the text of the link
                hint="Restore what it points to, or remove the link.",
            ) from None

    def _reason(self, path: Path, beside: set[str], above: tuple[Path, ...]) -> str | None:
        """Why this entry stays out, if it does. `beside`: the names in the same directory."""
        if path.is_dir():
            return self._directory_reason(path, above)
        if reason := _by_name(FILES, path.name):
            return reason
        if path.resolve() in self.answers:
            return ANSWERS
        if cassette.INDEX in beside and (path.name == cassette.INDEX or path.suffix == ".jsonl"):
            return f"a recording, which {ANSWERS}"
        return None if path.is_file() or path.is_symlink() else "neither a file nor a directory"

    def _directory_reason(self, path: Path, above: tuple[Path, ...]) -> str | None:
        if path.resolve() in above:
            return f"a loop, back to {path.resolve()}"
        if path.name == "node_modules":
            return self.node_modules
        if path.name in DIRECTORIES or (path / "CACHEDIR.TAG").exists():
            return DIRECTORIES.get(path.name, CACHE)
        if (path / "pyvenv.cfg").exists():
            return "a virtual environment"
        if _is_run(path) or _holds_runs(path):
            return f"a run's record, which {ANSWERS}"
        return None

    def _add(self, name: str, path: Path) -> None:
        tree = self.tree
        try:
            found = path.stat()
        except OSError as error:
            raise _unreadable(path, error) from error
        tree.files[name] = path
        tree.size += found.st_size
        if tree.size > MAX_BYTES or len(tree.files) > MAX_FILES:
            much = f"{MAX_BYTES // 2**20} MiB" if tree.size > MAX_BYTES else f"{MAX_FILES} files"
            raise InputError(
                f"{self.top} has more than {much}; the last file was {name}",
                hint="Name the directory of the agent's package alone, or move the data out of it.",
            )


def _by_name(patterns: dict[str, str], name: str) -> str | None:
    return next((reason for pattern, reason in patterns.items() if fnmatch(name, pattern)), None)


def _is_run(path: Path) -> bool:
    return (path / MANIFEST).exists() and ((path / EXAMPLES).exists() or (path / TRIALS).exists())


def _holds_runs(path: Path) -> bool:
    """Whether this is where `bakeoff run` keeps its runs, with or without any, and not a package of the user's."""
    try:
        below = [path / name for name in os.listdir(path)]  # noqa: PTH208 - a path for each would be made twice
    except OSError:
        return False
    if path / "__init__.py" in below:
        return False
    return any(map(_is_run, below)) or (path.name == RUNS.name and {one.name for one in below} <= {BASELINE})


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path} cannot be read: {error.strerror or error}", hint="Make it readable, or move it away."
    )
