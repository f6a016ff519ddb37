"""What a user reads when something is wrong: one error, its place, its hint, its exit code; and nothing started."""

# ruff: noqa: E501 - one mistake a line

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bakeoff import backends
from bakeoff.backends.base import Capacity
from bakeoff.backends.fake import FakeBackend
from bakeoff.cli.init import write
from bakeoff.errors import UnfitEnvironment
from bakeoff.record.evidence import VerdictName
from bakeoff.run import run as runs
from tests.fakes import synthetic
from tests.fakes.command import Done, bakeoff

BAKEOFF = str(Path(sys.executable).parent / "bakeoff")


Command = Callable[..., Done]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`bakeoff ...` in this process, in a fresh `bakeoff init` project, on a host with 2 CPUs and 8 GiB."""
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backends, "connect", lambda *_: FakeBackend(capacity=Capacity(2.0, 8 * 2**30)))
    monkeypatch.setattr(FakeBackend, "prepare", lambda *_: pytest.fail("something was started"))
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    return bakeoff


def one_error(spoken: Done, code: int = 2) -> tuple[str, str]:
    """The error and its hint; there is exactly one of each, on stderr, and no traceback."""
    assert spoken.returncode == code, spoken.stderr
    assert spoken.stdout == ""
    lines = spoken.stderr.splitlines()
    assert [line.split(":")[0].strip() for line in lines] == ["error", "hint"], spoken.stderr
    return lines[0].removeprefix("error: "), lines[1].strip().removeprefix("hint: ")


# what is replaced in which file, by what; then what is said: key, problem, hint. The line is the replacement's own.
IN_A_FILE = {
    "unknown key": ("harness.yaml", "trials: 3", "trails: 3", "trails", "", "`trials`"),
    "no such function": ("harness.yaml", "agent:build", "agent:bild", "harness.entrypoint", "bild", "agent:build_agent"),
    "missing key": ("harness.yaml", '"simulated:skill=0.6"', '"anthropic:claude"', "candidates[1].model", "ANTHROPIC_API_KEY", "export"),
    "missing package": ("harness.yaml", '"simulated:skill=0.6"', '"fireworks:m"', "candidates[1].model", "langchain_fireworks", "pip install"),
    "nothing to look at": ("harness.yaml", "trials: 3", "trials: 1\nstop_early: true", "stop_early", "two repetitions", "--trials 5"),
    "one look": ("harness.yaml", "trials: 3", "trials: 3\nstop_early: {looks: 1}", "stop_early.looks", "2", ""),
    "used twice": ("datasets/menu.jsonl", '"id": "price-soup"', '"id": "price-tea"', "id", "already used in line 2", "its own id"),
}  # fmt: skip


@pytest.mark.parametrize("name", IN_A_FILE)
def test_a_mistake_in_a_file(command: Command, tmp_path: Path, name: str) -> None:
    place, old, new, key, problem, hint = IN_A_FILE[name]
    if name == "missing package" and importlib.util.find_spec("langchain_fireworks"):
        pytest.skip("the package is installed")
    file = tmp_path / place
    before, after, rest = file.read_text().partition(old)
    assert after, old
    file.write_text(before + new + rest)
    said, to_do = one_error(command("run"))
    line = before.count("\n") + new.count("\n") + 1
    assert said.startswith(f"{place}:{line}: {key}: "), said
    assert problem in said
    assert hint in to_do


OPTIONS = {
    ("--candidate", "stedy"): ("--candidate", "steady"),
    ("--example", "price-te"): ("--example", "price-tea"),
    ("--memory", "512 Mb"): ("--memory", "512MiB"),
    ("--memory", "64GiB"): ("resources.memory", "--memory"),
    ("--cpus", "0"): ("--cpus", ""),
    ("--trials", "0"): ("--trials", ""),
    ("--max-concurrency", "0"): ("--max-concurrency", ""),
    ("--stop-early", "--trials", "1"): ("--stop-early", "--no-stop-early"),
    ("--stop-early", "--trials", "5", "--candidate", "steady"): ("--stop-early", "two candidates"),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_a_mistake_on_the_command_line(command: Command, option: tuple[str, ...]) -> None:
    key, hint = OPTIONS[option]
    said, to_do = one_error(command("run", *option))
    assert key in said
    assert hint in to_do


@pytest.mark.parametrize(
    "args", [("run", "absent.yaml"), ("run", "."), ("show",), ("show", "x"), ("report", "x"), ("init",)]
)
def test_a_file_that_is_not_there_or_is_there_already(command: Command, args: tuple[str, ...]) -> None:
    one_error(command(*args))


@pytest.mark.parametrize(
    "args", [("run", "--nope"), ("run", "--trials", "x"), ("bake",), ("show", "a", "b", "c")]
)
def test_wrong_usage_is_exit_2(command: Command, args: tuple[str, ...]) -> None:
    spoken = command(*args)
    assert (spoken.returncode, spoken.stdout) == (2, "")
    assert "Usage: bakeoff" in spoken.stderr


def test_without_docker_it_is_exit_4_and_a_dry_run_works(tmp_path: Path) -> None:
    write(tmp_path)
    environ = os.environ | {"DOCKER_HOST": "unix:///nonexistent"}

    said, to_do = one_error(bakeoff("run", cwd=tmp_path, env=environ), code=4)
    assert "no Docker Engine answers at DOCKER_HOST=unix:///nonexistent" in said
    assert "Start that engine" in to_do
    options = "--dry-run --json --trials 2 -c steady -e price-*".split()
    dry = bakeoff("run", *options, cwd=tmp_path, env=environ)
    facts = json.loads(dry.stdout)
    assert (dry.returncode, dry.stderr) == (0, "")
    assert (facts["trials"], facts["candidates"], facts["examples"]) == (6, ["steady"], 3)
    assert facts["estimated_model_calls"] == 12
    assert facts["reserve"] == {"cpus": 0.5, "memory_bytes": 256 * 2**20}
    assert sorted(facts["order"])[0] == "steady/price-coffee/1"
    assert bakeoff("doctor", cwd=tmp_path, env=environ).returncode == 4
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_names_the_looks_of_a_run_that_may_stop_early(command: Command) -> None:
    options = ("--dry-run", "--trials", "10", "--stop-early")
    assert json.loads(command("run", *options, "--json").stdout)["looks"] == [2, 4, 6, 8, 10]
    assert "after 2, 4, 6, 8, 10 repetitions" in command("run", *options).stdout
    fixed = command("run", "--dry-run", "--trials", "10")
    assert "looks" not in fixed.stdout


def test_a_bug_is_called_one_and_its_traceback_kept_without_keys(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "correct-horse-battery")

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("after correct-horse-battery [/red] \x1b[31m")

    monkeypatch.setattr(runs, "plan", broken)
    said, to_do = one_error(command("run"), code=1)
    assert said == "this is a bug in bakeoff: ZeroDivisionError: after [redacted] [/red] ␛[31m"
    file = Path(to_do.removeprefix("The traceback is in ").partition(";")[0])
    kept = file.read_text()
    file.unlink()
    assert "in broken" in kept
    assert "correct-horse" not in kept


@pytest.mark.slow
@pytest.mark.parametrize("args", [("run", "--dry-run"), ("run", "--dry-run", "--json"), ("--help",)])
def test_a_broken_pipe_is_silent(tmp_path: Path, args: tuple[str, ...]) -> None:
    write(tmp_path)
    read, written = os.pipe()
    os.close(read)
    done = subprocess.run(
        [BAKEOFF, *args], cwd=tmp_path, stdout=written, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(written)
    assert done.stderr == ""


@pytest.mark.slow
def test_the_command_line_starts_without_the_libraries_of_its_commands() -> None:
    listed = (
        "import sys; from bakeoff.cli import app; app(['--help'], standalone_mode=False);"
        " print(*sorted({name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", listed], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert {"bakeoff", "typer", "rich"} <= loaded
    heavy = {"pydantic", "docker", "langchain", "langchain_core", "langsmith", "numpy", "scipy", "matplotlib"}
    assert not loaded & heavy  # 0.2 s; any of these takes as long again


def test_a_dry_run_refuses_what_a_run_would(command: Command, tmp_path: Path) -> None:
    agent = tmp_path / "my_agent/agent.py"
    agent.write_text(agent.read_text().replace("def build_agent", "def build"))
    assert one_error(command("run", "--dry-run")) == one_error(command("run"))


@pytest.mark.slow
@pytest.mark.parametrize(("verdict", "code"), [("passed", 0), ("infra_error", 3)])
def test_quiet_says_one_line_only_where_the_numbers_cannot_decide(
    command: Command, tmp_path: Path, verdict: VerdictName, code: int
) -> None:
    # `bakeoff run --quiet` ends with this command
    records = [synthetic.trial("hasty", f"case-{n:03}", verdict=verdict) for n in range(12)]
    manifest = synthetic.manifest(["hasty"], repetitions=1)
    run = synthetic.run_directory(tmp_path / "runs", records, manifest)
    said = command("report", str(run.path), "--finish", "quiet")
    assert (said.returncode, said.stdout, said.stderr.count("\n")) == (code, "", int(code == 3))
    assert ("INCONCLUSIVE: " in said.stderr) == (code == 3)


def test_help_names_values_and_shows_no_type_of_python(command: Command) -> None:
    for name in ("run", "compare", "publish", "power", "report", "show", "doctor", "setup", "init"):
        options = [line for line in command(name, "--help").stdout.splitlines() if " --" in line]
        assert options
        assert not any("<" in line for line in options)


@pytest.mark.slow
@pytest.mark.parametrize(("hard", "at_once"), [(512, "29"), (64, "1"), (63, "UnfitEnvironment")])
def test_a_low_limit_on_open_files_is_raised_as_far_as_it_may_be_and_bounds_what_runs_at_once(
    hard: int, at_once: str
) -> None:
    """macOS begins with 256, and each running trial has a few."""
    code = """
from bakeoff.run import admission
try:
    print(admission._by_open_files())
except Exception as error:
    print(type(error).__name__)
"""
    command = ["sh", "-c", f"ulimit -Sn 60 && ulimit -Hn {hard} && exec {sys.executable} -c '{code}'"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [at_once]


def test_a_run_closes_its_way_to_the_engine_however_it_ends(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[FakeBackend] = []

    def close(backend: FakeBackend) -> None:
        closed.append(backend)

    def refuse(*_: object) -> None:
        raise UnfitEnvironment("there is no image", hint="Make one.")

    monkeypatch.setattr(FakeBackend, "close", close)
    monkeypatch.setattr(FakeBackend, "prepare", refuse)
    assert one_error(command("run", "--quiet"), code=4)[0].endswith("there is no image")
    assert len(closed) == 1
