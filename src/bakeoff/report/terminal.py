"""The scoreboard in the terminal: at the end of a run, and in `bakeoff show RUN`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from bakeoff.report.data import ReportData
from bakeoff.text import escape, figures
from bakeoff.verdict import describe

SHOWN_FAILURES = 20
SHOWN_NOTES = 5
UNBOUND_WIDTH = 160  # columns where there is no terminal: a log file folds no tables


def console(*, stderr: bool = False) -> Console:
    """A console as wide as its terminal; a file or a pipe is wide enough for every table."""
    made = Console(stderr=stderr)
    return (
        made if made.is_terminal or "COLUMNS" in os.environ else Console(stderr=stderr, width=UNBOUND_WIDTH)
    )


def scoreboard(data: ReportData) -> RenderableType:
    """The decision, one row a candidate, and what to be careful about."""
    table = Table(box=None, pad_edge=False)
    table.add_column("candidate", overflow="fold")  # a narrow terminal breaks a name, and cuts none
    for heading in (
        "score",
        "95 % interval",
        "passed",
        "failed",
        "infra",
        "cost a trial",
        "time p50",
        "turns",
    ):
        table.add_column(heading, justify="right", overflow="fold")
    for row in data.candidates:
        name = Text(escape.line(row.name, limit=40))
        if row.simulated:
            name.append(" simulated", style="dim")
        table.add_row(
            name,
            Text(figures.score(row.scores.score), style="bold"),
            figures.score_interval(row.scores.score),
            Text(str(row.counts["passed"]), style="green"),
            Text(str(row.counts["failed"]), style="red"),
            Text(str(row.counts["infra_error"]), style="yellow"),
            figures.dollars(row.cost_usd.mean if row.cost_usd else None),
            figures.seconds(row.working_seconds.p50 if row.working_seconds else None),
            figures.number(row.turns.mean if row.turns else None, digits=3),
        )
    style = "bold yellow" if data.inconclusive else "bold"
    parts: list[RenderableType] = [table, Text(f"\n{escape.line(data.sentence, limit=1000)}", style=style)]
    caveats = data.decision.caveats
    parts += [Text(f"note: {escape.line(each, limit=500)}", style="dim") for each in caveats[:SHOWN_NOTES]]
    if (more := len(caveats) - SHOWN_NOTES) > 0:
        parts.append(Text(f"note: {more} more of this kind are in the report", style="dim"))
    parts += [Text(f"warning: {escape.line(each, limit=500)}", style="yellow") for each in data.warnings]
    return Group(*parts)


def run(data: ReportData) -> RenderableType:
    """The scoreboard, the causes of failure and the first failing trials."""
    return Group(Text(escape.line(data.manifest.run_id), style="dim"), scoreboard(data), *_failures(data))


def _failures(data: ReportData) -> Iterator[RenderableType]:
    if not data.causes:
        return
    causes = Table(box=None, pad_edge=False, title="\ncauses", title_justify="left")
    for heading in ("candidate", "trials", "cause", "meaning"):
        causes.add_column(heading, justify="right" if heading == "trials" else "left", overflow="fold")
    for row in data.causes:
        names = (Text(escape.line(row.candidate)), str(row.count), Text(escape.line(row.cause)))
        causes.add_row(*names, describe(row.cause))
    yield causes
    trials = Table(box=None, pad_edge=False, title="\ntrials that did not pass", title_justify="left")
    for heading in ("trial", "verdict", "cause"):
        trials.add_column(heading, overflow="fold")
    for trial_id, verdict, cause in data.failing[:SHOWN_FAILURES]:
        trials.add_row(Text(escape.line(trial_id)), verdict, Text(escape.line(cause)))
    yield trials
    total = data.n - sum(row.counts["passed"] for row in data.candidates)
    more = f" of {total}" if total > SHOWN_FAILURES else ""
    shown = min(total, SHOWN_FAILURES)
    command = shlex.join(("bakeoff", "show", data.run_dir, data.failing[0][0]))
    yield Text(f"\n{shown}{more} shown; one in full: {escape.line(command, limit=400)}", style="dim")
