"""`harness.requirements` as a flat list: files, local projects and pyproject.toml are read, and nothing is fetched.

What looks like a file is one, and is never looked up as a package. What cannot be had as a wheel for the image is
refused with the line that asks for it: version control, source archives by URL, and options of pip that change how
packages are built.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Pep508
from packaging.utils import canonicalize_name
from pip_requirements_parser import InstallRequirement, RequirementsFile

from bakeoff.config.located import Located
from bakeoff.config.schema import Config
from bakeoff.errors import InputError
from bakeoff.harness.uv import uv
from bakeoff.text.redact import redact

ARCHIVES = (".tar.gz", ".tgz", ".zip", ".tar.bz2")
PROJECT_FILES = ("pyproject.toml", "setup.py")
# Names of files that other tools keep, and what makes a requirements file of them.
FOREIGN = {
    "poetry.lock": "poetry export -o requirements.txt",
    "Pipfile": "pipenv requirements > requirements.txt",
    "Pipfile.lock": "pipenv requirements > requirements.txt",
    "pdm.lock": "pdm export -o requirements.txt",
    "pylock.toml": "uv pip compile pylock.toml -o requirements.txt",
    "environment.yml": "pip freeze > requirements.txt",
    "environment.yaml": "pip freeze > requirements.txt",
}
# Options of a requirements file that are kept, by the parser's names.
KEPT = {"index_url", "extra_index_urls", "find_links", "no_index", "pre"}
# Options that ask for what is done anyway: wheels are preferred, and a hash that is given is checked.
IMPLIED = {"prefer_binary", "only_binary", "require_hashes"}
FILE_SUFFIXES = {".txt", ".in", ".toml", ".lock", ".cfg", ".yml", ".yaml"}
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")  # as pip expands it


@dataclass(frozen=True, slots=True)
class Place:
    """Where a requirement is written."""

    file: str
    line: int | None
    key: str | None = None

    def error(self, problem: str, hint: str) -> InputError:
        """The error about what is written here, without the passwords of its URLs."""
        return Located(self.file, self.line).error(self.key or (), redact(problem), hint)

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line) if part is not None)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One package that is asked for."""

    text: str  # as it is written
    place: Place
    name: str | None = None  # normalised; None: only the project itself knows it
    specifier: str = ""
    extras: tuple[str, ...] = ()
    marker: str | None = None
    url: str | None = None  # of a wheel, with its hash
    path: Path | None = None  # a project's directory, a source archive or a wheel on this host
    hashes: tuple[str, ...] = ()  # `sha256:...`, one of which the wheel must have

    def pinned_to(self, name: str, source: str | None) -> str:
        """The line for a resolver. `source`: the URL of the wheel, where it is not looked up by name."""
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        marker = f" ; {self.marker}" if self.marker else ""
        return f"{name}{extras}{f' @ {source}' if source else self.specifier}{marker}"


@dataclass(slots=True)
class Requirements:
    """All that the harness asks for."""

    packages: list[Requirement] = field(default_factory=list)
    constraints: list[Requirement] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)  # that were read
    index_url: str | None = None
    extra_index_urls: list[str] = field(default_factory=list)
    find_links: list[str] = field(default_factory=list)  # URLs, or absolute paths
    no_index: bool = False
    pre: bool = False

    def flags(self) -> list[str]:
        """The options on where packages are looked up: uv and pip spell them alike."""
        return [
            *(["--no-index"] if self.no_index else []),
            *([f"--index-url={self.index_url}"] if self.index_url else []),
            *(f"--extra-index-url={url}" for url in self.extra_index_urls),
            *(f"--find-links={place}" for place in self.find_links),
        ]


def read(config: Config) -> Requirements:
    """What `harness.requirements` asks for.

    Raises:
        InputError: a file is not there or is not understood, or a line asks for what cannot be had.
    """
    reader = _Reader(config.root, config.file)
    for index, entry in enumerate(config.harness.requirements):
        key = f"harness.requirements[{index}]"
        reader.entry(entry.strip(), Place(str(config.file), config.line(key), key))
    return reader.found


