"""Config x examples -> the trials, their order and seeds, and the fingerprint of what must be equal to compare."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bakeoff.config.schema import Config
from bakeoff.datasets.dataset import Dataset
from bakeoff.record.base import JsonDict
from bakeoff.record.trial import Example, ResourceLimits, TrialSpec

EVALUATOR = "evaluator "  # a part of the fingerprint that begins so is the code of one of the user's own


def trials(config: Config, examples: Sequence[Example]) -> list[TrialSpec]:
    """Every trial, in the order it is to be admitted.

    Trials of one example and repetition run next to each other across candidates, and both the blocks and the
    candidates within a block come in seeded random order: drift of the host or of the hour cannot favour one.
    """
    dice = random.Random(config.seed)  # noqa: S311 - an order, not a secret
    blocks = [(example.id, repetition) for example in examples for repetition in range(1, config.trials + 1)]
    dice.shuffle(blocks)
    planned = []
    for example_id, repetition in blocks:
        names = [candidate.name for candidate in config.candidates]
        dice.shuffle(names)
        planned += [_trial(config.seed, name, example_id, repetition) for name in names]
    return planned


def _trial(seed: int, candidate: str, example_id: str, repetition: int) -> TrialSpec:
    trial_id = f"{candidate}/{example_id}/{repetition}"
    return TrialSpec(
        trial_id=trial_id,
        candidate=candidate,
        example_id=example_id,
        repetition=repetition,
        seed=int.from_bytes(hashlib.sha256(f"{seed}:{trial_id}".encode()).digest()[:8]) >> 1,
    )


def requested(config: Config) -> ResourceLimits:
    """The limits of every container of the run."""
    resources = config.resources
    return ResourceLimits(
        cpus=resources.cpus,
        memory_bytes=resources.memory,
        pids=resources.pids,
        disk_bytes=resources.disk,
        network=resources.network,
    )


def slots(config: Config, cpus: float, memory_bytes: int) -> int:
    """How many trials may run at once, so that the reserves of all fit into what the host can promise.

    Zero: not even one fits.
    """
    reserve = config.resources.reserve
    fitting = int(min(cpus / reserve.cpus + 1e-9, memory_bytes / reserve.memory))
    return fitting if config.max_concurrency == "auto" else min(fitting, config.max_concurrency)


def fingerprint_parts(
    config: Config,
    dataset: Dataset,
    image_key: str,
    source_digest: str,
    packages: dict[str, str],
    base: dict[str, Any],
    machine: JsonDict,
    evaluators: Mapping[str, str],
) -> dict[str, str]:
    """A short digest for each thing that must be equal for two results to be comparable.

    `evaluators`: of `scoring.source.digests`; each is a part of its own, `evaluator module:function`.
    Candidates, repetitions, concurrency and the seed are left out: they may differ between comparable runs.
    """
    harness = config.harness
    middleware = [m.model_dump() for m in harness.middleware]
    entry = (harness.entrypoint, harness.prompt, harness.tools, middleware, harness.command)
    return {
        "harness": _digest(entry),
        "source": source_digest,
        "config": _digest(harness.config),
        "packages": _digest(packages),
        "base_image": _digest(base["digest"]),
        "image": image_key,
        "limits": _digest(harness.limits.model_dump()),
        "retries": _digest(harness.retries.model_dump()),
        "resources": _digest(config.resources.model_dump(exclude={"reserve"})),
        "host": _digest(host_class(machine)),
        "dataset": _digest(dataset.row_digests),
        "evaluators": _digest([spec.model_dump() for spec in config.evaluators]),
        **{f"{EVALUATOR}{use}": digest for use, digest in evaluators.items()},
    }


def host_class(machine: JsonDict) -> JsonDict:
    """What two hosts must have in common for their results to be comparable, of `host.facts`.

    Not the processor's model, which hosted machines of one kind change from day to day: it moves latencies,
    hardly scores, and `bakeoff compare` names it when it differs.
    """
    memory = machine.get("memory_bytes")
    return {
        "architecture": machine.get("architecture"),
        "cores": machine.get("cores"),
        "memory_gib": None if memory is None else round(memory / 2**30),
        "cgroup_version": machine.get("cgroup_version"),
    }


def fingerprint(parts: dict[str, str]) -> str:
    """One digest over all parts."""
    return _digest(sorted(parts.items()))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def estimated_model_calls(config: Config, examples: Iterable[Example]) -> int:
    """Model calls of the whole run, if every candidate follows the reference: one a tool call, and the answer."""
    turns = sum(len(example.outputs.get("trajectory") or []) + 1 for example in examples)
    return turns * config.trials * len(config.candidates)
