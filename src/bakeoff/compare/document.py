"""A comparison as a document of plain blocks: what is said, before it becomes Markdown or terminal output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bakeoff.compare.changes import Change, ExampleChange, Measure, Turn
from bakeoff.compare.comparison import RunComparison
from bakeoff.compare.side import Side
from bakeoff.report.document import Block, Callout, Code, Heading, Items, Paragraph, Phrase, Strong, Table
from bakeoff.stats import Counting, Rise
from bakeoff.text import figures
from bakeoff.verdict import describe

LISTED = 50  # examples named of one turn
WAYS = {
    Counting.SCORE: "infra errors excluded",
    Counting.AS_DEPLOYED: "as deployed",
    Counting.WORST_CASE: "against HEAD, for BASE",
    Counting.BEST_CASE: "for HEAD, against BASE",
}


def document(data: RunComparison) -> Iterator[Block]:
    """The result first, then the gates, then the numbers behind it."""
    yield Callout("decision", data.sentence)
    yield Paragraph((*_run(data.base), "; ", *_run(data.head), "."))
    if data.simulated:
        yield Callout("simulated", "Simulated candidates made no call to any model.")
    for title, reasons in (("drift allowed", data.drift), ("inconclusive, allowed", data.allowed)):
        if reasons:
            yield Callout("warning", f"{title}: {'; '.join(reasons)}.")
    for note in data.notes:
        yield Callout("warning", note)
    yield from _gates(data)
    yield from _very(data)
    yield from _means(data)
    yield from _scores(data)
    yield from _bounds(data)
    for change in data.changes:
        yield from _candidate(change)


def _run(side: Side) -> tuple[Strong | str | Code, ...]:
    when = figures.moment(side.manifest.started_at)
    return (Strong(side.label), " ", Code(side.manifest.run_id), f" of {when}")


def _gates(data: RunComparison) -> Iterator[Block]:
    if not data.gates:
        return
    yield Heading("Gates")
    yield Paragraph(
        "About these very examples; max-infra about all trials of HEAD. Passed: the margin is shown to hold. Failed: a "
        "rise is shown, and exceeds the margin. Unknown: neither."
    )
    rows = [
        (
            Strong(gate.status.upper()) if gate.status != "passed" else "passed",
            gate.gate,
            gate.candidate,
            gate.because,
        )
        for gate in data.gates
    ]
    yield Table(("Result", "Gate", "Candidate", "Because"), rows)


def _very(data: RunComparison) -> Iterator[Block]:
    yield Heading("On these very examples")
    yield Paragraph(
        "HEAD minus BASE of the trials that both runs made of the same examples: what varies by chance is how often "
        "each example passes. The gates ask about this. Each of the two bounds holds with 95 % confidence. p is the "
        "chance of a change at least this large if nothing had changed (exact); the conclusion corrects it for the "
        "number of candidates (Holm)."
    )
    yield Table(
        (
            "Candidate",
            "#BASE",
            "#HEAD",
            "#Change (points)",
            "#Bounds (points)",
            "#p",
            "Conclusion",
        ),
        [_rise(change) for change in data.changes],
    )


def _rise(change: Change) -> tuple[Phrase, ...]:
    rise = change.failing
    if rise is None or rise.rise is None or rise.low is None or rise.high is None:
        return (change.name, *[figures.UNKNOWN] * 6)
    words: dict[int, Phrase] = {-1: Strong("worse"), 0: "not shown", 1: Strong("better")}
    return (
        change.name,
        figures.percent(1 - rise.before),
        figures.percent(1 - rise.after),
        figures.points(-rise.rise),
        figures.interval(-rise.high, -rise.low),
        figures.p_value(rise.p_value),
        words[change.conclusion],
    )


def _scores(data: RunComparison) -> Iterator[Block]:
    grouped = any(change.tested.grouped for change in data.changes)
    yield Heading("On requests like these")
    yield Paragraph(
        "The same change, where the examples are a sample of the requests that matter: HEAD minus BASE on the examples "
        "that both ran, paired by example. p is the chance of a change at least this large if nothing had changed, "
        "corrected for the number of candidates (Holm); the interval is not. The smallest detectable change is what "
        "this sample would show in four runs of five, if single examples change"
        f"{', and if whole clusters do' if grouped else ''}."
    )
    yield Table(
        (
            "Candidate",
            "#BASE",
            "#HEAD",
            "#Change (points)",
            "#95 % interval",
            "#p",
            "#Smallest detectable",
            *(["#In whole clusters"] if grouped else []),
            "#Examples",
        ),
        [
            (
                change.name,
                figures.score(change.base_scores.score),
                figures.score(change.head_scores.score),
                Strong(figures.points(test.difference))
                if test.conclusion
                else figures.points(test.difference),
                figures.interval(test.low, test.high),
                figures.p_value(test.p_adjusted),
                figures.points(test.minimum_detectable_effect).lstrip("+"),
                *([figures.points(test.detectable_in_clusters).lstrip("+")] if grouped else []),
                str(test.examples),
            )
            for change in data.changes
            for test in (change.tested,)
        ],
    )


def _bounds(data: RunComparison) -> Iterator[Block]:
    yield Paragraph(
        "Infrastructure errors are missing data: the true change lies between the change that "
        f"counts them {WAYS[Counting.WORST_CASE]}, and the change that counts them {WAYS[Counting.BEST_CASE]}."
    )
    yield Table(
        (
            "Candidate",
            "#Infra errors, BASE",
            "#HEAD",
            *(f"#Change, {words}" for words in WAYS.values()),
            "Conclusion depends",
        ),
        [
            (
                change.name,
                figures.percent(change.base_infra_rate),
                figures.percent(change.head_infra_rate),
                *(figures.points(change.difference.by[way].difference) for way in WAYS),
                Strong("yes") if change.difference.depends else "no",
            )
            for change in data.changes
        ],
    )


def _means(data: RunComparison) -> Iterator[Block]:
    yield Heading("Change of cost, latency and limits")
    yield Paragraph(
        "Of trials with a verdict on the model, on these very examples; p of cost and time is corrected for the number "
        "of candidates (Holm)."
    )
    yield Table(
        ("Candidate", "Mean of a trial", "#BASE", "#HEAD", "#Change", "#p"),
        [
            row
            for change in data.changes
            for row in (
                _measure(change, "cost", change.cost, figures.dollars),
                _measure(change, "working time", change.latency, figures.seconds),
                _limit(change, "ended by the time limit", change.time_limits),
                _limit(change, "ended by the turn limit", change.turn_limits),
            )
        ],
    )


def _measure(
    change: Change, what: str, measure: Measure | None, show: Callable[[float | None], str]
) -> tuple[Phrase, ...]:
    if measure is None:
        return (change.name, what, *[figures.UNKNOWN] * 4)
    by = figures.UNKNOWN if measure.increase is None else f"{100 * measure.increase:+.1f} %"
    p = figures.p_value(measure.p_adjusted)
    return (change.name, what, show(measure.base), show(measure.head), by, p)


def _limit(change: Change, what: str, rise: Rise | None) -> tuple[Phrase, ...]:
    if rise is None:
        return (change.name, what, *[figures.UNKNOWN] * 4)
    shares = (figures.percent(rise.before), figures.percent(rise.after))
    return (change.name, what, *shares, f"{figures.points(rise.rise)} points", figures.p_value(rise.p_value))


def _candidate(change: Change) -> Iterator[Block]:
    turns: tuple[Turn, ...] = ("newly failing", "newly passing")
    for turn in turns:
        if examples := change.turned(turn):
            yield Heading(f"{change.name}: {turn}", 3)
            yield from _turned(examples)
    if change.causes:
        yield Heading(f"{change.name}: changed causes", 3)
        yield Table(
            ("Cause", "Meaning", "#BASE", "#HEAD", "#Change"),
            [
                (Code(cause), describe(cause), str(before), str(after), f"{after - before:+d}")
                for cause, (before, after) in change.causes.items()
            ],
        )


def _turned(examples: Sequence[ExampleChange]) -> Iterator[Block]:
    yield Table(
        ("Example", "#BASE passed", "#HEAD passed", "Cause in BASE", "Cause in HEAD"),
        [
            (
                each.example_id,
                f"{each.base[0]}/{each.base[1]}",
                f"{each.head[0]}/{each.head[1]}",
                Code(each.base_cause) if each.base_cause else "",
                Code(each.head_cause) if each.head_cause else "",
            )
            for each in examples[:LISTED]
        ],
    )
    if (more := len(examples) - LISTED) > 0:
        yield Items([f"{more} more are not shown"])