@dataclass(slots=True)
class _Reader:
    root: Path
    shown: Path  # harness.yaml, as the user names it
    found: Requirements = field(default_factory=Requirements)
    seen: set[tuple[Path, bool]] = field(default_factory=set)

    def entry(self, text: str, place: Place) -> None:
        """One entry of `harness.requirements`."""
        if not text:
            raise place.error("is empty", "Write a requirement as pip does, or remove the entry.")
        if redact(text) != text:  # harness.yaml is published with the run; a requirements file is not
            hint = "Keep it in a requirements file, in the index settings of uv and pip, or in .netrc."
            raise place.error("may hold a secret", hint)
        path = self.root / text
        if _is_file_name(text) or (path.is_file() and not text.endswith((".whl", *ARCHIVES))):
            self._file(path, place)
        else:
            self._lines(text, self.root, place)

    # --- files

    def _file(self, path: Path, place: Place, *, constraint: bool = False) -> None:
        path = _absolute(path)
        if not path.is_file():
            problem = f"there is no file {self._name(path)}"
            raise place.error(problem, "Correct the path; it is relative to the file that names it.")
        if (path, constraint) in self.seen:
            return
        self.seen.add((path, constraint))
        self.found.files.append(path)
        if path.name in FOREIGN:
            problem = f"{path.name} is not a file that pip reads"
            raise place.error(problem, f"Make one of it: `{FOREIGN[path.name]}`.")
        if path.name in {"setup.py", "setup.cfg"}:
            raise place.error(f"{path.name} is a project's file", "Write `.` or the path of its directory.")
        if path.name == "uv.lock":
            self._lines(_exported(path, place), path.parent, Place(self._name(path), None))
        elif path.suffix == ".toml":
            self._pyproject(path, place)
        else:
            text = _text(path, Place(self._name(path), None))
            self._lines(text, path.parent, Place(self._name(path), 1), constraint=constraint)

    def _lines(self, text: str, directory: Path, place: Place, *, constraint: bool = False) -> None:
        """Requirements in pip's own format; `directory` is where its relative paths begin."""
        expanded = _VARIABLE.sub(lambda match: os.environ.get(match[1], match[0]), text)
        parsed = _parsed(expanded)

        def at(number: int) -> Place:
            # a line of a file has its own number; an entry of harness.yaml is at the entry's
            return place if place.key or place.line is None else replace(place, line=number)

        for wrong in parsed.invalid_lines:
            line = wrong.requirement_line
            problem = f"pip does not understand `{line.line}`"
            if "no such option" in str(wrong.error_message):
                problem = f"`{line.line}` has an option that is not used here"
            raise at(line.line_number).error(
                problem, "Write a requirement as pip documents it, such as `name==1.2`."
            )
        for option in parsed.options:
            self._options(option.options, directory, at(option.requirement_line.line_number))
        for item in parsed.requirements:
            found = self._requirement(item, directory, at(item.requirement_line.line_number))
            self._keep(found, constraint=constraint)

    def _options(self, options: Mapping[str, Any], directory: Path, place: Place) -> None:
        for name, value in options.items():
            if name in {"requirements", "constraints"}:
                for path in value:
                    if "://" in path:
                        raise place.error(f"{path} is not fetched", "Keep the file beside the harness.")
                    self._file(directory / path, place, constraint=name == "constraints")
            elif name == "find_links":
                self.found.find_links += [self._link(one, directory) for one in value]
            elif name in KEPT:
                before = getattr(self.found, name)
                setattr(self.found, name, before + value if isinstance(value, list) else value)
            elif name not in IMPLIED:
                option = f"--{name.replace('_', '-')}"
                raise place.error(
                    f"the option {option} is not used here", "Remove it: only wheels are installed."
                )

    def _link(self, place: str, directory: Path) -> str:
        if "://" in place and not place.startswith("file:"):
            return place
        return str(self._path(place, directory))

    # --- one requirement

    def _requirement(self, item: InstallRequirement, directory: Path, place: Place) -> Requirement:
        text = item.requirement_line.line.split(" --hash")[0].strip()
        common = Requirement(
            text=text,
            place=place,
            name=canonicalize_name(item.name) if item.name else None,
            specifier=str(item.specifier or ""),
            extras=tuple(sorted(item.extras or ())),
            marker=str(item.marker) if item.marker else None,
            hashes=tuple(item.hash_options or ()),
        )
        if item.link is None:
            self._refuse_confusion(common)
            return common
        if item.is_vcs_url:
            hint = "Build a wheel of it (`pip wheel --no-deps URL`) and write the wheel's path here."
            raise place.error(f"`{text}` is under version control, and no build runs here", hint)
        if item.link.scheme in {"http", "https", "ftp"}:
            return self._remote(item, common)
        path = self._path(item.link.url.partition("#")[0], directory)
        if subdirectory := item.link.subdirectory_fragment:
            path /= subdirectory
        return replace(common, path=self._local(path, place, text))

    def _remote(self, item: InstallRequirement, found: Requirement) -> Requirement:
        if not item.link.is_wheel:
            hint = "Build a wheel of it (`pip wheel --no-deps URL`) and write the wheel's path here."
            raise found.place.error(
                f"`{found.text}` is not a wheel, and no build of others' code runs here", hint
            )
        hashes = found.hashes + ((f"{item.link.hash_name}:{item.link.hash}",) if item.link.hash else ())
        if not hashes:
            hint = "Add `--hash=sha256:...`: what a URL leads to can change, and this says that it has not."
            raise found.place.error(f"`{found.text}` has no hash", hint)
        return replace(found, url=item.link.url.partition("#")[0], hashes=hashes)

    def _refuse_confusion(self, found: Requirement) -> None:
        """A name that looks like a file or a project of the user's is not looked up in an index."""
        if _is_file_name(found.text):
            hint = "Write it with its path, such as `./requirements.txt`."
            raise found.place.error(f"`{found.text}` looks like a file", hint)
        near = self.root / found.text
        if any((near / name).is_file() for name in PROJECT_FILES):
            raise found.place.error(
                f"`{found.text}` is a package's name, and a project in the directory {self._name(near)} too",
                f"Write `./{found.text}` for the directory, or a version (`{found.text}==1.0`) for the package.",
            )

    def _path(self, written: str, directory: Path) -> Path:
        """A path as pip reads it, from where it is started; else beside the file that names it."""
        if written.startswith("file:"):
            written = unquote(urlsplit(written).path)
        from_root = self.root / written
        return _absolute(from_root if from_root.exists() else directory / written)

    def _local(self, path: Path, place: Place, text: str) -> Path:
        if path.is_dir():
            if any((path / name).is_file() for name in PROJECT_FILES):
                return path
            raise place.error(
                f"`{text}`: {self._name(path)} has neither pyproject.toml nor setup.py",
                "Name the directory of a project that pip can install.",
            )
        if not path.is_file():
            raise place.error(f"`{text}`: there is no {self._name(path)}", "Correct the path.")
        if path.name.endswith((".whl", *ARCHIVES)):
            return path
        raise place.error(f"`{text}`: {path.name} is not a package", "Name a project's directory or a wheel.")

    def _keep(self, found: Requirement, *, constraint: bool = False) -> None:
        if constraint:
            if found.path or found.url:
                problem = f"`{found.text}` is no constraint on a version"
                raise found.place.error(
                    problem, "Write `name==version`, or move the line to the requirements."
                )
            self.found.constraints.append(found)
            return
        self.found.packages.append(found)
        if found.path and (project := found.path / "pyproject.toml").is_file():
            # a wheel says the names of what it needs, not that some of them lie beside it on this host
            self._siblings(project)

    # --- pyproject.toml

    def _pyproject(self, path: Path, place: Place) -> None:
        """The dependencies of a project, without the project."""
        data, at = self._toml(path)
        project = data.get("project")
        if not isinstance(project, dict):
            raise at.error("has no [project] table", "Write `.` to install the project with what it needs.")
        if "dependencies" in (project.get("dynamic") or []):
            problem = "says that its dependencies are dynamic: only building the project finds them"
            raise at.error(problem, f"Write the project's directory in {place}, which installs it too.")
        for found in self._dependencies(path, data):
            self._keep(found)

    def _siblings(self, path: Path) -> None:
        """The dependencies of a local project that are local projects themselves."""
        if (path, False) in self.seen:
            return
        self.seen.add((path, False))
        data, _ = self._toml(path)
        for found in self._dependencies(path, data):
            if found.path:
                self._keep(found)

    def _toml(self, path: Path) -> tuple[dict[str, Any], Place]:
        at = Place(self._name(path), None)
        try:
            return tomllib.loads(_text(path, at)), at
        except tomllib.TOMLDecodeError as error:
            raise at.error(f"is not valid TOML: {error}", "Correct the syntax.") from None

    def _dependencies(self, path: Path, data: Mapping[str, Any]) -> Iterator[Requirement]:
        """[project] dependencies, with the sources that [tool.uv.sources] gives them."""
        project = data.get("project") or {}
        sources = {
            canonicalize_name(name): source
            for name, source in data.get("tool", {}).get("uv", {}).get("sources", {}).items()
        }
        lines = path.read_text(encoding="utf-8").splitlines()
        for text in project.get("dependencies") or []:
            number = next((n for n, line in enumerate(lines, 1) if text in line), None)
            at = Place(self._name(path), number)
            try:
                asked = Pep508(text)
            except InvalidRequirement as error:
                problem = f"`{text}` is not a requirement: {str(error).splitlines()[0]}"
                raise at.error(problem, "Correct it.") from None
            name = canonicalize_name(asked.name)
            if name == canonicalize_name(project.get("name") or "-"):
                yield Requirement(text, at, name, extras=tuple(sorted(asked.extras)), path=path.parent)
            elif source := sources.get(name):
                yield self._sourced(asked, source, path.parent, at)
            else:
                [item] = _parsed(text).requirements
                yield self._requirement(item, path.parent, at)

    def _sourced(self, asked: Pep508, source: Any, directory: Path, at: Place) -> Requirement:
        where = source.get("path") if isinstance(source, dict) else None
        if not where:
            kind = ", ".join(source) if isinstance(source, dict) else "a list"
            problem = f"[tool.uv.sources] takes {asked.name} from elsewhere ({kind})"
            raise at.error(problem, "Write `requirements: uv.lock`, in which uv has resolved it.")
        path = self._local(_absolute(directory / where), at, str(asked))
        return Requirement(
            text=str(asked),
            place=at,
            name=canonicalize_name(asked.name),
            extras=tuple(sorted(asked.extras)),
            marker=str(asked.marker) if asked.marker else None,
            path=path,
        )

    def _name(self, path: Path) -> str:
        """A path as an error shows it: beside harness.yaml, as its user names that."""
        return str(self.shown.parent / os.path.relpath(path, self.root))


