"""What a run that may stop early planned, what its looks decided, and what that saved."""

from __future__ import annotations

from collections.abc import Iterator

from bakeoff.record.manifest import Look, StopEarly
from bakeoff.report.data import ReportData
from bakeoff.report.document import Block, Details, Heading, Paragraph, Table
from bakeoff.text import figures


def blocks(data: ReportData) -> Iterator[Block]:
    """Nothing for a run that was to run all its repetitions."""
    plan = data.manifest.stop_early
    if plan is None:
        return
    yield Heading("Stopping early")
    after = ", ".join(map(str, plan.repetitions))
    yield Paragraph(
        f"Before its first trial, this run planned {len(plan.repetitions)} looks at its results: after {after} "
        "repetitions "
        f"of every example. {_result(plan)} {_saved(data, plan)}".strip()
    )
    yield Paragraph(
        "A candidate is dropped if another one is better by a p-value below the look's boundary, in score and as "
        "deployed. The boundaries (Lan & DeMets, O'Brien & Fleming) keep false findings of all looks and pairs "
        f"together at {figures.percent(plan.alpha, 0)}; those in this table are for the first of "
        f"{figures.count(plan.pairs, 'pair')}, and each decided pair leaves more to the others (Holm). From "
        f"{figures.percent(plan.futile_from, 0)} of the repetitions on, the run also ends if no two candidates "
        f"have a chance of {figures.percent(plan.futile_below, 0)} to be distinguished by its end, should the "
        "trend go on. If a run stops early, the lead is overstated on average."
    )
    yield Table(
        ("#Look", "#Repetitions", "#Boundary, |z|", "#Boundary, p", "Decided"),
        [
            (
                str(i + 1),
                str(plan.repetitions[i]),
                figures.number(plan.critical[i], 3),
                figures.number(plan.boundaries[i], 2),
                _decided(plan.looks[i]) if i < len(plan.looks) else "not taken",
            )
            for i in range(len(plan.repetitions))
        ],
    )
    rows = [row for number, look in enumerate(plan.looks, start=1) for row in _pairs(number, look)]
    if rows:
        headings = ("#Look", "Pair", "#Difference (points)", "#p", "#Boundary", "#Conditional power")
        yield Details("Each pair at each look", [Table(headings, rows)])


def _result(plan: StopEarly) -> str:
    taken, planned = len(plan.looks), len(plan.repetitions)
    if not plan.ended:
        return f"Of these, {taken} were taken."
    if taken == planned:
        return "It went on to the last one."
    why = (
        "no two candidates that were left would likely be distinguished"
        if plan.looks[-1].futile
        else "one is left"
    )
    return f"It stopped at look {taken} of {planned}, because {why}."


def _saved(data: ReportData, plan: StopEarly) -> str:
    """The trials that did not run, with their money and time at their candidates' means, where all are known."""
    if not plan.not_run:
        return ""
    left = {row.name: data.trials_left_out(row.name) for row in data.candidates}
    rows = [row for row in data.candidates if left[row.name]]
    parts = []
    if all(row.cost_usd for row in rows):
        parts.append(figures.dollars(sum(left[row.name] * row.cost_usd.mean for row in rows if row.cost_usd)))
    if all(row.working_seconds for row in rows):
        seconds = sum(left[row.name] * row.working_seconds.mean for row in rows if row.working_seconds)
        parts.append(f"{figures.seconds(seconds)} of agents' working time")
    about = f", which would have taken about {' and '.join(parts)}" if parts else ""
    return f"{plan.not_run} of {data.manifest.trials_planned} planned trials did not run{about}."


def _decided(look: Look) -> str:
    parts = [f"{', '.join(look.dropped)} dropped"] if look.dropped else []
    parts += ["futile"] if look.futile else []
    return "; ".join(parts) or "nothing"


def _pairs(number: int, look: Look) -> Iterator[tuple[str, ...]]:
    for pair in look.pairs:
        yield (
            str(number),
            f"{pair.first} minus {pair.second}",
            figures.points(pair.difference),
            figures.number(pair.p_value, 2),
            figures.number(pair.boundary, 2),
            figures.percent(pair.conditional_power, 0),
        )
