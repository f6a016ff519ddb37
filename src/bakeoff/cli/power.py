"""`bakeoff power RUN`: what a run could show, and what an effect, a margin, a rate of errors or a budget needs."""

# A command imports its package when it runs: `bakeoff --help` stays fast

from __future__ import annotations

import math
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bakeoff.cli.report import OUT_HELP, RUN_HELP
from bakeoff.text import escape

if TYPE_CHECKING:
    from rich.table import Table

    from bakeoff.compare import Side
    from bakeoff.stats import Bought, Margin, Power


def power(
    run: Annotated[str, typer.Argument(help=RUN_HELP)] = "latest",
    effect: Annotated[float, typer.Option(help="The difference that matters: 0.03 is 3 points.")] = 0.03,
    margin: Annotated[
        float | None,
        typer.Option(help="Also the repetitions that show a candidate no worse by this: 0.03 is 3 points."),
    ] = None,
    max_infra: Annotated[
        float | None,
        typer.Option(help="Also the repetitions that show a rate of infrastructure errors below this."),
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="Also what so many dollars buy, at this run's cost of a trial.")
    ] = None,
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

    for key, share in (("--effect", effect), ("--margin", margin), ("--max-infra", max_infra)):
        if share is not None and not 0 < share <= 1:
            raise InputError(f"{share} is not a share", key=key, hint="Write 0.03 for 3 points.")
    if budget is not None and not 0 < budget < math.inf:
        raise InputError(f"{budget} is no amount of dollars", key="--budget", hint="Write 20 for $20.")
    side = compare.read(RunDirectory.resolve(run, out), "RUN")
    if (swept := side.manifest.config.sweep) is not None:
        margin, max_infra = margin or swept.margin, max_infra or swept.max_infra
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
    alphas = [stats.ALPHA / (family if first != second else 1) for first, second in pairs]
    found = [stats.plan(outcomes, *pair, effect, alpha) for pair, alpha in zip(pairs, alphas, strict=True)]
    margins = [] if margin is None else [stats.margin(outcomes, *pair, margin) for pair in pairs]
    buys = []
    if budget is not None:
        buys = [
            stats.bought(outcomes, pair, _dollars(side, pair), budget, alpha)
            for pair, alpha in zip(pairs, alphas, strict=True)
        ]
    below = None if max_infra is None else _below(side, max_infra)
    answerable, unanswerable = _gates(side, found)
    if as_json:
        facts = {"run_id": side.manifest.run_id, "effect": effect, "warnings": list(side.warnings)}
        facts |= {"comparisons": [asdict(each) for each in found]}
        facts |= {"margins": [asdict(each) for each in margins], "budgets": [asdict(each) for each in buys]}
        facts |= {"smallest_max_drop": answerable, "unanswerable_gates": unanswerable}
        facts |= {"max_infra": max_infra, "max_infra_repetitions": below}
        typer.echo(escape.json_text(facts, indent=2))
        return
    _print(side, found, effect)
    _print_margins(margins)
    _print_budgets(buys)
    if max_infra is not None:
        _print_below(side, max_infra, below)
    if answerable is not None:
        typer.echo(
            f"A nightly gate can answer max_drop: {stats.round_up(answerable):g} or more, if nothing changes."
        )
    for says in unanswerable:
        typer.echo(escape.terminal(says))


def _dollars(side: Side, pair: tuple[str, str]) -> float | None:
    """The mean cost of a trial of either, added; None: not known."""
    costs = [[trial.cost_usd for trial in side.trials[name]] for name in pair]
    known = [[cost for cost in own if cost is not None] for own in costs]
    if any(len(own) < len(all_of) or not own for own, all_of in zip(known, costs, strict=True)):
        return None
    return math.fsum(math.fsum(own) / len(own) for own in known)


def _below(side: Side, most: float) -> int | None:
    """The repetitions that show a rate below `most` where it is truly half of that."""
    from bakeoff import stats

    return stats.below_repetitions(most, most / 2, len(side.examples)) if side.examples else None


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
    """Candidates with each other, and each with its rerun. In a sweep, each with itself in the smallest box, too.

    Candidates are compared under one profile: a candidate in a large box is not another in a small one.
    """
    from bakeoff.record.trial import experiment_name

    manifest, names = side.manifest, list(side.trials)
    pairs = [
        (first, second)
        for first, second in combinations(names, 2)
        if manifest.profile(first).name == manifest.profile(second).name
    ]
    if len(manifest.profiles) == 1:
        pairs += [(name, name) for name in names]
    for candidate in manifest.candidates:
        smallest, *larger = [experiment_name(candidate.name, profile.name) for profile in manifest.profiles]
        pairs += [(smallest, each) for each in larger if smallest in side.trials and each in side.trials]
    return [f"{first}:{second}" for first, second in pairs]


