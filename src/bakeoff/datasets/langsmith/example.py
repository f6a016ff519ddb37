"""A dataset row as a LangSmith example, and back: the two are each other's inverse.

    row        id          inputs   outputs   metadata              files {name: content}
    example    metadata    inputs   outputs   metadata + `bakeoff`  attachments {name: content}

`metadata.bakeoff` has what a row has and an example has not: the row's `id` (without it, the example's UUID is the id),
its `digest`, `files` ({name below /task: attachment}: LangSmith allows no period in an attachment's name), and `own`:
what the row's metadata has under keys that LangSmith or bakeoff reserves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from bakeoff.config.section import Section
from bakeoff.record.base import JsonDict

OURS = "bakeoff"
SPLITS = "dataset_split"  # LangSmith keeps an example's splits there, and adds `base` itself
TAKEN = (OURS, SPLITS)


class Ours(Section):
    """`metadata.bakeoff` of an example. Users may write it too: `{"bakeoff": {"id": "refund-007"}}`."""

    id: str | None = None
    digest: str | None = None
    files: dict[str, str] = Field(default_factory=dict)
    own: dict[str, Any] = Field(default_factory=dict)


def metadata_of(row: Mapping[str, Any]) -> JsonDict:
    """The metadata of the example that a row becomes.

    Args:
        row: as `RunDirectory.examples` has it: `id`, `metadata`, `files` (by name), `digest`.
    """
    own: JsonDict = row["metadata"]
    ours = Ours(
        id=row["id"],
        digest=row["digest"],
        files=attachment_names(row["files"]),
        own={key: own[key] for key in TAKEN if key in own},
    )
    whole = {key: value for key, value in own.items() if key not in TAKEN}
    return whole | {OURS: ours.model_dump(exclude_defaults=True)}


def attachment_names(files: Iterable[str]) -> dict[str, str]:
    """{name below /task: attachment}, each attachment once: `data/orders.json` becomes `data_orders_json`."""
    names: dict[str, str] = {}
    for file in sorted(files):
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", file)
        name, number = plain, 1
        while name in names.values():
            number += 1
            name = f"{plain}_{number}"
        names[file] = name
    return names


def row_metadata(metadata: Mapping[str, Any], ours: Ours) -> JsonDict:
    """The row's metadata, from the example's: the inverse of `metadata_of`."""
    return {key: value for key, value in metadata.items() if key not in TAKEN} | ours.own


def row_files(attachments: Mapping[str, Any], ours: Ours) -> JsonDict:
    """The values of `attachments` by their name below /task. One that `bakeoff.files` does not name keeps its name."""
    names = {attachment: file for file, attachment in ours.files.items()}
    return {names.get(attachment, attachment): value for attachment, value in attachments.items()}
