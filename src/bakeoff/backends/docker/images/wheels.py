"""The harness's wheels, resolved and fetched on the host: inside `docker build`, networks and certificates often fail.

uv resolves for the image's Python and platform (pip would evaluate markers for the host's); pip fetches and checks
hashes. This environment's own versions are preferred, since bakeoff was tested with them. What a requirement asks for
holds as it is written, and only what it forces to differ differs. The result lies in the user's cache under a key made
of everything that decided it, with its lock beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, parse_wheel_filename
from pip_requirements_parser import RequirementsFile

from bakeoff.backends.base import Say
from bakeoff.backends.docker.images.local_wheels import LocalWheel
from bakeoff.backends.docker.images.progress import growing, progress
from bakeoff.backends.docker.images.target import Target, unreachable
from bakeoff.config.cache import cache_dir, mark_used
from bakeoff.errors import InputError
from bakeoff.harness.requirements import Requirement, Requirements
from bakeoff.harness.uv import uv
from bakeoff.text.escape import last_lines
from bakeoff.text.redact import redact

LOCK = "requirements.lock"
TIMEOUT_SECONDS = 900
SHOWN_PACKAGES = 5


@dataclass(frozen=True, slots=True)
class Wheelhouse:
    """A directory of wheels."""

    path: Path
    packages: dict[
        str, str
    ]  # name -> version, with the content's digest where the version alone does not say it

    def files(self) -> list[Path]:
        """The wheels."""
        return sorted(self.path.glob("*.whl"))


@dataclass(frozen=True, slots=True)
class Order:
    """Everything that decides which wheels there are."""

    asked: Requirements
    local: Mapping[Path, LocalWheel]  # by the requirement's path
    target: Target

    def line(self, one: Requirement) -> str:
        """One requirement as the resolver reads it."""
        if one.path is not None:
            wheel = self.local[one.path]
            return one.pinned_to(wheel.name, wheel.path.as_uri())
        return one.pinned_to(one.name or "", one.url)

    def _identity(self, one: Requirement) -> str:
        """The same without paths: what a wheel holds decides, not where it lies."""
        if one.path is None:
            return f"{self.line(one)} {one.hashes}"
        wheel = self.local[one.path]
        return one.pinned_to(wheel.name, wheel.sha256)

    def home(self) -> Path:
        """The directory in the cache, named by a digest of all that decides."""
        asked = self.asked
        decided = [
            sorted(map(self._identity, asked.packages)),
            sorted(map(self.line, asked.constraints)),
            asked.flags(),
            [_listing(place) for place in asked.find_links],
            asked.pre,
            sorted(_installed().items()),
            str(self.target),
        ]
        return cache_dir() / "wheels" / hashlib.sha256(json.dumps(decided).encode()).hexdigest()[:16]


def ensure(order: Order, say: Say) -> Wheelhouse:
    """The wheelhouse for these requirements, fetched if it is not in the cache.

    Raises:
        InputError: no set of versions satisfies the requirements, or one has no wheel; names the line.
        UnfitEnvironment: the package index does not answer.
    """
    began = time.monotonic()
    found = find(order)
    if found is None:
        home = order.home()
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
            making = Path(scratch) / "wheels"
            making.mkdir()
            with progress(say, "wheels: resolving"):
                lock = resolve(order)
            with progress(say, "wheels: fetching", growing(Path(scratch))):
                _fetch(order, lock, making)
            (making / LOCK).write_text(lock)
            try:
                making.rename(home)
            except OSError:
                if not (home / LOCK).exists():
                    raise
                # another run made the same one meanwhile
        found = _read(home, order)
        seconds = time.monotonic() - began
        say(f"wheels: {len(found.packages)} packages resolved and fetched in {seconds:.1f} s")
    return found


def find(order: Order) -> Wheelhouse | None:
    """The wheelhouse that `ensure` would give, if it is in the cache."""
    home = order.home()
    if not (home / LOCK).exists():
        return None
    mark_used(home)
    return _read(home, order)


def moved(order: Order, packages: Mapping[str, str]) -> str | None:
    """Which versions are not this environment's, and which requirements forced that; None where all are."""
    installed = _installed()
    differing = {
        name: version
        for name, version in packages.items()
        if name in installed and installed[name] != version and " " not in version
    }
    if not differing:
        return None
    shown = [f"{name} {version} (not {installed[name]})" for name, version in sorted(differing.items())]
    if len(shown) > SHOWN_PACKAGES:
        shown = [*shown[:SHOWN_PACKAGES], f"{len(shown) - SHOWN_PACKAGES} more"]
    culprits = [
        f"`{one.text}` ({one.place})"
        for one in (*order.asked.packages, *order.asked.constraints)
        if one.name in differing
        and not SpecifierSet(one.specifier).contains(installed[one.name], prereleases=True)
    ]
    forced = ", ".join(culprits) or "the image's Python or a requirement's own dependencies"
    return (
        f"{forced}: the image has other versions than bakeoff was tested with: {', '.join(shown)}. Pin them too, or "
        "take the requirements from a lock file, where runs on different days or machines are compared."
    )


