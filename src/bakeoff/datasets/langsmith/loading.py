"""A dataset in LangSmith: `dataset: langsmith://NAME[@VERSION]`."""

from __future__ import annotations

from bakeoff.config import keys
from bakeoff.config.schema import Config
from bakeoff.config.targets import LangSmith
from bakeoff.datasets.base import Dataset
from bakeoff.datasets.langsmith import cache, snapshot
from bakeoff.datasets.langsmith.account import Account, Unavailable
from bakeoff.datasets.langsmith.example import OURS
from bakeoff.datasets.langsmith.reference import Reference
from bakeoff.datasets.langsmith.snapshot import Snapshot
from bakeoff.datasets.rows import Rows
from bakeoff.record import manifest
from bakeoff.record.manifest import Origin


def load(config: Config, pinned: manifest.Dataset | None) -> Dataset:
    """Read and check the dataset, in the pinned version if there is one. Raises InputError as `table.load` does."""
    reference = Reference.of(config)
    origin = pinned.langsmith if pinned else None
    found = snapshot.kept(origin, pinned.digest) if pinned and origin else None
    found = found or _fetched(config, reference, origin)
    rows = Rows(lambda name, sha256, place: cache.file_path(sha256), id_key=("metadata", OURS, "id"))
    ids = {}
    for line in found.lines:
        place = snapshot.place(reference, line.id, line.url)
        example = rows.add(line.row, place, f"by the example {line.example_id}")
        ids[example.id] = line.example_id
    return Dataset(
        found.digest, rows.examples, rows.digests(), rows.file_digests, rows.places, found.origin, ids
    )


def _fetched(config: Config, reference: Reference, pinned: Origin | None) -> Snapshot:
    settings = config.publish.langsmith or LangSmith()
    environ = keys.environment(config, [settings.api_key_env])
    try:
        return snapshot.fetch(reference, Account.of(settings, environ), pinned)
    except Unavailable as error:
        raise config.error("dataset", error.problem, error.hint) from error
