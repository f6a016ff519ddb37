"""What is the infrastructure error rate? By cause and candidate, what was retried, and what it changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bakeoff.report.data import CandidateReport, ReportData
from bakeoff.report.document import Block, Callout, Code, Heading, Items, Paragraph, Plot, Strong, Table
from bakeoff.report.sections.pairs import of_pairs
from bakeoff.stats import Counting, depends_on_counting
from bakeoff.text import figures
from bakeoff.verdict import INSIDE_CAUSES, describe

SCORE_MEANINGS = {
    Counting.SCORE: "infrastructure errors are excluded: the fairest figure if they affect all candidates equally. "
    "If a candidate's trials die inside their container or break an evaluator more often than another's, by more than "
    "noise, that is its own doing, and they are failures here and as deployed.",
    Counting.AS_DEPLOYED: "a trial of which any attempt died inside its container (at a pinned limit, or by a crash "
    "of the harness) is a failure, whatever a re-attempt brought: production has no second container.",
    Counting.WORST_CASE: "every infrastructure error is a failure, and every such trial: in these trials, the score "
    "cannot be lower. Other examples may give a lower one: see the interval.",
    Counting.BEST_CASE: "every infrastructure error is a pass: in these trials, the score cannot be higher.",
}

DEPENDING_SHOWN = 20


def blocks(data: ReportData) -> Iterator[Block]:
    """The rate, its causes, the re-attempts, and the four scores."""
    yield Heading("What is the infrastructure error rate?")
    yield Paragraph(
        (
            Strong(f"{figures.percent(data.infra_error_rate)}"),
            f" of all trials ({data.infra_errors} of {data.n}) ended without a verdict on the model; above "
            f"{figures.percent(data.max_error_rate)} for any candidate the run is inconclusive. Only "
            "what came from outside the container is attempted again, in a fresh one; a model's failure is not.",
        )
    )
    yield Table(
        ("Candidate", "#Trials", "#Infra errors", "#Rate", "#95 % interval"),
        [
            (
                row.label,
                str(row.n),
                str(row.counts["infra_error"]),
                figures.percent(row.infra_error_rate),
                figures.score_interval(row.scores.infra_rate),
            )
            for row in data.candidates
        ],
    )
    yield Paragraph(
        "The interval is for the true rate of this dataset in this box, what many runs would average; a single other "
        "run may lie outside. It does not cover events that affect many trials at once, such as an outage."
    )
    yield from _causes(data)
    yield Plot(
        "causes",
        "Why trials did not pass",
        "Trials that failed or ended as infrastructure errors, by cause. Infrastructure errors are hatched.",
    )
    yield from _reattempts(data)
    yield from _four_scores(data)


def _causes(data: ReportData) -> Iterator[Block]:
    causes: dict[str, Counter[str]] = {}
    for each in data.causes:
        if each.verdict == "infra_error":
            causes.setdefault(each.cause, Counter())[each.candidate] += each.count
    if not causes:
        yield Paragraph("No trial ended as an infrastructure error.")
        return
    yield Table(
        ("Cause", "Meaning", "Inside the sandbox", *(f"#{row.name}" for row in data.candidates)),
        [
            (
                Code(cause),
                describe(cause),
                "yes" if cause in INSIDE_CAUSES else "no",
                *(str(counts[row.name]) for row in data.candidates),
            )
            for cause, counts in sorted(causes.items())
        ],
    )


def _reattempts(data: ReportData) -> Iterator[Block]:
    yield Heading("Attempts that were followed by another", 3)
    if not any(row.reattempts for row in data.candidates):
        yield Paragraph("None: every trial's first attempt was its last.")
        return
    yield Paragraph(
        "Trying again can favour a candidate. So each candidate's share of re-attempted trials is compared with the "
        "lowest of the others (Fisher's exact test, one-sided, corrected for the number of others)."
    )
    yield Table(
        (
            "Candidate",
            "#Attempts beyond the first",
            "#Trials re-attempted",
            "#Trials saved by them",
            "Causes of the lost attempts",
            "#p, corrected",
        ),
        [_reattempts_row(row) for row in data.candidates],
    )
    for row in data.candidates:
        if (more := row.reattempted_more) is not None and more.beyond_noise:
            yield Callout(
                "warning",
                f"{more.words('were attempted again')}: more than noise. What was attempted again did not hit the "
                "candidates alike: read all four scores.",
            )


def _reattempts_row(row: CandidateReport) -> tuple[str, ...]:
    return (
        row.label,
        str(row.reattempts),
        f"{row.reattempted} of {row.n}",
        str(row.recovered),
        ", ".join(f"{cause} ({count})" for cause, count in row.lost_attempts.items()),
        figures.p_value(row.reattempted_more.p if row.reattempted_more else None),
    )


def _four_scores(data: ReportData) -> Iterator[Block]:
    yield Heading("The four scores", 3)
    yield Paragraph(
        "Excluding infrastructure errors can flatter a candidate. If the four agree, they did not matter; "
        "if worst and best case are far apart, the true score is between them and this run cannot say where."
    )
    yield Items([(Strong(name), f": {meaning}") for name, meaning in SCORE_MEANINGS.items()])
    rows = []
    for row in data.candidates:
        four = row.scores.by.values()
        rows.append(
            (row.label, *(f"{figures.score(each)} ({figures.score_interval(each)})" for each in four))
        )
    yield Table(("Candidate", *(f"#{name}" for name in Counting)), rows)
    yield from _depends(data)


def _depends(data: ReportData) -> Iterator[Block]:
    """Whether the conclusion is the same however infrastructure errors are counted."""
    pairs = data.decision.sensitivities
    if not pairs:
        return
    yield Paragraph(
        "Which of two is better, when errors are excluded, counted as deployed, and counted at their worst "
        "for one and at their best for the other, and the reverse:"
    )
    headings = ("Pair", *(name.replace("_", " ") for name in Counting), "Depends")
    rows = [
        (
            f"{pair.first} against {pair.second}",
            *((pair.second, "neither", pair.first)[test.conclusion + 1] for test in pair.by.values()),
            "yes" if pair.depends else "no",
        )
        for pair in pairs
    ]
    yield from of_pairs(headings, rows, data)
    depending = [pair for pair in pairs if pair.depends]
    for pair in depending[:DEPENDING_SHOWN]:
        yield Callout("warning", depends_on_counting(pair))
    if (more := len(depending) - DEPENDING_SHOWN) > 0:
        yield Paragraph(f"So it is of {figures.count(more, 'more pair')}.")
    if not depending:
        yield Paragraph("No conclusion depends on how infrastructure errors are counted.")
