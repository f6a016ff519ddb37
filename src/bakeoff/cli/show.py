"""`bakeoff show RUN [TRIAL]`: a run, or one trial's trajectory, in the terminal."""

# A command imports its package when it runs: `bakeoff --help` stays fast

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bakeoff.cli.report import OUT_HELP, RUN_HELP
from bakeoff.text import escape


def show(
    run: Annotated[str, typer.Argument(help=RUN_HELP)] = "latest",
    trial: Annotated[
        str | None,
        typer.Argument(help="A trial id, <candidate>/<example>/<repetition>: shows its trajectory."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help=OUT_HELP)] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Show a run's scoreboard, causes and failing trials; or one trial, step by step."""
    from bakeoff.record.store import RunDirectory
    from bakeoff.report import terminal

    directory = RunDirectory.resolve(run, out)
    if trial is None:
        from bakeoff.report import data, summary

        collected = data.collect(directory)
        if as_json:
            typer.echo(escape.json_text(summary.summary(collected)))
        else:
            terminal.console().print(terminal.run(collected))
        return

    from bakeoff.report import trial as trial_view

    record = trial_view.find(directory, trial)
    if as_json:
        typer.echo(
            escape.json_text(
                {"trial": record.model_dump(mode="json"), "trajectory": directory.trajectory(record.trial_id)}
            )
        )
    else:
        terminal.console().print(trial_view.view(directory, record))
