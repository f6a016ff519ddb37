"""`bakeoff publish RUN --to TARGET`: sends a finished run to LangSmith, an OpenTelemetry back end or MLflow."""

# A command imports its room when it runs, so that `bakeoff --help` stays fast

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from bakeoff.cli.report import OUT_HELP, RUN_HELP

if TYPE_CHECKING:
    from bakeoff.publish.targets import Publication


def publish(
    run: Annotated[str, typer.Argument(help=RUN_HELP)] = "latest",
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            help="langsmith, otlp or mlflow; may be repeated. None: those of the run's harness.yaml.",
        ),
    ] = None,
    url: Annotated[str | None, typer.Option(help="The target's address.")] = None,
    name: Annotated[str | None, typer.Option(help="LangSmith's dataset, MLflow's experiment.")] = None,
    protocol: Annotated[str | None, typer.Option(help="otlp: http/protobuf or grpc.")] = None,
    content: Annotated[
        bool, typer.Option("--content", help="otlp: prompts, outputs, arguments and results too.")
    ] = False,
    allow_inconclusive: Annotated[
        bool, typer.Option("--allow-inconclusive", help="Publish an inconclusive run, stamped so.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    out: Annotated[Path, typer.Option("--out", help=OUT_HELP)] = Path("runs"),
) -> None:
    """Publish a finished run. Publishing it again changes nothing, and goes on where it was cut off."""
    from bakeoff.publish import publication
    from bakeoff.record.store import RunDirectory
    from bakeoff.text.escape import terminal

    directory = RunDirectory.resolve(run, out)
    options = {"url": url, "name": name, "protocol": protocol, "content": content or None}
    asked = {option: value for option, value in options.items() if value is not None}
    plan = publication.plan(directory, to or [], asked)
    errors = Console(stderr=True)

    def say(line: str) -> None:
        errors.print(terminal(line), highlight=False, markup=False, soft_wrap=True)

    published: dict[str, Publication] = {}
    try:
        for target, done in publication.publish(directory, plan, say, allow_inconclusive=allow_inconclusive):
            published[target] = done
            if not as_json:
                _print(target, done)
    finally:
        if as_json:
            typer.echo(json.dumps({target: _plain(done) for target, done in published.items()}, indent=2))


def _print(target: str, done: Publication) -> None:
    from bakeoff.text.escape import terminal

    console = Console(soft_wrap=True)
    counts = ", ".join(f"{count} {what}" for what, count in done.sent.items() if count) or "nothing new"
    there = ", ".join(f"{count} {what}" for what, count in done.present.items() if count)
    console.print(
        terminal(f"{target}: {counts}" + (f"; there already: {there}" if there else "")),
        highlight=False,
        markup=False,
    )
    for warning in done.warnings:
        console.print(terminal(f"warning: {warning}"), highlight=False, markup=False)
    console.print(terminal(f"{target}: {done.where}"), highlight=False, markup=False)


def _plain(done: Publication) -> dict[str, object]:
    return {
        "where": done.where,
        "sent": dict(done.sent),
        "present": dict(done.present),
        "warnings": done.warnings,
    }
