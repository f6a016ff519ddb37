"""The shop's database: where it lies, how a fresh one is made, how a tool opens it.

It lies in the working directory, so a tool needs no closure and no argument to find it: the same functions
serve `build_agent` and the `tools:` list of a harness.yaml. In the container that is `/task`, fresh for every
trial.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

DATABASE = "shop.sqlite3"
_creating = threading.Lock()  # an agent may call several tools at once, each on a thread of its own


def create(directory: Path) -> Path:
    """Make the seeded database in `directory` unless it is there, and return its path."""
    path = directory / DATABASE
    with _creating:
        if not path.exists():
            seed = Path(__file__).with_name("seed.sql").read_text(encoding="utf-8")
            with closing(sqlite3.connect(path)) as shop:
                # one transaction instead of one for each statement: the difference is 20 ms on a disk
                shop.executescript(f"PRAGMA synchronous = OFF; BEGIN EXCLUSIVE; {seed} COMMIT;")
    return path


@contextmanager
def connect(*, write: bool = False) -> Iterator[sqlite3.Connection]:
    """Open the shop of the working directory for a tool call: commit if the block ends well, else roll back.

    With `write` the lock is taken at the start, so that what the tool checked still holds when it writes.
    """
    with closing(sqlite3.connect(create(Path.cwd()), isolation_level=None)) as shop:
        shop.row_factory = sqlite3.Row
        shop.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        try:
            yield shop
        except BaseException:
            shop.execute("ROLLBACK")
            raise
        shop.execute("COMMIT")


def today(shop: sqlite3.Connection) -> str:
    """The shop's date, ISO. A constant of the data: a result must not depend on the day the trial ran."""
    return str(shop.execute("SELECT value FROM settings WHERE key = 'today'").fetchone()[0])


def next_id(shop: sqlite3.Connection, table: str, column: str) -> str:
    """The number after the highest of an id column (`T-304` -> `T-305`): never random."""
    prefix, number = shop.execute(
        f"SELECT substr(max({column}), 1, 2), max(cast(substr({column}, 3) AS INTEGER)) FROM {table}"  # noqa: S608
    ).fetchone()
    return f"{prefix}{number + 1}"


def eur(cents: int) -> str:
    """An amount as the desk writes it: `4990` -> `49.90 EUR`."""
    return f"{cents / 100:.2f} EUR"
