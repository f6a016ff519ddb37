"""`dataset: langsmith://NAME[@VERSION]`: the dataset that harness.yaml names, and the version that was read."""

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
    """What harness.yaml names. `version` is a tag or a time (ISO 8601; UTC if it has no zone)."""

    name: str
    version: str = LATEST

    @classmethod
    def parse(cls, dataset: str) -> Reference:
        """From a value with the prefix. A name may contain an `@` if a version follows it."""
        name, at, version = dataset.removeprefix(PREFIX).rpartition("@")
        return cls(name, version) if at else cls(version)

    def __str__(self) -> str:
        return f"{PREFIX}{self.name}" + (f"@{self.version}" if self.version != LATEST else "")


def is_meant(dataset: str) -> bool:
    """Whether the value is meant as a dataset in LangSmith, well written or not."""
    return dataset.lower().startswith(SCHEME)


def problems(dataset: str) -> Iterator[tuple[str, str]]:
    """What is wrong with a value that is meant as a dataset in LangSmith, and a hint."""
    if not dataset.startswith(PREFIX):
        yield f"{dataset!r} names no dataset", f"Write {PREFIX}NAME or {PREFIX}NAME@VERSION."
        return
    reference = Reference.parse(dataset)
    if not reference.name.strip() or not reference.name.isprintable():
        yield f"{dataset!r} names no dataset", f"Write the dataset's name in LangSmith: {PREFIX}NAME."
    elif not reference.version.strip() or not reference.version.isprintable():
        yield (
            f"{dataset!r} ends in an @ without a version",
            f"Write a tag or a time after it, or {PREFIX}{reference.name}@{LATEST}.",
        )


@dataclass(frozen=True)
class Origin:
    """The version that was read. The manifest keeps it, so that it can be read again.

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
        """The `langsmith` of a manifest's `dataset`. None: it was read from a file."""
        found: dict[str, Any] | None = manifest_dataset.get("langsmith")
        return None if found is None else cls(**found)

    def json(self) -> JsonDict:
        """As the manifest keeps it."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{PREFIX}{self.name}@{self.as_of}"
