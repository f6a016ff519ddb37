"""Where in LangSmith a dataset was read, in words that the manifest keeps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from bakeoff.record.base import JsonDict


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
        return f"langsmith://{self.name}@{self.as_of}"
