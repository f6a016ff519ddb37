"""What a Docker host has to measure with, from recorded answers of its /info."""

import pytest

from bakeoff.backends.base import Check
from bakeoff.backends.docker import checks as docker

GOOD = {
    "CgroupVersion": "1",
    "CgroupDriver": "cgroupfs",
    "KernelVersion": "5.15.0-91-generic",
    "SecurityOptions": ["name=seccomp,profile=default"],
}


def bad(checks: list[Check]) -> dict[str, str]:
    return {check.subject: check.state for check in checks if check.state != "ok"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"CgroupVersion": "2"}, {"kernel": "warning"}),
        ({"CgroupVersion": "2", "KernelVersion": "6.1.0-18-amd64"}, {}),
        ({"SecurityOptions": None}, {"seccomp": "warning"}),
    ],
)
def test_kernel(changes: dict[str, object], expected: dict[str, str]) -> None:
    found = list(docker.kernel(GOOD | changes))
    assert bad(found) == expected
    assert all(check.hint for check in found if check.state != "ok")


@pytest.mark.parametrize(
    ("text", "version"), [("6.1.0-18-amd64", (6, 1)), ("5.19", (5, 19)), ("None", ()), ("6.x", ())]
)
def test_kernel_versions(text: str, version: tuple[int, ...]) -> None:
    assert docker.kernel_version(text) == version
