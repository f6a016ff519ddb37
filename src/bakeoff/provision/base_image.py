"""The base image: present, pulled and pinned by digest, or built from Debian's packages without a registry.

The image itself is the record of the choice: a pulled one carries its registry digest, a built one its
labels. So a second call finds what the first one made, and nothing has to be kept in step.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import docker
from docker.auth import resolve_repository_name
from docker.errors import APIError, ImageNotFound
from requests.exceptions import RequestException

from bakeoff.backends.base import Say
from bakeoff.config.cache import cache_dir
from bakeoff.errors import InputError, UnfitEnvironment
from bakeoff.provision.docker_engine import apt_install, last_lines, privilege

if TYPE_CHECKING:
    from docker.models.images import Image

KEY = "harness.base_image"
OLDEST_PYTHON = (3, 10)

# What Debian's own Python may stand in for. Any other image is the user's choice, and is never replaced.
STAND_IN_FOR = frozenset({"python:3.12-slim-bookworm", "python:3.11-slim-bookworm"})
STAND_IN_SUITE = "bookworm"
STAND_IN_PACKAGES = ("python3", "python3-venv", "python-is-python3")
STAND_IN_REPOSITORY = "bakeoff-base"

LABEL_RECIPE = "bakeoff.base.recipe"  # a changed recipe is built anew
LABEL_DIGEST = "bakeoff.base.digest"
LABEL_MADE_BY = "bakeoff.base.made_by"

REGISTRY_SECONDS = 8  # to say which digest it has; a name that does not resolve fails at once
SILENCE_SECONDS = 3600.0  # a registry that did not answer is not asked again for so long
PROBE_SECONDS = 60

DOCUMENTATION = (
    "usr/share/doc/*",
    "usr/share/man/*",
    "usr/share/info/*",
    "usr/share/locale/*",
    "usr/share/lintian/*",
)
LEFTOVERS = ("var/lib/apt/lists/*", "var/cache/*", "var/log/*")
RECIPE = hashlib.sha256(repr((STAND_IN_SUITE, STAND_IN_PACKAGES, DOCUMENTATION)).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class BaseImage:
    """What the harness image is built on.

    `kind` tells where the image came from: `pulled` from a registry, `built` here from Debian's packages, or
    `present` (made or loaded by the user). `digest` is the registry's for a pulled image; for a built one the
    SHA-256 over its sorted `package=version` lines; else the image's id.
    """

    kind: Literal["pulled", "present", "built"]
    reference: str  # as harness.yaml has it
    image_id: str
    digest: str
    python_version: str  # "3.11"
    packages: dict[str, str]  # of the distribution (dpkg), name to version; empty where there is no dpkg


def ensure(client: docker.DockerClient, reference: str, say: Say) -> BaseImage:
    """The base image named by `reference` (tag, `name@sha256:...` or image id), made where need be.

    In this order: an image that the engine has already; for the default image, a stand-in built earlier; a
    pull, pinned by digest; for the default image, a stand-in built now.

    Args:
        client: the engine that shall have it.
        reference: harness.yaml's `harness.base_image`.
        say: gets one line for each step that is taken; nothing when the image is there.

    Raises:
        InputError: the image exists but has no Python that could run a harness.
        UnfitEnvironment: there is no such image and none can be made.
    """
    image = _present(client, reference)
    if image is None:
        try:
            image = _pull(client, reference, say)
        except UnfitEnvironment as error:
            if reference not in STAND_IN_FOR:
                raise
            say(f"{error}; building a stand-in for {reference} from Debian's packages")
            image = _build(client, say)
    return _inspect(client, image, reference)


def find(client: docker.DockerClient, reference: str) -> BaseImage | None:
    """The base image if the engine has it (or its stand-in) already; makes nothing.

    Raises:
        InputError: the image exists but has no Python that could run a harness.
    """
    image = _present(client, reference)
    return None if image is None else _inspect(client, image, reference)


def _inspect(client: docker.DockerClient, image: Image, reference: str) -> BaseImage:
    found = _probe(client, image)
    refuse_unfit(found, reference)
    return describe(image.attrs, reference, found)


def describe(attributes: dict[str, Any], reference: str, found: Probe) -> BaseImage:
    """A BaseImage from Docker's inspection of an image and from what was found in it."""
    labels = (attributes.get("Config") or {}).get("Labels") or {}
    image_id: str = attributes["Id"]
    kind: Literal["pulled", "present", "built"] = "present"
    digest = image_id
    if own_name(labels.get(LABEL_DIGEST, "")) in (attributes.get("RepoTags") or []):
        kind, digest = "built", labels[LABEL_DIGEST]
    elif repo_digests := attributes.get("RepoDigests"):
        kind, digest = "pulled", repo_digests[0].partition("@")[2]
    return BaseImage(
        kind,
        reference,
        image_id,
        digest,
        ".".join(map(str, found.python[:2])),
        dict(sorted(found.packages.items())),
    )


