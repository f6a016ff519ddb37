"""What a wheel must run on: the image's Python, processor and C library."""

from __future__ import annotations

from dataclasses import dataclass

from packaging.tags import Tag, compatible_tags, cpython_tags

from bakeoff.errors import UnfitEnvironment
from bakeoff.text.escape import last_lines
from bakeoff.text.redact import redact

# A newer C library runs what was made for this one, and indexes have few wheels for newer ones.
NEWEST_GLIBC = 36
OLDEST_GLIBC = 5

UNREACHABLE = (
    "dns error", "connection refused", "network is unreachable", "timed out", "failed to fetch", "tls handshake",
    "certificate", "connection reset", "temporary failure in name resolution",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """The image, as far as wheels are concerned."""

    python: str  # "3.12"
    machine: str  # "x86_64" or "aarch64"
    glibc: int  # the minor version: 36 for 2.36

    def __str__(self) -> str:
        return f"Python {self.python}, Linux {self.machine}, glibc 2.{self.glibc}"

    @property
    def manylinux(self) -> int:
        """The newest C library, by its minor version, that a wheel may be made for."""
        return min(self.glibc, NEWEST_GLIBC)

    def platforms(self) -> list[str]:
        """The platform tags that fit, the best first."""
        names = [
            f"manylinux_2_{minor}_{self.machine}" for minor in range(self.manylinux, OLDEST_GLIBC - 1, -1)
        ]
        return [*names, f"manylinux2014_{self.machine}", f"linux_{self.machine}"]

    def abis(self) -> list[str]:
        """The ABI tags that fit."""
        return [f"cp{self.python.replace('.', '')}", "abi3", "none"]

    def tags(self) -> frozenset[Tag]:
        """All tags of wheels that fit."""
        major, minor = map(int, self.python.split("."))
        platforms = self.platforms()
        fitting = cpython_tags((major, minor), platforms=platforms)
        return frozenset((*fitting, *compatible_tags((major, minor), f"cp{major}{minor}", platforms)))


def unreachable(stderr: str) -> UnfitEnvironment | None:
    """The error, when what uv or pip printed says that the package index was not reached."""
    if not any(sign in stderr.lower() for sign in UNREACHABLE):
        return None
    return UnfitEnvironment(
        f"the package index does not answer: {redact(last_lines(stderr, 6), limit=800)}",
        hint="check the network and the index settings of uv and pip on this host: wheels are fetched here",
    )
