"""A real sshd on the loopback, with keys and settings of its own: nothing of the machine's is read or changed."""

import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bakeoff.config.cache import cache_dir


@dataclass
class Sshd:
    """One that runs. `host`: the name by which `environment` finds it, with a key that it takes."""

    place: Path
    port: int
    process: "subprocess.Popen[bytes]"
    host: str = "far-away"

    @property
    def environment(self) -> dict[str, str]:
        """With an `ssh` that reads this place's settings, as a user's would be in ~/.ssh."""
        return {**os.environ, "PATH": f"{self.place / 'bin'}:{os.environ['PATH']}"}

    def configure(self, *lines: str) -> None:
        """The user's ssh settings, with more lines."""
        common = [
            *("Host *", f"Port {self.port}", "HostName 127.0.0.1", f"IdentityFile {self.place / 'user'}"),
            *(
                "IdentitiesOnly yes",
                f"UserKnownHostsFile {self.place / 'known'}",
                "GlobalKnownHostsFile none",
            ),
        ]
        # ssh takes the first value that it finds
        (self.place / "config").write_text("\n".join([*lines, *common]) + "\n")

    def know(self) -> None:
        """The user has compared the host's key and accepted it."""
        key = (self.place / "host.pub").read_text().split()[:2]
        (self.place / "known").write_text(f"[127.0.0.1]:{self.port} {' '.join(key)}\n")


@contextmanager
def sshd(place: Path, *settings: str) -> Iterator[Sshd]:
    """Start one, with more lines of sshd_config, and end it."""
    program, libraries = _program()
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / key)], check=True)
    shutil.copy(place / "user.pub", place / "authorized")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    lines = [
        *(f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {place / 'host'}", f"PidFile {place / 'pid'}"),
        *(f"AuthorizedKeysFile {place / 'authorized'}", "StrictModes no", "PasswordAuthentication no"),
        *("KbdInteractiveAuthentication no", "UsePAM no", *settings),
    ]
    (place / "sshd_config").write_text("\n".join(lines) + "\n")
    command = [str(program), "-D", "-e", "-f", str(place / "sshd_config")]
    if os.geteuid() == 0:  # as root it wants a user and a directory, which it gets in a world of its own
        users = Path("/etc/passwd").read_text() + "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"
        (place / "passwd").write_text(users)
        (place / "empty").mkdir(mode=0o755)
        (place / "docker.sock").touch()
        script = (
            "mount --bind $0/passwd /etc/passwd && mount --bind /run/docker.sock $0/docker.sock && "
            "mount -t tmpfs none /run && mkdir /run/sshd && touch /run/docker.sock && "
            "mount --bind $0/docker.sock /run/docker.sock && exec "
        )
        command = ["unshare", "--mount", "sh", "-c", script + shlex.join(command), str(place)]
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, env={**os.environ, "LD_LIBRARY_PATH": libraries})
    made = Sshd(place, port, process)
    (place / "bin").mkdir()
    (place / "bin/ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {place / "config"} "$@"\n')
    (place / "bin/ssh").chmod(0o755)
    made.configure()
    made.know()
    try:
        _await(made)
        yield made
    finally:
        process.kill()
        process.wait()


def _await(made: Sshd) -> None:
    deadline = time.monotonic() + 20
    while made.process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", made.port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"sshd does not listen: {(made.place / 'log').read_text()}")


def _program() -> tuple[Path, str]:
    """sshd and where its libraries are: the machine's, or one unpacked from Debian's packages and not installed."""
    if found := shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin"):
        return Path(found), ""
    if not (shutil.which("ssh") and shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("needs sshd and ssh")
    home = cache_dir() / "tests" / "sshd"
    if not (home / "usr/sbin/sshd").exists():
        home.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-qq", "openssh-server", "libwrap0"], cwd=home, check=True)
        for package in home.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", str(package), str(home)], check=True)
    return home / "usr/sbin/sshd", ":".join(str(one.parent) for one in home.rglob("libwrap.so.0"))
