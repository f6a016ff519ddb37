"""Doctor's judgements, from recorded answers of Docker's /info."""

from pathlib import Path

import pytest

from bakeoff.backends.base import Capacity
from bakeoff.cli import doctor
from bakeoff.cli.doctor import Check
from bakeoff.cli.init import write
from bakeoff.config.schema import Reserve, Resources

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
ROOM = Capacity(2.0, 3 * 2**30)


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
    checks = list(doctor.limits(GOOD | changes))
    assert bad(checks) == expected
    assert all(check.hint for check in checks if check.state != "ok")


def test_a_limit_that_cannot_be_enforced_is_named() -> None:
    [check] = [check for check in doctor.limits(GOOD | {"PidsLimit": False}) if check.state == "failed"]
    assert "pids" in check.says
    assert "memory" not in check.says
    assert check.exit_code == 4


@pytest.mark.parametrize(
    ("resources", "concurrency", "expected", "code"),
    [
        (Resources(), "auto", {}, 0),
        (Resources(), 4, {}, 0),
        (Resources(), 5, {"capacity": "warning"}, 0),
        (Resources(cpus=3), "auto", {"resources.cpus": "failed"}, 2),
        (Resources(memory=5 * 2**30), "auto", {"resources.memory": "failed"}, 2),
        (Resources(memory=4 * 2**30, reserve=Reserve(memory=4 * 2**30)), "auto", {"capacity": "failed"}, 4),
    ],
)
def test_fits(resources: Resources, concurrency: object, expected: dict[str, str], code: int) -> None:
    checks = list(doctor.fits(resources, concurrency, GOOD, ROOM))  # type: ignore[arg-type]
    assert bad(checks) == expected
    assert doctor.exit_code(checks) == code


def test_disk() -> None:
    states = [doctor.disk("Docker", "/here", free).state for free in (2**30, 3 * 2**30, 9 * 2**30)]
    assert states == ["failed", "warning", "ok"]


def test_an_unfit_environment_outweighs_bad_input() -> None:
    checks = [Check("a", "failed", "", None, 2), Check("b", "failed", "", None, 4), Check("c", "ok", "")]
    assert doctor.exit_code(checks) == 4
    assert doctor.exit_code([]) == 0


@pytest.mark.parametrize(
    ("text", "version"), [("6.1.0-18-amd64", (6, 1)), ("5.19", (5, 19)), ("None", ()), ("6.x", ())]
)
def test_kernel_versions(text: str, version: tuple[int, ...]) -> None:
    assert doctor.kernel_version(text) == version


def test_a_key_is_found_where_a_run_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    write(tmp_path)
    file = tmp_path / "harness.yaml"
    file.write_text(file.read_text().replace('"simulated:skill=0.6"', '"anthropic:claude-x"'))

    def model() -> Check:
        return next(check for check in doctor.examine(file) if check.subject == "model hasty")

    assert "ANTHROPIC_API_KEY is not set" in model().says
    (tmp_path / ".env").write_text("ANTHROPIC_API_KEY=from-a-file\n")
    assert model().state == "ok"
