"""The harness's wheels, resolved and fetched on the host: inside `docker build`, networks and certificates often fail.

uv resolves for the image's Python and platform (pip would evaluate markers for the host's); pip fetches. The result
lies in the user's cache under a key made of everything that decided it, with its lock beside it.
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
from importlib.metadata import distributions
from pathlib import Path

from bakeoff.config.cache import cache_dir
from bakeoff.errors import InputError, UnfitEnvironment

LOCK = "requirements.lock"
NEWEST_GLIBC = 36  # of the default base images (Debian 12); a wheel for an older glibc runs on it too
TIMEOUT_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Wheelhouse:
    """A directory of wheels and the pins that name them."""

    path: Path
    packages: dict[str, str]  # name -> version


def key(requirements: list[str], python_version: str, machine: str) -> str:
    """What decides the wheels: the requirements, this environment's own versions, and the target."""
    decided = [
        sorted(requirements),
        sorted(_installed().items()),
        python_version,
        machine,
        NEWEST_GLIBC,
    ]
    return hashlib.sha256(json.dumps(decided).encode()).hexdigest()[:16]


def ensure(
    requirements: list[str], python_version: str, machine: str, say: Callable[[str], None]
) -> Wheelhouse:
    """The wheelhouse for these requirements, fetched if it is not in the cache.

    Args:
        requirements: pip requirements, all of them.
        python_version: of the image, "3.12".
        machine: of the image, "x86_64" or "aarch64".

    Raises:
        InputError: no set of versions satisfies the requirements, or one has no wheel.
        UnfitEnvironment: the package index does not answer.
    """
    began = time.monotonic()
    found = find(requirements, python_version, machine)
    if found is None:
        home = _home(requirements, python_version, machine)
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
            making = Path(scratch) / "wheels"
            making.mkdir()
            lock = _resolve(requirements, python_version, machine, say)
            _fetch(lock, making, python_version, machine)
            (making / LOCK).write_text(lock)
            try:
                making.rename(home)
            except OSError:
                if not (home / LOCK).exists():
                    raise
                # another run made the very same meanwhile
        say(
            f"wheels: {len(lock.splitlines())} packages resolved and fetched in {time.monotonic() - began:.1f} s"
        )
        found = _read(home)
    return found


def find(requirements: list[str], python_version: str, machine: str) -> Wheelhouse | None:
    """The wheelhouse that `ensure` would give, if it is in the cache."""
    home = _home(requirements, python_version, machine)
    return _read(home) if (home / LOCK).exists() else None


def _home(requirements: list[str], python_version: str, machine: str) -> Path:
    return cache_dir() / "wheels" / key(requirements, python_version, machine)


def _read(home: Path) -> Wheelhouse:
    pins = (line.split(";")[0].strip() for line in (home / LOCK).read_text().splitlines())
    return Wheelhouse(home, dict(pin.split("==", 1) for pin in pins if "==" in pin))


def _installed() -> dict[str, str]:
    return {
        d.metadata["Name"].lower().replace("_", "-"): d.version for d in distributions() if d.metadata["Name"]
    }


def _resolve(requirements: list[str], python_version: str, machine: str, say: Callable[[str], None]) -> str:
    """Pins, one a line. First with this environment's own versions, which bakeoff was tested with; else freely."""
    wanted = "\n".join(requirements)
    with tempfile.TemporaryDirectory() as scratch:
        constraints = Path(scratch) / "constraints.txt"
        constraints.write_text("\n".join(f"{name}=={version}" for name, version in _installed().items()))
        command = [
            _uv(), "pip", "compile", "-", "--quiet", "--no-header", "--no-annotate", "--only-binary", ":all:",
            "--python-version", python_version, "--python-platform", f"{machine}-manylinux_2_{NEWEST_GLIBC}",
        ]  # fmt: skip
        pinned = _call([*command, "--constraints", str(constraints)], wanted, scratch)
        if pinned.returncode != 0:
            say("harness.requirements do not fit this environment's own versions: resolving them freely")
            pinned = _call(command, wanted, scratch)
    if pinned.returncode != 0:
        _complain(pinned.stderr, requirements)
    return pinned.stdout


def _fetch(lock: str, into: Path, python_version: str, machine: str) -> None:
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(NEWEST_GLIBC, 4, -1)]
    platforms += [f"manylinux2014_{machine}", f"linux_{machine}"]
    pins = into / "pins.txt"
    pins.write_text(lock)
    if not lock.strip():  # pip insists on something to download
        pins.unlink()
        return
    fetched = _call(
        [
            sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
            "--requirement", str(pins), "--dest", str(into),
            "--python-version", python_version, "--implementation", "cp",
            *(f"--abi={abi}" for abi in (f"cp{python_version.replace('.', '')}", "abi3", "none")),
            *(f"--platform={name}" for name in platforms),
        ],
        "",
    )  # fmt: skip
    pins.unlink()
    if fetched.returncode != 0:
        _complain(fetched.stderr, lock.split())


def _call(command: list[str], stdin: str, directory: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run in `directory`: uv reads the [tool.uv] of the project that it stands in, which is not the harness's."""
    return subprocess.run(
        command,
        input=stdin,
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )


def _uv() -> str:
    found = shutil.which(
        "uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    )
    if found is None:
        raise UnfitEnvironment("uv is not installed", hint="install it: pip install uv")
    return found


def _complain(stderr: str, requirements: list[str]) -> None:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    tail = " ".join(lines[-6:])[:800]
    unreachable = (
        "dns error",
        "connection refused",
        "network is unreachable",
        "timed out",
        "failed to fetch",
        "tls handshake",
        "certificate",
    )
    if any(sign in stderr.lower() for sign in unreachable):
        raise UnfitEnvironment(
            f"the package index does not answer: {tail}",
            hint="check the network and the index settings of uv and pip on this host: wheels are fetched here",
        )
    raise InputError(
        f"cannot be installed: {tail}",
        key="harness.requirements",
        hint=f"ask for versions that exist together and have wheels for Linux: {', '.join(requirements)[:200]}",
    )
