"""What was read from LangSmith, below the user's cache directory and readable by its owner alone.

<cache>/langsmith/<digest of endpoint, dataset and version>.jsonl   one line an example
<cache>/langsmith/files/<SHA-256>                                   attachments
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from bakeoff.config.cache import cache_dir


class Unwritable(Exception):  # noqa: N818 - it reads as a state
    """A file cannot be written: `reason` says why."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}")


def examples_path(endpoint: str, dataset_id: str, as_of: str) -> Path:
    """The file with the examples of one version."""
    key = hashlib.sha256(f"{endpoint}\0{dataset_id}\0{as_of}".encode()).hexdigest()
    return _directory() / f"{key[:32]}.jsonl"


def file_path(sha256: str) -> Path:
    """The file with the attachment of that content."""
    return _directory() / "files" / sha256


def keep_examples(path: Path, lines: Iterable[bytes]) -> None:
    """Write the whole file or nothing. Raises Unwritable."""
    half = path.with_name(f"{path.name}.{os.getpid()}")
    _write(half, lines)
    half.replace(path)


def keep_file(pieces: Iterable[bytes]) -> str:
    """Write an attachment piece by piece, the whole or nothing. Returns its SHA-256, in hex. Raises Unwritable."""
    digest = hashlib.sha256()

    def hashed() -> Iterable[bytes]:
        for piece in pieces:
            digest.update(piece)
            yield piece

    half = _directory() / "files" / f"half.{os.getpid()}"
    _write(half, hashed())
    half.replace(file_path(digest.hexdigest()))
    return digest.hexdigest()


def _directory() -> Path:
    return cache_dir() / "langsmith"


def _write(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file that other users cannot read. If it cannot be written to its end, it is removed."""
    try:
        for directory in (_directory(), path.parent):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(path, "wb", opener=partial(os.open, mode=0o600)) as file:
            try:
                file.writelines(parts)
            except BaseException:
                path.unlink()
                raise
    except OSError as error:
        raise Unwritable(path.parent, error.strerror or type(error).__name__) from error
