"""`bakeoff run`: one harness, several models, real containers with pinned limits."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bakeoff.text import escape

if TYPE_CHECKING:
    from bakeoff.harness.contents import Contents
    from bakeoff.run.admission import Admission
    from bakeoff.run.task import Task


def run(
    harness: Annotated[Path, typer.Argument(help="The harness file.")] = Path("harness.yaml"),
    candidate: Annotated[
        list[str] | None, typer.Option("--candidate", "-c", help="Only this candidate; may be repeated.")
    ] = None,
    example: Annotated[
        list[str] | None,
        typer.Option("--example", "-e", help="Only this example, or a glob; may be repeated."),
    ] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option("--suite", help="Only examples of this metadata.suite; may be repeated."),
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Repetitions of each example.")] = None,
    max_concurrency: Annotated[int | None, typer.Option(help="Trials at once, at most.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory ceiling of a container, such as 512MiB.")] = None,
    cpus: Annotated[float | None, typer.Option(help="CPU ceiling of a container.")] = None,
    stop_early: Annotated[
        bool | None,
        typer.Option(
            "--stop-early/--no-stop-early",
            help="Look at the results between repetitions; drop who has lost, stop when it is decided.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the order and of everything random.")] = None,
    out: Annotated[Path, typer.Option(help="Where the run directory goes.")] = Path("runs"),
    resume: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Continue a run that was stopped: its id, path, or `latest`."),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Record every model call there; `replay:DIR` is a model that answers so."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check all and print the plan; start nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one summary object on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No live display.")] = False,
) -> None:
    """Run the bake-off that HARNESS describes and write its report."""
    from bakeoff.config.overrides import Overrides
    from bakeoff.harness import contents
    from bakeoff.record.store import RunDirectory
    from bakeoff.run import run as runs

    overrides = Overrides(
        candidates=tuple(candidate or ()),
        examples=tuple(example or ()),
        suites=tuple(suite or ()),
        trials=trials,
        memory=memory,
        cpus=cpus,
        seed=seed,
        max_concurrency=max_concurrency,
        stop_early=stop_early,
    )
    from bakeoff import backends
    from bakeoff.run import progress

    stopped = RunDirectory.resolve(resume, out) if resume else None
    display = progress.display(quiet=quiet)
    if stopped is not None and not dry_run and runs.lacks_report(stopped):
        directory, publish = stopped, stopped.manifest().config.publish
    else:
        task = runs.plan(harness, overrides, stopped=stopped)
        if dry_run:
            admitted = runs.check_only(task)
            _print_plan(task, admitted, contents.read(task.config), as_json)
            return
        with closing(backends.connect()) as backend:
            directory = runs.execute(task, backend, display, out, record)
        publish = dict(task.config.publish)
    code = runs.report(directory, "json" if as_json else "quiet" if quiet else "table")
    targets = [name for name, settings in publish.items() if settings is not None]
    if targets and code == 0:
        code = runs.publish(directory)
    elif targets:
        display.step(f"not published to {', '.join(targets)}: see `bakeoff publish --help`")
    raise typer.Exit(code)


def _facts(task: Task, image: Contents) -> dict[str, Any]:
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
        "ceiling": {
            "cpus": limits.cpus,
            "memory_bytes": limits.memory,
            "pids": limits.pids,
            "disk_bytes": limits.disk,
        },
        "reserve": {"cpus": reserve.cpus, "memory_bytes": reserve.memory},
        "max_concurrency": config.max_concurrency,
        "looks": list(task.looks),
        "seed": config.seed,
        "order": [trial.trial_id for trial in task.trials],
        "image": image.listing(),
    }


def _print_plan(task: Task, admitted: Admission | None, image: Contents, as_json: bool) -> None:
    facts = _facts(task, image)
    if as_json:
        typer.echo(escape.json_text(facts, indent=2))
        return
    limits, reserve = task.config.resources, task.config.resources.reserve
    factors = f"{len(facts['candidates'])} candidates x {facts['examples']} examples x {facts['repetitions']}"
    table = Table(box=None, show_header=False, pad_edge=False)
    rows = (
        ("trials", f"{facts['trials']} = {factors}"),
        (
            "containers",
            f"{facts['containers_at_least']}, up to {facts['containers_at_most']} with re-attempts",
        ),
        (
            "each may use",
            f"{limits.cpus:g} CPUs, {_mib(limits.memory)}, {limits.pids} pids, {_mib(limits.disk)} disk",
        ),
        ("each reserves", f"{reserve.cpus:g} CPUs, {_mib(reserve.memory)}"),
        ("at once", str(admitted.slots if admitted else facts["max_concurrency"])),
        ("model calls", f"about {facts['estimated_model_calls']}, if every candidate follows the reference"),
        *_looks(task),
        ("first", ", ".join(trial.trial_id for trial in task.trials[:4])),
    )
    for name, value in [*rows, *image.summary()]:
        table.add_row(name, escape.terminal(value))
    console = Console(markup=False, highlight=False)
    console.print(table)
    if admitted is None:
        console.print("No Docker Engine answers, so nothing was checked against the host.")
    console.print("Nothing was started.")


def _looks(task: Task) -> list[tuple[str, str]]:
    if not task.looks:
        return []
    after = ", ".join(map(str, task.looks))
    return [
        (
            "looks",
            f"after {after} repetitions of every example; the run may end at each, or drop who has lost",
        )
    ]


def _mib(size: int) -> str:
    return f"{size / 2**20:g} MiB"
