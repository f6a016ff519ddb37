"""`bakeoff.run(...)`: a run from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bakeoff import backends
from bakeoff.backends.base import Backend
from bakeoff.config.overrides import Overrides
from bakeoff.record.store import RunDirectory
from bakeoff.run import progress
from bakeoff.run import run as story


def run(
    harness: str | Path = "harness.yaml",
    *,
    candidates: Sequence[str] = (),
    examples: Sequence[str] = (),
    suites: Sequence[str] = (),
    trials: int | None = None,
    memory: str | None = None,
    cpus: float | None = None,
    seed: int | None = None,
    max_concurrency: int | None = None,
    stop_early: bool | None = None,
    sweep: Mapping[str, Any] | None = None,
    out: str | Path = "runs",
    resume: str | None = None,
    record: str | Path | None = None,
    backend: str | Backend = "docker",
    quiet: bool = True,
) -> RunDirectory:
    """Run a bake-off and write its report, as `bakeoff run` does. Each parameter is an option of it.

        run = bakeoff.run("harness.yaml", candidates=["fast", "careful"], trials=3)
        failed = [trial for trial in run.trials() if trial.verdict == "failed"]
        print((run.path / "report.md").read_text())

    Args:
        harness: harness.yaml.
        candidates: only these, by name.
        examples: only these, by id or glob.
        suites: only examples of these `metadata.suite`.
        trials: repetitions of each example.
        memory: ceiling of a container, such as `512MiB`.
        cpus: ceiling of a container.
        seed: of the order and of everything random.
        max_concurrency: trials at once, at most.
        stop_early: look at the results between repetitions, and stop when they decide; None: as harness.yaml says.
        sweep: run a sweep, as `bakeoff sweep` does, with these keys of `sweep:` in place of harness.yaml's: `{}`, or
            `{"levels": [1, 2, "uncapped"], "scale": ["memory"]}`. It never stops early.
        out: where the run directory goes.
        resume: continue a run that was stopped: its id, its path, or `latest`.
        record: record every model call in this directory.
        backend: where sandboxes run: a name of `bakeoff.backends.BACKENDS`, or a backend, which stays open.
        quiet: show nothing while it runs. In the main thread, Ctrl-C stops the run in either case.

    Returns:
        The run directory. Its manifest's `state` is `interrupted` if the run was stopped before its end.

    Raises:
        InputError: something is missing or wrong; nothing was started.
        UnfitEnvironment: this machine cannot run it, or the backend went away.
        Interrupted: the user stopped it at once; what finished is on disk.
    """
    out = Path(out)
    overrides = Overrides(
        candidates=tuple(candidates),
        examples=tuple(examples),
        suites=tuple(suites),
        trials=trials,
        memory=memory,
        cpus=cpus,
        seed=seed,
        max_concurrency=max_concurrency,
        stop_early=stop_early,
        sweep=None if sweep is None else dict(sweep),
    )
    stopped = RunDirectory.resolve(resume, out) if resume else None
    if stopped is not None and story.lacks_report(stopped):
        story.report(stopped, "quiet")
        return stopped
    task = story.plan(Path(harness), overrides, stopped=stopped)
    place = backends.connect(backend) if isinstance(backend, str) else backend
    try:
        display = progress.display(quiet=quiet)
        directory = story.execute(task, place, display, out, Path(record) if record else None)
    finally:
        if place is not backend:
            place.close()
    story.report(directory, "quiet")
    return directory
