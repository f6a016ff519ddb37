"""`bakeoff doctor` refuses what a run would refuse, on a scripted host."""

from pathlib import Path

import pytest

from bakeoff import backends
from bakeoff.backends.base import Capacity, Check, Sandbox, SandboxSpec
from bakeoff.backends.fake import FakeBackend
from bakeoff.cli.init import write
from bakeoff.config import loading
from bakeoff.errors import UnfitEnvironment
from bakeoff.run import plan
from bakeoff.run.examine import examine

CAPACITY = Capacity(2.0, 3 * 2**30, (0, 1))


def _never(spec: SandboxSpec) -> Sandbox:
    raise AssertionError("doctor opens no sandbox")


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend(_never, CAPACITY)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: FakeBackend) -> Path:
    monkeypatch.setattr(backends, "connect", lambda: backend)
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


def test_a_gate_that_the_dataset_cannot_answer_is_a_warning(project: Path) -> None:
    project.write_text(f"{project.read_text()}\ngates: {{max_drop: 0.01}}\n")
    check = bad(project)["gates"]
    assert (check.state, check.exit_code) == ("warning", 0)
    assert "max_drop: 0.01 mostly stays unknown" in check.says


@pytest.mark.parametrize(
    ("before", "after", "subject", "says"),
    [
        ("source: my_agent ", "source: absent ", "preflight", "no directory 'absent'"),
        ("requirements: [] ", "requirements: requirements.txt ", "preflight", "there is no file"),
        ("requirements: [] ", "requirements: [./shoplib] ", "preflight", "there is no"),
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


# --- the proof that a run asks for


def test_a_limit_that_does_not_hold_is_a_line_with_the_runs_own_words(
    project: Path, backend: FakeBackend
) -> None:
    backend.unfit = UnfitEnvironment("the limits of a trial do not hold here: cpus", hint="Delegate cpu.")
    [check] = bad(project).values()
    assert (check.subject, check.state, check.exit_code) == ("limits", "failed", 4)
    assert (check.says, check.hint) == ("the limits of a trial do not hold here: cpus", "Delegate cpu.")
    [(spec, _)] = backend.proved
    assert spec.limits == plan.profiles(loading.load(project))[0].limits


def test_what_is_larger_than_the_host_is_not_started_there(project: Path, backend: FakeBackend) -> None:
    change(project, "cpus: 1.0 ", "cpus: 4096 ")
    assert set(bad(project)) == {"resources.cpus"}
    assert backend.proved == []


def test_without_an_image_nothing_is_proven(project: Path, backend: FakeBackend) -> None:
    backend.image = None
    [check] = bad(project).values()
    assert (check.subject, check.state) == ("limits", "warning")
    assert backend.proved == []


def test_cpus_that_a_cpuset_keeps_from_sandboxes_are_not_promised(
    project: Path, backend: FakeBackend
) -> None:
    backend.cores = (1,)
    change(project, "cpus: 1.0 ", "cpus: 2.0 ")
    assert "2 CPUs are more than the 1 of this host" in bad(project)["resources.cpus"].says


@pytest.mark.parametrize("broken", ["checks", "probe_image", "prove", "connect"])
def test_whatever_breaks_is_a_line_and_the_others_go_on(
    project: Path, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("Architecture")

    monkeypatch.setattr(backends if broken == "connect" else backend, broken, fail)
    found = list(examine(project))
    [check] = [each for each in found if each.state == "failed"]
    assert "KeyError: 'Architecture'" in check.says
    assert "docker info" in (check.hint or "")
    assert check.exit_code == 4
    assert found[-1].subject == "disk runs"


def test_a_directory_that_is_gone_is_a_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = project.parent / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert set(bad(project)) == {"runs"}


def test_disk() -> None:
    bounds = (2 * 2**30, 5 * 2**30)
    states = [Check.space("Docker", "/here", free, bounds).state for free in (2**30, 3 * 2**30, 9 * 2**30)]
    assert states == ["failed", "warning", "ok"]
