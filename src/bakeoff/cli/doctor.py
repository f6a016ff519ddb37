"""`bakeoff doctor`: what this machine can and cannot run, line by line, each with what to do about it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bakeoff.cli.setup import default_harness
from bakeoff.text import escape

if TYPE_CHECKING:
    from bakeoff.backends.base import Check


def doctor(
    harness: Annotated[
        Path | None,
        typer.Argument(help="harness.yaml to check the machine against; by default the one here."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check Docker, limits, images, keys and disk, and say what to do.

    Exit 0, 2 (bad input) or 4 (unfit environment).
    """
    from bakeoff.run.examine import examine

    checks: list[Check] = []
    for check in examine(harness or default_harness()):
        checks.append(check)
        if not as_json:
            _print(check)
    # the environment first: a file that is right does not run there either
    code = max((check.exit_code for check in checks), default=0)
    if as_json:
        lines = [
            {key: value for key, value in asdict(check).items() if key != "exit_code"} for check in checks
        ]
        typer.echo(escape.json_text({"ok": code == 0, "exit_code": code, "checks": lines}, indent=2))
    raise typer.Exit(code)


def _print(check: Check) -> None:
    from rich.console import Console
    from rich.text import Text

    mark, colour = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red")}[check.state]
    line = Text.assemble(
        (mark, colour), " ", (f"{escape.line(check.subject):<14}", "bold"), " ", escape.line(check.says, 500)
    )
    if check.hint:
        line.append(f"\n  {'':<14} → {escape.line(check.hint, 500)}")
    Console(soft_wrap=True).print(line)
