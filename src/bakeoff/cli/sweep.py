"""`bakeoff sweep`: one harness and the same tasks in boxes of several sizes. How much of the score is the box?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bakeoff.cli import run as options


def sweep(
    harness: options.Harness = Path("harness.yaml"),
    levels: Annotated[
        str | None,
        typer.Option(metavar="1,2,uncapped", help="Multiples of `resources`, the smallest first."),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(metavar="memory,cpus", help="What is multiplied: memory, cpus, pids, disk, time."),
    ] = None,
    floor: Annotated[
        float | None, typer.Option(help="What every trial reserves, in multiples of `resources`.")
    ] = None,
    margin: Annotated[
        float | None, typer.Option(help="Scores that differ by less count as equal: 0.05 is 5 points.")
    ] = None,
    candidate: options.Candidates = None,
    example: options.Examples = None,
    suite: options.Suites = None,
    trials: options.Trials = None,
    max_concurrency: options.AtOnce = None,
    memory: options.Memory = None,
    cpus: options.Cpus = None,
    seed: options.Seed = None,
    out: options.Out = Path("runs"),
    resume: options.Resume = None,
    record: options.Recording = None,
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Run the same trials under several resource profiles: how much of the score is the box, and which one to use.

    The profiles come from `sweep:` in HARNESS; options replace its keys.
    """
    from bakeoff.config.overrides import Overrides

    given: dict[str, Any] = {
        "levels": None if levels is None else levels.split(","),
        "scale": None if scale is None else scale.split(","),
        "floor": floor,
        "margin": margin,
    }
    overrides = Overrides(
        candidates=tuple(candidate or ()),
        examples=tuple(example or ()),
        suites=tuple(suite or ()),
        trials=trials,
        memory=memory,
        cpus=cpus,
        seed=seed,
        max_concurrency=max_concurrency,
        sweep={key: value for key, value in given.items() if value is not None},
    )
    options.carry_out(harness, overrides, options.Wanted(out, resume, record, dry_run, as_json, quiet))
