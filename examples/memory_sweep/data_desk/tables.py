"""The desk's tables. A row is made when it is read, so that no file of gigabytes is needed.

Numbers come from the table's name and never change. Notes are as long as they happen to be today: a live table is never
the size that the catalogue says.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from math import exp
from typing import NamedTuple

MIB = 2**20
LARGEST_MIB = 1536.0  # no table is ever larger


@dataclass(frozen=True, slots=True)
class Table:
    """What there is to know of a table. The catalogue tells `mib` and `rows`, and of a packed table `rows` alone."""

    mib: float  # median of its size, all notes included
    swing: float  # standard deviation of the logarithm of its size, from one reading to the next
    packed: bool = False  # it cannot be read row by row, and nobody knows its size before it is unpacked
    backlog: float = 0.0  # probability that a backlog has come in too
    backlog_mib: float = 0.0  # in place of `mib` then
    rows: int = 500


class Row(NamedTuple):
    """One row of a table."""

    amount: int  # cents
    customer: int
    note: bytes


LETTERS = Table(15, 0.4, packed=True, backlog=0.22, backlog_mib=385)
TABLES = {
    # they fit into every box
    "parcels": Table(6, 0.2),
    "returns": Table(8, 0.2),
    "invoices": Table(10, 0.2),
    "vouchers": Table(12, 0.2),
    "visits": Table(15, 0.2),
    "reviews": Table(18, 0.2),
    # small, unless a backlog has come in
    "letters_2022": LETTERS,
    "letters_2023": LETTERS,
    "letters_2024": LETTERS,
    "letters_2025": LETTERS,
    # they just fit into 192 MiB beside the agent, on most days
    "calls": Table(72, 0.7),
    "tickets": Table(80, 0.7),
    "repairs": Table(86, 0.7),
    # far too large for it
    "chats": Table(620, 0.05),
    "scans": Table(720, 0.05),
    "recordings": Table(1200, 0.05),
    # as a file, nearly as large as /task
    "ledger": Table(41, 0.5),
}
_OUTSIDE = random.SystemRandom()  # the world's randomness, not the run's


def size_today(table: Table, dice: random.Random = _OUTSIDE) -> int:
    """Bytes of the table's notes at this reading: log-normal, up to `LARGEST_MIB`."""
    median = table.backlog_mib if dice.random() < table.backlog else table.mib
    return int(min(median * exp(dice.gauss(0, table.swing)), LARGEST_MIB) * MIB)


def read(name: str, size: int) -> Iterator[Row]:
    """The rows of a table whose notes take `size` bytes in all."""
    table = TABLES[name]
    dice = random.Random(f"data desk {name}")  # noqa: S311 - the same numbers in every reading
    note_bytes = max(2, size // table.rows)
    for _ in range(table.rows):
        yield Row(dice.randrange(100, 100_000), dice.randrange(table.rows), b" " * note_bytes)
