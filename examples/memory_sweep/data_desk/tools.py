"""The desk's tools. An answer is a dict, which LangChain sends to the model as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median_low
from typing import Annotated, Any, Literal

from data_desk import memory
from data_desk.tables import MIB, TABLES, Row, Table, read, size_today

Statistic = Literal["total", "largest", "median", "customers"]
SAMPLE = 16  # the lean way keeps one row in so many

STATISTICS: dict[Statistic, Callable[[Iterable[Row]], int]] = {
    "total": lambda rows: sum(row.amount for row in rows),
    "largest": lambda rows: max(row.amount for row in rows),
    "median": lambda rows: median_low(row.amount for row in rows),
    "customers": lambda rows: len({row.customer for row in rows}),
}
IN_PASSING = frozenset({"total", "largest"})  # exact with one row in memory at a time


def describe_table(table: Annotated[str, "A table's name, such as parcels"]) -> dict[str, Any]:
    """What the catalogue says of a table: how many rows it has, and about how large it is."""
    if table not in TABLES:
        return {"error": f"there is no table {table}"}
    entry = TABLES[table]
    return {"table": table, "rows": entry.rows, "size": "packed" if entry.packed else f"{entry.mib:g} MiB"}


def measure(
    table: Annotated[str, "A table's name, such as parcels"],
    statistic: Annotated[Statistic, "Of the amounts, in cents; or the number of customers"],
    whole_up_to: Annotated[float | None, "MiB. A larger table is read row by row even where it fits"] = None,
) -> dict[str, Any]:
    """Measure a table: exactly where it fits and is loaded whole; else a median and the customers are estimates."""
    if table not in TABLES:
        return {"error": f"there is no table {table}"}
    entry, compute = TABLES[table], STATISTICS[statistic]
    whole = loads_whole(entry, whole_up_to, memory.free())
    rows = read(table, size_today(entry))
    if whole:
        return {"table": table, "way": "whole", statistic: compute(list(rows))}
    if statistic in IN_PASSING:
        return {"table": table, "way": "row by row", statistic: compute(rows)}
    return {"table": table, "way": "row by row", "estimate": compute(list(_sample(rows)))}


def export_table(table: Annotated[str, "A table's name, such as parcels"]) -> dict[str, Any]:
    """Write a table to a file in the working directory, for a colleague to fetch."""
    if table not in TABLES:
        return {"error": f"there is no table {table}"}
    with Path(f"{table}.csv").open("wb") as file:
        for row in read(table, size_today(TABLES[table])):
            file.write(b"%d,%d,%b\n" % row)
    return {"table": table, "file": file.name, "rows": TABLES[table].rows}


def loads_whole(table: Table, whole_up_to: float | None, free: int) -> bool:
    """Whether a table is loaded whole, by the size that the catalogue gives. What is packed has no other way.

    Args:
        table: the catalogue's entry.
        whole_up_to: MiB; None: whatever fits.
        free: bytes.
    """
    wanted = whole_up_to is None or table.mib <= whole_up_to
    return table.packed or (wanted and table.mib * MIB <= free)


def _sample(rows: Iterable[Row]) -> Iterator[Row]:
    for number, row in enumerate(rows):
        if number % SAMPLE == 0:
            yield row._replace(note=b"")
