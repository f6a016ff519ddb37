"""What a user who may install nothing asks the administrator for, on one screen."""

from __future__ import annotations

from bakeoff.config.schema import Harness

DEBIAN = frozenset({"debian", "ubuntu"})
INSTALL = "https://docs.docker.com/engine/install/"
ROOTLESS = "https://docs.docker.com/engine/security/rootless/"


def request(user: str, *, distribution: str, has_dockerd: bool, has_systemd: bool) -> str:
    """The ways to an engine on or from this machine, each with its commands.

    Args:
        user: who asks.
        distribution: ID of /etc/os-release.
        has_dockerd: Docker is installed, and does not run.
        has_systemd: it runs.
    """
    debian = distribution in DEBIAN
    ways = [_as_root(user, debian, has_dockerd, has_systemd)]
    if has_systemd:  # without it nobody delegates cgroups, and no limit would hold
        ways.append(_rootless(user, debian))
    ways.append(
        [
            "an account on another host that has Docker, and nothing on this one:",
            f"    export DOCKER_HOST=ssh://{user}@HOST",
        ]
    )
    lines = ["Ask this machine's administrator for one of these, then run this again."]
    for number, (title, *commands) in enumerate(ways, start=1):
        lines += [f"{number}. {title[0].upper()}{title[1:]}", *commands]
    image = Harness.model_fields["base_image"].default
    return "\n".join(
        [
            *lines,
            "Where no registry can be reached, ask also for an image from another host:",
            f"    docker save {image} | gzip >image.tar.gz",
            "where no package index can, for a mirror (UV_DEFAULT_INDEX, PIP_INDEX_URL).",
        ]
    )


def _as_root(user: str, debian: bool, has_dockerd: bool, has_systemd: bool) -> list[str]:
    lines = ["Docker Engine 20.10 or newer (its group is as good as root); as root:"]
    if not has_dockerd:
        lines.append("    apt-get install docker.io" if debian else f"    # see {INSTALL}")
    lines.append("    systemctl enable --now docker" if has_systemd else "    dockerd &")
    return [*lines, f"    usermod -aG docker {user}"]


def _rootless(user: str, debian: bool) -> list[str]:
    lines = ["Docker without root, on cgroup v2; as root:"]
    if debian:
        lines.append("    apt-get install docker.io rootlesskit uidmap slirp4netns dbus-user-session")
    lines += [
        f"    usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}",
        f"    loginctl enable-linger {user}",
        "    d=/etc/systemd/system/user@.service.d; mkdir -p $d",
        "    printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' >$d/delegate.conf",
        "    systemctl daemon-reload",
    ]
    tool = "/usr/share/docker.io/contrib/dockerd-rootless-setuptool.sh install" if debian else ROOTLESS
    return [*lines, f"  and then, as {user}:", f"    {tool}"]
