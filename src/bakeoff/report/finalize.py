"""The end of `bakeoff run`: the report written, the result printed. A process of its own.

    python -m bakeoff.report.finalize RUN_DIRECTORY table|json|quiet

The orchestrator's memory is taken from the containers' host, so that it has to stay small; what judges the
numbers and draws them (scipy, plots) is loaded only here, when the containers are gone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Literal

Style = Literal["table", "json", "quiet"]


def close(directory: Path, style: Style) -> int:
    """Write the report of a finished run and print its result on stdout, in another process; the exit code."""
    # -P: a file of the user's in the working directory must not stand in for a module of ours
    return subprocess.call([sys.executable, "-P", "-m", "bakeoff.report.finalize", str(directory), style])


def publish(directory: Path) -> int:
    """Publish a finished run to the targets of its harness.yaml, in another process; the exit code."""
    command = [sys.executable, "-P", "-m", "bakeoff", "publish", str(directory)]
    return subprocess.call(command, stdout=sys.stderr)  # stdout may be one JSON object by now


def main(directory: Path, style: Style) -> int:
    """What that process does."""
    from bakeoff.record.store import RunDirectory
    from bakeoff.report import data, summary, terminal, write

    run = RunDirectory.open(directory)
    report = data.collect(run)
    in_markdown, in_html = write.write(run, report)
    if style == "json":
        print(json.dumps(summary.summary(report), indent=2))
    elif style == "table":
        console = terminal.console()
        console.print(terminal.scoreboard(report))
        console.print(f"Report: {in_markdown}, {in_html}", highlight=False, markup=False, soft_wrap=True)
    return report.exit_code


if __name__ == "__main__":
    from bakeoff import cli

    cli.guarded(lambda: sys.exit(main(Path(sys.argv[1]), sys.argv[2])))  # type: ignore[arg-type]