def _present(client: docker.DockerClient, reference: str) -> Image | None:
    try:
        return client.images.get(reference)
    except ImageNotFound:
        if reference not in STAND_IN_FOR:
            return None
    # By name and label: anybody may give the name, and images made on top inherit the label. Newest first.
    built = client.images.list(
        name=STAND_IN_REPOSITORY, filters={"label": f"{LABEL_RECIPE}={RECIPE}", "dangling": False}
    )
    return built[0] if built else None


# --- pulling ----------------------------------------------------------------------------------------


def _pull(client: docker.DockerClient, reference: str, say: Say) -> Image:
    """Ask the registry for the digest, then pull exactly that, and tag it as it was asked for."""
    registry, repository = resolve_repository_name(reference)
    hint = (
        f"Give Docker a road to {registry}, or `docker load` the image, "
        f"or set {KEY} to an image that is there (`docker images`)."
    )
    silent = _silence(client, registry)
    if silent.exists() and time.time() - silent.stat().st_mtime < SILENCE_SECONDS:
        raise UnfitEnvironment(
            f"the registry {registry} did not answer less than an hour ago",
            hint=f"{hint} Remove {silent} to ask it again at once.",
        )
    try:
        with _timeout(client, REGISTRY_SECONDS):
            answer = client.api.inspect_distribution(reference)  # type: ignore[no-untyped-call]
        digest = answer["Descriptor"]["digest"]
        say(f"pulling {reference} ({digest[:19]})")
        name, tag = name_and_tag(reference)
        image = client.images.pull(name, tag=digest)
        if tag is not None:
            image.tag(name, tag=tag)
    except (APIError, RequestException) as error:
        if isinstance(error, APIError) and error.status_code in {401, 403, 404}:
            raise UnfitEnvironment(f"{registry} has no image {repository!r} for us", hint=hint) from error
        silent.parent.mkdir(parents=True, exist_ok=True)
        silent.touch()
        raise UnfitEnvironment(f"the registry {registry} does not answer", hint=hint) from error
    return client.images.get(image.id or reference)


def name_and_tag(reference: str) -> tuple[str, str | None]:
    """`registry:5000/name:tag` in two; `latest` where no tag is given, None where a digest is."""
    if "@" in reference:
        return reference.partition("@")[0], None
    head, slash, last = reference.rpartition("/")
    name, _, tag = last.partition(":")
    return f"{head}{slash}{name}", tag or "latest"


def _silence(client: docker.DockerClient, registry: str) -> Path:
    """The file whose age says when a registry was last silent; one for each engine, since roads differ."""
    key = hashlib.sha256(f"{client.info().get('ID')} {registry}".encode()).hexdigest()[:16]
    return cache_dir() / "silent-registries" / key


