"""The command line. `main` is the only place that turns an exception into an exit code."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress

import typer
from rich.console import Console
from rich.text import Text

from bakeoff.cli import compare, doctor, init, power, publish, report, run, setup, show, sweep
from bakeoff.cli.help import Command
from bakeoff.errors import BakeoffError, Interrupted
from bakeoff.text.escape import terminal
from bakeoff.version import __version__

# What writing to a terminal that has closed, or to a reader that has ended, fails with.
TERMINAL_GONE = (errno.EIO, errno.EPIPE)

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
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass


_commands = (
    run.run,
    sweep.sweep,
    show.show,
    report.report,
    compare.compare,
    publish.publish,
    power.power,
    doctor.doctor,
    setup.setup,
    init.init,
)
for _command in _commands:
    app.command(cls=Command)(_command)


def complain(problem: str, hint: str | None) -> None:
    """Print one error to stderr: what is wrong and where, and how to fix it. Both may hold hostile text."""
    console = Console(stderr=True, soft_wrap=True)
    console.print(Text.assemble(("error:", "bold red"), " ", terminal(problem)))
    if hint:
        console.print(Text.assemble(("  hint:", "bold"), " ", terminal(hint)))


def confess(error: Exception) -> None:
    """Say that an unexpected error is a bug of bakeoff's own; the traceback goes to a file, keys masked."""
    from bakeoff.text.redact import redact, secrets_of

    text = redact("".join(traceback.format_exception(error)), secrets_of(os.environ), limit=100_000)
    try:
        with tempfile.NamedTemporaryFile("w", prefix="bakeoff-bug-", suffix=".txt", delete=False) as file:
            file.write(text)
        where = f"The traceback is in {file.name}; please send it with your report."
    except OSError:  # a full disk may be what broke everything
        where = text
    line = text.strip().splitlines()[-1]
    complain(f"this is a bug in bakeoff: {line}", where)


def main() -> None:
    """Run the command line that the process was given."""
    guarded(app)


def guarded(program: Callable[[], object]) -> None:
    """Run a program of bakeoff; an exception becomes a sentence on stderr and an exit code."""
    try:
        program()
    except Interrupted as interrupted:
        with suppress(OSError):  # the terminal may have gone
            complain(str(interrupted), getattr(interrupted, "hint", None))
        os._exit(interrupted.exit_code)  # without waiting for threads that are in a model call
    except BakeoffError as error:
        complain(str(error), getattr(error, "hint", None))
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 - shown for what it is, and its traceback kept
        if isinstance(error, OSError) and error.errno in TERMINAL_GONE:
            os._exit(Interrupted.exit_code)
        confess(error)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(Interrupted.exit_code)
