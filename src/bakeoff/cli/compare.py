"""`bakeoff compare BASE HEAD`: what changed between two runs, and whether a gate stops it."""

# A command imports its package when it runs: `bakeoff --help` stays fast

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bakeoff.cli.report import OUT_HELP
from bakeoff.errors import InputError
from bakeoff.text import escape

if TYPE_CHECKING:
    from bakeoff.compare import RunComparison
    from bakeoff.compare.baseline import First, Request

RUN_HELP = "A run directory, a run id or its beginning, `latest`, or `baseline`."


def compare(
    base: Annotated[str, typer.Argument(help=f"The older run. {RUN_HELP}")] = "baseline",
    head: Annotated[str, typer.Argument(help=f"The newer run. {RUN_HELP}")] = "latest",
    candidate: Annotated[
        list[str] | None,
        typer.Option(
            "--candidate",
            "-c",
            metavar="A[:B]",
            help="A of BASE against B (else A) of HEAD; may be repeated. Two candidates of one run: give it twice.",
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            help="Gate: largest fall of a score, 0.02 is 2 points; passes where it is shown to be less."
        ),
    ] = None,
    max_infra: Annotated[
        float | None,
        typer.Option(help="Gate: largest share of HEAD's trials ending as infrastructure errors."),
    ] = None,
    max_time_limit: Annotated[
        float | None,
        typer.Option(help="Gate: largest rise of the share of trials that the time limit ended."),
    ] = None,
    max_turn_limit: Annotated[
        float | None,
        typer.Option(help="Gate: largest rise of the share of trials that the turn limit ended."),
    ] = None,
    max_cost_increase: Annotated[
        float | None, typer.Option(help="Gate: largest rise of a trial's mean cost, 0.1 is 10 %.")
    ] = None,
    max_latency_increase: Annotated[
        float | None, typer.Option(help="Gate: largest rise of a trial's mean working time, 0.1 is 10 %.")
    ] = None,
    must_pass: Annotated[
        list[str] | None,
        typer.Option(
            help="Gate: no trial of these examples fails, `suite=benchmark,severity<=0`; may be repeated."
        ),
    ] = None,
    nights: Annotated[
        int | None,
        typer.Option(
            help="Comparisons over which a gate's chance to fail by noise is 5 % in all (default 1)."
        ),
    ] = None,
    allow_drift: Annotated[
        bool, typer.Option("--allow-drift", help="Compare although the harness differs; stamps the result.")
    ] = False,
    allow_inconclusive: Annotated[
        bool,
        typer.Option("--allow-inconclusive", help="Judge although a run is inconclusive; stamps the result."),
    ] = False,
    set_baseline: Annotated[
        bool,
        typer.Option("--set-baseline", help="When all is well (exit code 0), HEAD becomes the baseline."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
    markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the comparison in Markdown."),
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the gates as JUnit XML.")] = None,
    out: Annotated[Path, typer.Option("--out", help=OUT_HELP)] = Path("runs"),
) -> None:
    """Compare two runs; gates stop a regression that is more than noise.

    Gates come from HEAD (`gates:` in harness.yaml); options replace them. Exit codes: 0 done, 1 a gate failed,
    2 refused, 3 inconclusive or a gate is unknown.
    """
    from bakeoff.compare.baseline import Request

    outlets = Outlets(as_json, markdown, junit)
    try:
        gates = _options(
            max_drop=max_drop,
            max_infra=max_infra,
            max_time_limit=max_time_limit,
            max_turn_limit=max_turn_limit,
            max_cost_increase=max_cost_increase,
            max_latency_increase=max_latency_increase,
            must_pass=must_pass or None,
            nights=nights,
        )
        pairs, allowed = candidate or (), (allow_drift, allow_inconclusive)
        code = _compare(Request(base, head, out, pairs, gates, *allowed, set_baseline), outlets)
    except InputError as error:
        _refuse(error, base, head, outlets)
        raise
    raise typer.Exit(code)


@dataclass(frozen=True)
class Outlets:
    """Where the result goes besides the terminal."""

    as_json: bool
    markdown: Path | None
    junit: Path | None


def _compare(request: Request, outlets: Outlets) -> int:
    """Compare, print and write. Returns the exit code."""
    from bakeoff.compare import baseline

    result = baseline.compare(request)
    if isinstance(result, baseline.First):
        _print_first(result, outlets)
    else:
        _print(result.comparison, result.notes, outlets)
    return result.exit_code


def _print_first(first: First, outlets: Outlets) -> None:
    from bakeoff.compare import junit

    if outlets.markdown is not None:
        _write(outlets.markdown, f"{escape.markdown(first.sentence, 4000)}\n")
    if outlets.junit is not None:
        _write(outlets.junit, junit.render_first(first.run_id, first.sentence, conclusive=first.conclusive))
    summary = {"result": first.sentence, "exit_code": first.exit_code, "baseline": first.baseline}
    typer.echo(escape.json_text(summary) if outlets.as_json else escape.terminal(first.sentence))


def _options(**given: Any) -> dict[str, Any]:
    """The gates given as options. Raises InputError for an invalid bound."""
    from bakeoff.config.fitting import fit
    from bakeoff.config.located import CommandLine
    from bakeoff.config.schema import Gates

    asked = {key: value for key, value in given.items() if value is not None}
    fit(Gates, asked, CommandLine())
    return asked


def _refuse(error: InputError, base: str, head: str, outlets: Outlets) -> None:
    """Write the reason to every requested file; the caller raises the error."""
    from bakeoff.compare import junit, refusal
    from bakeoff.errors import UnfitEnvironment
    from bakeoff.report import markdown

    try:
        if outlets.markdown is not None:
            _write(outlets.markdown, markdown.text(refusal.document(error, base, head)))
        if outlets.junit is not None:
            _write(outlets.junit, junit.render_refusal(error, base, head))
    except UnfitEnvironment as failed:  # the refusal matters more and keeps its exit code
        typer.echo(f"note: {escape.terminal(str(failed))}", err=True)
    if outlets.as_json:
        typer.echo(escape.json_text(refusal.summary(error, base, head), indent=2))


def _print(compared: RunComparison, notes: list[str], outlets: Outlets) -> None:
    from rich.text import Text

    from bakeoff.compare import document, junit, summary
    from bakeoff.compare import terminal as comparison
    from bakeoff.report import markdown, terminal

    if outlets.markdown is not None:
        _write(outlets.markdown, markdown.text(document.document(compared)))
    if outlets.junit is not None:
        _write(outlets.junit, junit.render(compared))
    if outlets.as_json:
        typer.echo(escape.json_text(summary.summary(compared) | {"baseline": notes}, indent=2))
        return
    console = terminal.console()
    console.print(comparison.render(compared))
    for line in notes:
        console.print(Text(escape.terminal(line)))


def _write(path: Path, text: str) -> None:
    from bakeoff.errors import UnfitEnvironment

    try:
        path.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise UnfitEnvironment(
            f"cannot write {path}: {error.strerror or error}", hint="give another file"
        ) from error
