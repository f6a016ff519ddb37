"""Why trials did not pass: each cause with its count, its deciding fact and one excerpt of what happened."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from bakeoff.report.data import ReportData
from bakeoff.report.document import Block, Code, Details, Heading, Listing, Paragraph, Table
from bakeoff.text import figures
from bakeoff.text.escape import line
from bakeoff.verdict import describe

EXCERPT = 160  # characters of hostile text in a table


def blocks(data: ReportData) -> Iterator[Block]:
    """A row a cause and candidate; an excerpt a cause."""
    yield Heading("Why trials did not pass")
    if not data.causes:
        yield Paragraph("Every trial passed." if data.n else "No trial finished.")
        return
    rank = {row.name: place for place, row in enumerate(data.candidates)}
    yield Paragraph(
        "One row a cause, with its first case: the fact that decided, and how the agent's answer begins. Any "
        f"trial in full: bakeoff show {shlex.quote(data.run_dir)} TRIAL."
    )
    yield Table(
        ("Candidate", "Verdict", "Cause", "#Trials", "First case", "Deciding fact", "Answer"),
        [
            (
                row.candidate,
                row.verdict.replace("_", " "),
                Code(row.cause),
                str(row.count),
                row.trial_id,
                line(row.because, EXCERPT),
                line(row.output, EXCERPT),
            )
            for row in sorted(
                data.causes, key=lambda each: rank[each.candidate]
            )  # stable: most frequent first
        ],
    )
    yield Heading("One case of each cause", 3)
    totals: dict[str, int] = {}
    for row in data.causes:
        totals[row.cause] = totals.get(row.cause, 0) + row.count
    for cause, excerpt in data.excerpts.items():
        title = f"{cause}: {figures.count(totals[cause], 'trial')}, here {excerpt.trial_id}"
        yield Details(title, [Paragraph(f"The cause: {describe(cause)}."), Listing("\n".join(excerpt.lines))])
