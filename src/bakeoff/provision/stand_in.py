"""A stand-in for the default base image, built from Debian's packages where no registry can be reached."""

from __future__ import annotations

import gzip
import hashlib
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

from docker import DockerClient

from bakeoff.backends.base import Say
from bakeoff.backends.docker.images import base_image
from bakeoff.backends.docker.images.base_image import (
    KEY,
    LABEL_DIGEST,
    LABEL_RECIPE,
    STAND_IN_RECIPE,
    STAND_IN_REPOSITORY,
    STAND_IN_SUITE,
    BaseImage,
    stand_in_name,
)
from bakeoff.backends.docker.images.probe import installed
from bakeoff.backends.docker.images.progress import growing, progress
from bakeoff.config.cache import cache_dir
from bakeoff.errors import UnfitEnvironment
from bakeoff.provision.docker_engine import apt_install, privilege
from bakeoff.text.escape import last_lines

TOOLS = ("mmdebstrap", "debootstrap")
KEPT_SECONDS = 30 * 86400.0
LABEL_MADE_BY = "bakeoff.base.made_by"
# Change base_image.STAND_IN_RECIPE with any of these.
PACKAGES = ("python3", "python3-venv", "python-is-python3")
DOCUMENTATION = (
    "usr/share/doc/*",
    "usr/share/man/*",
    "usr/share/info/*",
    "usr/share/locale/*",
    "usr/share/lintian/*",
)
LEFTOVERS = ("var/lib/apt/lists/*", "var/cache/*", "var/log/*")


def ensure(client: DockerClient, reference: str, say: Say, *, wanted: bool = False) -> BaseImage:
    """The base image; where nothing answers at the registry's address, its stand-in is built.

    Args:
        client: the engine that is to have it.
        reference: harness.yaml's `harness.base_image`.
        say: gets one line for each step that is taken.
        wanted: build the stand-in also when a registry answers and refuses.

    Raises:
        InputError, UnfitEnvironment: as `base_image.ensure` and `build` do.
    """
    try:
        return base_image.ensure(client, reference, say)
    except base_image.NoBaseImage as error:
        if not error.replaceable or not (error.silent or wanted):
            raise
        say(f"{error}; building a stand-in for {reference} from Debian's packages")
    build(client, say)
    return base_image.ensure(client, reference, say)


def build(client: DockerClient, say: Say) -> None:
    """Debian's minimal system with its Python, as an image that names how it was made.

    What was built is kept, so that another engine on this machine gets the same without building it again.

    Raises:
        UnfitEnvironment: it may not be built here, or Debian's packages cannot be reached.
    """
    tar = _kept() or _bootstrap(say)
    packages = installed(_read(tar, "var/lib/dpkg/status"))
    digest = digest_of(packages)
    changes = [
        f"LABEL {LABEL_RECIPE}={STAND_IN_RECIPE}",
        f"LABEL {LABEL_DIGEST}={digest}",
        f"LABEL {LABEL_MADE_BY}={tar.name.partition('.')[0]}",
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8",
        'CMD ["python3"]',
    ]
    size = tar.stat().st_size
    with tar.open("rb") as stream, progress(say, "base image: loading", lambda: (stream.tell(), size)):
        answer = client.api.import_image(
            src=stream,
            repository=STAND_IN_REPOSITORY,
            tag=stand_in_name(digest).partition(":")[2],
            changes=changes,
        )
    if not re.search(r"sha256:[0-9a-f]{64}", answer):
        raise UnfitEnvironment(
            f"Docker did not take the base image: {last_lines(answer)}", hint="See `docker info`."
        )
    say(f"loaded {stand_in_name(digest)}")


def _home() -> Path:
    return cache_dir() / "stand-ins" / STAND_IN_RECIPE


def _kept() -> Path | None:
    """What was built here lately: later, Debian's security updates are worth a new one."""
    tars = (_home() / f"{tool}.tar.gz" for tool in TOOLS)
    return next(
        (tar for tar in tars if tar.exists() and time.time() - tar.stat().st_mtime < KEPT_SECONDS), None
    )


