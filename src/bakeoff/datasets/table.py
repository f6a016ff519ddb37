"""The dataset formats: one row each. A new format is one file, or one folder, and one row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bakeoff.datasets.langsmith import reference
from bakeoff.record import manifest

if TYPE_CHECKING:
    from bakeoff.config.schema import Config
    from bakeoff.datasets.base import Dataset


@dataclass(frozen=True, slots=True)
class Format:
    """One way in which `dataset` of harness.yaml can name examples.

    Attributes:
        reads: whether the value is of this format.
        load: reads and checks the dataset. Raises InputError.
        is_file: whether the value is the path of a file, relative to the harness file.
    """

    reads: Callable[[str], bool]
    load: Callable[[Config, manifest.Dataset | None], Dataset]
    is_file: bool = False


def load(config: Config, *, pinned: manifest.Dataset | None = None) -> Dataset:
    """Read and check the dataset that the configuration names.

    Args:
        config: as `config.loading.load` returns it.
        pinned: `dataset` of the manifest of a run that is resumed: of a LangSmith dataset, the version that this run
            read is read again, from this machine's cache if that is whole.

    Raises:
        InputError: there is no such dataset, it has no rows, or its first bad row; or LangSmith cannot be reached.
    """
    return _format(config.dataset).load(config, pinned)


def local_file(config: Config) -> Path | None:
    """The file of this machine that has the reference answers, if one has: it must not get into a sandbox."""
    return config.root / config.dataset if _format(config.dataset).is_file else None


def _format(dataset: str) -> Format:
    return next(each for each in FORMATS if each.reads(dataset))


def _langsmith(config: Config, pinned: manifest.Dataset | None) -> Dataset:
    from bakeoff.datasets.langsmith import loading

    return loading.load(config, pinned)


def _jsonl(config: Config, pinned: manifest.Dataset | None) -> Dataset:
    from bakeoff.datasets import jsonl

    return jsonl.load(config)


# The first that reads the value is taken; the last reads every value as the path of a file.
FORMATS = (
    Format(reference.is_meant, _langsmith),
    Format(lambda dataset: True, _jsonl, is_file=True),
)
