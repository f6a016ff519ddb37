"""`dataset: langsmith://NAME[@VERSION]`: which dataset is asked for, and which one that turned out to be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from bakeoff.record.base import JsonDict

SCHEME = "langsmith:"
PREFIX = "langsmith://"
LATEST = "latest"  # LangSmith's own tag


@dataclass(frozen=True)
class Reference:
    """What harness.yaml asks for. `version` is a tag, or a time (ISO 8601; UTC where it names no zone)."""

    name: str
    version: str = LATEST

    @classmethod
    def of(cls, dataset: str) -> Reference | None:
        """None: the dataset is a file. A name may have an `@` of its own, where a version follows it."""
        if not dataset.startswith(PREFIX):
            return None
        name, at, version = dataset.removeprefix(PREFIX).rpartition("@")
        return cls(name, version) if at else cls(version)

    def __str__(self) -> str:
        return f"{PREFIX}{self.name}" + (f"@{self.version}" if self.version != LATEST else "")


def problems(dataset: str) -> Iterator[tuple[str, str]]:
    """What is wrong with a dataset's name, and the hint."""
    if dataset.lower().startswith(SCHEME) and not dataset.startswith(PREFIX):
        yield f"{dataset!r} names no dataset", f"Write {PREFIX}NAME or {PREFIX}NAME@VERSION."
    reference = Reference.of(dataset)
    if reference is None:
        return
    if not reference.name.strip() or not reference.name.isprintable():
        yield f"{dataset!r} names no dataset", f"Write the dataset's name in LangSmith: {PREFIX}NAME."
    elif not reference.version.strip() or not reference.version.isprintable():
        yield (
            f"{dataset!r} ends in an @ without a version",
            f"Write a tag or a time after it, or {PREFIX}{reference.name}@{LATEST}.",
        )


@dataclass(frozen=True)
class Origin:
    """The very version that was read: what a manifest keeps, so that it can be read again.

    Attributes:
        endpoint: the API's address.
        dataset_id: its UUID.
        name: its name when it was read.
        as_of: the version's time, ISO 8601.
        url: where a reader finds it.
    """

    endpoint: str
    dataset_id: str
    name: str
    as_of: str
    url: str

    @classmethod
    def of(cls, manifest_dataset: JsonDict) -> Origin | None:
        """The `langsmith` of a manifest's `dataset`; None: it was read from a file."""
        found: dict[str, Any] | None = manifest_dataset.get("langsmith")
        return None if found is None else cls(**found)

    def json(self) -> JsonDict:
        """As a manifest keeps it."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{PREFIX}{self.name}@{self.as_of}"
