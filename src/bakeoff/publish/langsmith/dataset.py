"""The dataset in LangSmith that a run's experiments refer to: made and kept up to date by content, never rolled back.

    the run was read from LangSmith    its dataset is used as it is; nothing is written
    there is none of that name         made, with the run's examples
    there is one, made for this        rows that are new or changed are written; rows that are gone from the run's whole
      harness by bakeoff               dataset are deleted, if no newer run was published; others stay
    there is another of that name      refused

Every change is a new version there; the one that a run was published with has the run's id as its tag.
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from bakeoff.clients import chunks
from bakeoff.datasets.langsmith.example import OURS, attachment_names, metadata_of
from bakeoff.datasets.langsmith.reference import Origin
from bakeoff.errors import InputError, NotPublished
from bakeoff.publish.langsmith.client import LISTED_IDS, Connection
from bakeoff.publish.langsmith.settings import Settings
from bakeoff.publish.source import Source
from bakeoff.record.base import JsonDict

if TYPE_CHECKING:
    from langsmith.schemas import Dataset

BATCH, BATCH_FILE_BYTES = (
    100,
    16 * 2**20,
)  # examples written in one request at most, and their files held in memory
CHANGED_LISTED = 5


@dataclass(frozen=True)
class Found:
    """The dataset before anything was written. `there` is None where it has to be made."""

    name: str
    there: Dataset | None
    linked: Origin | None  # the run was read from it: nothing is written


@dataclass
class Settled:
    """The dataset as the run's experiments need it.

    Attributes:
        id: its.
        version: time of the version that has the run's examples, ISO 8601.
        examples: by row id, the example's UUID and its version, ISO 8601 (None: not known).
        sent, present: how many examples were written or deleted, and how many were as they must be.
    """

    id: UUID
    version: str
    examples: dict[str, tuple[UUID, str | None]] = field(default_factory=dict)
    sent: int = 0
    present: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _There:
    """One example that bakeoff wrote."""

    id: UUID
    digest: str | None
    version: str | None


@dataclass(frozen=True)
class _Marker:
    """`metadata.bakeoff` of the dataset: for which harness it is, and the newest run that was published to it."""

    harness: str
    run_id: str
    started_at: str

    @classmethod
    def of(cls, source: Source) -> _Marker:
        manifest = source.manifest
        return cls(str(manifest.config["name"]), manifest.run_id, manifest.started_at.isoformat())

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
        """Orders runs. A date that somebody broke is older than any."""
        try:
            started = datetime.fromisoformat(self.started_at)
        except ValueError:
            started = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
        return started, self.run_id


def find(connection: Connection, source: Source, settings: Settings) -> Found:
    """Which dataset it is. Nothing is written.

    Raises:
        InputError: another dataset has the name, or the one that the run was read from is gone.
    """
    origin = Origin.of(source.manifest.dataset)
    if origin and (
        origin.endpoint != connection.account.endpoint or settings.dataset not in (None, origin.name)
    ):
        origin = None
    name = origin.name if origin else settings.dataset or str(source.manifest.config["name"])
    there = _read(connection, origin, name)
    if origin is not None:
        if there is None:
            raise InputError(
                f"the dataset that this run was read from, {origin.name!r}, is not in LangSmith any more",
                hint="Publish with --name: the examples are kept in the run directory.",
            )
        return Found(origin.name, there, origin)
    if there is not None:
        marker = _Marker.read(there)
        if marker is None or marker.harness != _Marker.of(source).harness:
            whose = f"of the harness {marker.harness!r}" if marker else "which bakeoff did not make"
            raise InputError(
                f"LangSmith has a dataset {name!r} already, {whose}: its content is another",
                key="publish.langsmith.dataset",
                hint="Give another name with --name or `publish.langsmith.dataset`.",
            )
    return Found(name, there, None)


def _read(connection: Connection, origin: Origin | None, name: str) -> Dataset | None:
    from langsmith.utils import LangSmithNotFoundError

    wanted = {"dataset_name": name} if origin is None else {"dataset_id": origin.dataset_id}
    dataset: Dataset | None = None
    with connection.asking(), suppress(LangSmithNotFoundError):
        dataset = connection.client.read_dataset(**wanted)
    return dataset


def settle(connection: Connection, source: Source, found: Found) -> Settled:
    """Make the dataset what the run's experiments need. Raises NotPublished."""
    from langsmith.utils import LangSmithNotFoundError

    if found.linked is not None and found.there is not None:
        return _linked(source, found.there, found.linked)
    marker = _Marker.of(source)
    dataset, newest = _marked(connection, found, marker)
    here = Settled(dataset.id, "")
    there = _examples(connection, dataset.id)
    wanted = {row["id"]: row["digest"] for row in source.examples()}
    attached = _attached(connection, dataset.id, source, there)
    absent = [row for row in wanted if row not in there]
    changed = [
        row
        for row, digest in wanted.items()
        if row in there and (there[row].digest != digest or row in attached)
    ]
    differ = [row for row in changed if there[row].digest != wanted[row]]
    gone = _gone(source, there)
    if newest is not None:  # a newer run was published: what it says stays
        here.warnings += _newer(newest, differ)
        changed, gone = [row for row in changed if row not in differ], []
    blank = not connection.ask("GET", f"/datasets/{dataset.id}/versions", params={"limit": 1})
    ids = {
        row: _first_id(dataset.id, row) if blank else _example_id(connection, dataset.id, row)
        for row in absent
    }
    if newest is not None:
        buried = [row for row in absent if ids[row] != _first_id(dataset.id, row)]
        for row in buried:
            here.examples[row] = _first_id(dataset.id, row), None
        absent = [row for row in absent if row not in buried]
    _write(
        connection,
        dataset.id,
        source,
        here,
        create={row: ids[row] for row in absent},
        update=changed,
        there=there,
    )
    for batch in chunks([there[row].id for row in gone], LISTED_IDS):
        with connection.asking(), suppress(LangSmithNotFoundError):  # deleted, and the answer was lost
            connection.client.delete_examples(batch)
    here.sent = len(absent) + len(changed) + len(gone)
    here.present = len(wanted) - len(absent) - len(changed)
    if here.sent:
        there = _examples(connection, dataset.id)
    here.examples |= {row: (there[row].id, there[row].version) for row in wanted if row in there}
    _check(here, wanted)
    here.version = _tagged(connection, dataset.id, source.run_id, exact=newest is None or not differ)
    return here