@contextmanager
def _timeout(client: docker.DockerClient, seconds: int) -> Iterator[None]:
    """Bound the requests inside. Set-up has one thread, so nobody else's are touched."""
    before = client.api.timeout
    client.api.timeout = seconds
    try:
        yield
    finally:
        client.api.timeout = before


# --- building ---------------------------------------------------------------------------------------


def _build(client: docker.DockerClient, say: Say) -> Image:
    """Debian's minimal system with its Python, as an image that names how it was made."""
    root = privilege()
    tool = next((tool for tool in ("mmdebstrap", "debootstrap") if _program(tool)), None)
    if root is None or (tool is None and shutil.which("apt-get") is None):
        raise UnfitEnvironment(
            "no registry answers, and building a base image needs root and mmdebstrap or debootstrap",
            hint=f"Pull or `docker load` an image with Python 3.10 or newer and set {KEY} to it; "
            "or install debootstrap and run `sudo -E bakeoff setup`.",
        )
    if tool is None:
        tool = "mmdebstrap"
        say("installing mmdebstrap")
        apt_install(root, [tool])
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bakeoff-base-") as directory:
        tar = Path(directory, "base.tar")
        bootstrap = _mmdebstrap if tool == "mmdebstrap" else _debootstrap
        bootstrap(root, tar)
        packages = installed(_read(tar, "var/lib/dpkg/status"))
        digest = digest_of(packages)
        changes = [
            f"LABEL {LABEL_RECIPE}={RECIPE}",
            f"LABEL {LABEL_DIGEST}={digest}",
            f"LABEL {LABEL_MADE_BY}={tool}",
            "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8",
            'CMD ["python3"]',
        ]
        with tar.open("rb") as stream:
            answer = client.api.import_image(
                src=stream,
                repository=STAND_IN_REPOSITORY,
                tag=own_name(digest).partition(":")[2],
                changes=changes,
            )
    if not (match := re.search(r"sha256:[0-9a-f]{64}", answer)):
        raise UnfitEnvironment(
            f"Docker did not take the base image: {last_lines(answer)}", hint="See `docker info`."
        )
    say(f"built {own_name(digest)} with {tool} in {time.monotonic() - started:.0f} s")
    return client.images.get(match.group())


def own_name(digest: str) -> str:
    """The name of one build: the suite and the start of its digest."""
    return f"{STAND_IN_REPOSITORY}:{STAND_IN_SUITE}-{digest.removeprefix('sha256:')[:12]}"


def _mmdebstrap(root: tuple[str, ...], tar: Path) -> None:
    excluded = [f"--dpkgopt=path-exclude=/{path}" for path in DOCUMENTATION]
    include = f"--include={','.join(STAND_IN_PACKAGES)}"
    command = [
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
    include = f"--include={','.join(STAND_IN_PACKAGES)}"
    excluded = [f"--exclude=./{path}" for path in (*DOCUMENTATION, *LEFTOVERS)]
    try:
        _to_tar([*root, tool, "--variant=minbase", include, STAND_IN_SUITE, str(tree)], tar)
        _to_tar([*root, "tar", "-C", str(tree), "--one-file-system", *excluded, "-cf", "-", "."], tar)
    finally:
        # A debootstrap that was stopped leaves /proc mounted in the tree: never reach through a mount.
        subprocess.run([*root, "rm", "-rf", "--one-file-system", str(tree)], check=False)


def _to_tar(command: list[str], tar: Path) -> None:
    """Run a command with its standard output in a file of ours: root's own file we might not read."""
    with tar.open("wb") as out:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, text=True, check=False
        )
    if done.returncode:
        raise UnfitEnvironment(
            f"could not build a base image: {last_lines(done.stderr)}",
            hint=f"Give this machine a road to Debian's packages, or set {KEY} to an image that is there.",
        )


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def _read(tar: Path, name: str) -> str:
    with tarfile.open(tar) as archive:
        for member in archive:
            if member.name.removeprefix("./") == name and (stream := archive.extractfile(member)):
                return stream.read().decode()
    raise UnfitEnvironment(f"the base image that was built has no {name}", hint="Run `bakeoff setup` again.")


