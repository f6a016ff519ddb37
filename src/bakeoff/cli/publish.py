"""`bakeoff publish RUN --to TARGET`: sends a finished run to LangSmith, an OpenTelemetry back end or MLflow."""

# A command imports its room when it runs, so that `bakeoff --help` stays fast

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from bakeoff.cli.report import OUT_HELP, RUN_HELP
from bakeoff.publish.table import TARGETS
from bakeoff.text import escape

if TYPE_CHECKING:
    from bakeoff.publish.table import Publication
    from bakeoff.record.store import RunDirectory

To = StrEnum("To", {name: name for name in TARGETS})  # type: ignore[misc] # mypy cannot see its members
LABELS = ", ".join(f"{target.title}'s {target.label}" for target in TARGETS.values() if target.label)


def publish(
    run: Annotated[str, typer.Argument(help=RUN_HELP)] = "latest",
    to: Annotated[
        list[To] | None,
        typer.Option("--to", help="May be repeated. None: those of the run's harness.yaml."),
    ] = None,
    url: Annotated[str | None, typer.Option(help="The target's address.")] = None,
    name: Annotated[str | None, typer.Option(help=f"{LABELS}.")] = None,
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

    directory = RunDirectory.resolve(run, out)
    options = {"url": url, "name": name, "protocol": protocol, "content": content or None}
    given = {option: value for option, value in options.items() if value is not None}
    plan = publication.plan(directory, [target.value for target in to or []], given)
    published: dict[str, Publication] = {}
    try:
        for target, done in publication.publish(
            directory,
            plan,
            lambda secrets: _environment(directory, secrets),
            lambda line: _print(line, error=True),
            allow_inconclusive=allow_inconclusive,
        ):
            published[target] = done
            if not as_json:
                _report(target, done)
    finally:
        if as_json:
            typer.echo(
                escape.json_text({target: asdict(done) for target, done in published.items()}, indent=2)
            )


def _environment(run: RunDirectory, secrets: Sequence[str]) -> Mapping[str, str]:
    """This process's variables with `.env` and `key_command` of the harness file, where that can still be read."""
    from bakeoff.config import keys, loading

    file = run.harness_file(run.manifest())
    return keys.environment(loading.load(file), secrets) if file.is_file() else dict(os.environ)


def _report(target: str, done: Publication) -> None:
    sent = ", ".join(f"{count} {what}" for what, count in done.sent.items() if count) or "nothing new"
    present = ", ".join(f"{count} {what}" for what, count in done.present.items() if count)
    _print(f"{target}: {sent}" + (f"; there already: {present}" if present else ""))
    for warning in done.warnings:
        _print(f"warning: {warning}")
    _print(f"{target}: {done.where}")


def _print(line: str, *, error: bool = False) -> None:
    Console(stderr=error, soft_wrap=True).print(Text(escape.terminal(line)))
