"""Config x examples -> the profiles and the trials, with their order and seeds."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from itertools import pairwise

from bakeoff.config.located import CommandLine
from bakeoff.config.schema import UNCAPPED, Config, Level, Resources, Sweep
from bakeoff.record.trial import DEFAULT_PROFILE, Example, Profile, ResourceLimits, TrialSpec, trial_id
from bakeoff.stats import sequential


def trials(config: Config, examples: Sequence[Example]) -> list[TrialSpec]:
    """Every trial, in the order it is to be admitted.

    Trials of one example and repetition run next to each other across candidates and profiles. The blocks, and the
    trials within a block, come in seeded random order, so that drift of the host or of the hour favours none.
    In a run that may stop early, all blocks before a look come before those after it.
    """
    dice = random.Random(config.seed)  # noqa: S311 - an order, not a secret
    ends = looks(config) or (config.trials,)
    blocks = []
    for begin, end in pairwise((0, *ends)):
        batch = [(example.id, repetition) for example in examples for repetition in range(begin + 1, end + 1)]
        dice.shuffle(batch)
        blocks += batch
    planned = []
    for example_id, repetition in blocks:
        experiments = [
            (each.name, profile.name) for each in config.candidates for profile in profiles(config)
        ]
        dice.shuffle(experiments)
        planned += [_trial(config.seed, *experiment, example_id, repetition) for experiment in experiments]
    return planned


def looks(config: Config) -> tuple[int, ...]:
    """The repetitions of each example at each look; none where the run may not stop early."""
    return sequential.planned(config.trials, config.stop_early.looks) if config.stop_early else ()


def check_looks(config: Config, *, by_option: bool) -> None:
    """Refuse to stop early where there is nothing to decide between repetitions.

    Args:
        by_option: whether the command line asks for it, and not the file.

    Raises:
        InputError: names the key or the option.
    """
    if config.stop_early is None:
        return
    place = CommandLine() if by_option else config
    if config.trials < 2:
        hint = "Raise `trials` (`--trials 5`), or run with `--no-stop-early`: one repetition leaves nothing to look at."
        raise place.error(("stop_early",), "needs two repetitions or more", hint)
    if len(config.candidates) < 2:
        hint = "Run two candidates or more, or run with `--no-stop-early`: one alone cannot win or lose."
        raise place.error(("stop_early",), "needs two candidates or more", hint)


def _trial(seed: int, candidate: str, profile: str, example_id: str, repetition: int) -> TrialSpec:
    name = trial_id(candidate, profile, example_id, repetition)
    return TrialSpec(
        trial_id=name,
        candidate=candidate,
        profile=profile,
        example_id=example_id,
        repetition=repetition,
        seed=int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8]) >> 1,
    )


def profiles(config: Config | None) -> list[Profile]:
    """The profiles of the run: those of its sweep, from the smallest to the largest, or the one of `resources`.

    None: there is no configuration, and it is the default one.
    """
    if config is None or config.sweep is None:
        return [_profile(DEFAULT_PROFILE, config.resources if config else Resources())]
    if config.sweep.profiles:
        return [_profile(name, resources) for name, resources in config.sweep.profiles.items()]
    return [_at_level(config, config.sweep, level) for level in config.sweep.levels]


def _profile(name: str, resources: Resources) -> Profile:
    return Profile(
        name=name,
        limits=ResourceLimits(
            cpus=resources.cpus,
            memory_bytes=resources.memory,
            pids=resources.pids,
            disk_bytes=resources.disk,
            network=resources.network,
        ),
        reserved_cpus=resources.reserve.cpus,
        reserved_memory_bytes=resources.reserve.memory,
        pin=resources.pin,
    )


def _at_level(config: Config, sweep: Sweep, level: Level) -> Profile:
    """The base with what is scaled multiplied. The floor is the same at every level, but never above the ceiling."""
    base = _profile(UNCAPPED if level == UNCAPPED else f"{level:g}x", config.resources)
    numbers = [each for each in sweep.levels if not isinstance(each, str)]
    factor = None if isinstance(level, str) else level
    ceilings: dict[str, float | int | None] = {}
    if "cpus" in sweep.scale:
        ceilings["cpus"] = None if factor is None else config.resources.cpus * factor
    for what, key in (("memory", "memory_bytes"), ("pids", "pids"), ("disk", "disk_bytes")):
        if what in sweep.scale:
            ceilings[key] = None if factor is None else round(getattr(base.limits, key) * factor)
    limits = base.limits.model_copy(update=ceilings)
    cpus, memory = config.resources.cpus * sweep.floor, round(config.resources.memory * sweep.floor)
    # A trial ends at some time, so that the uncapped level has the time of the longest other
    seconds = config.harness.limits.seconds * (factor or max(numbers, default=1.0))
    return base.model_copy(
        update={
            "limits": limits,
            "reserved_cpus": min(cpus, limits.cpus or cpus),
            "reserved_memory_bytes": min(memory, limits.memory_bytes or memory),
            "seconds": seconds if "time" in sweep.scale else None,
        }
    )


def estimated_model_calls(config: Config, examples: Iterable[Example]) -> int:
    """Model calls of the whole run, if every candidate follows the reference: one a tool call, and the answer."""
    turns = sum(len(example.outputs.get("trajectory") or []) + 1 for example in examples)
    return turns * config.trials * len(config.candidates) * len(profiles(config))
