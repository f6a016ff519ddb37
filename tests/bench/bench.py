"""What a trial costs beside a bare `docker run` of the same image. Prints one table; judges nothing.

    python tests/bench/bench.py [--trials 20] [--rounds 3]

(a) `docker run` of the harness image with the same limits and hardening, doing `import langchain.agents` and one tool
call; (b) `bakeoff run`, the whole command, on a one-tool example with a simulated model of no latency. Both in turn, at
the same concurrency, so that drift of the machine meets both; the ratio is of medians over the rounds. Orchestrator:
CPU seconds and peak memory of the `bakeoff` process itself, from the kernel's accounting (wait4).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

CONCURRENCIES = (1, 2, 4)
BAKEOFF = str(Path(sys.executable).parent / "bakeoff")

AGENT = '''
from langchain.agents import create_agent

def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b

def build_agent(model, context):
    return create_agent(model, [add], system_prompt="You add.")
'''

BARE = """
import langchain.agents
from langchain_core.tools import tool
@tool
def add(a: int, b: int) -> int:
    "Add two numbers."
    return a + b
assert add.invoke({"a": 1, "b": 2}) == 3
"""

HARNESS = """
version: 1
name: bench
harness: {entrypoint: "agent:build_agent", source: agent}
resources: {cpus: 1.0, memory: 512MiB, pids: 128, disk: 64MiB, reserve: {cpus: 0.25, memory: 128MiB}}
candidates: [{name: sim, model: "simulated:skill=1"}]
dataset: rows.jsonl
evaluators: [{trajectory_match: {mode: superset}, threshold: 1.0}, {final_answer: {match: contains}, threshold: 1.0}]
"""


@dataclass
class Row:
    """Measurements at one concurrency, one value a round."""

    bare: list[float] = field(default_factory=list)  # seconds a container
    bakeoff: list[float] = field(default_factory=list)  # seconds a trial
    cpu: list[float] = field(default_factory=list)  # seconds of the orchestrator
    peak: list[float] = field(default_factory=list)  # MiB of the orchestrator


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--trials", type=int, default=20)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch)
        write(project, chosen.trials)
        image, _ = bake(project, "--example", "row-0")  # builds the image, fills the caches
        rows = {n: Row() for n in CONCURRENCIES}
        for _ in range(chosen.rounds):
            for n, row in rows.items():
                row.bare.append(bare(image, n, chosen.trials))
                began = time.monotonic()
                _, used = bake(project, "--max-concurrency", str(n))
                row.bakeoff.append((time.monotonic() - began) / chosen.trials)
                row.cpu.append(used.ru_utime + used.ru_stime)
                row.peak.append(used.ru_maxrss / 1024)
    show(rows, chosen.trials, chosen.rounds)


def write(project: Path, trials: int) -> None:
    """A project with a one-tool agent and one example a trial."""
    package = project / "agent"
    package.mkdir()
    (package / "agent.py").write_text(AGENT)
    (project / "harness.yaml").write_text(HARNESS)
    outputs = {"answer": "3", "trajectory": [{"name": "add", "args": {"a": 1, "b": 2}, "result": "3"}]}
    lines = (
        json.dumps({"id": f"row-{i}", "inputs": {"question": "1 + 2?"}, "outputs": outputs})
        for i in range(trials)
    )
    (project / "rows.jsonl").write_text("\n".join(lines))


def bake(project: Path, *options: str) -> tuple[str, resource.struct_rusage]:
    """`bakeoff run`; (image id, what the process used). Every trial must have passed, or nothing was measured."""
    process = subprocess.Popen(
        [BAKEOFF, "run", "--json", "--quiet", *options], cwd=project, stdout=subprocess.PIPE, text=True
    )
    summary = json.loads(process.stdout.read())
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0 or summary["candidates"][0]["passed"] != summary["trials_planned"]:
        sys.exit(f"the run did not pass: {json.dumps(summary, indent=1)}")
    manifest = json.loads((project / summary["run_dir"] / "manifest.json").read_text())
    return manifest["image"]["id"], used


def bare(image: str, concurrency: int, count: int) -> float:
    """Seconds a container of `docker run`, `concurrency` at once."""
    command = [
        "docker", "run", "--rm", "--network", "none", "--cpus", "1", "--memory", "512m", "--memory-swap", "512m",
        "--pids-limit", "128", "--read-only", "--tmpfs", "/task:size=64m,exec,mode=0700,uid=10001,gid=10001",
        "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--ipc", "none", "--log-driver", "none",
        "--workdir", "/task", image, "/opt/venv/bin/python", "-I", "-c", BARE,
    ]  # fmt: skip
    began = time.monotonic()
    with ThreadPoolExecutor(concurrency) as pool:
        for done in pool.map(
            lambda _: subprocess.run(command, check=True, capture_output=True), range(count)
        ):
            assert done.returncode == 0
    return (time.monotonic() - began) / count


def show(rows: dict[int, Row], trials: int, rounds: int) -> None:
    """The table: medians, and the spread of the ratio over the rounds."""
    table = Table(
        title=f"seconds a trial, medians of {rounds} rounds of {trials} trials; simulated model, no latency"
    )
    for heading in (
        "at once",
        "(a) docker run",
        "(b) bakeoff run",
        "b/a",
        "b/a, min–max",
        "orchestrator CPU s",
        "peak MiB",
    ):
        table.add_column(heading, justify="right")
    for n, row in rows.items():
        bare_median, median = statistics.median(row.bare), statistics.median(row.bakeoff)
        ratios = [b / a for a, b in zip(row.bare, row.bakeoff, strict=True)]
        table.add_row(
            str(n),
            f"{bare_median:.3f}",
            f"{median:.3f}",
            f"{median / bare_median:.2f}",
            f"{min(ratios):.2f}–{max(ratios):.2f}",
            f"{statistics.median(row.cpu):.2f}",
            f"{max(row.peak):.0f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
