"""One publication: which targets, with which settings, in turn; one that fails keeps no other from its turn."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from bakeoff.config import loading
from bakeoff.config.fitting import fit, nearest
from bakeoff.config.schema import Section
from bakeoff.errors import InputError, NotPublished, UnfitEnvironment
from bakeoff.gateway import keys
from bakeoff.publish import source
from bakeoff.publish.targets import TARGETS, Publication, Publisher, Say
from bakeoff.record.store import RunDirectory

Plan = Mapping[str, tuple[Publisher, Section]]


def plan(run: RunDirectory, names: Sequence[str], options: Mapping[str, Any]) -> Plan:
    """The targets asked for, else those of the run's own harness.yaml, each with its settings.

    Args:
        run: its manifest's `publish` gives the settings.
        names: targets; none: all that the manifest has.
        options: `url`, `name`, `protocol`, `content`: they win over the settings.

    Raises:
        InputError: no target, an unknown one, one whose packages are missing, or an option that it has no use for.
    """
    own: dict[str, Any] = run.manifest().config.get("publish") or {}
    chosen = list(dict.fromkeys(names)) or [name for name, settings in own.items() if settings is not None]
    if not chosen:
        raise InputError(
            "nothing says where to publish", key="--to", hint=f"Give --to, one of {', '.join(TARGETS)}."
        )
    for name in chosen:
        if name not in TARGETS:
            meant = nearest(name, TARGETS)
            hint = f"Did you mean {meant}? " if meant else ""
            raise InputError(
                f"there is no target {name!r}", key="--to", hint=f"{hint}Targets are {', '.join(TARGETS)}."
            )
    if options and len(chosen) > 1:
        raise InputError(
            f"is of one target, and there are {len(chosen)}",
            key=f"--{next(iter(options))}",
            hint="Publish to one target at a time, or write the settings into harness.yaml.",
        )
    settings = {name: _settings(name, own.get(name) or {}, options) for name in chosen}
    return {name: (TARGETS[name].publisher(name), settings[name]) for name in chosen}


def publish(
    run: RunDirectory, plan: Plan, say: Say, *, allow_inconclusive: bool = False
) -> Iterator[tuple[str, Publication]]:
    """Publish to each target in turn; yields each that has everything.

    Raises:
        InputError: the run may not be published: nothing was sent. Or of the first target that refused.
        NotPublished: of the first target that did not take everything. Both come after the last target had its turn.
    """
    whole = source.read(run, allow_inconclusive=allow_inconclusive)
    failures: list[InputError | NotPublished | UnfitEnvironment] = []
    with _alone(run, say):
        for name, (publisher, settings) in plan.items():
            try:
                yield name, publisher(whole, settings, _environment(whole, name, settings), say)
            except (InputError, NotPublished, UnfitEnvironment) as error:
                failures.append(error)
    for later in failures[1:]:
        say(f"error: {later}")
        say(f"  hint: {later.hint}")
    if failures:
        raise failures[0]


@contextmanager
def _alone(run: RunDirectory, say: Say) -> Iterator[None]:
    """Wait for the end of another publication of the run: both would find the same things missing, and send them twice.

    The lock is the directory's own: it needs no right to write there, and is gone with its process, however that ends.
    """
    directory = os.open(run.path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another publication of this run is under way: waiting for its end")
            fcntl.flock(directory, fcntl.LOCK_EX)
        except OSError as error:  # some network file systems lock no directory
            say(
                f"warning: {run.path} cannot be locked ({error.strerror}): let no other publication of it run"
            )
        yield
    finally:
        os.close(directory)


class _CommandLine:
    """Where the settings that options give come from, for errors."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._options = {setting: option for option, setting in names.items()}

    def error(self, loc: tuple[str | int, ...], problem: str, hint: str) -> InputError:
        setting = str(loc[0]) if loc else ""
        return InputError(problem, key=f"--{self._options.get(setting, setting)}", hint=hint)


def _settings(name: str, own: Mapping[str, Any], options: Mapping[str, Any]) -> Section:
    """The run's own settings of a target with the options in their place."""
    target = TARGETS[name]
    meaning = {"url": target.url, "protocol": "protocol", "content": "content"}
    if target.name is not None:
        meaning["name"] = target.name
    changes = {}
    for option, value in options.items():
        setting = meaning.get(option)
        if setting not in target.settings.model_fields:
            raise InputError(f"means nothing to {name}", key=f"--{option}", hint="Leave it out.")
        changes[setting] = value
    for loc, problem, hint in loading.address_problems(
        (target.url,), changes.get(target.url), loading.SECRETS[name]
    ):
        raise _CommandLine(meaning).error(loc, problem, hint)
    return fit(target.settings, {**own, **changes}, _CommandLine(meaning))


def _environment(whole: source.Source, name: str, settings: Section) -> Mapping[str, str]:
    """The environment, `.env` and `key_command` of the harness file, where it is still there to be read."""
    file = whole.harness_file
    key_env = TARGETS[name].key_env
    wanted = [value] if key_env and (value := getattr(settings, key_env)) else []
    if not file.is_file():  # published elsewhere: the environment alone
        return dict(os.environ)
    return keys.environment(loading.load(file), wanted)
