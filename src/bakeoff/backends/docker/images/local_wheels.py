"""Wheels of the user's own projects, source archives and wheel files, for requirements that name a path.

A project is built on the host by uv, from a copy: a build must not leave files in the user's directory, and what stays
out of an image stays out of a wheel. The result is kept under a digest of what went in, and the digest of the wheel
itself decides the image's key: a library that changes and keeps its version is another library.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from bakeoff.backends.base import Say
from bakeoff.backends.docker.images.target import Target, unreachable
from bakeoff.config.cache import cache_dir, mark_used
from bakeoff.errors import InputError
from bakeoff.harness import files
from bakeoff.harness.requirements import Requirement
from bakeoff.harness.uv import uv
from bakeoff.text.escape import last_lines

BUILD_SECONDS = 600
# Of what a failed build printed, which ends with advice.
BUILD_LINES = 12
# Bytes of a built wheel must depend on its content alone. 1980 is the first year that a zip archive can hold.
EPOCH = "315532800"


@dataclass(frozen=True, slots=True)
class LocalWheel:
    """The wheel of one requirement that names a path."""

    path: Path
    name: str
    version: str
    sha256: str


class NotBuilt(Exception):  # noqa: N818 - a state, not an error
    """A project has to be built, and this call only looks."""


def collect(
    requirements: Sequence[Requirement],
    target: Target,
    *,
    project: Path,
    answers: Sequence[Path],
    say: Say | None,
) -> dict[Path, LocalWheel]:
    """The wheel of every requirement that names a path, by that path.

    Args:
        requirements: all of them.
        target: what the wheels must run on.
        project: the harness's directory.
        answers: files that must not get into a wheel.
        say: gets a line for each build; None: only look.

    Raises:
        InputError: a project cannot be built, or its wheel does not fit; names the line.
        NotBuilt: only with `say=None`.
        UnfitEnvironment: what the build needs cannot be fetched.
    """
    wheels: dict[Path, LocalWheel] = {}
    for one in requirements:
        if one.path is not None and one.path not in wheels:
            path = one.path if one.path.suffix == ".whl" else _built(one, one.path, project, answers, say)
            wheels[one.path] = _described(one, path, target)
    return wheels


def _described(asked: Requirement, path: Path, target: Target) -> LocalWheel:
    try:
        name, version, _, tags = parse_wheel_filename(path.name)
    except InvalidWheelFilename as error:
        raise asked.place.error(
            f"`{asked.text}`: {error}", "Give the wheel the name that it was built with."
        ) from None
    if not tags & target.tags():
        raise asked.place.error(
            f"`{asked.text}`: {path.name} does not run on {target}",
            "Build the wheel for the image's Python and Linux.",
        )
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    if asked.hashes and f"sha256:{sha256}" not in asked.hashes:
        raise asked.place.error(
            f"`{asked.text}` has the hash sha256:{sha256}, not the one given", "Correct the hash."
        )
    if asked.name is not None and canonicalize_name(name) != asked.name:
        raise asked.place.error(
            f"`{asked.text}` is a package named {name}", "Correct the name before the `@`."
        )
    return LocalWheel(path, canonicalize_name(name), str(version), sha256)


def _built(asked: Requirement, path: Path, project: Path, answers: Sequence[Path], say: Say | None) -> Path:
    tree = None
    if path.is_dir():
        try:
            tree = files.read(path, project=project, answers=answers, node_modules="of Node")
            digest = tree.digest()
        except InputError as error:
            raise asked.place.error(f"`{asked.text}`: {error.problem}", error.hint or "") from None
    else:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    home = cache_dir() / "built-wheels" / digest
    if found := next(home.glob("*.whl"), None):
        mark_used(home)
        return found
    if say is None:
        raise NotBuilt
    began = time.monotonic()
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
        source = path if tree is None else _copy(tree, Path(scratch) / "source")
        wheel = _build(asked, source, Path(scratch) / "out")
        home.mkdir(exist_ok=True)
        wheel.rename(home / wheel.name)
    say(f"wheels: {asked.text} built in {time.monotonic() - began:.1f} s")
    return home / wheel.name


def _copy(tree: files.Tree, to: Path) -> Path:
    to.mkdir()
    for name in tree.empty:
        (to / name).mkdir(parents=True, exist_ok=True)
    for name, path in tree.files.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to / name)
        (to / name).chmod(0o755 if files.executable(path) else 0o644)
    return to


def _build(asked: Requirement, source: Path, into: Path) -> Path:
    command = [uv(), "build", "--wheel", "--python", sys.executable, "--out-dir", str(into), str(source)]
    try:
        done = subprocess.run(
            command,
            cwd=source if source.is_dir() else into.parent,
            env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH},
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_SECONDS,
        )
    except subprocess.TimeoutExpired:
        hint = "Build it yourself and write the wheel's path here."
        raise asked.place.error(f"`{asked.text}` is not built after {BUILD_SECONDS} s", hint) from None
    wheel = next(into.glob("*.whl"), None)
    if done.returncode != 0 or wheel is None:
        if problem := unreachable(done.stderr):
            raise problem
        hint = "Make `uv build --wheel` work there, or build the wheel yourself and write its path here."
        raise asked.place.error(
            f"`{asked.text}` cannot be built: {last_lines(done.stderr, BUILD_LINES)}", hint
        )
    if not all(tag.platform == "any" for tag in parse_wheel_filename(wheel.name)[3]):
        raise asked.place.error(
            f"`{asked.text}` has compiled code, and {wheel.name} was compiled for this machine",
            "Build a manylinux wheel for the image's Python and write its path here.",
        )
    return wheel
