"""`bakeoff report RUN`: makes report.md again from the run directory."""

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
    """Make a run's report.md again from its directory, and print where it is."""
    from bakeoff.report import data, markdown
    from bakeoff.store import RunDirectory

    directory = RunDirectory.resolve(run, out)
    typer.echo(directory.write_report(markdown.render(data.collect(directory))))
