"""`bakeoff run`: one harness, several models, real containers with pinned limits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bakeoff.text import escape

if TYPE_CHECKING:
    from bakeoff.config.overrides import Overrides
    from bakeoff.harness.contents import Contents
    from bakeoff.record.trial import Profile
    from bakeoff.run.admission import Admission
    from bakeoff.run.forecast import Forecast
    from bakeoff.run.task import Task


# The options that `run` and `sweep` share.
Harness = Annotated[Path, typer.Argument(help="The harness file.")]
Candidates = Annotated[
    list[str] | None, typer.Option("--candidate", "-c", help="Only this candidate; may be repeated.")
]
Examples = Annotated[
    list[str] | None, typer.Option("--example", "-e", help="Only this example, or a glob; may be repeated.")
]
Suites = Annotated[
    list[str] | None,
    typer.Option("--suite", help="Only examples of this metadata.suite; may be repeated."),
]
Trials = Annotated[int | None, typer.Option(help="Repetitions of each example.")]
AtOnce = Annotated[int | None, typer.Option(help="Trials at once, at most.")]
Memory = Annotated[str | None, typer.Option(help="Memory ceiling of a container, such as 512MiB.")]
Cpus = Annotated[float | None, typer.Option(help="CPU ceiling of a container.")]
Seed = Annotated[int | None, typer.Option(help="Seed of the order and of everything random.")]
Out = Annotated[Path, typer.Option(help="Where the run directory goes.")]
Resume = Annotated[
    str | None,
    typer.Option(metavar="RUN", help="Continue a run that was stopped: its id, path, or `latest`."),
]
Recording = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Record every model call there; `replay:DIR` is a model that answers so."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check all and print the plan; start nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one summary object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No live display.")]


@dataclass(frozen=True)
class Wanted:
    """What is done with the plan, and where its result goes."""

    out: Path
    resume: str | None
    record: Path | None
    dry_run: bool
    as_json: bool
    quiet: bool


def run(
    harness: Harness = Path("harness.yaml"),
    candidate: Candidates = None,
    example: Examples = None,
    suite: Suites = None,
    trials: Trials = None,
    max_concurrency: AtOnce = None,
    memory: Memory = None,
    cpus: Cpus = None,
    seed: Seed = None,
    out: Out = Path("runs"),
    resume: Resume = None,
    record: Recording = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run the bake-off that HARNESS describes and write its report."""
    from bakeoff.config.overrides import Overrides

    overrides = Overrides(
        candidates=tuple(candidate or ()),
        examples=tuple(example or ()),
        suites=tuple(suite or ()),
        trials=trials,
        memory=memory,
        cpus=cpus,
        seed=seed,
        max_concurrency=max_concurrency,
    )
    carry_out(harness, overrides, Wanted(out, resume, record, dry_run, as_json, quiet))


def carry_out(harness: Path, overrides: Overrides, wanted: Wanted) -> None:
    """Plan, run, report and publish, as `bakeoff run` and `bakeoff sweep` do. Ends the command with its exit code."""
    from bakeoff import backends
    from bakeoff.record.store import RunDirectory
    from bakeoff.run import progress
    from bakeoff.run import run as runs

    stopped = RunDirectory.resolve(wanted.resume, wanted.out) if wanted.resume else None
    display = progress.display(quiet=wanted.quiet)
    if stopped is not None and not wanted.dry_run and runs.lacks_report(stopped):
        directory, publish = stopped, stopped.manifest().config.publish
    else:
        task = runs.plan(harness, overrides, stopped=stopped)
        if wanted.dry_run:
            admitted = runs.check_only(task)
            _print_plan(task, admitted, wanted.out, wanted.as_json)
            return
        with closing(backends.connect()) as backend:
            directory = runs.execute(task, backend, display, wanted.out, wanted.record)
        publish = dict(task.config.publish)
    code = runs.report(directory, "json" if wanted.as_json else "quiet" if wanted.quiet else "table")
    targets = [name for name, settings in publish.items() if settings is not None]
    if targets and code == 0:
        code = runs.publish(directory)
    elif targets:
        display.step(f"not published to {', '.join(targets)}: see `bakeoff publish --help`")
    raise typer.Exit(code)


