"""Going on with a run that was stopped: the same task again, or a refusal that names what has changed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from bakeoff.config.overrides import Overrides
from bakeoff.errors import InputError
from bakeoff.record import fingerprint
from bakeoff.record.base import Record
from bakeoff.record.configuration import Configuration
from bakeoff.record.manifest import Manifest
from bakeoff.record.store import TRIALS, RunDirectory
from bakeoff.record.trial import TrialSpec
from bakeoff.run.manifest import configuration
from bakeoff.run.task import Task, read

# Keys of harness.yaml that may change between two stretches of one run: pace, keys, money and where it is published.
MAY_CHANGE = {"max_concurrency", "rate", "budget", "key_command", "publish"}


def read_again(run: RunDirectory) -> Task:
    """The task of a run that was stopped, read again from its harness file.

    Raises:
        InputError: the run is finished, or what is read now differs from what was run; names the differing parts.
    """
    manifest = run.manifest()
    if manifest.state == "finished":
        raise InputError(
            "this run is finished",
            file=str(run.path),
            hint="read it with `bakeoff show`, send it on with `bakeoff publish`, or start another",
        )
    overrides = Overrides(**dict(manifest.overrides))
    task = read(run.harness_file(manifest), overrides, pinned=manifest.dataset, resumed=run)
    _refuse_changes(run, _differing(manifest.config, configuration(task.config)))
    if task.dataset.digest != manifest.dataset.digest:
        _refuse_changes(run, ["dataset (its rows or files)"])
    return task


# Parts of the fingerprint that an upgrade of bakeoff changes.
_BAKEOFFS_OWN = frozenset({fingerprint.IMAGE, fingerprint.SANDBOX})


def notes_on_box(run: RunDirectory, now: Manifest) -> list[str]:
    """What the run's record must say of the box, since its rest must run on what its beginning ran on.

    An image that differs although all that the user put into it is equal differs by bakeoff's part of it, as does what
    every sandbox gets: bakeoff was upgraded in between. That is noted, not refused.

    Args:
        run: the stopped run.
        now: the manifest that a new run of the same task would have.

    Raises:
        InputError: names the parts of the fingerprint that differ.
    """
    before = run.manifest()
    differing = [
        name for name, digest in now.fingerprint_parts.items() if before.fingerprint_parts.get(name) != digest
    ]
    if not differing or not _BAKEOFFS_OWN.issuperset(differing):
        _refuse_changes(run, differing)
        return []
    return [
        f"bakeoff was upgraded during this run: its first {sum(1 for _ in run.trials())} trials ran in the image "
        f"{before.image.reference} of bakeoff {before.bakeoff_version}, the rest in {now.image.reference} of "
        f"bakeoff {now.bakeoff_version}."
    ]


def remaining(run: RunDirectory, trials: Iterable[TrialSpec]) -> list[TrialSpec]:
    """The trials that have no line in trials.jsonl yet."""
    finished = {trial.trial_id for trial in run.trials()}
    return [trial for trial in trials if trial.trial_id not in finished]


@contextmanager
def only_writer(run: RunDirectory) -> Iterator[None]:
    """Hold the run's lock. The lock ends with its process, however that ends.

    Raises:
        InputError: another process runs this run.
    """
    descriptor = os.open(run.path / TRIALS, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                "another process is running this run",
                file=str(run.path),
                hint="Wait for its end, or stop it; what it finishes is kept.",
            ) from None
        except OSError:
            pass  # some network file systems have no locks
        yield
    finally:
        os.close(descriptor)


def _differing(before: Configuration, now: Configuration) -> list[str]:
    """Dotted keys that differ, two levels deep."""
    found = []
    for key in sorted(Configuration.model_fields.keys() - MAY_CHANGE):
        old, new = getattr(before, key), getattr(now, key)
        if old == new:
            continue
        if isinstance(old, Record) and isinstance(new, Record):
            parts = sorted(type(old).model_fields)
            found += [f"{key}.{part}" for part in parts if getattr(old, part) != getattr(new, part)]
        else:
            found.append(key)
    return found


def _refuse_changes(run: RunDirectory, differing: list[str]) -> None:
    if differing:
        raise InputError(
            f"this run cannot be continued, since these have changed: {', '.join(differing)}",
            file=str(run.path),
            hint="put them back as they were, or start a new run",
        )
