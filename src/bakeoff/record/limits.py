"""The limits that a sandbox really has, as its kernel reports them, beside those that were asked for."""

from __future__ import annotations

from bakeoff.record.base import JsonDict, Record
from bakeoff.record.evidence import KernelFacts
from bakeoff.record.trial import ResourceLimits

# Kernels round sizes down to a page, which has up to 64 KiB on arm64.
SIZE_SLACK_BYTES = 65536
CPU_SLACK = 0.01
# A sandbox may swap one page at most: where nothing at all cannot be had, see `backends.docker.host.swap_bytes`.
MOST_SWAP_BYTES = 4096


class LimitsReadBack(Record):
    """Limits as the kernel holds them. None: no limit, or it could not be read."""

    cpus_limit: float | None = None
    memory_limit_bytes: int | None = None
    pids_limit: int | None = None
    disk_limit_bytes: int | None = None
    swap_limit_bytes: int | None = None


class KernelReport(Record):
    """What the supervisor read from the kernel at one moment."""

    facts: KernelFacts = KernelFacts()
    limits: LimitsReadBack = LimitsReadBack()

    @classmethod
    def of(cls, kernel: JsonDict) -> KernelReport:
        """The report in a supervisor's line. Keys that this version does not know are left out.

        Raises:
            ValueError: a value is not of its type.
        """

        def known(record: type[Record]) -> JsonDict:
            return {key: kernel[key] for key in record.model_fields if key in kernel}

        facts = KernelFacts(**{**known(KernelFacts), "source": "container"})
        return cls(facts=facts, limits=LimitsReadBack(**known(LimitsReadBack)))


def effective(limits: LimitsReadBack, network: str | None) -> ResourceLimits:
    """The limits in force: the kernel's, and the network as the backend reports it."""
    return ResourceLimits(
        cpus=limits.cpus_limit,
        memory_bytes=limits.memory_limit_bytes,
        pids=limits.pids_limit,
        disk_bytes=limits.disk_limit_bytes,
        network=network,
    )


def mismatches(requested: ResourceLimits, limits: LimitsReadBack) -> list[str]:
    """Where the kernel's limits are not the requested ones, a sentence each.

    Where memory is limited, swap must be off, or a page at most. What is uncapped may have any limit: the host's.
    """
    checks = (
        ("memory", requested.memory_bytes, limits.memory_limit_bytes, SIZE_SLACK_BYTES),
        ("cpus", requested.cpus, limits.cpus_limit, CPU_SLACK),
        ("pids", requested.pids, limits.pids_limit, 0),
        ("disk", requested.disk_bytes, limits.disk_limit_bytes, SIZE_SLACK_BYTES),
    )
    found = [
        f"{name}: asked {asked}, effective {'no limit' if got is None else got}"
        for name, asked, got, slack in checks
        if asked is not None and (got is None or abs(got - asked) > slack)
    ]
    if requested.memory_bytes is None:
        return found
    # An engine that cannot limit swap drops the limit with no more than a warning.
    if limits.swap_limit_bytes is None or limits.swap_limit_bytes > MOST_SWAP_BYTES:
        swap = "not known" if limits.swap_limit_bytes is None else limits.swap_limit_bytes
        found.append(f"swap: asked none, effective {swap}")
    return found
