"""One publication: which targets, with which settings, one after the other. A failure of one does not stop the next."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bakeoff.config.fitting import fit
from bakeoff.config.located import CommandLine
from bakeoff.config.section import Section
from bakeoff.errors import InputError, NotPublished, UnfitEnvironment
from bakeoff.publish import source
from bakeoff.publish.table import TARGETS, Publication, Publisher, Say, Target
from bakeoff.record.store import RunDirectory

# Environment variables by name, those of `.env` and the `key_command` of the variables that are asked for included.
Environment = Callable[[Sequence[str]], Mapping[str, str]]


@dataclass(frozen=True)
class Planned:
    """A target that is due. `secrets`: environment variables that it needs."""

    publisher: Publisher
    settings: Section
    secrets: Sequence[str] = ()


Plan = Mapping[str, Planned]


def plan(run: RunDirectory, names: Sequence[str], options: Mapping[str, Any]) -> Plan:
    """The targets to publish to, each with its settings.

    Args:
        run: the `publish` section of its manifest gives the settings.
        names: targets, of `table.TARGETS`; none: all that the manifest has.
        options: `url`, `name`, `protocol`, `content`; they replace settings.

    Raises:
        InputError: no target, one whose packages are missing, or an option that it has no use for.
    """
    configured = run.manifest().config.publish
    chosen = list(dict.fromkeys(names)) or [name for name, given in configured.items() if given is not None]
    if not chosen:
        raise InputError(
            "nothing says where to publish", key="--to", hint=f"Give --to, one of {', '.join(TARGETS)}."
        )
    if options and len(chosen) > 1:
        raise InputError(
            f"is of one target, and there are {len(chosen)}",
            key=f"--{next(iter(options))}",
            hint="Publish to one target at a time, or write the settings into harness.yaml.",
        )
    return {name: _planned(TARGETS[name], configured.get(name) or {}, options) for name in chosen}


def publish(
    run: RunDirectory, plan: Plan, environment: Environment, say: Say, *, allow_inconclusive: bool = False
) -> Iterator[tuple[str, Publication]]:
    """Publish to each target in turn; yields each that has everything.

    Raises:
        InputError: the run may not be published and nothing was sent, or a target refused.
        NotPublished: a target did not take everything. The first failure is raised after the last target had its turn.
    """
    checked = source.read(run, allow_inconclusive=allow_inconclusive)
    failures: list[InputError | NotPublished | UnfitEnvironment] = []
    with _locked(run, say):
        for name, due in plan.items():
            try:
                yield name, due.publisher(checked, due.settings, environment(due.secrets), say)
            except (InputError, NotPublished, UnfitEnvironment) as error:
                failures.append(error)
    for later in failures[1:]:
        say(f"error: {later}")
        say(f"  hint: {later.hint}")
    if failures:
        raise failures[0]


@contextmanager
def _locked(run: RunDirectory, say: Say) -> Iterator[None]:
    """Wait until no other process publishes the run: both would find the same things missing, and send them twice.

    The lock is on the directory itself: that needs no right to write there, and it ends with its process.
    """
    directory = os.open(run.path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another publication of this run is under way: waiting for its end")
            fcntl.flock(directory, fcntl.LOCK_EX)
        except OSError as error:  # some network file systems cannot lock a directory
            say(f"warning: {run.path} cannot be locked ({error.strerror}): do not publish it twice at once")
        yield
    finally:
        os.close(directory)


def _planned(target: Target, configured: Mapping[str, Any], options: Mapping[str, Any]) -> Planned:
    """The target's settings in the manifest, with options in their place."""
    setting_of = {"url": target.url, "name": target.label, "protocol": "protocol", "content": "content"}
    changes: dict[str, Any] = {}
    for option, value in options.items():
        setting = setting_of[option]
        if setting is None or setting not in target.settings.model_fields:
            raise InputError(f"means nothing to {target.name}", key=f"--{option}", hint="Leave it out.")
        changes[setting] = value
    place = CommandLine({setting: option for option, setting in setting_of.items() if setting})
    settings = fit(target.settings, {**configured, **changes}, place)
    secret = getattr(settings, target.key_env) if target.key_env else None
    return Planned(target.publisher(), settings, [secret] if secret else [])
