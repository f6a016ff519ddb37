"""The dataset in LangSmith that a run's experiments refer to: kept up to date by content, never rolled back.

    the run was read from LangSmith     its dataset is used as it is; nothing is written
    no dataset has the name             it is made, with the run's examples
    bakeoff made it for this harness    new and changed rows are written; rows that left the run's whole dataset are
                                        deleted, unless a newer run was published; others stay
    any other dataset has the name      refused

Every change is a new version in LangSmith; the version that a run was published with has the run's id as its tag.
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from bakeoff.config.clients import chunks
from bakeoff.config.targets import LangSmith
from bakeoff.datasets.langsmith.example import OURS, attachment_names, metadata_of
from bakeoff.errors import InputError, NotPublished
from bakeoff.publish.langsmith.client import LISTED_IDS, Connection
from bakeoff.publish.source import Source
from bakeoff.record.base import JsonDict
from bakeoff.record.manifest import Origin

if TYPE_CHECKING:
    from langsmith.schemas import Dataset

BATCH = 100  # examples written in one request at most
BATCH_FILE_BYTES = 16 * 2**20  # of their files, which are held in memory
NAMED = 5  # rows or files in a warning


@dataclass(frozen=True)
class DatasetLookup:
    """The dataset before anything is written.

    Attributes:
        name: its name.
        found: None: it has to be made.
        origin: set if the run was read from it: nothing is written to it.
    """

    name: str
    found: Dataset | None
    origin: Origin | None = None

    @property
    def id(self) -> UUID | None:
        return self.found.id if self.found else None


@dataclass
class PublishedDataset:
    """The dataset as the run's experiments need it.

    Attributes:
        id: UUID of the dataset.
        version: time of the version that has the run's examples, ISO 8601.
        examples: by row id, the example's UUID and its version, ISO 8601 (None: not known).
        sent: how many examples were written or deleted.
        present: how many were as they must be.
        warnings: what differs from the run directory.
    """

    id: UUID
    version: str = ""
    examples: dict[str, tuple[UUID, str | None]] = field(default_factory=dict)
    sent: int = 0
    present: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Marker:
    """`metadata.bakeoff` of the dataset: the harness that it is for, and the newest run that was published to it."""

    harness: str
    run_id: str
    started_at: str

    @classmethod
    def of(cls, source: Source) -> _Marker:
        manifest = source.manifest
        return cls(source.harness, manifest.run_id, manifest.started_at.isoformat())

    @classmethod
    def read(cls, dataset: Dataset) -> _Marker | None:
        found = (dataset.metadata or {}).get(OURS)
        if not isinstance(found, dict) or not isinstance(found.get("harness"), str):
            return None
        return cls(found["harness"], str(found.get("run_id")), str(found.get("started_at")))

    def json(self) -> JsonDict:
        return {OURS: {"harness": self.harness, "run_id": self.run_id, "started_at": self.started_at}}

    @property
    def age(self) -> tuple[datetime, str]:
        """Orders runs. A date that cannot be read is older than any."""
        try:
            started = datetime.fromisoformat(self.started_at)
        except ValueError:
            started = datetime.fromtimestamp(0, UTC)
        return started, self.run_id


def look_up(connection: Connection, source: Source, settings: LangSmith) -> DatasetLookup:
    """Find the dataset; writes nothing.

    Raises:
        InputError: another dataset has the name, or the one that the run was read from is gone.
    """
    origin = source.manifest.dataset.langsmith
    if origin and origin.endpoint == connection.account.endpoint and settings.dataset in (None, origin.name):
        found = _read(connection, dataset_id=origin.dataset_id)
        if found is None:
            raise InputError(
                f"the dataset that this run was read from, {origin.name!r}, is not in LangSmith any more",
                hint="Publish with --name: the examples are kept in the run directory.",
            )
        return DatasetLookup(origin.name, found, origin)
    name = settings.dataset or source.harness
    found = _read(connection, dataset_name=name)
    marker = _Marker.read(found) if found else None
    if found is not None and (marker is None or marker.harness != source.harness):
        whose = f"of the harness {marker.harness!r}" if marker else "which bakeoff did not make"
        raise InputError(
            f"LangSmith has a dataset {name!r} already, {whose}: its content is another",
            key="publish.langsmith.dataset",
            hint="Give another name with --name or `publish.langsmith.dataset`.",
        )
    return DatasetLookup(name, found)


def _read(connection: Connection, **which: str) -> Dataset | None:
    from langsmith.utils import LangSmithNotFoundError

    dataset: Dataset | None = None
    with connection.errors(), suppress(LangSmithNotFoundError):
        dataset = connection.client.read_dataset(**which)
    return dataset


def update(connection: Connection, source: Source, lookup: DatasetLookup) -> PublishedDataset:
    """Make the dataset what the run's experiments need. Raises NotPublished."""
    if lookup.origin is not None and lookup.found is not None:
        examples: dict[str, tuple[UUID, str | None]] = {
            row["id"]: (UUID(row["langsmith_id"]), None) for row in source.examples()
        }
        return PublishedDataset(lookup.found.id, lookup.origin.as_of, examples, present=len(examples))
    dataset, newer = _mark(connection, lookup, _Marker.of(source))
    return _Update(connection, source, dataset.id, newer).run()


