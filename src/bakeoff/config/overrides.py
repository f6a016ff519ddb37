"""What the command line changes of a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bakeoff.config.checks import SMALLEST_CPUS, SMALLEST_MEMORY, sweep_contradictions
from bakeoff.config.fitting import fit, nearest
from bakeoff.config.located import CommandLine
from bakeoff.config.schema import Candidate, Config, Resources, StopEarly, Sweep
from bakeoff.config.sizes import SizeError, parse_size


@dataclass(frozen=True)
class Overrides:
    """What the command line changes; None or empty leaves what the file says.

    `examples` and `suites` are for `datasets.select`: a configuration does not know the dataset.
    A `memory` or `cpus` below the reserve lowers the reserve to it: no floor is above its ceiling.
    """

    candidates: tuple[str, ...] = ()  # names
    examples: tuple[str, ...] = ()  # ids or fnmatch globs
    suites: tuple[str, ...] = ()  # values of metadata.suite
    trials: int | None = None
    memory: str | None = None  # a size, 512MiB
    cpus: float | None = None
    seed: int | None = None
    max_concurrency: int | None = None
    sweep: dict[str, Any] | None = None  # of `sweep:` what the options give; None: this is no sweep
    stop_early: bool | None = None


def apply(overrides: Overrides, config: Config) -> Config:
    """The configuration as the command line changes it."""
    resources: dict[str, float] = {}
    changes: dict[str, Any] = {}
    if overrides.memory is not None:
        try:
            resources["memory"] = parse_size(overrides.memory)
        except SizeError as error:
            raise CommandLine().error(("memory",), str(error), error.hint) from None
        _at_least("memory", resources["memory"], SMALLEST_MEMORY, "Write for example 512MiB.")
    if overrides.cpus is not None:
        _at_least("cpus", overrides.cpus, SMALLEST_CPUS, "Write for example 0.5.")
        resources["cpus"] = overrides.cpus
    if resources:
        changes["resources"] = config.resources.model_copy(update=resources)
    for key in ("trials", "max_concurrency"):
        if (value := getattr(overrides, key)) is not None:
            _at_least(key, value, 1, "Write a whole number from 1.")
            changes[key] = value
    if overrides.stop_early is not None:
        changes["stop_early"] = (config.stop_early or StopEarly()) if overrides.stop_early else None
    if overrides.seed is not None:
        changes["seed"] = overrides.seed
    if overrides.candidates:
        changes["candidates"] = _only(overrides.candidates, config)
    config = reserve_below_ceiling(config.model_copy(update=changes), only_defaults=False)
    if overrides.sweep is None:
        return config.model_copy(update={"sweep": None})
    # Every profile needs all its repetitions
    return config.model_copy(update={"sweep": _sweep(config, overrides.sweep), "stop_early": None})


def _only(wanted: tuple[str, ...], config: Config) -> list[Candidate]:
    """The candidates of these names."""
    names = [candidate.name for candidate in config.candidates]
    for name in wanted:
        if name not in names:
            hint = f"Candidates in {config.file}: {', '.join(names)}."
            if meant := nearest(name, names):
                hint = f"Did you mean {meant}? {hint}"
            raise CommandLine().error(("candidate",), f"there is no candidate {name!r}", hint)
    return [one for one in config.candidates if one.name in wanted]


def _sweep(config: Config, given: dict[str, Any]) -> Sweep:
    """What is swept: the options win over the file, and the file over the defaults."""
    written = {} if config.sweep is None else config.sweep.model_dump(exclude_unset=True, by_alias=True)
    if "levels" in given and "profiles" in written:
        hint = "Leave the option out, or the key `sweep.profiles`."
        raise CommandLine().error(("levels",), f"{config.file} gives the profiles of its sweep in full", hint)
    swept = fit(Sweep, {**written, **given}, CommandLine())
    for loc, problem, hint in sweep_contradictions(swept, config.resources):
        raise CommandLine().error(loc, problem, hint)
    return swept


def _at_least(option: str, value: float, least: float, hint: str) -> None:
    if not least <= value < float("inf"):
        raise CommandLine().error((option,), f"{value} is less than {least} or not a number", hint)


def reserve_below_ceiling(config: Config, *, only_defaults: bool) -> Config:
    """Lower each reserve to its ceiling; `only_defaults` leaves a reserve that the file gives as it is."""
    changes: dict[str, Any] = {"resources": _below_ceiling(config.resources, only_defaults)}
    if config.sweep is not None:
        profiles = {name: _below_ceiling(each, only_defaults) for name, each in config.sweep.profiles.items()}
        changes["sweep"] = config.sweep.model_copy(update={"profiles": profiles} if profiles else {})
    return config.model_copy(update=changes)


def _below_ceiling(resources: Resources, only_defaults: bool) -> Resources:
    reserve = resources.reserve
    lowered: dict[str, Any] = {
        key: min(getattr(reserve, key), getattr(resources, key))
        for key in ("cpus", "memory")
        if not (only_defaults and key in reserve.model_fields_set)
    }
    return resources.model_copy(update={"reserve": reserve.model_copy(update=lowered)})
