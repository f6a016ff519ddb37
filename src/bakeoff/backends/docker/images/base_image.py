"""The base image: one that the engine has, or one pulled and pinned by its registry's digest.

The image itself is the record of where it came from: a stand-in that `bakeoff setup` built has labels, a pulled one its
registry's digest. So a second call finds what the first one made, and nothing has to be kept in step.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from docker import DockerClient
from docker.errors import ImageNotFound

from bakeoff.backends.base import Say
from bakeoff.backends.docker.connection import DAEMON_GONE
from bakeoff.backends.docker.images import probe, registry
from bakeoff.backends.docker.images.probe import Probe
from bakeoff.backends.docker.podman import short_name
from bakeoff.errors import InputError, UnfitEnvironment

if TYPE_CHECKING:
    from docker.models.images import Image

KEY = "harness.base_image"
OLDEST_PYTHON = (3, 10)
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}  # an image's architecture -> the kernel's word for it
FITTING = "Choose an image such as python:3.12-slim-bookworm."

# What a stand-in made of Debian's packages may replace. Any other image is the user's choice, and is never replaced.
STAND_IN_FOR = frozenset({"python:3.12-slim-bookworm", "python:3.11-slim-bookworm"})
STAND_IN_SUITE = "bookworm"
STAND_IN_REPOSITORY = "bakeoff-base"
# Names how stand-ins are built (see `provision.stand_in`); one of another recipe is not used.
STAND_IN_RECIPE = "1dbd1452fa6a"
LABEL_RECIPE = "bakeoff.base.recipe"
LABEL_DIGEST = "bakeoff.base.digest"


class NoBaseImage(UnfitEnvironment):
    """The engine does not have the image, and the registry did not give it.

    `silent`: nothing answered at the registry's address. `replaceable`: a stand-in can be built.
    """

    def __init__(self, problem: str, *, hint: str, silent: bool, replaceable: bool) -> None:
        self.silent, self.replaceable = silent, replaceable
        super().__init__(problem, hint=hint)


@dataclass(frozen=True, slots=True)
class BaseImage:
    """What the harness image is built on.

    `kind` says where the image came from: `pulled` from a registry, `built` here from Debian's packages, or `present`
    (made or loaded by the user). `digest` is the registry's for a pulled image; for a built one the SHA-256 over its
    sorted `package=version` lines; else the SHA-256 over its layers and environment, equal on every engine.
    """

    kind: Literal["pulled", "present", "built"]
    reference: str  # as harness.yaml has it
    image_id: str
    digest: str
    python_version: str  # "3.11"
    machine: str  # "x86_64" or "aarch64"
    glibc: int  # the minor version: 36 for 2.36
    packages: dict[str, str]  # of the distribution (dpkg), name to version; empty where there is no dpkg


def ensure(client: DockerClient, reference: str, say: Say) -> BaseImage:
    """The base image named by `reference` (tag, `name@sha256:...` or image id), pulled if the engine has none.

    For the default image, a stand-in that was built earlier is as good.

    Args:
        client: the engine.
        reference: harness.yaml's `harness.base_image`.
        say: gets one line for each step that is taken; nothing when the image is there.

    Raises:
        InputError: the image exists but cannot run a harness.
        NoBaseImage: there is no such image; `hint` says what to do.
    """
    image = _present(client, reference)
    if image is None:
        try:
            image = registry.pull(client, reference, say)
        except registry.NotPulled as error:
            replaceable = reference in STAND_IN_FOR
            hint = f"{error.hint} Or `docker load` the image, or set {KEY} to an image that is there (`docker images`)."
            if replaceable:
                option = "" if error.silent else " --stand-in"
                hint += f" Or `bakeoff setup{option}` builds a stand-in from Debian's packages."
            raise NoBaseImage(str(error), hint=hint, silent=error.silent, replaceable=replaceable) from error
    return _inspect(client, image, reference)


def find(client: DockerClient, reference: str) -> BaseImage | None:
    """The base image if the engine has it (or its stand-in) already; makes nothing.

    Raises:
        InputError: the image exists but cannot run a harness.
    """
    image = _present(client, reference)
    return None if image is None else _inspect(client, image, reference)


def _present(client: DockerClient, reference: str) -> Image | None:
    try:
        return client.images.get(reference)
    except ImageNotFound:
        if reference not in STAND_IN_FOR:
            return None
    except DAEMON_GONE as error:
        said = getattr(error, "explanation", None) or str(error)
        raise InputError(f"{reference!r}: {said}", key=KEY, hint=FITTING) from error
    # By name and label: any image can have the name, and images made on top inherit the label. Newest first.
    built = client.images.list(
        name=STAND_IN_REPOSITORY, filters={"label": f"{LABEL_RECIPE}={STAND_IN_RECIPE}", "dangling": False}
    )
    return built[0] if built else None


def _inspect(client: DockerClient, image: Image, reference: str) -> BaseImage:
    found = probe.look(client, image)
    refuse_unfit(found, image.attrs, reference)
    return describe(image.attrs, reference, found)


def describe(attributes: dict[str, Any], reference: str, found: Probe) -> BaseImage:
    """A BaseImage from Docker's inspection of an image and from what was found in it."""
    labels = (attributes.get("Config") or {}).get("Labels") or {}
    kind: Literal["pulled", "present", "built"] = "present"
    digest = content_digest(attributes)
    if stand_in_name(labels.get(LABEL_DIGEST, "")) in map(short_name, attributes.get("RepoTags") or []):
        kind, digest = "built", labels[LABEL_DIGEST]
    elif pulled := registry.digest_of(attributes, reference):
        kind, digest = "pulled", pulled
    return BaseImage(
        kind=kind,
        reference=reference,
        image_id=attributes["Id"],
        digest=digest,
        python_version=".".join(map(str, found.python[:2])),
        machine=found.machine,
        glibc=found.glibc,
        packages=dict(sorted(found.packages.items())),
    )


def content_digest(attributes: dict[str, Any]) -> str:
    """What an image is made of, whatever store it lies in: an image's id differs between Docker's two stores."""
    layers = (attributes.get("RootFS") or {}).get("Layers") or []
    environment = sorted((attributes.get("Config") or {}).get("Env") or [])
    content = json.dumps([layers, environment, attributes.get("Architecture")])
    return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"


def stand_in_name(digest: str) -> str:
    """The name of one stand-in: the suite and the start of its digest."""
    return f"{STAND_IN_REPOSITORY}:{STAND_IN_SUITE}-{digest.removeprefix('sha256:')[:12]}"


def refuse_unfit(found: Probe, attributes: dict[str, Any], reference: str) -> None:
    """Raise InputError for an image that could not run a harness."""
    version = ".".join(map(str, found.python))
    volumes = (attributes.get("Config") or {}).get("Volumes") or {}
    problem = None
    if found.python[:2] < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        problem = f"{reference} has Python {version}; bakeoff needs {oldest} or newer"
    elif not found.glibc:
        problem = f"{reference} is not built on glibc, and the harness's wheels are made for glibc"
    elif not ("pip" in found.modules or {"venv", "ensurepip"} <= found.modules):
        problem = f"the Python {version} of {reference} has neither pip nor venv and ensurepip"
    elif volumes:
        problem = (
            f"{reference} declares volumes ({', '.join(volumes)}): places to write that no limit holds, and "
            "whose content an image made on top loses"
        )
    if problem:
        raise InputError(problem, key=KEY, hint=FITTING)
