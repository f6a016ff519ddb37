"""What a Docker host can enforce, from recorded answers of its /info."""

import pytest

from bakeoff.backends.base import Check
from bakeoff.backends.docker import checks as docker

GOOD = {
    "CgroupVersion": "1",
    "CgroupDriver": "cgroupfs",
    "MemoryLimit": True,
    "SwapLimit": True,
    "PidsLimit": True,
    "CpuCfsQuota": True,
    "KernelVersion": "5.15.0-91-generic",
    "SecurityOptions": ["name=seccomp,profile=default"],
    "NCPU": 2,
    "MemTotal": 4 * 2**30,
}


def bad(checks: list[Check]) -> dict[str, str]:
    return {check.subject: check.state for check in checks if check.state != "ok"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"MemoryLimit": False}, {"limits": "failed"}),
        ({"PidsLimit": False, "CpuCfsQuota": False}, {"limits": "failed"}),
        ({"SwapLimit": False}, {"swap": "warning"}),
        ({"CgroupDriver": "none"}, {"cgroup": "failed"}),
        ({"CgroupVersion": "2"}, {"kernel": "warning"}),
        ({"CgroupVersion": "2", "KernelVersion": "6.1.0-18-amd64"}, {}),
        ({"SecurityOptions": None}, {"seccomp": "warning"}),
    ],
)
def test_limits(changes: dict[str, object], expected: dict[str, str]) -> None:
    found = list(docker.limits(GOOD | changes))
    assert bad(found) == expected
    assert all(check.hint for check in found if check.state != "ok")


def test_a_limit_that_cannot_be_enforced_is_named() -> None:
    [check] = [check for check in docker.limits(GOOD | {"PidsLimit": False}) if check.state == "failed"]
    assert "pids" in check.says
    assert "memory" not in check.says
    assert check.exit_code == 4


@pytest.mark.parametrize(
    ("text", "version"), [("6.1.0-18-amd64", (6, 1)), ("5.19", (5, 19)), ("None", ()), ("6.x", ())]
)
def test_kernel_versions(text: str, version: tuple[int, ...]) -> None:
    assert docker.kernel_version(text) == version


def test_disk() -> None:
    states = [
        Check.space("Docker", "/here", free, docker.DISK).state for free in (2**30, 3 * 2**30, 9 * 2**30)
    ]
    assert states == ["failed", "warning", "ok"]