def _absolute(path: Path) -> Path:
    """The path without `..`, and with its links: an error names the path that the user wrote."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def _parsed(text: str) -> RequirementsFile:
    """Text in pip's format. The parser reads files only, and -r and -c are left to the caller."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt") as file:
        file.write(text)
        file.flush()
        return RequirementsFile.from_file(file.name)


def _is_file_name(text: str) -> bool:
    """Whether this can only be meant as a file. (discord.py is a package.)"""
    if text.startswith("-") or any(mark in text for mark in "@=<>~[; "):
        return False
    return Path(text).suffix.lower() in FILE_SUFFIXES or Path(text).name in {"Pipfile", "setup.py"}


def _text(path: Path, place: Place) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise place.error("is not UTF-8 text", "Save the file as UTF-8.") from None
    except OSError as error:
        raise place.error(f"cannot be read: {error.strerror}", "Make it readable.") from None


def _exported(lock: Path, place: Place) -> str:
    """uv.lock as pip's format, with hashes; without the project itself and its development group."""
    options = ["--frozen", "--no-dev", "--no-emit-project", "--no-header", "--no-annotate", "--quiet"]
    done = subprocess.run(
        [uv(), "export", *options], capture_output=True, text=True, check=False, cwd=lock.parent
    )
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[-400:]
        raise place.error(f"uv cannot read {lock.name}: {said}", "Run `uv lock` in its project.")
    return done.stdout
