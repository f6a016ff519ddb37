"""The scoreboard: scores, pairs, evaluators, suites and clusters, trajectories, cost, latency, tokens."""

from __future__ import annotations

from collections.abc import Iterator

from bakeoff.report.data import CandidateReport, ReportData, Spread
from bakeoff.report.document import Block, Code, Heading, Paragraph, Plot, Table
from bakeoff.report.plots import LABELLED
from bakeoff.report.sections.pairs import of_pairs
from bakeoff.stats import Comparison
from bakeoff.text import figures

DETECTABLE_TWICE = (
    " Two figures: if the candidates differ on single examples, and if they differ on whole clusters, which fewer "
    "clusters can show."
)


def blocks(data: ReportData) -> Iterator[Block]:
    """Scores first, then the details."""
    yield Heading("Scoreboard")
    yield Paragraph(
        "Score is the share of trials that passed. Infrastructure errors are excluded, unless a candidate causes them "
        "itself: see the four scores, above. In 95 of 100 runs like this one the interval of a candidate holds its "
        "true score (of the leader of several, in fewer: it leads in part by luck); repetitions of one example (or "
        "cluster) count as related, not as new evidence."
    )
    headings = ["Candidate", "#Trials", "#Score", "#95 % interval", "#Passed", "#Failed", "#Infra errors"]
    rows = [_score_row(row) for row in data.candidates]
    if (k := data.repetitions) > 1:
        yield Paragraph(
            f"Of {k} trials of one example, pass@{k} is the chance that at least one passes, pass^{k} that all "
            "do: how far a user may rely on it." + _incomplete(data)
        )
        headings += [f"#pass@{k}", f"#pass^{k}"]
        rows = [
            (
                *cells,
                _pass_cell(row.pass_at_k, row.pass_at_k_bounds),
                _pass_cell(row.pass_hat_k, row.pass_hat_k_bounds),
            )
            for cells, row in zip(rows, data.candidates, strict=True)
        ]
    yield Table(headings, rows)
    params = {name: row.params for name, row in data.manifest.experiments.items()}
    yield Table(
        ("Candidate", "Model", "Parameters"),
        [(row.label, Code(row.model), figures.plain(params.get(row.name))) for row in data.candidates],
    )
    yield from _pairs(data)
    yield from _evaluators(data)
    yield from _slices(data)
    yield from _trajectories(data)
    yield from _cost(data)


def _incomplete(data: ReportData) -> str:
    if all(row.pass_at_k is not None or row.pass_at_k_bounds is None for row in data.candidates):
        return ""
    return (
        " Where infrastructure errors left an example with fewer trials, the two figures count each as a failure and "
        "as a pass; without these examples, which are mostly the hard ones, the figure would be too high."
    )


def _pass_cell(value: float | None, bounds: tuple[float, float] | None) -> str:
    if value is not None or bounds is None:
        return figures.percent(value)
    return f"{figures.percent(bounds[0])} to {figures.percent(bounds[1])}"


def _score_row(row: CandidateReport) -> tuple[str, ...]:
    estimate = row.scores.score
    counts = (str(count) for count in row.counts.values())
    return (row.label, str(row.n), figures.score(estimate), figures.score_interval(estimate), *counts)


def _pairs(data: ReportData) -> Iterator[Block]:
    pairs = data.decision.comparisons
    if not pairs:
        return
    grouped = any(pair.grouped for pair in pairs)
    yield Heading("Is the difference real?", 3)
    yield Paragraph(
        "Each pair is compared on the examples that both completed. The p-value is the chance of a difference at "
        "least this large if the two were equal; it is corrected for the number of pairs (Holm), and the interval "
        "is not: with several pairs, an interval without 0 is no proof of a difference. The smallest detectable "
        "difference is what this many examples would show four times out of five: a smaller true difference goes "
        "undetected, and no detected difference does not mean equal candidates."
        + (DETECTABLE_TWICE if grouped else "")
    )
    headings = (
        "Pair",
        "#Examples",
        "#Difference (points)",
        "#95 % interval",
        "#p, corrected",
        "Distinguished",
    )
    detectable = ["#Smallest detectable", *(["#In whole clusters"] if grouped else [])]
    yield from of_pairs((*headings, *detectable), [_pair_row(pair, grouped) for pair in pairs], data)


def _pair_row(pair: Comparison, grouped: bool) -> tuple[str, ...]:
    effects = [pair.minimum_detectable_effect, *([pair.detectable_in_clusters] if grouped else [])]
    return (
        f"{pair.first} minus {pair.second}",
        str(pair.examples),
        figures.points(pair.difference),
        figures.interval(pair.low, pair.high),
        figures.p_value(pair.p_adjusted),
        "yes" if pair.distinguishable else "no",
        *(figures.points(effect).lstrip("+") for effect in effects),
    )


