"""The table of a whole run, written into a page of the documentation between two comments."""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.hosts.engines import version_1

BEGIN, END = "<!-- make hosts: begin -->", "<!-- make hosts: end -->"


@dataclass(frozen=True)
class Row:
    """One engine's.

    Args:
        name: the engine's.
        version: what it said that it is.
        found: "" or what is wrong, by check.
        instead: what every cell says instead, where bakeoff rightly refuses the engine, or it was not started.
        remark: what was said then.
        in_guest: checks that were not made here, since `make test-cgroup2` makes them.
    """

    name: str
    version: str = ""
    found: Mapping[str, str] = field(default_factory=dict)
    instead: str = ""
    remark: str = ""
    in_guest: Collection[str] = ()

    def cells(self, checks: Iterable[str]) -> list[str]:
        """One word for each check."""
        return [self._cell(check) for check in checks]

    def _cell(self, check: str) -> str:
        if check in self.in_guest:
            return "in a guest"
        return self.instead or ("ok" if self.found.get(check) == "" else "NO")

    def complaints(self) -> dict[str, str]:
        """What is wrong, by check."""
        return {check: why for check, why in self.found.items() if why}


def write(page: Path, rows: Collection[Row], checks: Collection[str], minutes: float) -> None:
    """Put the table between the comments of a page.

    Raises:
        ValueError: it has no such comments.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no {BEGIN} and {END}")
    system = f"Linux {'.'.join(platform.release().split('.')[:2])}, cgroup version {1 if version_1() else 2}"
    made = f"Made on {datetime.now(UTC):%Y-%m-%d} in {minutes:.0f} minutes: {system}."
    text = "\n".join([made, "", *_table(rows, checks), "", *_remarks(rows)])
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def _table(rows: Iterable[Row], checks: Collection[str]) -> list[str]:
    headings = ["engine", "version, store, runtime", *checks]
    lines = [headings, ["---"] * len(headings)]
    lines += [[row.name, row.version, *row.cells(checks)] for row in rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _remarks(rows: Iterable[Row]) -> list[str]:
    said = [f"{row.instead}: {row.remark}" if row.instead else _complaint(row) for row in rows]
    return [f"- **{row.name}**: {words}" for row, words in zip(rows, said, strict=True) if words]


def _complaint(row: Row) -> str:
    checks: dict[str, list[str]] = {}
    for check, why in row.complaints().items():
        checks.setdefault(why, []).append(check)
    return "; ".join(f"{', '.join(of)}: {why}" for why, of in checks.items())
