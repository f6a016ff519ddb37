"""A project of somebody else's making: its own agent package, dataset and harness.yaml, run by the real command."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from bakeoff.record.store import RunDirectory
from bakeoff.record.trial import TrialRecord

AGENT = Path(__file__).parent / "faulty_agent.py"
COMMAND = [str(Path(sys.executable).parent / "bakeoff")]


@dataclass
class Outcome:
    """What one `bakeoff run` left behind."""

    code: int
    stdout: str
    stderr: str
    run: RunDirectory | None
    peak_bytes: int = 0  # of the orchestrator's own memory
    cpu_seconds: float = 0.0  # that it used

    def trials(self) -> dict[str, TrialRecord]:
        """By example id: for runs of one candidate and one repetition."""
        assert self.run is not None, self.stderr
        return {trial.example_id: trial for trial in self.run.trials()}


class Project:
    """A directory with a harness; `bake` runs it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        package = root / "faulty_agent"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "agent.py").write_text(AGENT.read_text())
        self.config: dict[str, Any] = {
            "version": 1,
            "name": "faulty",
            "harness": {
                "entrypoint": "faulty_agent.agent:build_agent",
                "source": "faulty_agent",
                "limits": {"turns": 6, "seconds": 20, "tool_seconds": 15},
            },
            "resources": {
                "cpus": 1.0,
                "memory": "256MiB",
                "pids": 64,
                "disk": "16MiB",
                "reserve": {"cpus": 0.25, "memory": "128MiB"},
            },
            "candidates": [{"name": "sim", "model": "simulated:skill=1"}],
            "dataset": "rows.jsonl",
            "evaluators": [
                {"trajectory_match": {"mode": "superset"}, "threshold": 1.0},
                {"final_answer": {"match": "contains"}, "threshold": 1.0},
            ],
            "infra": {"attempts": 1, "max_error_rate": 1.0},
            "max_concurrency": 4,
            "seed": 1,
        }
        self.rows: list[dict[str, Any]] = []

    def row(self, name: str, *calls: dict[str, Any], answer: str = "done", **fields: Any) -> None:
        """Add an example whose reference is these calls and this answer."""
        outputs = {"trajectory": list(calls), "answer": answer}
        self.rows.append({"id": name, "inputs": {"question": name}, "outputs": outputs, **fields})

    def write(self) -> None:
        """harness.yaml and the dataset, as they are by now."""
        with (self.root / "harness.yaml").open("w") as file:
            YAML().dump(self.config, file)
        (self.root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in self.rows))

    def containers(self, *filters: str) -> list[str]:
        """Ids of the containers of this project's runs, running ones unless filters say otherwise."""
        found: list[str] = []
        for manifest in self.root.glob("*/*/manifest.json"):
            found += docker("ps", "-q", *filters, "--filter", f"label=bakeoff={manifest.parent.name}").split()
        return found

    def bake(self, *args: str, env: dict[str, str] | None = None, timeout: float = 300) -> Outcome:
        """`bakeoff run --quiet` in the project's directory."""
        return self.finish(self.start(*args, env=env), timeout=timeout)

    def finish(self, process: "subprocess.Popen[str]", *, timeout: float = 300) -> Outcome:
        """Wait for a run that was started."""
        use = Use()
        watch = threading.Thread(target=use.watch, args=(process,))
        watch.start()
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        finally:
            if process.poll() is None:
                process.kill()
            watch.join()
        runs = sorted((self.root / "runs").glob("*/manifest.json"))
        run = RunDirectory.open(runs[-1].parent) if runs else None
        return Outcome(process.returncode, stdout, stderr, run, use.peak_bytes, use.cpu_seconds)

    def start(self, *args: str, env: dict[str, str] | None = None) -> "subprocess.Popen[str]":
        """The same, not waited for."""
        self.write()
        return subprocess.Popen(
            [*COMMAND, "run", "--quiet", *args],
            cwd=self.root,
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@dataclass
class Use:
    """What a process takes of its host, read until its end."""

    peak_bytes: int = 0
    cpu_seconds: float = 0.0

    def watch(self, process: "subprocess.Popen[str]") -> None:
        """The kernel's own high-water mark. (ru_maxrss would count what the parent was at the fork.)"""
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
                times = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
            except (FileNotFoundError, ProcessLookupError):
                return
            lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
            if lines:
                self.peak_bytes = max(self.peak_bytes, int(lines[0].split()[1]) * 1024)
            self.cpu_seconds = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
            time.sleep(0.05)


def docker(*args: str) -> str:
    """What `docker <args>` prints; where it fails, what it complains of is the test's error."""
    done = subprocess.run(["docker", *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"docker {' '.join(args)}: {done.stderr}"
    return done.stdout


def call(name: str, result: str | None = None, /, **args: Any) -> dict[str, Any]:
    """One call of a reference trajectory."""
    return {"name": name, "args": args} | ({} if result is None else {"result": result})
