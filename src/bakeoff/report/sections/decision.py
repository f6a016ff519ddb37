"""The decision in words, with its uncertainty and the reasons to doubt it."""

from __future__ import annotations

from collections.abc import Iterator

from bakeoff.report.data import ReportData
from bakeoff.report.document import Block, Callout, Code, Items, Paragraph, Phrase, Plot, Strong
from bakeoff.report.sections import production
from bakeoff.text import figures

WARNINGS_SHOWN = 20
CAVEATS_SHOWN = 5


def _in_short(data: ReportData) -> Iterator[Phrase]:
    """The three questions with their answers, for a reader who stops here."""
    yield (Strong("Harness:"), " the same for all, fingerprint ", Code(data.manifest.fingerprint), ".")
    rates = [rate for row in data.candidates if (rate := row.infra_error_rate) is not None]
    yield (
        Strong("Infrastructure error rate:"),
        f" {figures.percent(data.infra_error_rate)} ({data.infra_errors} of {data.n} trials), at most "
        f"{figures.percent(max(rates, default=None))} for one {'experiment' if data.sweep else 'candidate'}.",
    )
    found = production.differences(data)
    answer = "harness.yaml does not say what production is like" if found is None else "no known difference"
    if found:
        answer = f"{figures.count(len(found), 'difference')}: {', '.join(dict.fromkeys(found))}"
    yield (Strong("Like production:"), f" {answer}.")


def _profiles(data: ReportData) -> str:
    return f"{figures.count(len(data.sweep.profiles), 'profile')}, " if data.sweep else ""


def blocks(data: ReportData) -> Iterator[Block]:
    """No heading: the first sentence of the report is the decision itself."""
    manifest = data.manifest
    yield Callout("decision", data.sentence)
    when = f"{figures.moment(manifest.started_at)} to {figures.moment(manifest.finished_at)}"
    yield Paragraph(
        (
            "Run ",
            Code(manifest.run_id),
            f", {when}, state: {manifest.state}, bakeoff {manifest.bakeoff_version}. ",
            f"{figures.count(len(manifest.candidates), 'candidate')}, {_profiles(data)}"
            f"{figures.count(manifest.dataset.rows, 'example')}, "
            f"{data.n} of {manifest.trials_planned or figures.UNKNOWN} planned trials have a verdict.",
        )
    )
    if data.inconclusive:
        yield Callout(
            "warning",
            (
                Strong("Inconclusive"),
                " means: too many trials failed for reasons outside the models, or verdicts are missing. Use "
                "the numbers below to find the cause, not to choose a model. Without these "
                f"doubts the decision would be: {data.decision.sentence}",
            ),
        )
    if simulated := [each.name for each in manifest.candidates if each.simulated]:
        yield Callout(
            "simulated",
            f"{', '.join(simulated)} made no call to any model. These numbers say how the harness and the box "
            "behave, and nothing about a real model.",
        )
    caveats = data.decision.caveats
    yield Items([*_in_short(data), *caveats[:CAVEATS_SHOWN]])
    if (more := len(caveats) - CAVEATS_SHOWN) > 0:
        yield Paragraph(f"{more} more notes of this kind are below.")
    for warning in data.warnings[:WARNINGS_SHOWN]:
        yield Callout("warning", warning)
    if (more := len(data.warnings) - WARNINGS_SHOWN) > 0:
        yield Paragraph(f"{more} more warnings of this kind are not shown.")
    yield Plot(
        "score",
        "Score with its 95 % interval",
        "Share of trials that passed, infrastructure errors excluded. Overlapping intervals do not say that two "
        "candidates are equal: the table of pairs compares them on the same examples.",
    )