def _listing(place: str) -> list[str]:
    """What a directory of wheels has: the same version may be built again there."""
    path = Path(place)
    if "://" in place or not path.is_dir():
        return [place]
    found = sorted(one for one in path.iterdir() if one.is_file())
    return [f"{one.name} {hashlib.sha256(one.read_bytes()).hexdigest()}" for one in found]


def _read(home: Path, order: Order) -> Wheelhouse:
    digested = {one.name: one.hashes[0] for one in order.asked.packages if one.url and one.name}
    digested |= {wheel.name: f"sha256:{wheel.sha256}" for wheel in order.local.values()}
    packages = {}
    for path in sorted(home.glob("*.whl")):
        name, version, _, _ = parse_wheel_filename(path.name)
        digest = digested.get(name)
        packages[str(name)] = f"{version} ({digest[:19]})" if digest else str(version)
    return Wheelhouse(home, packages)


def _installed() -> dict[str, str]:
    return {canonicalize_name(d.metadata["Name"]): d.version for d in distributions() if d.metadata["Name"]}


def resolve(order: Order) -> str:
    """The pins with their hashes, in pip's format.

    What uv finds in its output file it prefers, so that file begins with this environment's versions.

    Raises:
        InputError, UnfitEnvironment: as `ensure` does.
    """
    with tempfile.TemporaryDirectory() as scratch:
        return _resolve(order, Path(scratch))


def _resolve(order: Order, scratch: Path) -> str:
    constraints, pins = scratch / "constraints.txt", scratch / "pins.txt"
    constraints.write_text("\n".join(map(order.line, order.asked.constraints)))
    pins.write_text("\n".join(f"{name}=={version}" for name, version in _installed().items()))
    done = _call(
        [
            uv(), "pip", "compile", "-", "--quiet", "--no-header", "--no-annotate", "--generate-hashes",
            "--only-binary", ":all:", "--output-file", str(pins), "--constraints", str(constraints),
            # of the host: uv would look for one of the image's version, for seconds
            "--python", sys.executable,
            "--python-version", order.target.python,
            "--python-platform", f"{order.target.machine}-manylinux_2_{order.target.manylinux}",
            *order.asked.flags(), *(["--prerelease", "allow"] if order.asked.pre else []),
        ],
        "\n".join(map(order.line, order.asked.packages)),
        scratch,
    )  # fmt: skip
    if done.returncode != 0:
        raise _explained(done.stderr, order)
    return pins.read_text()


def _fetch(order: Order, lock: str, into: Path) -> None:
    """Put the wheel of each pin into a directory. A hash that the user gave is the one that is checked."""
    given = {one.name: one.hashes for one in order.asked.packages if one.hashes}
    local = {wheel.name: wheel.path for wheel in order.local.values()}
    pins: dict[bool, list[str]] = {True: [], False: []}
    lockfile = into / "lock.txt"
    lockfile.write_text(lock)
    for item in RequirementsFile.from_file(str(lockfile)).requirements:
        name = canonicalize_name(item.name)
        if name in local:
            shutil.copy(local[name], into)
            continue
        hashes = given.get(name) or tuple(item.hash_options or ())
        pin = f"{name} @ {item.link.url}" if item.link else f"{name}{item.specifier}"
        # pip checks all hashes of a file or none: an index that has none is asked apart
        pins[bool(hashes)].append(" ".join([pin, *(f"--hash={one}" for one in hashes)]))
    lockfile.unlink()
    for lines in filter(None, pins.values()):
        _download(order, lines, into)


def _download(order: Order, lines: Iterable[str], into: Path) -> None:
    target = order.target
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
        pins.write("\n".join(lines))
        pins.flush()
        done = _call(
            [
                sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
                "--requirement", pins.name, "--dest", str(into),
                "--python-version", target.python, "--implementation", "cp",
                *(f"--abi={abi}" for abi in target.abis()),
                *(f"--platform={name}" for name in target.platforms()),
                *order.asked.flags(),
            ],
            "",
            into,
            TMPDIR=str(into.parent),  # where it is seen
        )  # fmt: skip
    if done.returncode != 0:
        raise _explained(done.stderr, order)


def _call(
    command: list[str], stdin: str, directory: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run in `directory`: uv reads the [tool.uv] of the project that it is started in, which is not the harness's."""
    environ = {**os.environ, "NO_COLOR": "1", **environment}
    return subprocess.run(
        command, input=stdin, cwd=directory, env=environ, capture_output=True, text=True, check=False,
        timeout=TIMEOUT_SECONDS,
    )  # fmt: skip


def _explained(stderr: str, order: Order) -> Exception:
    """What uv or pip complained of, at the line of the first requirement that it names."""
    if problem := unreachable(stderr):
        return problem
    said = redact(last_lines(stderr), limit=800)
    for one in (*order.asked.packages, *order.asked.constraints):
        if one.name and re.search(rf"(?<![\w-]){re.escape(one.name)}(?![\w-])", stderr, re.IGNORECASE):
            hint = "Ask for versions that exist together and have wheels for Linux."
            return one.place.error(f"`{one.text}` cannot be installed: {said}", hint)
    hint = "Ask for versions that exist together and have wheels for Linux."
    return InputError(f"cannot be installed: {said}", key="harness.requirements", hint=hint)