def _mark(connection: Connection, lookup: DatasetLookup, marker: _Marker) -> tuple[Dataset, _Marker | None]:
    """The dataset, made if it is not there, and the marker of a newer run, if one was published to it.

    The run's marker is set before examples are written: if this publication is cut off, an older run must not
    take it for older.
    """
    from langsmith.utils import LangSmithConflictError

    dataset = lookup.found
    with connection.errors():
        if dataset is None:
            try:
                dataset = connection.client.create_dataset(
                    lookup.name,
                    description=f"Examples of the harness {marker.harness}, published by bakeoff.",
                    metadata=marker.json(),
                )
            except LangSmithConflictError:  # another process made it at the same moment
                dataset = connection.client.read_dataset(dataset_name=lookup.name)
        newest = _Marker.read(dataset) or marker
        if newest.age > marker.age:
            return dataset, newest
        if newest != marker:
            metadata = {**(dataset.metadata or {}), **marker.json()}
            connection.client.request_with_retries(
                "PATCH", f"/datasets/{dataset.id}", json={"metadata": metadata}
            )
    return dataset, None


@dataclass(frozen=True)
class _Example:
    """One example that bakeoff wrote, in the latest version."""

    id: UUID
    digest: str | None
    version: str | None


class _Update:
    """One run's examples on their way into its dataset. `newer`: marker of a newer run, whose content stays."""

    def __init__(
        self, connection: Connection, source: Source, dataset_id: UUID, newer: _Marker | None
    ) -> None:
        self.connection, self.source, self.dataset_id, self.newer = connection, source, dataset_id, newer
        self.published = PublishedDataset(dataset_id)
        self.wanted: Mapping[str, str] = {row["id"]: row["digest"] for row in source.examples()}
        self.there = self._read()
        self._unattached: set[str] = set()

    def run(self) -> PublishedDataset:
        wanted, there, published = self.wanted, self.there, self.published
        differing = [row for row in wanted if row in there and there[row].digest != wanted[row]]
        create = self._new_ids([row for row in wanted if row not in there])
        change = {*differing, *self._lacking_files()}
        delete = self._gone()
        if self.newer is not None:
            delete, change = [], change.difference(differing)
            for row in [row for row in create if create[row] != self._first_id(row)]:
                # the newer run deleted it
                published.examples[row] = self._first_id(row), None
                del create[row]
            published.warnings += self._kept_by_newer(self.newer, differing)
        self._create(create)
        self._change(change)
        self._delete(delete)
        published.sent = len(create) + len(change) + len(delete)
        published.present = len(wanted) - len(create) - len(change)
        if published.sent:
            there = self._read()
        published.examples |= {row: (there[row].id, there[row].version) for row in wanted if row in there}
        if missing := [row for row in wanted if row not in published.examples]:
            raise NotPublished(
                f"{len(missing)} of {len(wanted)} examples did not arrive in the dataset: {missing[0]}, …"
            )
        published.version = self._tag(exact=self.newer is None or not differing)
        return published

    def _read(self) -> dict[str, _Example]:
        """By row id, the examples that bakeoff wrote and that the latest version has."""
        params = {
            "dataset": str(self.dataset_id),
            "select": ["id", "metadata", "modified_at"],
            "exclude_default_fields": True,
        }
        found: dict[str, _Example] = {}
        for row in self.connection.pages("/examples", params):
            ours = (row.get("metadata") or {}).get(OURS)
            if isinstance(ours, dict) and isinstance(ours.get("id"), str):
                found[ours["id"]] = _Example(UUID(row["id"]), ours.get("digest"), row.get("modified_at"))
        return found

    # --- what to do

    def _gone(self) -> list[str]:
        """Rows that left the run's whole dataset, selected or not."""
        every = self.source.manifest.dataset.row_digests
        return [row for row in self.there if row not in every] if every else []

    def _first_id(self, row: str) -> UUID:
        return uuid5(self.dataset_id, row)

    def _new_ids(self, rows: list[str]) -> dict[str, UUID]:
        """Ids of rows that are absent. A deleted example keeps its id in older versions: its row gets another one."""
        versions = f"/datasets/{self.dataset_id}/versions"
        if not self.connection.ask("GET", versions, params={"limit": 1}):
            return {row: self._first_id(row) for row in rows}
        ids = {}
        for row in rows:
            example, number = self._first_id(row), 1
            while self.connection.ask("GET", versions, params={"example": str(example), "limit": 1}):
                number += 1
                example = uuid5(self.dataset_id, f"{row}\0{number}")
            ids[row] = example
        return ids

    def _kept_by_newer(self, newer: _Marker, differing: list[str]) -> Iterator[str]:
        if differing:
            yield (
                f"the newer run {newer.run_id} changed {len(differing)} of the examples ({_some(differing)}): its "
                "content stays in the dataset; what this run asked is in its runs"
            )

    def _lacking_files(self) -> set[str]:
        """Rows with files here that are not attached there: they were published from a machine without the files."""
        if not self.connection.takes_attachments:
            return set()
        rows = {
            row["id"]: {attachment_names(row["files"])[name] for name in self._files(row)}
            for row in self.source.examples()
            if row["files"] and row["id"] in self.there
        }
        lacking: set[str] = set()
        for batch in chunks([row for row in rows if rows[row]], LISTED_IDS):
            by_id = {str(self.there[row].id): row for row in batch}
            params = {
                "dataset": str(self.dataset_id),
                "id": list(by_id),
                "select": ["id", "attachment_urls"],
            }
            for example in self.connection.pages("/examples", params):
                attached = {name.removeprefix("attachment.") for name in example.get("attachment_urls") or {}}
                if not rows[by_id[example["id"]]] <= attached:
                    lacking.add(by_id[example["id"]])
        return lacking

    # --- doing it

    def _create(self, ids: Mapping[str, UUID]) -> None:
        from langsmith.utils import LangSmithConflictError

        for batch in self._batches(ids):
            bodies = [
                {
                    "id": ids[row["id"]],
                    "inputs": row["inputs"],
                    "reference_outputs": row["outputs"],
                    "metadata": metadata_of(row),
                    **self._attachments(row),
                }
                for row in batch
            ]
            # a conflict: they are there, and the answer was lost. `run` reads them back.
            with self.connection.errors(), suppress(LangSmithConflictError):
                self.connection.client.create_examples(dataset_id=self.dataset_id, examples=bodies)

    def _change(self, rows: Collection[str]) -> None:
        operations: JsonDict = {}
        if self.connection.takes_attachments:
            operations["attachments_operations"] = {"retain": []}
        for batch in self._batches(rows):
            updates = [
                {
                    "id": self.there[row["id"]].id,
                    "inputs": row["inputs"],
                    "outputs": row["outputs"],
                    "metadata": metadata_of(row),
                    **operations,
                    **self._attachments(row),
                }
                for row in batch
            ]
            with self.connection.errors():
                self.connection.client.update_examples(dataset_id=self.dataset_id, updates=updates)
        if self._unattached:
            count, some = len(self._unattached), _some(sorted(self._unattached))
            self.published.warnings.append(
                f"{count} files are not attached to their examples, since they are not here as the run had them: {some}"
                if self.connection.takes_attachments
                else f"this LangSmith takes no attachments: {count} files of examples are left out"
            )

    def _delete(self, rows: list[str]) -> None:
        from langsmith.utils import LangSmithNotFoundError

        for batch in chunks([self.there[row].id for row in rows], LISTED_IDS):
            # not found: they are deleted, and the answer was lost
            with self.connection.errors(), suppress(LangSmithNotFoundError):
                self.connection.client.delete_examples(batch)

    def _batches(self, chosen: Collection[str]) -> Iterator[list[JsonDict]]:
        """Rows to write together."""
        batch: list[JsonDict] = []
        held = 0
        for row in self.source.examples():
            if row["id"] not in chosen:
                continue
            size = sum(_size(self.source.file_of(file["path"])) for file in row["files"].values())
            if batch and (len(batch) == BATCH or held + size > BATCH_FILE_BYTES):
                yield batch
                batch, held = [], 0
            batch.append(row)
            held += size
        if batch:
            yield batch

    def _attachments(self, row: JsonDict) -> JsonDict:
        if not row["files"]:
            return {}
        names = attachment_names(row["files"])
        files = self._files(row) if self.connection.takes_attachments else {}
        self._unattached.update(file["path"] for name, file in row["files"].items() if name not in files)
        return {
            "attachments": {
                names[name]: (mimetypes.guess_type(name)[0] or "application/octet-stream", content)
                for name, content in files.items()
            }
        }

    def _files(self, row: JsonDict) -> dict[str, bytes]:
        """The row's files that this machine has with the content that the run used, by their names below /task."""
        found = {}
        for name, file in row["files"].items():
            with suppress(OSError):
                content = self.source.file_of(file["path"]).read_bytes()
                if hashlib.sha256(content).hexdigest() == file["sha256"]:
                    found[name] = content
        return found

    def _tag(self, *, exact: bool) -> str:
        """The version with the run's tag; else the latest, which is tagged if it has exactly the run's rows."""
        from langsmith.utils import LangSmithNotFoundError

        client, tag = self.connection.client, self.source.run_id
        with self.connection.errors():
            try:
                return client.read_dataset_version(dataset_id=self.dataset_id, tag=tag).as_of.isoformat()
            except LangSmithNotFoundError:
                latest = client.read_dataset_version(dataset_id=self.dataset_id, tag="latest").as_of
            if exact:
                client.update_dataset_tag(dataset_id=self.dataset_id, as_of=latest, tag=tag)
        return latest.isoformat()


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
