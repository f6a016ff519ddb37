"""A small virtual machine with a Docker Engine, that has the cgroup version, or the systemd, that this machine lacks.

Its processor is emulated (KVM is not to be had everywhere), so all in there is about ten times slower. Nothing
of bakeoff's is in it: it is a remote Docker host, reached through ports of this machine's loopback, and it has
no other network.
"""

import hashlib
import json
import os
import platform
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bakeoff.backends.docker.connection import connect
from bakeoff.errors import UnfitEnvironment
from bakeoff.provision.docker_engine import apt_install, privilege
from bakeoff.text.escape import last_lines

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "guest"
PROGRAMS = {
    "mmdebstrap": ["mmdebstrap", "debian-archive-keyring"],
    "qemu-system-x86_64": ["qemu-system-x86"],
    "mkfs.ext4": ["e2fsprogs"],
}
MAKE_SECONDS = 900  # for each of the two steps; the first fetches 150 MB of packages
BOOT_SECONDS = 240.0  # 13 on two idle cores; with systemd a fifth more, and for the engine of a user half
SCRIPT_SECONDS = 300.0
LIFE_SECONDS = 1500  # then the guest ends by itself, and its emulator is killed

# udev neither renames the network interface nor looks for hardware: that is slow here. Where AppArmor is on, Docker
# wants a program that its package only recommends.
SYSTEMD = (
    "init=/lib/systemd/systemd systemd.journald.forward_to_console=1 "
    "net.ifnames=0 systemd.mask=systemd-udev-trigger.service apparmor=0 selinux=0"
)
# How the engine is started, and with which cgroup version; and what the kernel is told for it.
Kind = Literal["cgroup1", "cgroup2", "systemd", "rootless"]
KINDS: dict[Kind, str] = {
    "cgroup1": "init=/sbin/guest guest.cgroups=1",
    "cgroup2": "init=/sbin/guest guest.cgroups=2",
    "systemd": f"{SYSTEMD} systemd.unit=guest.target",
    "rootless": f"{SYSTEMD} systemd.unit=guest-rootless.target",
}


@dataclass(frozen=True)
class Guest:
    """One that runs. `host`: its engine's DOCKER_HOST."""

    host: str
    shell_port: int

    def script(self, text: str) -> str:
        """What this script of bash's prints in there, run by root. For a guest that systemd started."""
        with socket.create_connection(("127.0.0.1", self.shell_port), timeout=SCRIPT_SECONDS) as shell:
            shell.sendall(text.encode())
            shell.shutdown(socket.SHUT_WR)
            with shell.makefile("rb") as printed:
                return printed.read().decode()


def disk(images: list[str]) -> Path:
    """A directory with `disk.ext4`, `vmlinuz` and `initrd`: Debian, Docker, and these of this machine's images.

    Kept below .cache/, under a key made of all that went in, until there is a newer one.

    Raises:
        UnfitEnvironment: this machine cannot make one.
    """
    if platform.machine() != "x86_64":
        raise UnfitEnvironment(
            f"the guest is an x86-64 machine: images made for {platform.machine()} do not run in it"
        )
    _programs()
    scripts = _digest((HERE / "disk.sh").read_bytes())
    files = {str(path): path.read_text() for path in sorted((HERE / "rootfs").rglob("*")) if path.is_file()}
    ids = [_docker("image", "inspect", "--format", "{{.Id}}", image) for image in images]
    home = CACHE / _digest(json.dumps([scripts, files, images, ids]).encode())
    if home.exists():
        return home
    CACHE.mkdir(parents=True, exist_ok=True)
    root = CACHE / f"root-{scripts}.tar"
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        making = Path(scratch)
        if not root.exists():
            for stale in CACHE.glob("root-*.tar"):
                stale.unlink()
            _as_root("root", making / "root.tar")
            (making / "root.tar").rename(root)
        _docker("save", "--output", str(making / "images.tar"), *images)
        (making / "made").mkdir()
        _as_root("disk", root, making / "images.tar", making / "made")
        for stale in CACHE.glob("*/disk.ext4"):
            shutil.rmtree(stale.parent)
        (making / "made").rename(home)
    return home


@contextmanager
def running(home: Path, console: Path, kind: Kind) -> Iterator[Guest]:
    """Boot the guest, which lasts as long as the context. The disk is not changed.

    Args:
        home: of `disk`.
        console: where the guest's kernel, process 1 and dockerd print.
        kind: of KINDS.

    Raises:
        UnfitEnvironment: its engine does not answer within BOOT_SECONDS; with its last words.
    """
    engine, shell = _free_port(), _free_port()
    made = Guest(f"tcp://127.0.0.1:{engine}", shell)
    swap = console.with_suffix(".swap")
    swap.touch()
    os.truncate(swap, 512 * 2**20)
    said = f"{KINDS[kind]} guest.seconds={LIFE_SECONDS}"
    ports = f"hostfwd=tcp:127.0.0.1:{engine}-:2375,hostfwd=tcp:127.0.0.1:{shell}-:2376"
    command = [
        *("timeout", "--signal=KILL", str(LIFE_SECONDS)),
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "3072"),
        *("-kernel", str(home / "vmlinuz"), "-initrd", str(home / "initrd")),
        *("-append", f"root=/dev/vda rw console=ttyS0 panic=-1 quiet {said}"),
        *("-drive", f"file={home / 'disk.ext4'},format=raw,if=virtio,snapshot=on"),
        *("-drive", f"file={swap},format=raw,if=virtio"),
        *("-netdev", f"user,id=net,restrict=on,{ports}", "-device", "virtio-net-pci,netdev=net,romfile="),
        *("-device", "virtio-rng-pci"),
        *("-serial", f"file:{console}"),
    ]
    with console.with_suffix(".qemu").open("w+b") as said_by_qemu:
        machine = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said_by_qemu, stderr=said_by_qemu
        )
        try:
            _await_engine(made.host, machine, console)
            yield made
        finally:
            machine.terminate()
            machine.wait(120)
            swap.unlink()


def _await_engine(host: str, machine: "subprocess.Popen[bytes]", console: Path) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    while True:
        try:
            return connect({"DOCKER_HOST": host}).close()
        except UnfitEnvironment as error:
            if machine.poll() is None and time.monotonic() < deadline:
                time.sleep(0.5)
                continue
            logs = [path for path in (console, console.with_suffix(".qemu")) if path.exists()]
            words = last_lines("".join(path.read_text(errors="replace") for path in logs))
            raise UnfitEnvironment(f"the guest's engine does not answer: {words}") from error


def _as_root(*arguments: str | Path) -> None:
    root = privilege()
    if root is None:
        raise UnfitEnvironment(
            "making the guest's disk needs root: not root, no passwordless sudo",
            hint="run `sudo -v` and this again",
        )
    command = [*root, "timeout", str(MAKE_SECONDS), str(HERE / "disk.sh"), *map(str, arguments)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnfitEnvironment(f"the guest's disk cannot be made: {last_lines(done.stdout + done.stderr)}")


def _programs() -> None:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    missing = [name for name in PROGRAMS if not shutil.which(name, path=path)]
    if not missing:
        return
    root = privilege()
    if root is None or shutil.which("apt-get") is None:
        what = ", ".join(missing)
        raise UnfitEnvironment(f"the guest needs {what}", hint="install them with the system's packages")
    apt_install(root, [package for name in missing for package in PROGRAMS[name]], print)


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