def _bootstrap(say: Say) -> Path:
    """Build it with one of TOOLS, which gives the file its name."""
    root = privilege()
    tool = next((tool for tool in TOOLS if _program(tool)), None)
    if root is None or (tool is None and shutil.which("apt-get") is None):
        raise UnfitEnvironment(
            "building a base image needs root and mmdebstrap or debootstrap",
            hint=f"Pull or `docker load` an image with Python 3.10 or newer and set {KEY} to it; "
            "or install debootstrap and run `sudo -E bakeoff setup`.",
        )
    if tool is None:
        tool = TOOLS[0]
        say(f"installing {tool}")
        apt_install(root, [tool], say)
    started = time.monotonic()
    _home().mkdir(parents=True, exist_ok=True)
    kept = _home() / f"{tool}.tar.gz"
    with tempfile.TemporaryDirectory(prefix="bakeoff-base-") as directory:
        Path(directory).chmod(0o755)  # apt reads as a user of its own
        tar = Path(directory, "base.tar")
        bootstrap = _mmdebstrap if tool == "mmdebstrap" else _debootstrap
        with progress(say, "base image: building", growing(Path(directory))):
            bootstrap(root, tar)
        with tempfile.NamedTemporaryFile(dir=_home(), delete=False) as half:
            with tar.open("rb") as whole, gzip.open(half, "wb", compresslevel=1) as packed:
                shutil.copyfileobj(whole, packed)
            Path(half.name).rename(kept)  # complete or not at all
    say(f"built with {tool} in {time.monotonic() - started:.0f} s")
    return kept


def _mmdebstrap(root: tuple[str, ...], tar: Path) -> None:
    excluded = [f"--dpkgopt=path-exclude=/{path}" for path in DOCUMENTATION]
    include = f"--include={','.join(PACKAGES)}"
    command = [
        "env",
        f"TMPDIR={tar.parent}",
        _program("mmdebstrap") or "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        "--mode=root",
        "--format=tar",
    ]
    _to_tar([*root, *command, include, *excluded, STAND_IN_SUITE, "-"], tar)


def _debootstrap(root: tuple[str, ...], tar: Path) -> None:
    tree = tar.with_suffix(".d")
    tool = _program("debootstrap") or "debootstrap"
    include = f"--include={','.join(PACKAGES)}"
    excluded = [f"--exclude=./{path}" for path in (*DOCUMENTATION, *LEFTOVERS)]
    try:
        _to_tar([*root, tool, "--variant=minbase", include, STAND_IN_SUITE, str(tree)], tar)
        _to_tar([*root, "tar", "-C", str(tree), "--one-file-system", *excluded, "-cf", "-", "."], tar)
    finally:
        # A debootstrap that was stopped leaves /proc mounted in the tree: never reach through a mount.
        subprocess.run([*root, "rm", "-rf", "--one-file-system", str(tree)], check=False)


def _to_tar(command: list[str], tar: Path) -> None:
    """Run a command with its standard output in a file that this user owns: root's might not be readable."""
    with tar.open("wb") as out:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, text=True, check=False
        )
    if done.returncode:
        raise UnfitEnvironment(
            f"could not build a base image: {last_lines(done.stderr)}",
            hint=f"Give this machine access to Debian's packages, or set {KEY} to an image that is there.",
        )


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def _read(tar: Path, name: str) -> str:
    with tarfile.open(tar) as archive:
        for member in archive:
            if member.name.removeprefix("./") == name and (stream := archive.extractfile(member)):
                return stream.read().decode()
    raise UnfitEnvironment(f"the base image that was built has no {name}", hint="Run `bakeoff setup` again.")


def digest_of(packages: dict[str, str]) -> str:
    """`sha256:` and the SHA-256 over the sorted `package=version` lines: equal contents, equal digest."""
    lines = "\n".join(f"{name}={version}" for name, version in sorted(packages.items()))
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"
