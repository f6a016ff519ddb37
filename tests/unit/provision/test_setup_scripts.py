"""The Makefile and `.ci/run`: shell that is only seen when it fails on somebody else's machine."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def test_the_shell_parses() -> None:
    subprocess.run(["bash", "-n", ".ci/run"], cwd=ROOT, check=True)
    for target in ("run", "test", "test-fast", "test-cgroup2", "lint", "bench"):
        recipe = subprocess.run(
            ["make", "-Bn", target], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout
        subprocess.run(["bash", "-n"], input=recipe, text=True, check=True)


def sandbox(tmp_path: Path, **programs: str) -> dict[str, str]:
    """A copy of the Makefile, and a PATH with a shell, `touch`, `mkdir`, and the given programs alone."""
    for name in ("Makefile", "pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("make", "bash", "touch", "mkdir"):
        (tools / name).symlink_to(shutil.which(name) or name)
    for name, script in programs.items():
        (tools / name).write_text(f"#!{shutil.which('bash')}\n{script}\n")
        (tools / name).chmod(0o755)
    return {"PATH": str(tools)}


def make(tmp_path: Path, environment: dict[str, str], *targets: str) -> subprocess.CompletedProcess[str]:
    command = [str(tmp_path / "bin/make"), *targets]
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)


def test_a_machine_without_python_gets_a_clear_message(tmp_path: Path) -> None:
    done = make(tmp_path, sandbox(tmp_path, python3="exit 1"), ".venv/.run")
    assert done.returncode != 0
    assert "no Python 3.11 or newer, and no uv" in done.stderr


def test_the_environment_is_made_once_and_from_the_lock(tmp_path: Path) -> None:
    environment = sandbox(tmp_path, uv='echo "$@" >> uv.log; mkdir -p .venv')
    for _ in range(2):
        assert make(tmp_path, environment, ".venv/.run").returncode == 0
    calls = [line for line in (tmp_path / "uv.log").read_text().splitlines() if line != "--version"]
    assert calls == ["sync -q --frozen --inexact --no-dev"]


def test_without_uv_one_is_installed_beside_the_environment(tmp_path: Path) -> None:
    fake = """case "$*" in
  *venv*) mkdir -p .cache/uv/bin .venv
    printf '#!%s\\necho "$@" >> uv.log\\n' "$BASH" > .cache/uv/bin/uv
    printf '#!%s\\necho "pip $@" >> uv.log\\n' "$BASH" > .cache/uv/bin/pip
    python_chmod ;;
esac"""
    chmod = shutil.which("chmod") or "chmod"
    environment = sandbox(tmp_path, python3=fake, python_chmod=f"{chmod} +x .cache/uv/bin/*")
    done = make(tmp_path, environment, ".venv/.run")
    assert done.returncode == 0, done.stderr
    log = (tmp_path / "uv.log").read_text()
    assert "pip install" in log
    assert "sync -q --frozen --inexact --no-dev" in log


@pytest.mark.parametrize(("answers", "stopped"), [(True, False), (False, True)])
@pytest.mark.parametrize("tests_pass", [True, False])
def test_ci_ends_only_the_engine_that_it_started(
    tmp_path: Path, answers: bool, stopped: bool, tests_pass: bool
) -> None:
    environment = sandbox(tmp_path, dirname=f'exec {shutil.which("dirname")} "$@"')
    (tmp_path / "bin/make").unlink()
    stubs = {
        "bin/make": f"echo make $1 >> log; [ $1 != test ] || exit {0 if tests_pass else 2}",
        ".venv/bin/python": f"exit {0 if answers else 1}",
        ".venv/bin/bakeoff": 'echo bakeoff "$@" >> log',
    }
    for name, script in stubs.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"#!{shutil.which('bash')}\n{script}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    done = subprocess.run(["bash", ".ci/run"], cwd=tmp_path, env=environment, check=False)
    log = (tmp_path / "log").read_text().splitlines()
    assert done.returncode == (0 if tests_pass else 2)
    last = ["make test-cgroup2"] if tests_pass else []
    last += ["bakeoff setup --stop-docker"] if stopped else []
    assert log == ["make lint", "make browser", "make test", *last]