def _evaluators(data: ReportData) -> Iterator[Block]:
    names = sorted({name for row in data.candidates for name in row.evaluators})
    if not names:
        return
    yield Heading("Evaluators", 3)
    yield Paragraph("Mean of each evaluator, over the trials that it scored.")
    means = [
        (row.label, *(figures.number(row.evaluators.get(name), 3) for name in names))
        for row in data.candidates
    ]
    yield Table(("Candidate", *(f"#{name}" for name in names)), means)


def _slices(data: ReportData) -> Iterator[Block]:
    examples = set(data.manifest.dataset.example_ids)
    for by, title in (("suite", "By suite"), ("cluster", "By cluster")):
        mine = [row for row in data.slices if row.by == by]
        if not mine or all(row.name in examples for row in mine):
            continue  # where every example is its own cluster, a table of them says nothing
        cells = {}
        for row in mine:
            infra = f", {row.left_out} infra" if row.left_out else ""
            share = f"{row.passed}/{row.counted} ({figures.percent(row.score, 0)})"
            cells[row.name, row.candidate] = share + infra
        yield Heading(title, 3)
        yield Paragraph(
            "Passed of the trials that count in the score; infrastructure errors that it leaves out are counted "
            "separately."
        )
        yield Table(
            (by.capitalize(), *(f"#{row.name}" for row in data.candidates)),
            [
                (part, *(cells.get((part, row.name), figures.UNKNOWN) for row in data.candidates))
                for part in dict.fromkeys(row.name for row in mine)
            ],
        )


def _trajectories(data: ReportData) -> Iterator[Block]:
    yield Heading("Trajectories", 3)
    yield Paragraph(
        "What the agent did in the last attempt of a trial with a verdict on the model: mean, and the most in "
        "brackets. A step is a model call. A call is wasted when it ended in an error, or repeated an earlier one with "
        "the same arguments and the same result. Among the errors are calls that never ran: rejected, because of their "
        "arguments or by a person or a middleware, or of a tool that does not exist."
    )
    yield Table(
        (
            "Candidate",
            "#Steps",
            "#Tool calls",
            "#Tool errors",
            "#Rejected",
            "#No such tool",
            "#Repeated calls",
            "#Wasted share",
        ),
        [
            (
                row.label,
                _mean_and_max(row.turns),
                _mean_and_max(row.tool_calls),
                _mean_and_max(row.tool_errors),
                _mean_and_max(row.rejected_calls),
                _mean_and_max(row.unknown_tools),
                _mean_and_max(row.repeated_calls),
                figures.percent(row.wasted_share),
            )
            for row in data.candidates
        ],
    )


def _mean_and_max(spread: Spread | None) -> str:
    return f"{figures.number(spread.mean, 3)} ({figures.number(spread.max)})" if spread else figures.UNKNOWN


def _cost(data: ReportData) -> Iterator[Block]:
    yield Heading("Cost, latency and tokens", 3)
    yield Paragraph(
        "Of one trial with a verdict on the model, all of its attempts. Cost and tokens are means; time is the agent's "
        "working time, without time queued for the provider, which has a column."
    )
    time = ("#Time p50", "#Time p95", "#Time, most", "#In the model p50", "#Queued p95")
    cost = ("#Cost of a trial", "#Cost of all", "#Cost of a pass", "#Tokens in", "#Tokens out")
    yield Table(("Candidate", *cost, *time), [_cost_row(row) for row in data.candidates])
    named = ""
    if len(data.candidates) > LABELLED:
        named = " Labels mark the candidates that no better one undercuts on cost."
    yield Plot("cost", "Score against cost", f"Higher is better, further left is cheaper.{named}")
    yield Plot(
        "latency",
        "Working time of a trial's last attempt",
        "Dot: the median trial. Bar: to the 95th percentile. Tick: the longest.",
    )


def _cost_row(row: CandidateReport) -> tuple[str, ...]:
    time, passed = row.working_seconds, row.counts["passed"]
    in_model, queued = row.model_seconds, row.queued_seconds
    return (
        row.label,
        figures.dollars(row.cost_usd.mean if row.cost_usd else None),
        figures.dollars(row.total_cost_usd),
        figures.dollars(row.total_cost_usd / passed if row.total_cost_usd is not None and passed else None),
        *(
            figures.number(round(each.mean) if each else None)
            for each in (row.input_tokens, row.output_tokens)
        ),
        figures.seconds(time.p50 if time else None),
        figures.seconds(time.p95 if time else None),
        figures.seconds(time.max if time else None),
        figures.seconds(in_model.p50 if in_model else None),
        figures.seconds(queued.p95 if queued else None),
    )
