"""The demonstration, really run once a session: passes, failures, and trials that the kernel ended for their memory."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bakeoff.record.manifest import Manifest
from bakeoff.record.store import RunDirectory
from tests.fakes.command import Done, bakeoff

ROOT = Path(__file__).parents[2]
COMMAND = str(Path(sys.executable).parent / "bakeoff")
EXAMPLES = ("audit-001", "product-003", "ambiguous-001", "decline-007", "return-003")
EXIT_INCONCLUSIVE = 3


@pytest.fixture(scope="session")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Three candidates, five examples, twice each. The audit is too big for its limit: the run is inconclusive.

    Read it, publish it, and change nothing in it: every test has the same, in whichever of pytest's processes.
    """
    base = tmp_path_factory.getbasetemp()
    out = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "demonstration"
    with out.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not out.exists():
            _run(out)
    (run,) = out.iterdir()
    return RunDirectory.open(run)


def _run(out: Path) -> None:
    command = [
        COMMAND,
        "run",
        "harness.yaml",
        *"--quiet --trials 2 --memory 256MiB".split(),
        "--out",
        str(out),
    ]
    for example in EXAMPLES:
        command += ["--example", example]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_INCONCLUSIVE, done.stdout + done.stderr


def another(run: RunDirectory, out: Path, run_id: str, **changes: object) -> RunDirectory:
    """A copy of a run below `out` with an id of its own, and its manifest changed."""
    shutil.copytree(run.path, out / run_id)
    manifest = Manifest.model_validate(run.manifest().model_dump() | changes | {"run_id": run_id})
    (out / run_id / "manifest.json").write_text(manifest.model_dump_json(indent=2))
    return RunDirectory.open(out / run_id)


def publish(
    run: RunDirectory, *options: str, env: dict[str, str] | None = None, process: bool = False
) -> Done:
    """`bakeoff publish RUN --allow-inconclusive`, in an environment without the user's own settings of any target.

    In this process, where a start costs nothing, unless `process`: that alone shows what is read when a client is
    imported, and what a library in C writes to stderr by itself.
    """
    words = [COMMAND, "publish", str(run.path), "--allow-inconclusive", *options]
    if process:
        return subprocess.run(
            words, cwd=ROOT, env=environment(env), capture_output=True, text=True, check=False, timeout=300
        )
    return bakeoff(*words[1:], cwd=ROOT, env=environment(env))


def environment(changes: dict[str, str] | None = None) -> dict[str, str]:
    """This process's, without what would lead a publisher elsewhere."""
    foreign = ("MLFLOW_", "OTEL_", "LANGSMITH_", "LANGCHAIN_", "PHOENIX_")
    return {key: value for key, value in os.environ.items() if not key.startswith(foreign)} | (changes or {})
