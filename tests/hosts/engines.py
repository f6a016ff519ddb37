"""The engines that people have, each run beside the one of this machine: of which packages, and how it is started.

Every daemon has defaults that differ from bakeoff's wishes, as other people's daemons have.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import docker

from bakeoff.backends.docker.connection import DAEMON_GONE, connect
from bakeoff.errors import UnfitEnvironment
from bakeoff.provision.docker_engine import apt_install, privilege
from bakeoff.text.escape import last_lines

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "hosts"
MAKE_SECONDS = 1200.0  # for the packages of one suite
START_SECONDS = 90.0
STOP_SECONDS = 20.0

PACKAGES = {
    "bookworm": ("podman", "crun", "runsc", "containerd"),
    "trixie": ("docker.io", "podman", "crun", "netavark", "runsc"),
    "sid": ("docker.io",),
}
# What each daemon would give every container: bakeoff asks for something else.
CONTRARY: Mapping[str, Any] = {
    "init": True,
    "default-ulimits": {
        "nofile": {"Name": "nofile", "Soft": 700, "Hard": 700},
        "core": {"Name": "core", "Soft": -1, "Hard": -1},
    },
    "default-shm-size": "3M",
    "default-cgroupns-mode": "host",
    "default-ipc-mode": "shareable",
    "log-driver": "none",
}


@dataclass(frozen=True)
class Engine:
    """One engine. `suite`: whose packages it is made of; None: this machine's own."""

    name: str
    suite: str | None = None
    kind: Literal["docker", "podman"] = "docker"
    settings: Mapping[str, Any] = field(default_factory=dict)  # of daemon.json

    def command(self, place: Path, parent: str) -> list[str]:
        """What starts it, with all of its files in `place`."""
        if self.kind == "podman":
            files = ["--root", f"{place}/data", "--runroot", f"{place}/run", "--tmpdir", f"{place}/tmp"]
            return [
                *("podman", *files, "--cgroup-manager", "cgroupfs", "--events-backend", "file"),
                *("system", "service", "--time", "0", f"unix://{place}/s"),
            ]
        return [
            *("dockerd", "--config-file", f"{place}/daemon.json", "-H", f"unix://{place}/s"),
            *("--data-root", f"{place}/data", "--exec-root", f"{place}/exec", "--pidfile", f"{place}/pid"),
            *("--bridge", "none", "--iptables=false", "--ip6tables=false", "--cgroup-parent", f"/{parent}"),
        ]


SNAPSHOTTER = {"features": {"containerd-snapshotter": True}}
ENGINES = (
    Engine("Docker 20.10"),
    Engine("Docker 26.1", "trixie"),
    Engine("Docker 26.1, containerd store", "trixie", settings=SNAPSHOTTER),
    Engine("Docker 28.5", "sid"),
    Engine("Docker 28.5, containerd store", "sid", settings=SNAPSHOTTER),
    Engine("Podman 4.3", "bookworm", "podman"),
    Engine("Podman 5.4", "trixie", "podman"),
)


@dataclass(frozen=True)
class Running:
    """An engine that answers."""

    engine: Engine
    place: Path
    parent: str  # the cgroup above its containers'

    @property
    def host(self) -> str:
        """Its DOCKER_HOST."""
        return f"unix://{self.place}/s"

    def client(self) -> docker.DockerClient:
        """A client of it."""
        return connect({"DOCKER_HOST": self.host})

    @contextmanager
    def above(self, controller: str, file: str, value: int) -> Iterator[None]:
        """Give the cgroup above its containers this limit."""
        path = cgroup(controller, self.parent) / file
        path.parent.mkdir(exist_ok=True)
        before = path.read_text().strip()
        path.write_text(str(value))
        try:
            yield
        finally:
            path.write_text(before)


def cgroup(controller: str, name: str) -> Path:
    """The directory of a cgroup of this machine, on either version."""
    root = Path("/sys/fs/cgroup")
    return root / name if (root / "cgroup.controllers").exists() else root / controller / name


def version_1() -> bool:
    """Whether this machine has cgroup version 1."""
    return not Path("/sys/fs/cgroup/cgroup.controllers").exists()


@contextmanager
def running(engine: Engine) -> Iterator[Running]:
    """Start it, and leave nothing of it.

    Raises:
        UnfitEnvironment: it cannot be had or does not answer; with its last words.
    """
    root = tree(engine.suite)
    # short: the address of a Unix socket has room for 107 bytes
    place = Path(tempfile.mkdtemp(prefix="bh-"))
    parent = "libpod_parent" if engine.kind == "podman" else f"bakeoff-{place.name}"
    (place / "daemon.json").write_text(json.dumps({**CONTRARY, **engine.settings}))
    log = place / "log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [HERE / "box.sh", root, place, *engine.command(place, parent)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
    try:
        made = Running(engine, place, parent)
        _await(made, process, log)
        yield made
    finally:
        process.kill()  # with it, everything in its process ids
        process.wait(STOP_SECONDS)
        _remove_cgroups(parent)
        subprocess.run(["rm", "-rf", "--one-file-system", str(place)], check=True)


def _await(made: Running, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return made.client().close()
        except UnfitEnvironment as error:
            if process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.5)
                continue
            words = last_lines(log.read_text(errors="replace"))
            raise UnfitEnvironment(f"{made.engine.name} does not answer: {words}") from error


def _remove_cgroups(parent: str) -> None:
    roots = [Path("/sys/fs/cgroup")] if not version_1() else sorted(Path("/sys/fs/cgroup").iterdir())
    for top in (root / parent for root in roots):
        below = sorted((path for path in top.rglob("*/") if path.is_dir()), reverse=True)
        for path in (*below, top):
            with contextlib.suppress(OSError):
                path.rmdir()


def tree(suite: str | None) -> Path:
    """The root directory of a system with a suite's engines: Debian's packages, unpacked once.

    The address of the packages is the one that apt has here.

    Raises:
        UnfitEnvironment: they cannot be had.
    """
    if suite is None:
        return Path("/")
    packages = PACKAGES[suite]
    home = CACHE / f"{suite}-{hashlib.sha256(' '.join(packages).encode()).hexdigest()[:12]}"
    if home.exists():
        return home
    if shutil.which("mmdebstrap") is None:
        apt_install(privilege() or (), ["mmdebstrap", "debian-archive-keyring"], print)
    CACHE.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(dir=CACHE, prefix="making-"))
    unneeded = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
    done = subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", "--format=directory", *unneeded),
            f"--include={','.join((*packages, 'procps', 'uidmap'))}",
            *(suite, str(half), f"deb {_mirror()} {suite} main"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=MAKE_SECONDS,
        check=False,
    )
    if done.returncode:
        subprocess.run(["rm", "-rf", "--one-file-system", str(half)], check=True)
        raise UnfitEnvironment(f"no packages of {suite}: {last_lines(done.stderr)}")
    half.rename(home)
    return home


def _mirror() -> str:
    wanted = "$(REPO_URI) $(CODENAME) $(COMPONENT)"
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", wanted, "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    )
    own = platform.freedesktop_os_release().get("VERSION_CODENAME")
    found = [line.split()[0] for line in listed.stdout.splitlines() if line.split()[1:] == [own, "main"]]
    if not found:
        raise UnfitEnvironment("apt knows no address of Debian's packages here")
    return found[0]


def described(client: docker.DockerClient) -> str:
    """Its version, and what its containers run in."""
    try:
        info = client.info()
    except DAEMON_GONE as error:
        return str(error)
    return f"{info.get('ServerVersion')}, {info.get('Driver')}, {info.get('DefaultRuntime')}"
