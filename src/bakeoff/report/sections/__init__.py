"""What the report says, one file a section, in the order in which a buyer reads.

The decision; what exactly was the harness; what is the infrastructure error rate; does it resemble our
production; the scoreboard; failures; the change record; how to reproduce, and what is not shown; an appendix.
"""

from __future__ import annotations

from collections.abc import Iterator

from bakeoff.report.data import ReportData
from bakeoff.report.document import Block
from bakeoff.report.sections import (
    change,
    decision,
    failures,
    harness,
    headroom,
    host,
    infrastructure,
    production,
    reproduce,
    scoreboard,
    sweep,
)

ORDER = (
    decision,
    sweep,
    harness,
    infrastructure,
    production,
    headroom,
    host,
    scoreboard,
    failures,
    change,
    reproduce,
)


def document(data: ReportData) -> Iterator[Block]:
    """The whole report; its first block is the decision."""
    for section in ORDER:
        yield from section.blocks(data)
    yield from harness.appendix(data)
