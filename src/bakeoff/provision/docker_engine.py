"""The Docker Engine: installing and starting one where none answers and bakeoff may.

`ensure` acts on this machine only: a host or context that the user named is theirs to fix. An engine that bakeoff
started runs on after the command, since the next run needs it again; `stop` ends that one by its process id, and no
other.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bakeoff.backends.base import Say
from bakeoff.backends.docker.connection import Client, NoEngine, connect
from bakeoff.backends.docker.images.progress import growing, progress
from bakeoff.config.cache import cache_dir
from bakeoff.errors import UnfitEnvironment
from bakeoff.provision.request import request
from bakeoff.text.escape import last_lines

# Where apt keeps what it reads and fetches
APT_LISTS, APT_CACHE = Path("/var/lib/apt/lists"), Path("/var/cache/apt/archives")
START_SECONDS = 60.0  # a cold dockerd on a slow disk took 4 s
STOP_SECONDS = 20.0


# --- deciding ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Machine:
    """What decides whether an engine may be installed and started here."""

    platform: str  # sys.platform
    distribution: str  # ID of /etc/os-release: debian, ubuntu, ...
    privilege: (
        tuple[str, ...] | None
    )  # prefix of a command run as root: () for root itself; None: not allowed
    has_apt: bool
    has_dockerd: bool
    has_systemd: bool  # it runs, not merely: it is installed


def survey() -> Machine:
    """This machine."""
    return Machine(
        platform=sys.platform,
        distribution=_distribution(),
        privilege=privilege(),
        has_apt=shutil.which("apt-get") is not None,
        has_dockerd=_dockerd() is not None,
        has_systemd=Path("/run/systemd/system").is_dir(),
    )


def privilege() -> tuple[str, ...] | None:
    """The prefix that makes a command run as root without asking for a password; None where there is none."""
    if sys.platform == "win32":
        return None
    if os.geteuid() == 0:
        return ()
    if shutil.which("sudo") is None:
        return None
    asked = subprocess.run(["sudo", "-n", "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return ("sudo", "-n") if asked.returncode == 0 else None


def steps(machine: Machine) -> list[str]:
    """What `ensure` does on a machine where no engine answers, of: `install`, `systemd`, `dockerd`, in order.

    Raises:
        UnfitEnvironment: it may not, or cannot; `hint` says what a human does instead.
    """
    if machine.platform != "linux":
        raise UnfitEnvironment(
            "no Docker Engine answers on this machine",
            hint="Install and start Docker Desktop, colima or OrbStack, then run this again.",
        )
    if machine.privilege is None:
        asked = request(
            getpass.getuser(),
            distribution=machine.distribution,
            has_dockerd=machine.has_dockerd,
            has_systemd=machine.has_systemd,
        )
        raise UnfitEnvironment(
            "no Docker Engine answers, and bakeoff may not start one: not root, no passwordless sudo",
            hint=asked,
        )
    start_step = "systemd" if machine.has_systemd else "dockerd"
    if machine.has_dockerd:
        return [start_step]
    if machine.distribution in {"debian", "ubuntu"} and machine.has_apt:
        return ["install", start_step]
    raise UnfitEnvironment(
        f"no Docker Engine is installed, and bakeoff installs one on Debian and Ubuntu only "
        f"(this is {machine.distribution or 'unknown'})",
        hint="Install Docker Engine 20.10 or newer: https://docs.docker.com/engine/install/",
    )


def packages(machine: Machine) -> list[str]:
    """What makes a whole engine. docker.io only recommends the rest, and fails in odd ways without it.

    Without certificates it pulls nothing; with AppArmor it starts no container unless the parser is there;
    and without systemd somebody has to mount the cgroups.
    """
    mounts = [] if machine.has_systemd else ["cgroupfs-mount"]
    return ["docker.io", "ca-certificates", "apparmor", *mounts]


def _distribution() -> str:
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ""
    return next((line[3:].strip().strip('"') for line in lines if line.startswith("ID=")), "")


def _dockerd() -> str | None:
    """Where dockerd is. A user's PATH often lacks the directories of root's programs."""
    return shutil.which(
        "dockerd", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    )


# --- acting -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Daemon:
    """The files of a dockerd that bakeoff starts itself. The defaults are dockerd's own."""

    socket: Path = Path("/var/run/docker.sock")
    pid_file: Path = Path("/var/run/docker.pid")
    containerd_pid_file: Path = Path("/var/run/docker/containerd/containerd.pid")
    arguments: tuple[str, ...] = ()
    state: Path = field(default_factory=lambda: cache_dir() / "engine")  # its log, and the record for `stop`

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.state / "dockerd.log"

    @property
    def record(self) -> Path:
        """Which process it is: `{"pid", "created"}`; the creation time tells it from a later process."""
        return self.state / "dockerd.json"


