"""`bakeoff report RUN`: makes report.md and report.html again from the run directory."""

# A command imports its package when it runs: `bakeoff --help` stays fast

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bakeoff.report.data import ReportData

RUN_HELP = "A run directory, a run id or its beginning, or `latest`."
OUT_HELP = "Where runs are kept."


class Style(StrEnum):
    """How a result is printed on stdout."""

    TABLE = "table"
    JSON = "json"
    QUIET = "quiet"


def report(
    run: Annotated[str, typer.Argument(help=RUN_HELP)] = "latest",
    out: Annotated[Path, typer.Option("--out", help=OUT_HELP)] = Path("runs"),
    finish: Annotated[
        Style | None,
        typer.Option(help="As `bakeoff run` ends: print the result, exit with its code.", hidden=True),
    ] = None,
) -> None:
    """Make a run's report.md and report.html again from its directory, and print where they are."""
    from bakeoff.record.store import RunDirectory
    from bakeoff.report import data, write

    directory = RunDirectory.resolve(run, out)
    report = data.collect(directory)
    paths = write.write(directory, report)
    if finish is None:
        for path in paths:
            typer.echo(path)
        return
    _print_result(report, finish, paths)
    raise typer.Exit(report.exit_code)


def _print_result(report: ReportData, style: Style, paths: tuple[Path, Path]) -> None:
    from rich.text import Text

    from bakeoff.report import summary, terminal
    from bakeoff.text import escape

    if style is Style.JSON:
        typer.echo(escape.json_text(summary.summary(report), indent=2))
    elif style is Style.QUIET:
        # the exit code alone does not say why the numbers cannot decide
        if report.inconclusive:
            typer.echo(escape.line(report.sentence, limit=1000), err=True)
    else:
        console = terminal.console()
        console.print(terminal.scoreboard(report))
        console.print(Text(f"Report: {escape.terminal(', '.join(map(str, paths)))}"), soft_wrap=True)
