"""A second Docker Engine beside the one that the tests share: it may be stopped, and have settings of its own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bakeoff.backends.docker.connection import connect
from bakeoff.backends.docker.images import base_image
from bakeoff.config.schema import Harness
from bakeoff.errors import UnfitEnvironment
from bakeoff.provision import docker_engine
from bakeoff.provision.docker_engine import Daemon
from bakeoff.text.escape import last_lines


@dataclass(frozen=True)
class SecondEngine:
    """One that runs. `environment`: with the DOCKER_HOST of its own socket."""

    place: Path
    daemon: Daemon

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "DOCKER_HOST": f"unix://{self.daemon.socket}"}

    def load(self, *names: str) -> None:
        """Copy images of the shared engine."""
        load(self.environment["DOCKER_HOST"], *names)


def base_names() -> list[str]:
    """The names of the default base image on the shared engine."""
    client = connect()
    base = base_image.ensure(client, Harness.model_fields["base_image"].default, print)
    names = client.api.inspect_image(base.image_id)["RepoTags"]
    client.close()
    return list(names)


def load(host: str, *names: str) -> None:
    """Copy images of the shared engine to the one at `host`, a DOCKER_HOST.

    Raises:
        UnfitEnvironment: one of the two engines refuses; with its last words.
    """
    save = subprocess.Popen(["docker", "save", *names], stdout=subprocess.PIPE)
    environment = {**os.environ, "DOCKER_HOST": host}
    done = subprocess.run(
        ["docker", "load", "-q"],
        stdin=save.stdout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if save.wait() or done.returncode:
        raise UnfitEnvironment(f"the images cannot be loaded: {last_lines(done.stderr)}")


@contextmanager
def second_engine(place: Path, *arguments: str) -> Iterator[SecondEngine]:
    """A daemon with all of its files in `place`, and more of dockerd's arguments. Nothing of it is left.

    `place` is short: the address of a Unix socket has room for 107 bytes.
    """
    place.mkdir(parents=True, exist_ok=True)
    socket = place / "d.sock"
    daemon = Daemon(
        socket=socket,
        pid_file=place / "d.pid",
        containerd_pid_file=place / "exec/containerd/containerd.pid",
        state=place / "state",
        arguments=(
            *("--data-root", str(place / "data"), "--exec-root", str(place / "exec")),
            *("--pidfile", str(place / "d.pid"), "-H", f"unix://{socket}"),
            *("--bridge", "none", "--iptables=false", "--ip6tables=false", "--live-restore=false"),
            *arguments,
        ),
    )
    try:
        docker_engine.ensure(lambda _: None, daemon).close()
        yield SecondEngine(place, daemon)
    finally:
        docker_engine.stop(daemon)
        # a daemon that was killed leaves its mounts behind, and shims of containers that it was starting
        for shim in [each for each in psutil.process_iter(["cmdline"]) if _serves(each, place)]:
            shim.kill()
        for mount in [each for each in _mounts() if each.is_relative_to(place)]:
            subprocess.run(["umount", str(mount)], check=True)
        shutil.rmtree(place)


def _serves(process: psutil.Process, place: Path) -> bool:
    """Whether it is a shim of the engine at `place`."""
    command = process.info["cmdline"] or [""]
    return Path(command[0]).name.startswith("containerd-shim") and str(place / "exec") in " ".join(command)


def _mounts() -> list[Path]:
    """Where something is mounted, the innermost first."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return sorted((Path(line.split()[1]) for line in lines), key=lambda path: -len(path.parts))