def _facts(task: Task, image: Contents, expected: Forecast | None) -> dict[str, Any]:
    """The plan as `--json` prints it."""
    from bakeoff.run import plan

    config, examples = task.config, task.dataset.examples
    limits, reserve = config.resources, config.resources.reserve
    return {
        "trials": len(task.trials),
        "candidates": [candidate.name for candidate in config.candidates],
        "examples": len(examples),
        "repetitions": config.trials,
        "containers_at_least": len(task.trials),
        "containers_at_most": len(task.trials) * config.infra.attempts,
        "estimated_model_calls": plan.estimated_model_calls(config, examples),
        "estimated_usd": expected and expected.usd,
        "estimated_seconds": expected and expected.seconds,
        "ceiling": {
            "cpus": limits.cpus,
            "memory_bytes": limits.memory,
            "pids": limits.pids,
            "disk_bytes": limits.disk,
        },
        "reserve": {"cpus": reserve.cpus, "memory_bytes": reserve.memory},
        "profiles": [profile.model_dump(mode="json") for profile in task.profiles],
        "max_concurrency": config.max_concurrency,
        "seed": config.seed,
        "order": [trial.trial_id for trial in task.trials],
        "image": image.listing(),
    }


def _print_plan(task: Task, admitted: Admission | None, out: Path, as_json: bool) -> None:
    from bakeoff.harness import contents
    from bakeoff.run import margins
    from bakeoff.run.forecast import forecast

    image = contents.read(task.config)
    expected = forecast(task, out, admitted.slots if admitted else 1)
    unknown_gates = margins.unanswerable(task.config, len(task.dataset.examples), out)
    facts = _facts(task, image, expected) | {"unanswerable_gates": unknown_gates}
    if as_json:
        typer.echo(escape.json_text(facts, indent=2))
        return
    factors = [f"{len(facts['candidates'])} candidates"]
    factors += [f"{len(task.profiles)} profiles"] if task.config.sweep else []
    factors += [f"{facts['examples']} examples", str(facts["repetitions"])]
    table = Table(box=None, show_header=False, pad_edge=False)
    rows = (
        ("trials", f"{facts['trials']} = {' x '.join(factors)}"),
        (
            "containers",
            f"{facts['containers_at_least']}, up to {facts['containers_at_most']} with re-attempts",
        ),
        *[row for profile in task.profiles for row in _boxes(profile)],
        ("at once", str(admitted.slots if admitted else facts["max_concurrency"])),
        ("model calls", f"about {facts['estimated_model_calls']}, if every candidate follows the reference"),
        *_expected(expected),
        ("first", ", ".join(trial.trial_id for trial in task.trials[:4])),
    )
    for name, value in [*rows, *image.summary()]:
        table.add_row(name, escape.terminal(value))
    console = Console(markup=False, highlight=False)
    console.print(table)
    if admitted is None:
        console.print("No Docker Engine answers, so nothing was checked against the host.")
    for says in unknown_gates:
        console.print(f"note: {escape.terminal(says)}")
    console.print("Nothing was started.")


def _boxes(profile: Profile) -> Iterator[tuple[str, str]]:
    from bakeoff.record.trial import DEFAULT_PROFILE

    limits = profile.limits
    ceilings = [
        ("CPUs", limits.cpus, ""),
        ("memory", limits.memory_bytes and limits.memory_bytes / 2**20, " MiB"),
        ("pids", limits.pids, ""),
        ("disk", limits.disk_bytes and limits.disk_bytes / 2**20, " MiB"),
        ("time", profile.seconds, " s"),
    ]
    uncapped = ", ".join(name for name, ceiling, _ in ceilings[:-1] if ceiling is None)
    capped = ", ".join(f"{ceiling:g}{unit} {name}" for name, ceiling, unit in ceilings if ceiling is not None)
    may = capped + (f"; uncapped: {uncapped}" if uncapped else "")
    floor = f"{profile.reserved_cpus:g} CPUs, {profile.reserved_memory_bytes / 2**20:g} MiB memory"
    if profile.name == DEFAULT_PROFILE:
        yield "each may use", may
        yield "each reserves", floor
    else:
        yield profile.name, f"{may}; reserves {floor}"


def _expected(expected: Forecast | None) -> Iterator[tuple[str, str]]:
    if expected is None:
        yield "time, money", "not known before a first run: `bakeoff run --trials 1` measures both"
        return
    time = "time not known" if expected.seconds is None else f"about {expected.seconds / 60:.1f} minutes"
    money = "money not known" if expected.usd is None else f"{expected.usd:.2f} USD"
    yield "time, money", f"{time}, {money}, by the means of {expected.run_id}"
