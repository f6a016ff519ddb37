"""What is in a base image: its Python, its C library, its distribution's packages. Found out by running it once."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from docker import DockerClient
from docker.types import LogConfig

from bakeoff.backends.docker.connection import DAEMON_GONE
from bakeoff.config.cache import cache_dir
from bakeoff.errors import InputError
from bakeoff.text.escape import last_lines

if TYPE_CHECKING:
    from docker.models.images import Image

SECONDS = 60
# Whatever the daemon's default is: these logs are read.
READABLE_LOG = LogConfig(type=LogConfig.types.JSON)

SCRIPT = """
import importlib.util as u, json, platform, sys
try:
    status = open("/var/lib/dpkg/status", encoding="utf-8").read()
except FileNotFoundError:
    status = ""
print(json.dumps({
    "python": list(sys.version_info[:3]), "libc": platform.libc_ver(), "status": status, "machine": platform.machine(),
    "modules": [m for m in ("venv", "ensurepip", "pip") if u.find_spec(m)],
}))
"""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a container of the image said about itself."""

    python: tuple[int, ...]
    glibc: int  # the minor version: 36 for 2.36; 0: not glibc
    machine: str  # "x86_64" or "aarch64"
    modules: frozenset[str]  # of venv, ensurepip and pip
    packages: dict[str, str]


def look(client: DockerClient, image: Image) -> Probe:
    """Run the image's Python once. The answer is kept under the image's id, which changes with its contents.

    Raises:
        InputError: no Python runs in it.
    """
    image_id = str(image.id)
    cached = cache_dir() / "base-images" / f"{image_id.removeprefix('sha256:')}.json"
    try:
        return parse(cached.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, KeyError):
        said = _run(client, image_id)
    found = parse(said)
    cached.parent.mkdir(parents=True, exist_ok=True)
    half = cached.with_suffix(f".{time.monotonic_ns()}")
    half.write_text(said, encoding="utf-8")
    half.rename(cached)  # complete or not at all
    return found


def parse(said: str) -> Probe:
    """A Probe from the JSON that the script prints.

    Raises:
        ValueError, KeyError: it is another version's.
    """
    data = json.loads(said)
    libc, version = data["libc"]
    minor = re.fullmatch(r"2\.(\d+)", version) if libc == "glibc" else None
    return Probe(
        python=tuple(data["python"]),
        glibc=int(minor[1]) if minor else 0,
        machine=data["machine"],
        modules=frozenset(data["modules"]),
        packages=installed(data["status"]),
    )


def installed(status: str) -> dict[str, str]:
    """The installed packages in a dpkg status file, name to version."""
    packages = {}
    for paragraph in status.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            packages[fields["Package"]] = fields["Version"]
    return packages


def _run(client: DockerClient, image_id: str) -> str:
    container = client.containers.create(
        image_id,
        entrypoint=["python3", "-I", "-c", SCRIPT],
        command=[],
        network_mode="none",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        user="65534:65534",
        mem_limit="256m",
        pids_limit=64,
        labels={"bakeoff": "setup"},
        log_config=READABLE_LOG,
    )
    try:
        container.start()
        status = container.wait(timeout=SECONDS)["StatusCode"]
        if status == 0:
            return container.logs(stdout=True, stderr=False).decode()
        said = last_lines(container.logs().decode(errors="replace"))
    except DAEMON_GONE as error:
        said = str(getattr(error, "explanation", None) or error)
    finally:
        container.remove(force=True)
    raise InputError(
        f"the image has no python3 that runs ({said})",
        key="harness.base_image",
        hint="Choose an image with Python 3.10 or newer, such as python:3.12-slim-bookworm.",
    )
