"""The command line. `main` is the only place that turns an exception into an exit code."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.markup import escape

from bakeoff import __version__
from bakeoff.cli import doctor, init, report, run, setup, show
from bakeoff.errors import BakeoffError

app = typer.Typer(
    name="bakeoff",
    help="One agent harness, many candidate models, real containers with pinned limits.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bakeoff {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


for _command in (run.run, show.show, report.report, doctor.doctor, setup.setup, init.init):
    app.command()(_command)


def complain(error: BakeoffError) -> None:
    """Print one error to stderr: what is wrong, where, and how to mend it."""
    console = Console(stderr=True, soft_wrap=True)
    console.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
    if mend := getattr(error, "mend", None):
        console.print(f"[bold]  mend:[/] {escape(mend)}", highlight=False)


def main() -> None:
    """The entry point of the `bakeoff` command."""
    try:
        app()
    except BakeoffError as error:
        complain(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