def _linked(source: Source, dataset: Dataset, origin: Origin) -> Settled:
    """The dataset that the run was read from, in the version that it was read in."""
    examples: dict[str, tuple[UUID, str | None]] = {
        row["id"]: (UUID(row["langsmith_id"]), None) for row in source.examples()
    }
    return Settled(dataset.id, origin.as_of, examples, present=len(examples))


def _marked(connection: Connection, found: Found, marker: _Marker) -> tuple[Dataset, _Marker | None]:
    """The dataset with the newest run's mark on it, and that mark where the run is not this one.

    The mark comes before the examples: when this publication is cut off, an older run's must not take it for older.
    """
    from langsmith.utils import LangSmithConflictError

    dataset = found.there
    with connection.asking():
        if dataset is None:
            try:
                dataset = connection.client.create_dataset(
                    found.name,
                    description=f"Examples of the harness {marker.harness}, published by bakeoff.",
                    metadata=marker.json(),
                )
            except LangSmithConflictError:  # made by somebody else in this moment
                dataset = connection.client.read_dataset(dataset_name=found.name)
        newest = _Marker.read(dataset) or marker
        if newest.age > marker.age:
            return dataset, newest
        if newest != marker:
            metadata = {**(dataset.metadata or {}), **marker.json()}
            connection.client.request_with_retries(
                "PATCH", f"/datasets/{dataset.id}", json={"metadata": metadata}
            )
    return dataset, None


def _examples(connection: Connection, dataset: UUID) -> dict[str, _There]:
    """By row id, the examples that bakeoff wrote and that the latest version has."""
    params = {
        "dataset": str(dataset),
        "select": ["id", "metadata", "modified_at"],
        "exclude_default_fields": True,
    }
    found: dict[str, _There] = {}
    for row in connection.pages("/examples", params):
        ours = (row.get("metadata") or {}).get(OURS)
        if isinstance(ours, dict) and isinstance(ours.get("id"), str):
            found[ours["id"]] = _There(UUID(row["id"]), ours.get("digest"), row.get("modified_at"))
    return found


def _gone(source: Source, there: Mapping[str, _There]) -> list[str]:
    """Rows that the run's whole dataset has no more, selected or not."""
    every = source.manifest.dataset.get("row_digests")
    return [row for row in there if row not in every] if every else []


def _newer(newest: _Marker, differ: list[str]) -> Iterator[str]:
    if differ:
        some = ", ".join(differ[:CHANGED_LISTED]) + (", …" if len(differ) > CHANGED_LISTED else "")
        yield (
            f"the newer run {newest.run_id} changed {len(differ)} of the examples ({some}): its content stays in "
            "the dataset; what this run asked is in its runs"
        )


def _first_id(dataset: UUID, row: str) -> UUID:
    return uuid5(dataset, row)


def _example_id(connection: Connection, dataset: UUID, row: str) -> UUID:
    """A row's example. One that was deleted keeps its id in older versions: a row that comes back gets another."""
    number = 1
    while True:
        example = _first_id(dataset, row) if number == 1 else uuid5(dataset, f"{row}\0{number}")
        params = {"example": str(example), "limit": 1}
        if not connection.ask("GET", f"/datasets/{dataset}/versions", params=params):
            return example
        number += 1


