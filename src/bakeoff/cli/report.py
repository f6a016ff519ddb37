"""`bakeoff report RUN`: makes report.md and report.html again from the run directory."""

# A command imports its room when it runs, so that `bakeoff --help` stays fast

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RUN_HELP = "A run directory, a run id or its beginning, or `latest`."
OUT_HELP = "Where runs are kept."


def report(
    run: Annotated[str, typer.Argument(help=RUN_HELP)] = "latest",
    out: Annotated[Path, typer.Option("--out", help=OUT_HELP)] = Path("runs"),
) -> None:
    """Make a run's report.md and report.html again from its directory, and print where they are."""
    from bakeoff.record.store import RunDirectory
    from bakeoff.report import data, write

    directory = RunDirectory.resolve(run, out)
    for path in write.write(directory, data.collect(directory)):
        typer.echo(path)
