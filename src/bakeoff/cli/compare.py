"""`bakeoff compare BASE HEAD`: what changed between two runs, and whether a gate stops it."""

# A command imports its room when it runs, so that `bakeoff --help` stays fast

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bakeoff.cli.report import OUT_HELP
from bakeoff.errors import InputError

if TYPE_CHECKING:
    from bakeoff.compare import RunComparison, Side
    from bakeoff.config.schema import Gates

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
        typer.Option(help="Gate: largest fall of a score, 0.02 is 2 points; fails beyond noise only."),
    ] = None,
    max_infra: Annotated[
        float | None,
        typer.Option(help="Gate: largest share of HEAD's trials ending as infrastructure errors."),
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

    Gates are HEAD's own (`gates:` in harness.yaml); options replace them. Exit codes: 0 done, 1 a gate failed,
    2 refused, 3 inconclusive.
    """
    from bakeoff.config.schema import Gates

    outlets = Outlets(as_json, markdown, junit)
    try:
        asked = _options(
            Gates,
            max_drop=max_drop,
            max_infra=max_infra,
            max_cost_increase=max_cost_increase,
            max_latency_increase=max_latency_increase,
            must_pass=must_pass or None,
        )
        code = _compare(
            base,
            head,
            candidate or (),
            asked,
            out,
            outlets,
            allow_drift=allow_drift,
            allow_inconclusive=allow_inconclusive,
            set_baseline=set_baseline,
        )
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


def _compare(
    base: str,
    head: str,
    given: Sequence[str],
    asked: dict[str, Any],
    out: Path,
    outlets: Outlets,
    *,
    allow_drift: bool,
    allow_inconclusive: bool,
    set_baseline: bool,
) -> int:
    """Compare, print and write; the exit code. Raises InputError where nothing can be compared."""
    from bakeoff import compare as comparing
    from bakeoff.record import store

    newer = store.RunDirectory.resolve(head, out)
    if set_baseline and newer.path.resolve().parent != out.resolve():
        raise InputError(
            f"HEAD is not below {out}, where the baseline is kept",
            file=str(newer.path),
            key="--set-baseline",
            hint=f"Write --out {newer.path.resolve().parent}.",
        )
    first = base == store.BASELINE and set_baseline and store.baseline(out) is None
    older = newer if first else store.RunDirectory.resolve(base, out)
    side = comparing.read(newer, "HEAD")
    gates = _gates(side, asked)
    if first:
        return _first(side, newer.run_id, out, outlets)
    same_run = older.path.resolve() == newer.path.resolve()
    other = comparing.read(older, "BASE")
    pairs = comparing.parse_pairs(other, side, given, same_run=same_run)
    compared = comparing.compare_runs(
        other, side, pairs, gates, allow_drift=allow_drift, allow_inconclusive=allow_inconclusive
    )
    told = []
    if set_baseline and compared.exit_code == 0:
        told.append(_advance(compared, newer.run_id, out))
    _print(compared, told, outlets)
    return compared.exit_code


def _options(schema: type[Gates], **given: Any) -> dict[str, Any]:
    """The gates that the command line gives. Raises InputError for a bound that makes no sense."""
    from bakeoff.config.fitting import fit

    class CommandLine:
        def error(self, loc: tuple[str | int, ...], problem: str, hint: str) -> InputError:
            return InputError(problem, key=f"--{str(loc[0]).replace('_', '-')}", hint=hint)

    asked = {key: value for key, value in given.items() if value is not None}
    fit(schema, asked, CommandLine())
    return asked


def _gates(head: Side, asked: dict[str, Any]) -> Gates:
    """HEAD's own gates with the command line's in their place."""
    from pydantic import ValidationError

    from bakeoff.compare import gates
    from bakeoff.config.schema import Gates

    try:
        own = Gates.model_validate(head.manifest.config.get("gates") or {})
    except ValidationError as error:
        raise InputError(
            f"the gates in HEAD's manifest cannot be read: {error.errors()[0]['msg']}",
            key="gates",
            hint="Give the gates as options.",
        ) from error
    for text in asked.get("must_pass", ()):
        if not gates.selected(text, head):
            raise InputError(
                f"no example of HEAD meets {text!r}",
                key="--must-pass",
                hint="A gate that asks nothing stops nothing.",
            )
    return own.model_copy(update=asked)


def _first(head: Side, run_id: str, out: Path, outlets: Outlets) -> int:
    """There is no baseline yet: a conclusive run becomes it. The exit code."""
    from bakeoff.compare import junit
    from bakeoff.record import store
    from bakeoff.text import escape

    if doubts := head.doubts(list(head.trials)):
        result, code = f"INCONCLUSIVE, and so no baseline: {'; '.join(doubts)}.", 3
    else:
        store.set_baseline(out, run_id)
        result, code = f"There was no baseline: {run_id} is it now.", 0
    if outlets.markdown is not None:
        _write(outlets.markdown, f"{escape.markdown(result, 4000)}\n")
    if outlets.junit is not None:
        _write(outlets.junit, junit.render_first(run_id, result, conclusive=code == 0))
    typer.echo(
        json.dumps({"result": result, "exit_code": code, "baseline": store.baseline(out)})
        if outlets.as_json
        else result
    )
    return code


def _advance(compared: RunComparison, run_id: str, out: Path) -> str:
    """Let the baseline be HEAD, unless that would make it smaller: what is not run cannot regress."""
    from bakeoff.record import store

    base, head = compared.base, compared.head
    lost = [*sorted(base.trials.keys() - head.trials.keys()), *sorted(base.examples - head.examples)]
    if lost and not compared.drift:
        return f"The baseline stays {base.manifest.run_id}: HEAD did not run {', '.join(lost[:5])}."
    store.set_baseline(out, run_id)
    return f"The baseline is now {run_id}."


def _refuse(error: InputError, base: str, head: str, outlets: Outlets) -> None:
    """Write why nothing was compared to every file that was asked for; the caller raises the error further."""
    from bakeoff.compare import junit, refusal
    from bakeoff.errors import UnfitEnvironment
    from bakeoff.report import markdown

    try:
        if outlets.markdown is not None:
            _write(outlets.markdown, markdown.text(refusal.document(error, base, head)))
        if outlets.junit is not None:
            _write(outlets.junit, junit.render_refusal(error, base, head))
    except UnfitEnvironment as failed:  # the refusal is the greater news, and its exit code stands
        typer.echo(f"note: {failed}", err=True)
    if outlets.as_json:
        typer.echo(json.dumps(refusal.summary(error, base, head), indent=2))


def _print(compared: RunComparison, told: list[str], outlets: Outlets) -> None:
    from bakeoff.compare import document, junit, summary
    from bakeoff.compare import terminal as comparison
    from bakeoff.report import markdown, terminal

    if outlets.markdown is not None:
        _write(outlets.markdown, markdown.text(document.document(compared)))
    if outlets.junit is not None:
        _write(outlets.junit, junit.render(compared))
    if outlets.as_json:
        typer.echo(json.dumps(summary.summary(compared) | {"baseline": told}, indent=2, allow_nan=False))
        return
    console = terminal.console()
    console.print(comparison.render(compared))
    for line in told:
        console.print(line, markup=False, highlight=False)


def _write(path: Path, text: str) -> None:
    from bakeoff.errors import UnfitEnvironment

    try:
        path.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise UnfitEnvironment(
            f"cannot write {path}: {error.strerror or error}", hint="give another file"
        ) from error
