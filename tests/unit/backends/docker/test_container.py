"""What the engine is asked for: a sandbox is the same whatever the daemon's and the base image's defaults are."""

from typing import Any

import pytest
import requests
from docker import APIClient
from docker.errors import APIError

from bakeoff.backends.base import SandboxSpec
from bakeoff.backends.docker import container, host
from bakeoff.record.trial import ResourceLimits

LIMITS = ResourceLimits(cpus=1.5, memory_bytes=2**29, pids=128, disk_bytes=2**26, network="none")


def body(monkeypatch: pytest.MonkeyPatch, **engine: Any) -> dict[str, Any]:
    """Of the request that creates a container."""
    api, seen = APIClient(base_url="tcp://127.0.0.1:1", version="1.41"), dict[str, Any]()

    def create(config: Any, name: str, platform: str | None) -> dict[str, str]:
        seen.update(config)
        return {"Id": "c1"}

    monkeypatch.setattr(api, "create_container_from_config", create)
    assert container.create(api, SandboxSpec("run", "image", LIMITS), **engine) == "c1"
    return seen


def test_what_a_daemon_or_an_image_could_set_is_set_by_the_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = body(monkeypatch)
    wanted = asked["HostConfig"]
    assert wanted["Init"] is False
    assert {(each["Name"], each["Soft"], each["Hard"]) for each in wanted["Ulimits"]} == {
        ("nofile", 16384, 16384),
        ("core", 0, 0),
        ("nproc", 4096, 4096),
    }
    assert wanted["LogConfig"] == {"Type": "none", "Config": {}}
    assert (wanted["IpcMode"], wanted["CgroupnsMode"], wanted["NetworkMode"]) == ("none", "private", "none")
    assert asked["Healthcheck"]["Test"] == ["NONE"]
    assert asked["StopSignal"] == "SIGTERM"
    assert (asked["Entrypoint"], asked["User"], asked["WorkingDir"]) == ([], "0:0", "/task")


def test_memory_and_swap_together_leave_no_swap_beyond_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for most in (0, 4096):
        wanted = body(monkeypatch, swap_bytes=most)["HostConfig"]
        assert wanted["MemorySwap"] - wanted["Memory"] == most


def test_podman_mounts_for_root_and_is_told_whose_it_is_and_leaves_no_other_place_to_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = body(monkeypatch, for_podman=True)
    wanted, user = asked["HostConfig"], int(asked["Cmd"][-1])
    assert user in container.USERS
    assert "uid=" not in wanted["Tmpfs"]["/task"]
    assert {
        place: options.split(",")[0] for place, options in wanted["Tmpfs"].items() if place != "/task"
    } == {
        "/tmp": "ro",
        "/var/tmp": "ro",
        "/run": "ro",
    }
    assert sorted(wanted["CapAdd"]) == ["CHOWN", "KILL", "SETGID", "SETPCAP", "SETUID"]


@pytest.mark.parametrize(
    ("status", "said"),
    [(409, "Conflict"), (500, 'the container name "bakeoff-10001" is already in use by 9db')],
)
def test_a_user_that_another_sandbox_has_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, status: int, said: str
) -> None:
    tried: list[str] = []

    def create(config: Any, name: str, platform: str | None) -> dict[str, str]:
        tried.append(name)
        if len(tried) == 1:
            response = requests.Response()
            response.status_code = status
            raise APIError("refused", response, said)
        return {"Id": "c1"}

    api = APIClient(base_url="tcp://127.0.0.1:1", version="1.41")
    monkeypatch.setattr(api, "create_container_from_config", create)
    assert container.create(api, SandboxSpec("run", "image", LIMITS)) == "c1"
    assert len(set(tried)) == 2


def test_what_is_pinned_is_in_the_manifest() -> None:
    assert host.facts({}, "1.41").sandbox == container.PINNED
