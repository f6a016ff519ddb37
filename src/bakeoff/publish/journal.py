"""The publication journal: what a target that cannot be asked has accepted, one line per batch in the run directory.

A line is on disk before the next batch is sent, so that a killed publication sends at most one batch twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

from bakeoff.errors import UnfitEnvironment
from bakeoff.record.store import RunDirectory

DIRECTORY = "published"


class Journal:
    """Ids of trials that one address of one target has accepted.

    Attributes:
        path: `published/<target>-<digest of the address>.jsonl` in the run directory.
        taken: the ids.
    """

    def __init__(self, run: RunDirectory, target: str, address: str) -> None:
        name = re.sub(r"[^a-z0-9]+", "-", target.lower())
        digest = hashlib.sha256(address.encode()).hexdigest()[:10]
        self.path: Path = run.path / DIRECTORY / f"{name}-{digest}.jsonl"
        self._address = address
        self.taken: set[str] = set()
        if self.path.is_file():
            for line in self.path.read_bytes().split(b"\n"):
                try:
                    self.taken.update(json.loads(line)["trials"])
                except (ValueError, KeyError, TypeError):
                    continue  # a torn last line: its batch is sent again, and is the same batch

    def acknowledge(self, trial_ids: Iterable[str]) -> None:
        """Record that these have arrived; on disk when this returns. Raises UnfitEnvironment."""
        ids = list(trial_ids)
        line = json.dumps({"address": self._address, "trials": ids}, ensure_ascii=False)
        try:
            self.path.parent.mkdir(exist_ok=True)
            with self.path.open("ab") as file:
                if file.tell() and not self._ends_in_newline():
                    file.write(b"\n")
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UnfitEnvironment(
                f"cannot write {self.path}: {error.strerror or error}",
                hint="Make the run directory writable: it records what was sent, so that nothing is sent twice.",
            ) from error
        self.taken.update(ids)

    def _ends_in_newline(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"
