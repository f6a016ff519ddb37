"""The fingerprint: short digests of everything that must be equal for two results to be comparable.

Candidates, repetitions, concurrency, the reserve and the seed are left out: they may differ between comparable runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from bakeoff.record.base import JsonDict
from bakeoff.record.manifest import Host
from bakeoff.record.trial import DEFAULT_PROFILE, Profile

# Begins the parts for the user's own evaluators: `evaluator module:function`.
EVALUATOR = "evaluator "
RESOURCES = "resources"
IMAGE = "image"
SANDBOX = "sandbox"


def of(value: Any) -> str:
    """A short digest of one part."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def of_profiles(profiles: Sequence[Profile]) -> dict[str, str]:
    """One part for each profile: `resources`, or `resources@profile`."""
    return {_resources(profile.name): of(_ceilings(profile)) for profile in profiles}


def under(parts: Mapping[str, str], profile: str) -> dict[str, str]:
    """The parts that bear on one profile's experiments: those of the run, and `resources` of this profile."""
    own = _resources(profile)
    shared = {name: part for name, part in parts.items() if name.partition("@")[0] != RESOURCES}
    return shared | ({RESOURCES: parts[own]} if own in parts else {})


def digest(parts: Mapping[str, str]) -> str:
    """One digest over all parts."""
    return of(sorted(parts.items()))


def host_class(host: Host) -> JsonDict:
    """What two hosts must have in common for their results to be comparable.

    Not the processor's model, which hosted machines of one kind change from day to day: it moves latencies,
    hardly scores, and `bakeoff compare` names it when it differs.
    """
    memory = host.memory_bytes
    return {
        "architecture": host.architecture,
        "cores": host.cores,
        "memory_gib": None if memory is None else round(memory / 2**30),
        "cgroup_version": host.cgroup_version,
    }


def _resources(profile: str) -> str:
    return RESOURCES if profile == DEFAULT_PROFILE else f"{RESOURCES}@{profile}"


def _ceilings(profile: Profile) -> JsonDict:
    """The ceilings as harness.yaml names them, which is what older versions digested."""
    limits = profile.limits
    return {
        "cpus": limits.cpus,
        "memory": limits.memory_bytes,
        "pids": limits.pids,
        "disk": limits.disk_bytes,
        "network": limits.network,
        "pin": profile.pin,
        **({} if profile.seconds is None else {"seconds": profile.seconds}),
    }