def installed(status: str) -> dict[str, str]:
    """The installed packages in a dpkg status file, name to version."""
    packages = {}
    for paragraph in status.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            packages[fields["Package"]] = fields["Version"]
    return packages


def digest_of(packages: dict[str, str]) -> str:
    """`sha256:` and the SHA-256 over the sorted `package=version` lines: equal contents, equal digest."""
    lines = "\n".join(f"{name}={version}" for name, version in sorted(packages.items()))
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


# --- probing ----------------------------------------------------------------------------------------

PROBE = """
import importlib.util as u, json, platform, sys
try:
    status = open("/var/lib/dpkg/status", encoding="utf-8").read()
except FileNotFoundError:
    status = ""
print(json.dumps({
    "python": list(sys.version_info[:3]), "libc": platform.libc_ver()[0], "status": status,
    "modules": [m for m in ("venv", "ensurepip", "pip") if u.find_spec(m)],
}))
"""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a container of the image said about itself."""

    python: tuple[int, ...]
    libc: str  # glibc, or empty
    modules: frozenset[str]  # of venv, ensurepip and pip
    packages: dict[str, str]


def _probe(client: docker.DockerClient, image: Image) -> Probe:
    """Look into an image by running its Python once; remembered by its id, which stands for its contents."""
    image_id = str(image.id)
    cached = cache_dir() / "base-images" / f"{image_id.removeprefix('sha256:')}.json"
    try:
        return parse_probe(cached.read_text(encoding="utf-8"))
    except FileNotFoundError:
        said = _run_probe(client, image_id)
    found = parse_probe(said)
    cached.parent.mkdir(parents=True, exist_ok=True)
    half = cached.with_suffix(f".{time.monotonic_ns()}")
    half.write_text(said, encoding="utf-8")
    half.rename(cached)  # whole or not at all
    return found


def _run_probe(client: docker.DockerClient, image_id: str) -> str:
    container = client.containers.create(
        image_id,
        entrypoint=["python3", "-I", "-c", PROBE],
        command=[],
        network_mode="none",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        user="65534:65534",
        mem_limit="256m",
        pids_limit=64,
        labels={"bakeoff": "setup"},
    )
    try:
        container.start()
        status = container.wait(timeout=PROBE_SECONDS)["StatusCode"]
        if status == 0:
            return container.logs(stdout=True, stderr=False).decode()
        said = last_lines(container.logs().decode(errors="replace"))
    except APIError as error:
        said = str(error.explanation)
    finally:
        container.remove(force=True)
    raise InputError(
        f"the image has no python3 that runs ({said})",
        key=KEY,
        hint="Choose an image with Python 3.10 or newer, such as python:3.12-slim-bookworm.",
    )


def parse_probe(said: str) -> Probe:
    """A Probe from the JSON that the probe prints."""
    data = json.loads(said)
    return Probe(tuple(data["python"]), data["libc"], frozenset(data["modules"]), installed(data["status"]))


def refuse_unfit(found: Probe, reference: str) -> None:
    """Raise InputError for an image whose Python could not run a harness."""
    version = ".".join(map(str, found.python))
    problem = None
    if found.python[:2] < OLDEST_PYTHON:
        problem = (
            f"{reference} has Python {version}; bakeoff needs {'.'.join(map(str, OLDEST_PYTHON))} or newer"
        )
    elif found.libc != "glibc":
        problem = f"{reference} is not built on glibc, and the harness's wheels are made for glibc"
    elif not ("pip" in found.modules or {"venv", "ensurepip"} <= found.modules):
        problem = f"the Python {version} of {reference} has neither pip nor venv and ensurepip"
    if problem:
        raise InputError(problem, key=KEY, hint="Choose an image such as python:3.12-slim-bookworm.")
