"""`bakeoff doctor` refuses what a run would refuse, on a scripted host."""

from pathlib import Path

import pytest

from bakeoff import backends
from bakeoff.backends.base import Capacity, Check, Sandbox, SandboxSpec
from bakeoff.backends.fake import FakeBackend
from bakeoff.cli.init import write
from bakeoff.errors import UnfitEnvironment
from bakeoff.run.examine import examine

CAPACITY = Capacity(2.0, 3 * 2**30, (0, 1))


def _never(spec: SandboxSpec) -> Sandbox:
    raise AssertionError("doctor opens no sandbox")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(backends, "connect", lambda: FakeBackend(_never, CAPACITY))
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    write(tmp_path)
    return tmp_path / "harness.yaml"


def bad(path: Path | None) -> dict[str, Check]:
    return {check.subject: check for check in examine(path) if check.state != "ok"}


def change(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_a_sound_project(project: Path) -> None:
    assert bad(project) == {}
    assert set(bad(None)) == {"harness"}


@pytest.mark.parametrize(
    ("before", "after", "subject", "says"),
    [
        ("source: my_agent ", "source: absent ", "preflight", "no directory 'absent'"),
        ("my_agent.agent:build", "my_agent.gone:build", "preflight", "no module `my_agent.gone`"),
        ("agent:build_agent", "agent:bild_agent", "preflight", "has no `bild_agent`"),
        ("requirements: [] ", "requirements: requirements.txt ", "preflight", "there is no file"),
        ("requirements: [] ", "requirements: [./shoplib] ", "preflight", "there is no"),
        ('"simulated:skill=0.6"', '"opnai:x"', "model hasty", "opnai"),
        ('"simulated:skill=0.6"', '"anthropic:claude-x"', "model hasty", "ANTHROPIC_API_KEY is not set"),
        ("datasets/menu.jsonl ", "datasets/gone.jsonl ", "dataset", "there is no file"),
        ("cpus: 1.0 ", "cpus: 4096 ", "resources.cpus", "4096 CPUs"),
        ("memory: 512MiB ", "memory: 5GiB ", "resources.memory", "5120 MiB"),
    ],
)
def test_what_a_run_refuses_is_refused_once(
    project: Path, before: str, after: str, subject: str, says: str
) -> None:
    change(project, before, after)
    found = bad(project)
    assert set(found) == {subject}
    assert found[subject].state == "failed"
    assert found[subject].exit_code == 2
    assert says in found[subject].says
    assert str(project) in found[subject].says
    assert found[subject].hint


def test_a_broken_link_in_the_source(project: Path) -> None:
    (project.parent / "my_agent" / "data").symlink_to("../gone")
    assert "my_agent/data is a broken link" in bad(project)["preflight"].says


def test_a_key_is_found_where_a_run_finds_it(project: Path) -> None:
    change(project, '"simulated:skill=0.6"', '"anthropic:claude-x"')
    (project.parent / ".env").write_text("ANTHROPIC_API_KEY=from-a-file\n")
    assert bad(project) == {}


def test_more_at_once_than_fits_is_a_warning(project: Path) -> None:
    change(project, "max_concurrency: auto", "max_concurrency: 99")
    [check] = bad(project).values()
    assert (check.subject, check.state, check.exit_code) == ("capacity", "warning", 0)


def test_without_an_engine_the_rest_is_said_all_the_same(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect() -> None:
        raise UnfitEnvironment("no Docker Engine answers", hint="Start it.")

    monkeypatch.setattr(backends, "connect", connect)
    change(project, "source: my_agent ", "source: absent ")
    found = bad(project)
    assert set(found) == {"preflight", "docker"}
    assert max(check.exit_code for check in found.values()) == 4
