"""How many trials run at once: what the host can promise, against what each trial's profile reserves."""

from __future__ import annotations

import os
import resource
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from math import ceil

from bakeoff.backends.base import Backend, Capacity, Proof, SandboxSpec
from bakeoff.config.schema import Config
from bakeoff.errors import InputError, UnfitEnvironment
from bakeoff.record.trial import Profile
from bakeoff.run.ledger import Claim, Ledger
from bakeoff.run.task import Task

# Open files of this process: as many as it asks for, and what a run needs beside and for each trial at once.
MANY_FILES = 65536
RUN_FILES, TRIAL_FILES = 48, 16


@dataclass(frozen=True, slots=True)
class Admission:
    """What the host grants this run: trials at once, out of a capacity shared with all other runs."""

    slots: int
    capacity: Capacity


def capacity(backend: Backend) -> Capacity:
    """What the host can promise to all runs together; what other runs hold is in the ledger."""
    with Ledger(backend.host_id, f"look-{os.getpid()}", Capacity(0, 0)) as ledger:
        return backend.capacity(sum(claim.memory_bytes for claim in ledger.others()))


def admit(task: Task, capacity: Capacity) -> Admission:
    """How many of the task's trials may run at once.

    Raises:
        InputError: a profile reserves more than the host can promise.
    """
    for profile in task.profiles:
        if fitting(profile, capacity) < 1:
            raise too_large(task.config, profile, capacity)
    # Where profiles differ, the ledger keeps the large ones waiting.
    most = max(fitting(profile, capacity) for profile in task.profiles)
    wanted = task.config.max_concurrency
    slots = most if wanted == "auto" else min(most, wanted)
    return Admission(min(slots, len(task.trials)), capacity)


def sandbox_spec(run_id: str, image: str, profile: Profile) -> SandboxSpec:
    """What a trial under this profile runs in. `image`: its id."""
    return SandboxSpec(
        run_id=run_id,
        image=image,
        limits=profile.limits,
        reserved_cpus=profile.reserved_cpus,
        reserved_memory_bytes=profile.reserved_memory_bytes,
    )


def prove(backend: Backend, image: str, profiles: Sequence[Profile]) -> Proof:
    """Read back, in one sandbox of each profile, that its limits hold here: else every trial would find out again.

    Raises:
        UnfitEnvironment: they do not; `hint` says what to do.
    """
    run_id = f"proof-{secrets.token_hex(4)}"
    with leaving_nothing(backend, run_id):
        proofs = [
            backend.prove(sandbox_spec(run_id, image, profile), cores_of_its_own(profile))
            for profile in profiles
        ]
    return proofs[0]


@contextmanager
def leaving_nothing(backend: Backend, run_id: str) -> Iterator[None]:
    """Remove the run's sandboxes at the end, and those of dead runs at the start: a killed process removes nothing."""
    with Ledger(backend.host_id, run_id, Capacity(0, 0)) as ledger:
        ledger.clear_abandoned(backend.sweep)
        try:
            yield
        finally:
            backend.sweep(run_id)


def proven(capacity: Capacity, proof: Proof) -> Capacity:
    """The capacity with the CPUs that sandboxes may really use: a cpuset above them may leave out some."""
    return replace(capacity, cpus=min(capacity.cpus, len(proof.cores)), cores=proof.cores)


def fitting(profile: Profile, capacity: Capacity) -> int:
    """How many trials under one profile fit into the capacity and into this process.

    Raises:
        UnfitEnvironment: not even one fits into this process.
    """
    fits = min(
        capacity.cpus / profile.reserved_cpus + 1e-9, capacity.memory_bytes / profile.reserved_memory_bytes
    )
    return min(int(fits), _by_open_files())


def _by_open_files() -> int:
    """How many trials at once the open files of this process allow. macOS allows 256 unless a program asks for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, MANY_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # a kernel's own maximum may be lower
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return MANY_FILES
    if (fits := (allowed - RUN_FILES) // TRIAL_FILES) < 1:
        raise UnfitEnvironment(
            f"a process here may have {allowed} open files, and not even one trial can run with so few",
            hint="raise the limit: `ulimit -n 1024`",
        )
    return fits


def claim(trial_id: str, profile: Profile) -> Claim:
    """What a trial under this profile asks of the ledger."""
    cores = cores_of_its_own(profile)
    return Claim(trial_id, profile.reserved_cpus, profile.reserved_memory_bytes, pinned=cores)


def cores_of_its_own(profile: Profile) -> int:
    """How many CPUs nobody else may use while a trial runs."""
    return ceil(profile.limits.cpus or 0) if profile.pin else 0


def too_large(config: Config, profile: Profile, capacity: Capacity) -> InputError:
    """The error of a profile that reserves more than the host can promise."""
    problem = (
        f"not even one trial fits: it reserves {profile.reserved_cpus:g} CPUs and "
        f"{profile.reserved_memory_bytes / 2**20:.0f} MiB, the host can promise {capacity.cpus:g} CPUs and "
        f"{capacity.memory_bytes / 2**20:.0f} MiB"
    )
    return config.error("resources.reserve", problem, "Lower the reserve, or free memory on the host.")