def ensure(say: Say, daemon: Daemon | None = None) -> Client:
    """A client of an engine that answers; installs `docker.io` and starts it where there is none and it may.

    Args:
        say: gets one line for each step that is taken; nothing when an engine answers already.
        daemon: where a started dockerd keeps its files.

    Raises:
        UnfitEnvironment: there is none, and it may not or could not make one.
    """
    environment = dict(os.environ)
    if daemon is not None:
        environment["DOCKER_HOST"] = f"unix://{daemon.socket}"
    try:
        return connect(environment)
    except UnfitEnvironment as error:
        if daemon is None and not isinstance(error, NoEngine):
            raise
    machine = survey()
    todo = steps(machine)
    root = machine.privilege or ()
    if "install" in todo:
        say("installing docker.io from the distribution's packages")
        apt_install(root, packages(machine), say)
    if "systemd" in todo and daemon is None:
        say("starting Docker with systemd")
        _command([*root, "systemctl", "start", "docker"], "systemd could not start Docker")
    else:
        start(daemon or Daemon(), root, say)
    return connect(environment)


def apt_install(root: tuple[str, ...], packages: list[str], say: Say) -> None:
    """Install distribution packages, without recommendations and without questions.

    Raises:
        UnfitEnvironment: with apt's last words.
    """
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-qq"]
    failed = f"apt could not install {' '.join(packages)}"
    with progress(say, "apt: reading what there is", growing(APT_LISTS)):
        _command([*apt, "update"], failed)
    with progress(say, f"apt: installing {', '.join(packages)}", growing(APT_CACHE)):
        _command([*apt, "install", "--no-install-recommends", *packages], failed)


def _command(command: list[str], failed: str) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UnfitEnvironment(
            f"{failed}: {last_lines(done.stdout)}", hint=f"Run `{' '.join(command)}` and see why."
        )


def start(daemon: Daemon, root: tuple[str, ...], say: Say) -> None:
    """Start dockerd in a session of its own, and return when its socket answers.

    It survives this process and its terminal. Which process it is goes to `daemon.record`.

    Raises:
        UnfitEnvironment: it ended, or did not answer within START_SECONDS; with the last lines of its log.
    """
    say(f"starting dockerd (log: {daemon.log})")
    daemon.state.mkdir(parents=True, exist_ok=True)
    for pid_file, program in ((daemon.pid_file, "dockerd"), (daemon.containerd_pid_file, "containerd")):
        if is_stale(pid_file, program):
            _command([*root, "rm", "-f", str(pid_file)], f"could not remove the stale {pid_file}")
    # Without this a user with sudo would start an engine that only root may talk to.
    group = ["--group", str(os.getgid())] if root else []
    with daemon.log.open("wb") as log:
        process = subprocess.Popen(
            [*root, _dockerd() or "dockerd", *group, *daemon.arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _await_socket(daemon, process)
    pid = int(daemon.pid_file.read_text(encoding="utf-8"))  # not `process.pid`, which may be sudo's
    record = {"pid": pid, "created": psutil.Process(pid).create_time()}
    daemon.record.write_text(json.dumps(record), encoding="utf-8")


def _await_socket(daemon: Daemon, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            connect({"DOCKER_HOST": f"unix://{daemon.socket}"}).close()
        except UnfitEnvironment as error:
            ended, late = process.poll(), time.monotonic() > deadline
            if ended is None and not late:
                time.sleep(0.1)  # dockerd announces itself to systemd only; its socket is the one other sign
                continue
            how = (
                f"ended with status {ended}"
                if ended is not None
                else f"did not answer in {START_SECONDS:.0f} s"
            )
            words = last_lines(daemon.log.read_text(encoding="utf-8", errors="replace"))
            raise UnfitEnvironment(
                f"dockerd {how}: {words}",
                hint=f"See {daemon.log}; dockerd needs root and a writable cgroup tree.",
            ) from error
        else:
            return


def is_stale(pid_file: Path, program: str) -> bool:
    """Whether a pid file names no running process, or one that is not `program` (the id was given out again).

    dockerd refuses to start beside such a file. After a reboot or a kill it is common.
    """
    try:
        process = psutil.Process(int(pid_file.read_text(encoding="utf-8")))
        # a killed one that its parent has not taken leave of keeps its id and its name, and runs no more
        return bool(process.name() != program or process.status() == psutil.STATUS_ZOMBIE)
    except FileNotFoundError:
        return False
    except (ValueError, psutil.NoSuchProcess):
        return True


def stop(daemon: Daemon | None = None) -> bool:
    """End the dockerd that `ensure` started, by its process id, with the containers in it.

    Returns:
        Whether there was one. False: bakeoff started none, or it has ended already.

    Raises:
        UnfitEnvironment: it does not end.
    """
    daemon = daemon or Daemon()
    try:
        record = json.loads(daemon.record.read_text(encoding="utf-8"))
        process = psutil.Process(int(record["pid"]))
    except (FileNotFoundError, psutil.NoSuchProcess):
        daemon.record.unlink(missing_ok=True)
        return False
    if process.create_time() != record["created"]:
        daemon.record.unlink(missing_ok=True)
        return False
    _command([*(privilege() or ()), "kill", "-TERM", str(process.pid)], "could not end dockerd")
    try:
        process.wait(STOP_SECONDS)
    except psutil.TimeoutExpired as error:
        raise UnfitEnvironment(
            f"dockerd (process {process.pid}) does not end", hint=f"Run `sudo kill -KILL {process.pid}`."
        ) from error
    daemon.record.unlink(missing_ok=True)
    return True
