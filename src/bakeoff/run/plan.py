"""Config x examples -> the profiles and the trials, with their order and seeds."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence

from bakeoff.config.schema import Config, Resources
from bakeoff.record.trial import Example, Profile, ResourceLimits, TrialSpec, trial_id


def trials(config: Config, examples: Sequence[Example]) -> list[TrialSpec]:
    """Every trial, in the order it is to be admitted.

    Trials of one example and repetition run next to each other across candidates and profiles. The blocks, and the
    trials within a block, come in seeded random order, so that drift of the host or of the hour favours none.
    """
    dice = random.Random(config.seed)  # noqa: S311 - an order, not a secret
    blocks = [(example.id, repetition) for example in examples for repetition in range(1, config.trials + 1)]
    dice.shuffle(blocks)
    planned = []
    for example_id, repetition in blocks:
        experiments = [
            (each.name, profile.name) for each in config.candidates for profile in profiles(config)
        ]
        dice.shuffle(experiments)
        planned += [_trial(config.seed, *experiment, example_id, repetition) for experiment in experiments]
    return planned


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
