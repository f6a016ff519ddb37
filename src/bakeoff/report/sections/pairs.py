"""A table of pairs of candidates. Thirty candidates make 435 pairs: those of the leader are open, all are folded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bakeoff.report.data import ReportData
from bakeoff.report.document import Block, Details, Table

OPEN = 45  # pairs of ten candidates


def of_pairs(headings: Sequence[str], rows: Sequence[Sequence[str]], data: ReportData) -> Iterator[Block]:
    """`rows`: one a pair, in the order of `data.decision.comparisons`."""
    if len(rows) <= OPEN:
        yield Table(headings, rows)
        return
    leader = data.decision.leader
    pairs = zip(data.decision.comparisons, rows, strict=True)
    yield Table(headings, [row for pair, row in pairs if pair.first == leader])
    yield Details(f"All {len(rows)} pairs", [Table(headings, rows)])
