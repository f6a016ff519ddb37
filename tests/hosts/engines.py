"""The engines that people have, each run beside the one of this machine: of which packages, and how it is started.

Every daemon has defaults that differ from bakeoff's wishes, as other people's daemons have.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import docker
import pytest

from bakeoff.backends.docker.connection import DAEMON_GONE, connect
from bakeoff.errors import UnfitEnvironment
from bakeoff.provision.docker_engine import apt_install, privilege
from bakeoff.text.escape import last_lines
from tests.docker.sshd import sshd
from tests.fakes.certificates import certificates

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "hosts"
MAKE_SECONDS = 1200.0  # for the packages of one suite
START_SECONDS = 90.0
STOP_SECONDS = 20.0

PACKAGES = {
    "bookworm": ("docker.io", "podman", "crun"),
    "trixie": ("docker.io", "podman", "crun", "netavark", "iproute2", "rootlesskit", "runsc", "slirp4netns"),
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
    "max-download-attempts": 1,
}


@dataclass(frozen=True)
class Engine:
    """One engine.

    Args:
        name: its row.
        suite: whose packages it is made of.
        kind: whose commands start it.
        settings: more of daemon.json.
        rootless: a user starts it.
        reach: how runs reach it. The campaign itself looks at it through its socket.
        refuses: what bakeoff says when it refuses to run there, as it must; empty: it runs there.
        absent: why it is not started at all.
        in_guest: checks that `make test-cgroup2` makes on it, in an emulated machine.
    """

    name: str
    suite: str
    kind: Literal["docker", "podman"] = "docker"
    settings: Mapping[str, Any] = field(default_factory=dict)
    rootless: bool = False
    reach: Literal["socket", "ssh", "tls"] = "socket"
    refuses: str = ""
    absent: str = ""
    in_guest: tuple[str, ...] = ()

    def command(self, place: Path, parent: str) -> list[str]:
        """What starts it, with all of its files in `place`."""
        if self.kind == "podman":
            files = ["--root", f"{place}/data", "--runroot", f"{place}/run", "--tmpdir", f"{place}/tmp"]
            return [
                *("podman", *files, "--cgroup-manager", "cgroupfs", "--events-backend", "file"),
                *("system", "service", "--time", "0", f"unix://{place}/s"),
            ]
        kit = [
            "rootlesskit",
            "--net=slirp4netns",
            "--disable-host-loopback",
            "--copy-up=/etc",
            "--copy-up=/run",
            f"--state-dir={place}/kit",
        ]
        return [
            *(
                [*kit, "dockerd", "--rootless"]
                if self.rootless
                else ["dockerd", "--cgroup-parent", f"/{parent}"]
            ),
            *("--config-file", f"{place}/daemon.json"),
            *("--data-root", f"{place}/data", "--exec-root", f"{place}/exec", "--pidfile", f"{place}/pid"),
            *("--bridge", "none", "--iptables=false", "--ip6tables=false"),
        ]


def version_1() -> bool:
    """Whether this machine has cgroup version 1."""
    return not Path("/sys/fs/cgroup/cgroup.controllers").exists()


SNAPSHOTTER = {"features": {"containerd-snapshotter": True}}
RUNSC = {"path": "/usr/bin/runsc", "runtimeArgs": ["--network=none"]}
GVISOR = {"runtimes": {"runsc": RUNSC}, "default-runtime": "runsc"}
ROOTLESS_REMEDY = (
    "systemd.unified_cgroup_hierarchy=1" if version_1() else "Delegate=cpu cpuset io memory pids"
)
NO_SYSTEMD = (
    "needs systemd as process 1 on cgroup version 2: the guest of `make test-cgroup2` has it, and there a "
    "`systemctl daemon-reload` in mid-run changes no limit"
)
SYSTEMD_CHECKS = ("limits", "child OOM", "resume", "sweep")
ENGINES = (
    Engine("Docker 20.10", "bookworm"),
    Engine("Docker 26.1", "trixie"),
    Engine("Docker 26.1, containerd store", "trixie", settings=SNAPSHOTTER),
    Engine("Docker 26.1, over ssh", "trixie", reach="ssh"),
    Engine("Docker 26.1, over TLS", "trixie", reach="tls"),
    Engine("Docker 28.5", "sid"),
    Engine("Docker 28.5, containerd store", "sid", settings=SNAPSHOTTER),
    Engine("Podman 4.3", "bookworm", "podman"),
    Engine("Podman 5.4", "trixie", "podman"),
    Engine("Docker 26.1, gVisor", "trixie", settings=GVISOR, refuses="runtime is runsc"),
    Engine("Docker 26.1, rootless", "trixie", rootless=True, refuses=ROOTLESS_REMEDY),
    Engine("Podman 5.4, rootless", "trixie", "podman", rootless=True, refuses=ROOTLESS_REMEDY),
    Engine(
        "Docker 20.10, rootless, controllers delegated",
        "bookworm",
        absent=NO_SYSTEMD,
        in_guest=SYSTEMD_CHECKS,
    ),
    Engine("Docker 20.10, systemd's cgroup driver", "bookworm", absent=NO_SYSTEMD, in_guest=SYSTEMD_CHECKS),
    Engine(
        "Docker 20.10, cgroup version 2",
        "bookworm",
        absent="`make test-cgroup2` runs it, in a guest",
        in_guest=("limits", "child OOM", "disk", "pids"),
    ),
)


@dataclass(frozen=True)
class Running:
    """An engine that answers. `environment`: how runs reach it."""

    engine: Engine
    place: Path
    parent: str  # the cgroup above its containers'
    environment: Mapping[str, str]
    registry_port: int  # of a registry on the loopback that it asks without TLS

    @property
    def socket(self) -> str:
        """The DOCKER_HOST of its socket."""
        return f"unix://{self.place}/s"

    def client(self) -> docker.DockerClient:
        """A client of it."""
        return connect({"DOCKER_HOST": self.socket})

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
    return root / controller / name if version_1() else root / name


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
    log = place / "log"
    with ExitStack() as ways:
        settings, environment = _way(engine, place, ways)
        (place / "daemon.json").write_text(json.dumps({**CONTRARY, **engine.settings, **settings}))
        port = _free_port()
        # Docker trusts the loopback; Podman must be told to
        registries = f'[[registry]]\nlocation = "127.0.0.1:{port}"\ninsecure = true\n'
        (place / "registries.conf").write_text(registries)
        user = {"ROOTLESS": "1"} if engine.rootless else {}
        with log.open("wb") as said:
            process = subprocess.Popen(
                [HERE / "box.sh", root, place, *engine.command(place, parent)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env={**os.environ, "CONTAINERS_REGISTRIES_CONF": f"{place}/registries.conf", **user},
            )
        ways.callback(_end, process, place, parent)
        made = Running(engine, place, parent, environment, port)
        _await(made, process, log)
        yield made


def _way(engine: Engine, place: Path, ways: ExitStack) -> tuple[dict[str, Any], dict[str, str]]:
    """What its daemon.json has for the way by which runs reach it, and their variables. `ways` ends what it takes."""
    here = {"hosts": [f"unix://{place}/s"]}
    if engine.reach == "ssh":
        (place / "ssh").mkdir()
        try:
            far = ways.enter_context(sshd(place / "ssh"))
        except pytest.skip.Exception as lacking:
            raise UnfitEnvironment(str(lacking)) from lacking
        return here, {"DOCKER_HOST": f"ssh://{far.host}{place}/s", "PATH": far.environment["PATH"]}
    if engine.reach == "tls":
        theirs, ours = certificates(place / "tls")
        address = f"tcp://127.0.0.1:{_free_port()}"
        keys = {"tlscacert": "ca.pem", "tlscert": "cert.pem", "tlskey": "key.pem"}
        settings = {"tlsverify": True, **{key: str(theirs / file) for key, file in keys.items()}}
        variables = {"DOCKER_HOST": address, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(ours)}
        return {**settings, "hosts": [f"unix://{place}/s", address]}, variables
    return here, {"DOCKER_HOST": f"unix://{place}/s"}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _end(process: subprocess.Popen[bytes], place: Path, parent: str) -> None:
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


def tree(suite: str) -> Path:
    """The root directory of a system with a suite's engines: Debian's packages, unpacked once.

    Raises:
        UnfitEnvironment: they cannot be had.
    """
    packages = PACKAGES[suite]
    home = CACHE / f"{suite}-{hashlib.sha256(' '.join(packages).encode()).hexdigest()[:12]}"
    if home.exists():
        return home
    if shutil.which("mmdebstrap") is None:
        apt_install(privilege() or (), ["mmdebstrap", "debian-archive-keyring"], print)
    CACHE.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(dir=CACHE, prefix="making-"))
    unneeded = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
    # A mirror may lag behind, and the list of an unstable suite is valid for a week. Its signature is checked.
    lagging = '--aptopt=Acquire::Check-Valid-Until "false"'
    done = subprocess.run(
        [
            *(
                "mmdebstrap",
                "--quiet",
                "--variant=minbase",
                "--mode=root",
                "--format=directory",
                *unneeded,
                lagging,
            ),
            f"--include={','.join((*packages, 'procps', 'uidmap'))}",
            *(suite, str(half), *_mirror(suite)),
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


def _mirror(suite: str) -> list[str]:
    """Where to get a suite's packages: from the address that apt has here; on another system, from Debian's own."""
    system = platform.freedesktop_os_release()
    if system["ID"] != "debian":
        return []
    wanted = "$(REPO_URI) $(CODENAME) $(COMPONENT)"
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", wanted, "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    )
    own = [system.get("VERSION_CODENAME"), "main"]
    found = [line.split()[0] for line in listed.stdout.splitlines() if line.split()[1:] == own]
    if not found:
        raise UnfitEnvironment("apt knows no address of Debian's packages here")
    return [f"deb {found[0]} {suite} main"]


def described(client: docker.DockerClient) -> str:
    """Its version, and what its containers run in."""
    try:
        info = client.info()
    except DAEMON_GONE as error:
        return str(error)
    return f"{info.get('ServerVersion')}, {info.get('Driver')}, {info.get('DefaultRuntime')}"
