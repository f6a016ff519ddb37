"""The nightly workflow's own commands, in order, in a clean directory, night after night on the real engine.

GitHub is stood in for by directories: `gh` and the artifacts' actions read and write below one of them. `Install` is
left out, since what is tested is the bakeoff that is installed already.
"""

import os
import re
import shutil
import subprocess
import sys
import threading
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.docker.project import Project, call, docker

pytestmark = [pytest.mark.docker, pytest.mark.slow]

WORKFLOW = Path(__file__).parents[2] / ".github" / "workflows" / "nightly.yml"
GH = """#!/usr/bin/env bash
# gh run list ... | gh run download ID --name NAME --dir DIR
set -eu
case "$2" in
  list) cat "$ARTIFACTS/last_good" 2>/dev/null || true ;;
  download) mkdir -p "$7" && cp -r "$ARTIFACTS/$3/$5/." "$7/" ;;
esac
"""


@dataclass
class Night:
    """What one night left behind. `codes`: exit code by step; None: skipped."""

    codes: dict[str, int | None]
    output: dict[str, str]
    summary: str
    root: Path

    @property
    def good(self) -> bool:
        return all(code in (0, None) for code in self.codes.values())


class Ci:
    """A server that keeps artifacts."""

    def __init__(self, root: Path) -> None:
        self.root, self.artifacts, self.nights = root, root / "artifacts", 0
        self.artifacts.mkdir(parents=True)
        self.bin = root / "bin"
        self.bin.mkdir()
        (self.bin / "gh").write_text(GH)
        (self.bin / "gh").chmod(0o755)

    def night(self, skill: float, *, storm: bool = False) -> Night:
        """One run of the workflow in a fresh checkout, with the candidate as good as `skill`."""
        self.nights += 1
        checkout = self.root / f"night{self.nights}"
        checked_out(checkout, skill)
        workflow = YAML(typ="safe").load(WORKFLOW)
        summary = self.root / f"summary{self.nights}.md"
        env = {
            **os.environ,
            **{key: expanded(value) for key, value in workflow["env"].items()},
            "PATH": os.pathsep.join([str(self.bin), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "ARTIFACTS": str(self.artifacts),
            "GITHUB_STEP_SUMMARY": str(summary),
            "GITHUB_REF_NAME": "main",
        }
        summary.touch()  # as GitHub does
        night = Night({}, {}, "", checkout)
        for step in workflow["jobs"]["bake-off"]["steps"]:
            self.step(step, night, env, storm)
        night.summary = summary.read_text()
        if night.good:
            (self.artifacts / "last_good").write_text(str(self.nights))
        return night

    def step(self, step: dict[str, Any], night: Night, env: dict[str, str], storm: bool) -> None:
        name, condition = step.get("name", ""), step.get("if")
        assert condition in (None, "always()"), condition
        due = night.good or condition == "always()"
        if "run" in step and name != "Install":
            if not due:
                night.codes[name] = None
                return
            own = {key: expanded(value) for key, value in step.get("env", {}).items()}
            command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            with Killing(night.root) if storm and name == "Run" else nullcontext():
                done = subprocess.run(
                    command,
                    cwd=night.root,
                    env=env | own,
                    capture_output=True,
                    text=True,
                    timeout=400,
                    check=False,
                )
            night.codes[name], night.output[name] = done.returncode, done.stdout + done.stderr
        elif due and step.get("uses", "").startswith("actions/upload-artifact"):
            kept = self.artifacts / str(self.nights) / step["with"]["name"]
            paths = [night.root / line for line in step["with"]["path"].split()]
            for path in filter(Path.exists, paths):
                # one path: its content is the artifact; several: what is below their common parent
                target = kept if len(paths) == 1 else kept / path.name
                kept.mkdir(parents=True, exist_ok=True)
                (
                    shutil.copytree(path, target, dirs_exist_ok=True)
                    if path.is_dir()
                    else shutil.copy(path, target)
                )


def expanded(value: str) -> str:
    known = {"github.token": "token", "inputs.suite": ""}
    return re.sub(r"\$\{\{ *([\w.]+) *\}\}", lambda match: known[match[1]], value)


def checked_out(root: Path, skill: float) -> None:
    project = Project(root)
    project.config |= {
        "candidates": [{"name": "sim", "model": f"simulated:skill={skill}"}],
        "infra": {"attempts": 1, "max_error_rate": 0.05},
        "gates": {"max_drop": 0.3, "must_pass": ["id=sure-*"]},  # ten examples once answer no less
        "max_concurrency": 2,
    }
    for number in range(10):
        metadata = {"suite": "benchmark", "severity": 1}
        project.row(f"case-{number}", call("wait", "waited", seconds=0.6), metadata=metadata)
    project.write()


class Killing:
    """Somebody kills the run's containers, as a host that runs out of something does."""

    def __init__(self, root: Path) -> None:
        self.root, self.over = root, threading.Event()
        # the baseline that was fetched is a run directory too
        self.before = {path.parent.name for path in root.glob("runs/*/manifest.json")}
        self.thread = threading.Thread(target=self.kill)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *exc: object) -> None:
        self.over.set()
        self.thread.join()

    def kill(self) -> None:
        while not self.over.wait(0.2):
            for run_id in {path.parent.name for path in self.root.glob("runs/*/manifest.json")} - self.before:
                for container in docker("ps", "-q", "--filter", f"label=bakeoff={run_id}").split():
                    # it may have ended meanwhile
                    subprocess.run(["docker", "kill", container], capture_output=True, check=False)


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> list[Night]:
    ci = Ci(tmp_path_factory.mktemp("ci"))
    return [ci.night(1.0), ci.night(1.0), ci.night(0.2), ci.night(1.0, storm=True)]


def test_the_first_night_becomes_the_baseline(nights: list[Night]) -> None:
    assert nights[0].good, nights[0]
    assert "There was no baseline" in nights[0].summary


def test_an_unchanged_night_passes_and_becomes_the_baseline(nights: list[Night]) -> None:
    night = nights[1]
    assert night.good, night
    assert "No change beyond noise" in night.output["Compare"]
    [tonight] = {path.parent.name for path in night.root.glob("runs/*/manifest.json")} - baseline_of(
        nights[0]
    )
    assert (night.root / "runs" / "baseline").read_text().strip() == tonight
    assert "| passed | max-drop 30.0 % | sim |" in night.summary
    assert "## What exactly was the harness?" in night.summary


def baseline_of(night: Night) -> set[str]:
    return {(night.root / "runs" / "baseline").read_text().strip()}


def test_a_regression_fails_the_night_and_names_the_examples(nights: list[Night]) -> None:
    night = nights[2]
    assert night.codes["Run"] == 0
    assert night.codes["Compare"] == 1
    assert night.codes["Keep the good run"] is None
    assert "GATE FAILED" in night.output["Compare"]
    newly = re.findall(r"^\| case-\d \|", night.summary, re.MULTILINE)
    assert len(newly) >= 6
    assert baseline_of(night) == baseline_of(nights[1])


def test_a_storm_is_inconclusive_and_no_regression(nights: list[Night]) -> None:
    night = nights[3]
    assert night.codes["Run"] == 0  # 3 is let through
    assert night.codes["Compare"] == 3
    assert "INCONCLUSIVE" in night.output["Compare"]
    assert "GATE FAILED" not in night.summary
    assert r"infra.container\_lost" in night.summary
    assert "## What is the infrastructure error rate?" in night.summary
    assert baseline_of(night) == baseline_of(nights[1])  # the regression of the night before is no baseline
