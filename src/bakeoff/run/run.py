"""The story of a run: plan, check, prepare, execute, record, report."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from bakeoff import backends, scoring
from bakeoff.attempt.holdings import give_back_what_is_freed
from bakeoff.backends.base import Backend
from bakeoff.config.cache import require_cache
from bakeoff.config.overrides import Overrides
from bakeoff.errors import BakeoffError, Interrupted, UnfitEnvironment
from bakeoff.gateway.policy.context import RunContext
from bakeoff.record.manifest import Image, Manifest
from bakeoff.record.store import HTML_REPORT, REPORT, RunDirectory
from bakeoff.record.trial import experiment_name
from bakeoff.run import admission, interrupts, manifest, margins, models, preflight, rehearsal, resume
from bakeoff.run import task as tasks
from bakeoff.run.admission import Admission
from bakeoff.run.engine import Engine
from bakeoff.run.host_monitor import HostMonitor
from bakeoff.run.ledger import Ledger
from bakeoff.run.progress import Display
from bakeoff.run.task import Task
from bakeoff.scoring import Scorer

# What the report prints on stdout.
Style = Literal["table", "json", "quiet"]


def plan(harness: Path, overrides: Overrides, *, stopped: RunDirectory | None = None) -> Task:
    """What is to be run; nothing is started.

    Args:
        harness: harness.yaml.
        overrides: the command line's changes.
        stopped: a run to go on with, whose own harness file and overrides are read again.

    Raises:
        InputError: the first thing wrong with the files, or what a run to go on with no longer agrees with.
    """
    give_back_what_is_freed()  # before there are threads: each would get a heap of its own
    return tasks.read(harness, overrides) if stopped is None else resume.read_again(stopped)


def check(task: Task, backend: Backend) -> Admission:
    """Everything that can be checked before anything starts, and how many trials run at once.

    Raises:
        InputError: something is missing, or larger than the host.
    """
    capacity = admission.capacity(backend)
    preflight.check(task.config, task.dataset, capacity, environ=task.environ)
    return admission.admit(task, capacity)


def check_only(task: Task) -> Admission | None:
    """What `check` would refuse, for a dry run. None: no backend answers, so nothing was checked against the host.

    Raises:
        InputError: as `check`.
    """
    try:
        backend = backends.connect()
    except UnfitEnvironment:
        preflight.check(task.config, task.dataset, environ=task.environ)
        return None
    try:
        return check(task, backend)
    finally:
        backend.close()


def prove(task: Task, backend: Backend, image: Image, admitted: Admission) -> Admission:
    """Prove that the limits hold, and admit again by the CPUs that trials may really use.

    Raises:
        UnfitEnvironment: a limit does not hold.
        InputError: a profile is larger than what is left of the host.
    """
    capacity = admission.proven(admitted.capacity, admission.prove(backend, image.id, task.profiles))
    preflight.check_host(task.config, capacity)
    return admission.admit(task, capacity)


@dataclass(frozen=True)
class Prepared:
    """What is ready before the first trial. `start` is the manifest of a new run of this task."""

    admitted: Admission
    shared: RunContext
    scorer: Scorer
    image: Image
    start: Manifest


def prepare(task: Task, backend: Backend, display: Display, recording: Path | None) -> Prepared:
    """Check, and make the image. Raises as `execute` does."""
    admitted = check(task, backend)
    shared = models.shared(task, recording)
    judge = models.judge_factory(task, shared)
    scorer = scoring.build(task.config.evaluators, root=task.config.root, judge_factory=judge)
    require_cache()
    image = backend.prepare(task.config, display.step)
    admitted = prove(task, backend, image, admitted)
    start = manifest.at_start(task, backend.facts(), image, admitted.slots)
    return Prepared(admitted, shared, scorer, image, start)


def execute(
    task: Task, backend: Backend, display: Display, out: Path, recording: Path | None = None
) -> RunDirectory:
    """Check, prepare, run the trials that have no verdict yet, and write the record.

    The first Ctrl-C cancels what runs and keeps what is finished; the second stops at once.

    Args:
        task: what is run; a resumed one goes on in the directory of its run.
        backend: where.
        display: shows how it goes on.
        out: where a new run's directory is made.
        recording: directory that every model call is recorded in.

    Raises:
        InputError: something is missing, larger than the host, or not what a resumed run had before.
        UnfitEnvironment: the image cannot be made, a limit does not hold, the record cannot be written, or the backend
            stays away.
        Interrupted: the user stopped it at once, or the terminal has gone; what finished is on disk.
    """
    ready = prepare(task, backend, display, recording)
    for note in margins.unanswerable(task.config, len(task.dataset.examples), out):
        display.note(note)
    with models.opened(task, ready.shared) as candidates:
        if task.resumed is None:
            sandbox = admission.sandbox_spec(ready.start.run_id, ready.image.id, task.profiles[0])
            with admission.leaving_nothing(backend, sandbox.run_id):
                rehearsal.rehearse(task, backend, sandbox, candidates)
        with (
            _opened(task, ready.start, out, backend) as directory,
            HostMonitor(local=backend.local) as monitor,
            Ledger(backend.host_id, directory.run_id, ready.admitted.capacity) as ledger,
        ):
            engine = Engine(
                task=task,
                trials=resume.remaining(directory, task.trials),
                backend=backend,
                image=ready.image,
                models=candidates,
                scorer=ready.scorer,
                directory=directory,
                ledger=ledger,
                slots=ready.admitted.slots,
                monitor=monitor,
                display=display,
            )
            finished = _run(engine)
            spending, worst = ready.shared.spending, monitor.worst()
            end = manifest.at_end(directory, task, finished=finished, spending=spending, worst=worst)
            directory.update_manifest(**end)
    if rest := end.get("not_run"):
        display.step(f"{rest.trials} trials are not run: {rest.reason}; raise it and go on with --resume")
    return directory


def _run(engine: Engine) -> bool:
    """Run the trials, while signals stop them and the display shows them; whether all have a verdict."""
    planned, task = engine.trials, engine.task
    if task.resumed is not None:
        done = len(task.trials) - len(planned)
        engine.display.step(
            f"resuming {task.resumed.run_id}: {done} of {len(task.trials)} trials are finished"
        )
    with engine.display as display:
        display.planned(Counter(experiment_name(trial.candidate, trial.profile) for trial in planned))
        with interrupts.handled(engine.stop, engine.abandon, display.note) as asked:
            finished = engine.run()
    if asked.urgent and not finished:
        raise Interrupted("the run was stopped at once; what is finished is kept")
    return finished


@contextmanager
def _opened(task: Task, start: Manifest, out: Path, backend: Backend) -> Iterator[RunDirectory]:
    """The run's directory, held against other writers: a new one, or that of the resumed run without its leftovers.

    Whatever ends the run, a bug of bakeoff too, its manifest says so, where it can still be written.

    Raises:
        InputError: another process runs the resumed run, or the box is not the one that it began on.
    """
    directory = task.resumed or RunDirectory.create(out, start, task.dataset.rows(task.config.root))
    with ExitStack() as held:
        held.enter_context(resume.only_writer(directory))
        if task.resumed is not None:
            if damage := directory.repair():
                held.enter_context(resume.only_writer(directory))
            directory.write_examples(task.dataset.rows(task.config.root))
            notes = [*directory.manifest().notes, *damage, *resume.notes_on_box(directory, start)]
            backend.sweep(directory.run_id)
            directory.update_manifest(state="running", finished_at=None, not_run=None, notes=notes)
        try:
            yield directory
        except BaseException:
            # What ended the run says more than a second error. A run that stays at `running` can be resumed too.
            with suppress(BakeoffError, OSError):
                directory.update_manifest(state="interrupted", finished_at=datetime.now(UTC))
            raise


# The orchestrator shares a machine with the containers, so it has to stay small: what judges the numbers and draws them
# (scipy, plots) is loaded by another process, when the containers are gone. -P: no file in the working directory may
# take the place of a module.
_BAKEOFF = (sys.executable, "-P", "-m", "bakeoff")


def lacks_report(directory: RunDirectory) -> bool:
    """Whether every trial of the run has a verdict, and what made its report was ended before its end."""
    whole = all((directory.path / name).is_file() for name in (REPORT, HTML_REPORT))
    return directory.manifest().state == "finished" and not whole


def report(directory: RunDirectory, style: Style) -> int:
    """Write the report of a run and print its result on stdout; the run's exit code."""
    return subprocess.call([*_BAKEOFF, "report", str(directory.path), "--finish", style])


def publish(directory: RunDirectory) -> int:
    """Publish a run to the targets of its harness.yaml; the exit code."""
    # stdout may be one JSON object by now
    return subprocess.call([*_BAKEOFF, "publish", str(directory.path)], stdout=sys.stderr)
