"""`bakeoff power RUN`: what a run could show, and how many examples or repetitions a given effect needs."""

# A command imports its package when it runs: `bakeoff --help` stays fast

from __future__ import annotations

from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bakeoff.cli.report import OUT_HELP, RUN_HELP
from bakeoff.text import escape

if TYPE_CHECKING:
    from bakeoff.compare import Side
    from bakeoff.stats import Power


def power(
    run: Annotated[str, typer.Argument(help=RUN_HELP)] = "latest",
    effect: Annotated[float, typer.Option(help="The difference that matters: 0.03 is 3 points.")] = 0.03,
    candidate: Annotated[
        list[str] | None,
        typer.Option("--candidate", "-c", metavar="A[:B]", help="Only these candidates; A: against a rerun."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
    out: Annotated[Path, typer.Option("--out", help=OUT_HELP)] = Path("runs"),
) -> None:
    """Say how large a difference this run could show, and what it would take to show EFFECT in four runs of five."""
    from bakeoff import compare, stats
    from bakeoff.errors import InputError
    from bakeoff.record.store import RunDirectory

    if not 0 < effect <= 1:
        raise InputError(f"{effect} is not a share", key="--effect", hint="Write 0.03 for 3 points.")
    side = compare.read(RunDirectory.resolve(run, out), "RUN")
    pairs = compare.parse_pairs(side, side, candidate or _pairs(side), same_run=False)
    outcomes = stats.count_deaths(
        [
            trial.outcome(name, side.cluster(trial.example_id) or trial.example_id)
            for name, trials in side.trials.items()
            for trial in trials
        ]
    )
    # comparisons between candidates are one family; a nightly rerun is a separate comparison
    family = max(1, sum(first != second for first, second in pairs))
    found = [
        stats.plan(outcomes, first, second, effect, stats.ALPHA / (family if first != second else 1))
        for first, second in pairs
    ]
    margin, unanswerable = _gates(side, found)
    if as_json:
        facts = {"run_id": side.manifest.run_id, "effect": effect, "warnings": list(side.warnings)}
        facts |= {"smallest_max_drop": margin, "unanswerable_gates": unanswerable}
        typer.echo(escape.json_text(facts | {"comparisons": [asdict(each) for each in found]}, indent=2))
        return
    _print(side, found, effect)
    if margin is not None:
        typer.echo(
            f"A nightly gate can answer max_drop: {stats.round_up(margin):g} or more, if nothing changes."
        )
    for says in unanswerable:
        typer.echo(escape.terminal(says))


def _gates(side: Side, found: list[Power]) -> tuple[float | None, list[str]]:
    """The smallest `max_drop` that a rerun of this run can answer, and the gates that it cannot."""
    from bakeoff import stats
    from bakeoff.config.schema import Gates

    noise = stats.noise_of((name, t.example_id, t.verdict) for name, own in side.trials.items() for t in own)
    examples, repetitions = len(side.examples), round(max(each.repetitions for each in found))
    if not examples or not repetitions:
        return None, []
    sample = stats.Sample(examples, repetitions, len(side.trials), noise)
    margin = None if noise is None else stats.smallest_margin(examples, repetitions, noise)
    return margin, stats.unanswerable(Gates.model_validate(side.manifest.config.gates), sample)


def _pairs(side: Side) -> list[str]:
    names = list(side.trials)
    return [
        f"{first}:{second}" for first, second in [*combinations(names, 2), *((name, name) for name in names)]
    ]


def _print(side: Side, found: list[Power], effect: float) -> None:
    from rich.table import Table
    from rich.text import Text

    from bakeoff.report import terminal
    from bakeoff.text import figures

    points = f"{100 * effect:g} points"
    table = Table(box=None, pad_edge=False)
    table.add_column("comparison", overflow="fold")
    for heading in ("could\nshow", f"chance of\n{points}", "examples\nneeded", "or repe-\ntitions"):
        table.add_column(heading, justify="right", overflow="fold")
    unknown = []
    for each in found:
        name = escape.line(f"{each.first} against {'a rerun' if each.first == each.second else each.second}")
        if each.why:
            unknown.append(f"{name}: not known: {each.why}")
            continue
        # no number of repetitions is enough where the examples themselves differ too much
        none = figures.UNKNOWN if each.detectable_at_best is None else "no number"
        table.add_row(
            Text(name),
            "nothing" if each.detectable is None else f"{figures.points(each.detectable).lstrip('+')} points",
            figures.percent(each.power, 0),
            figures.number(each.examples_needed, 6),
            none if each.repetitions_needed is None else str(each.repetitions_needed),
        )
    console = terminal.console()
    for warning in side.warnings:
        console.print(Text(f"warning: {escape.line(warning, 500)}", style="yellow"))
    if table.rows:
        console.print(table)
    for line in unknown:
        console.print(Text(line, style="yellow"))
    has = max(found, key=lambda each: each.examples)
    repetitions = round(has.repetitions, 1)
    console.print(
        f"The run has {figures.count(has.examples, 'example')} in {figures.count(has.clusters, 'cluster')}, "
        f"{figures.number(repetitions, 3)} judged repetition{'' if repetitions == 1 else 's'} of each. "
        "Found in four runs of five, at p < 0.05 after the correction for the number of candidates. More "
        "examples are worth more than repetitions of the same.",
        style="dim",
        highlight=False,
    )