def _attached(connection: Connection, dataset: UUID, source: Source, there: Mapping[str, _There]) -> set[str]:
    """Rows whose files are at hand here and are not there: published before from a machine that did not have them."""
    rows = {
        row["id"]: {attachment_names(row["files"])[name] for name in _files(source, row)}
        for row in source.examples()
        if row["files"] and row["id"] in there and connection.takes_attachments
    }
    lacking: set[str] = set()
    for batch in chunks([row for row in rows if rows[row]], LISTED_IDS):
        by_id = {str(there[row].id): row for row in batch}
        params = {"dataset": str(dataset), "id": list(by_id), "select": ["id", "attachment_urls"]}
        for example in connection.pages("/examples", params):
            names = {each.removeprefix("attachment.") for each in example.get("attachment_urls") or {}}
            row = by_id[example["id"]]
            if not rows[row] <= names:
                lacking.add(row)
    return lacking


def _files(source: Source, row: JsonDict) -> dict[str, bytes]:
    """The row's files that are still on this machine with the content that the run used, by their names below /task."""
    found = {}
    for name, file in row["files"].items():
        try:
            content = source.file_of(file["path"]).read_bytes()
        except OSError:
            continue
        if hashlib.sha256(content).hexdigest() == file["sha256"]:
            found[name] = content
    return found


def _write(
    connection: Connection,
    dataset: UUID,
    source: Source,
    here: Settled,
    *,
    create: Mapping[str, UUID],
    update: Iterable[str],
    there: Mapping[str, _There],
) -> None:
    """Send rows that are new or changed, some at a time."""
    from langsmith.utils import LangSmithConflictError

    changed = set(update)
    lost: set[str] = set()
    for batch in _batches(source, create):
        bodies = [
            {
                "id": create[row["id"]],
                "inputs": row["inputs"],
                "reference_outputs": row["outputs"],
                "metadata": metadata_of(row),
                **_attachments(connection, source, row, lost),
            }
            for row in batch
        ]
        with (
            connection.asking(),
            suppress(LangSmithConflictError),
        ):  # there, and the answer was lost: see `_check`
            connection.client.create_examples(dataset_id=dataset, examples=bodies)
    for batch in _batches(source, changed):
        updates = []
        for row in batch:
            files = _attachments(connection, source, row, lost)
            operations: JsonDict = {"retain": []}
            updates.append(
                {
                    "id": there[row["id"]].id,
                    "inputs": row["inputs"],
                    "outputs": row["outputs"],
                    "metadata": metadata_of(row),
                    **({"attachments_operations": operations} if connection.takes_attachments else {}),
                    **files,
                }
            )
        with connection.asking():
            connection.client.update_examples(dataset_id=dataset, updates=updates)
    if lost:
        some = ", ".join(sorted(lost)[:CHANGED_LISTED])
        here.warnings.append(
            f"{len(lost)} files are not attached to their examples, since they are not here as the run had them: {some}"
            if connection.takes_attachments
            else f"this LangSmith takes no attachments: {len(lost)} files of examples are left out"
        )


def _batches(source: Source, chosen: Container[str]) -> Iterator[list[JsonDict]]:
    """Rows to be written together."""
    batch: list[JsonDict] = []
    held = 0
    for row in source.examples():
        if row["id"] not in chosen:
            continue
        size = sum(_size(source.file_of(file["path"])) for file in row["files"].values())
        if batch and (len(batch) == BATCH or held + size > BATCH_FILE_BYTES):
            yield batch
            batch, held = [], 0
        batch.append(row)
        held += size
    if batch:
        yield batch


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _attachments(connection: Connection, source: Source, row: JsonDict, lost: set[str]) -> JsonDict:
    if not row["files"]:
        return {}
    names = attachment_names(row["files"])
    files = _files(source, row) if connection.takes_attachments else {}
    lost.update(file["path"] for name, file in row["files"].items() if name not in files)
    return {
        "attachments": {
            names[name]: (mimetypes.guess_type(name)[0] or "application/octet-stream", content)
            for name, content in files.items()
        }
    }


def _check(here: Settled, wanted: Mapping[str, str]) -> None:
    missing = [row for row in wanted if row not in here.examples]
    if missing:
        raise NotPublished(
            f"{len(missing)} of {len(wanted)} examples did not arrive in the dataset: {missing[0]}, …"
        )


def _tagged(connection: Connection, dataset: UUID, run_id: str, *, exact: bool) -> str:
    """The version that the run is published with, by its tag; the latest is tagged where it has the run's very rows."""
    from langsmith.utils import LangSmithNotFoundError

    client = connection.client
    with connection.asking():
        try:
            return client.read_dataset_version(dataset_id=dataset, tag=run_id).as_of.isoformat()
        except LangSmithNotFoundError:
            latest = client.read_dataset_version(dataset_id=dataset, tag="latest").as_of
        if exact:
            client.update_dataset_tag(dataset_id=dataset, as_of=latest, tag=run_id)
    return latest.isoformat()
