"""Config x examples -> the profiles and the trials, with their order and seeds."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from itertools import pairwise

from bakeoff.config.located import CommandLine
from bakeoff.config.schema import Config, Resources
from bakeoff.record.trial import Example, Profile, ResourceLimits, TrialSpec, trial_id
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
    if len(profiles(config)) > 1:
        hint = "Run one profile, or run with `--no-stop-early`: every profile needs all its repetitions."
        raise place.error(("stop_early",), "cannot be combined with several profiles", hint)


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
    """The profiles of the run: the one that `resources` describes, or the default where there is no configuration."""
    resources = config.resources if config else Resources()
    return [
        Profile(
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
    ]


def estimated_model_calls(config: Config, examples: Iterable[Example]) -> int:
    """Model calls of the whole run, if every candidate follows the reference: one a tool call, and the answer."""
    turns = sum(len(example.outputs.get("trajectory") or []) + 1 for example in examples)
    return turns * config.trials * len(config.candidates)