def _print(side: Side, found: list[Power], effect: float) -> None:
    from rich.text import Text

    from bakeoff.report import terminal
    from bakeoff.text import figures

    grouped = any(each.clusters < each.examples for each in found)
    headings = ("could\nshow", f"chance of\n{100 * effect:g} points", "examples\nneeded", "or repe-\ntitions")
    table = _table(*headings)
    unknown = []
    for each in found:
        name = _name(each)
        if each.why:
            unknown.append(f"{name}: not known: {each.why}")
            continue
        # no number of repetitions is enough where the examples themselves differ too much
        none = figures.UNKNOWN if each.detectable_at_best is None else "no number"
        table.add_row(
            Text(name),
            _shown(each.detectable),
            figures.percent(each.power, 0),
            figures.number(each.examples_needed, 6),
            none if each.repetitions_needed is None else str(each.repetitions_needed),
        )
        if each.clusters < each.examples:
            table.add_row(
                Text("  if whole clusters change"),
                _shown(each.detectable_in_clusters),
                figures.percent(each.power_in_clusters, 0),
                figures.number(each.examples_needed_in_clusters, 6),
                "",
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
        "examples are worth more than repetitions of the same."
        + (" The first line of each is if single examples change." if grouped else ""),
        style="dim",
        highlight=False,
    )


def _table(*headings: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("comparison", overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    return table


def _name(each: Power | Margin | Bought) -> str:
    return escape.line(f"{each.first} against {'a rerun' if each.first == each.second else each.second}")


def _shown(effect: float | None) -> str:
    from bakeoff.text import figures

    return "nothing" if effect is None else f"{figures.points(effect).lstrip('+')} points"


def _print_margins(margins: list[Margin]) -> None:
    """How many repetitions of these examples show that two are equal, or one no worse, if they are equal."""
    from rich.text import Text

    from bakeoff.report import terminal
    from bakeoff.text import figures

    if not margins:
        return
    points = f"{100 * margins[0].margin:g} points"
    table = _table(
        f"no worse\nby {points}", "repetitions\nneeded", f"equal to\n{points}", "repetitions\nneeded"
    )
    for each in margins:
        table.add_row(
            Text(_name(each)),
            figures.percent(each.no_worse, 0),
            figures.number(each.no_worse_repetitions, 6),
            figures.percent(each.equivalent, 0),
            figures.number(each.equivalent_repetitions, 6),
        )
    console = terminal.console()
    console.print()
    console.print(table)
    console.print(
        "The chance that this run would show it if both are equal, and the repetitions of these very examples that do "
        "so in four runs of five, each side at the one-sided level of 5 %.",
        style="dim",
        highlight=False,
    )


def _print_budgets(buys: list[Bought]) -> None:
    from rich.text import Text

    from bakeoff.report import terminal
    from bakeoff.text import figures

    if not buys:
        return
    table = _table(
        f"repetitions\nfor {figures.dollars(buys[0].budget)}", "could\nshow", "or\nexamples", "could\nshow"
    )
    console = terminal.console()
    unknown = []
    for each in buys:
        if each.why:
            unknown.append(f"{_name(each)}: not known: {each.why}")
            continue
        none = "nothing" if each.repetitions == 0 else figures.UNKNOWN
        repeated = none if each.detectable is None else _shown(each.detectable)
        table.add_row(
            Text(_name(each)),
            figures.number(each.repetitions, 6),
            repeated,
            figures.number(each.examples, 6),
            _shown(each.detectable_by_examples),
        )
    console.print()
    if table.rows:
        console.print(table)
        console.print(
            "The trials of both sides, at this run's mean cost. --json also has what shows if whole clusters change.",
            style="dim",
            highlight=False,
        )
    for line in unknown:
        console.print(Text(line, style="yellow"))


def _print_below(side: Side, most: float, repetitions: int | None) -> None:
    from bakeoff.report import terminal
    from bakeoff.text import figures

    examples = figures.count(len(side.examples), "example")
    needed = "no number of repetitions" if repetitions is None else figures.count(repetitions, "repetition")
    terminal.console().print(
        f"\nAn infrastructure error rate below {figures.percent(most)} is shown in four runs of five by {needed} of "
        f"the {examples}, if the true rate is {figures.percent(most / 2)}.",
        highlight=False,
    )
