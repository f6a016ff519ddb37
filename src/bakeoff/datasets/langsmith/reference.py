"""`dataset: langsmith://NAME[@VERSION]`: the dataset that harness.yaml names."""

from __future__ import annotations

from dataclasses import dataclass

from bakeoff.config.schema import Config

SCHEME = "langsmith:"
PREFIX = "langsmith://"
LATEST = "latest"  # LangSmith's own tag


@dataclass(frozen=True)
class Reference:
    """What harness.yaml names. `version` is a tag or a time (ISO 8601; UTC if it has no zone)."""

    name: str
    version: str = LATEST

    @classmethod
    def of(cls, config: Config) -> Reference:
        """The one that `dataset` names. A name may contain an `@` if a version follows it. Raises InputError."""
        written = config.dataset
        name, at, version = written.removeprefix(PREFIX).rpartition("@")
        found = cls(name, version) if at else cls(version)
        if not written.startswith(PREFIX):
            hint = f"Write {PREFIX}NAME or {PREFIX}NAME@VERSION."
            raise config.error("dataset", f"{written!r} names no dataset", hint)
        if not found.name.strip() or not found.name.isprintable():
            hint = f"Write the dataset's name in LangSmith: {PREFIX}NAME."
            raise config.error("dataset", f"{written!r} names no dataset", hint)
        if not found.version.strip() or not found.version.isprintable():
            hint = f"Write a tag or a time after it, or {PREFIX}{found.name}@{LATEST}."
            raise config.error("dataset", f"{written!r} ends in an @ without a version", hint)
        return found

    def __str__(self) -> str:
        return f"{PREFIX}{self.name}" + (f"@{self.version}" if self.version != LATEST else "")


def is_meant(dataset: str) -> bool:
    """Whether the value is meant as a dataset in LangSmith, well written or not."""
    return dataset.lower().startswith(SCHEME)
