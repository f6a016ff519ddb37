"""What the engine is asked for: a sandbox is the same whatever the daemon's and the base image's defaults are."""

from typing import Any

import pytest
from docker import APIClient

from bakeoff.backends.base import SandboxSpec
from bakeoff.backends.docker import container, host
from bakeoff.record.trial import ResourceLimits

LIMITS = ResourceLimits(cpus=1.5, memory_bytes=2**29, pids=128, disk_bytes=2**26, network="none")


def body(monkeypatch: pytest.MonkeyPatch, swap_bytes: int = 0) -> dict[str, Any]:
    """Of the request that creates a container."""
    api, seen = APIClient(base_url="tcp://127.0.0.1:1", version="1.41"), dict[str, Any]()

    def create(config: Any, name: str, platform: str | None) -> dict[str, str]:
        seen.update(config)
        return {"Id": "c1"}

    monkeypatch.setattr(api, "create_container_from_config", create)
    assert container.create(api, SandboxSpec("run", "image", LIMITS), swap_bytes) == "c1"
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
    }
    assert wanted["LogConfig"] == {"Type": "none", "Config": {}}
    assert (wanted["IpcMode"], wanted["CgroupnsMode"], wanted["NetworkMode"]) == ("none", "private", "none")
    assert asked["Healthcheck"]["Test"] == ["NONE"]
    assert asked["StopSignal"] == "SIGTERM"
    assert (asked["Entrypoint"], asked["User"], asked["WorkingDir"]) == ([], "0:0", "/task")


def test_memory_and_swap_together_leave_no_swap_beyond_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for most in (0, 4096):
        wanted = body(monkeypatch, most)["HostConfig"]
        assert wanted["MemorySwap"] - wanted["Memory"] == most


def test_what_is_pinned_is_in_the_manifest() -> None:
    assert host.facts({}, "1.41").sandbox == container.PINNED
