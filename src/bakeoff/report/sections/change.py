"""The change record: what would change in production, who answers for it, and how it is undone."""

from __future__ import annotations

from collections.abc import Iterator

from bakeoff.record.configuration import Change
from bakeoff.report.data import ReportData
from bakeoff.report.document import Block, Code, Heading, Listing, Paragraph, Phrase, Table

EXAMPLE = """\
change:
  replaces: provider:model # what production runs today
  owner: who answers for the change
  rollback: how it is undone
"""
MISSING = "not given"


def blocks(data: ReportData) -> Iterator[Block]:
    """What this run supports, beside what harness.yaml says of the change. A sweep supports no change of model."""
    if data.sweep is not None:
        return
    change = data.manifest.config.change or Change()
    yield Heading("Change record")
    rows: list[tuple[str, Phrase]] = [
        ("What would change in production", _what(data, change)),
        ("What stays", ("The harness, fingerprint ", Code(data.manifest.fingerprint), ", and its limits.")),
        ("Owner", change.owner or MISSING),
        ("Rollback", change.rollback or MISSING),
    ]
    if change.notes:
        rows.append(("Notes", change.notes))
    yield Table(("What", "Record"), rows)
    if not (change.owner and change.rollback):
        yield Paragraph("A change without an owner and a way back should not be approved. In harness.yaml:")
        yield Listing(EXAMPLE, "yaml")


def _what(data: ReportData, change: Change) -> str:
    winner = next((row for row in data.candidates if row.name == data.decision.winner), None)
    today = change.replaces
    if data.inconclusive or winner is None:
        if not data.inconclusive and (better := _better_than(data, today)):
            alone = len(better) == 1
            unsaid = "that it is the best" if alone else "which of them is the best"
            verb = "is" if alone else "are each"
            return f"Not {today}: {' and '.join(better)} {verb} better. But this run cannot say {unsaid}."
        kept = f"{today} stays" if today else "what runs today stays"
        return f"Nothing on the strength of this run, which supports no choice: {kept}."
    if winner.simulated:
        return f"Nothing: {winner.name} is a simulation, and cannot be put into production."
    place = f" instead of {today}" if today else ""
    same = ", which production runs already" if today == winner.model else ""
    return f"The model alone: {winner.model} ({winner.name}){place}{same}."


def _better_than(data: ReportData, model: str | None) -> list[str]:
    """The real candidates that are better than this model by more than noise; none where it is not in the run."""
    own = next((row.name for row in data.candidates if row.model == model), None)
    better = set() if own is None else set(data.decision.better_than(own))
    return [row.name for row in data.candidates if row.name in better and not row.simulated]
