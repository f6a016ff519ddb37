"""What an administrator is asked for fits on one screen, and is what this machine lacks."""

import subprocess

import pytest

from bakeoff.provision.request import request

SCREEN = (24, 80)


@pytest.mark.parametrize("distribution", ["debian", "ubuntu", "fedora", ""])
@pytest.mark.parametrize("has_systemd", [True, False])
@pytest.mark.parametrize("has_dockerd", [True, False])
def test_it_fits_on_one_screen_with_the_error_above_it(
    distribution: str, has_systemd: bool, has_dockerd: bool
) -> None:
    asked = request(
        "a-user", distribution=distribution, has_dockerd=has_dockerd, has_systemd=has_systemd
    ).splitlines()
    assert len(asked) <= SCREEN[0] - 2
    assert max(len(line) for line in asked) <= SCREEN[1]
    commands = "\n".join(line for line in asked if line.startswith("    "))
    subprocess.run(["sh", "-n"], input=commands, text=True, check=True)
    assert ("apt-get" in commands) == (
        distribution in {"debian", "ubuntu"} and not (has_dockerd and not has_systemd)
    )
    assert "usermod -aG docker a-user" in commands
    assert "ssh://a-user@HOST" in commands


def test_docker_without_root_is_asked_for_with_the_controllers_that_limits_need() -> None:
    asked = request("ann", distribution="debian", has_dockerd=True, has_systemd=True)
    assert "Delegate=cpu cpuset io memory pids" in asked
    assert "loginctl enable-linger ann" in asked
    alone = request("ann", distribution="debian", has_dockerd=True, has_systemd=False)
    assert "Delegate" not in alone, "without systemd nobody delegates"
