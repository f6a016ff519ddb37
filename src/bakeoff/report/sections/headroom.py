"""How close each candidate runs to the limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from bakeoff.report.data import CandidateReport, ReportData, Spread
from bakeoff.report.document import Block, Heading, Items, Paragraph, Plot, Table
from bakeoff.report.sections.production import requested, shown
from bakeoff.text import figures


def blocks(data: ReportData) -> Iterator[Block]:
    """Each measured resource beside its limit."""
    yield Heading("How close each candidate runs to the limits", 3)
    yield Paragraph(
        "Headroom is the share of the limit that was left, in the median trial, at the 95th percentile and in "
        "the worst. Where the last is small, a slightly larger task may be killed here and not in production, or "
        "the reverse."
    )
    rows = [cells for row in data.candidates for cells in _observed(row, data)]
    headings = ("Candidate", "Resource", "#p50", "#p95", "#Largest", "#Limit")
    left = ("#Headroom p50", "#Headroom p95", "#Headroom, least")
    yield Table((*headings, *left), rows)
    yield Plot(
        "memory",
        "Memory peak against the limit",
        "Dot: the median trial. Bar: to the 95th percentile. Tick: the largest.",
    )
    bound = [
        f"{row.label} ran into its limits, and in how many trials: "
        + ", ".join(f"{limit} ({count})" for limit, count in row.bound.items())
        + "."
        for row in data.candidates
        if row.bound
    ]
    if bound:
        yield Items(bound)


def _observed(row: CandidateReport, data: ReportData) -> Iterator[tuple[str, ...]]:
    here, profile = requested(data), data.manifest.profile(row.name)
    limits = profile.limits
    measured: list[tuple[str, Spread | None, Callable[[Any], str], float | None]] = [
        (_peak("memory", row, "memory_peak_bytes"), row.memory_peak_bytes, figures.size, limits.memory_bytes),
        (_peak("processes", row, "pids_peak"), row.pids_peak, figures.number, limits.pids),
        ("disk, peak", row.disk_bytes, figures.size, limits.disk_bytes),
        ("working time", row.attempt_seconds, figures.seconds, profile.seconds or here["seconds"]),
        ("model calls", row.turns, figures.number, here["turns"]),
        ("CPU time", row.cpu_seconds, figures.seconds, None),
        ("CPU time throttled", row.throttled_seconds, figures.seconds, None),
    ]
    for name, spread, show, limit in measured:
        if spread is None:
            continue
        levels = (spread.p50, spread.p95, spread.max)
        left = (figures.percent(max(1 - each / limit, 0), 0) if limit else figures.UNKNOWN for each in levels)
        yield (row.label, name, *(show(each) for each in levels), shown(show, limit), *left)
    if row.oom_kills:
        unknown = (figures.UNKNOWN,) * 2
        yield (row.label, "OOM kills, in all", *unknown, str(row.oom_kills), *unknown, *unknown)


def _peak(what: str, row: CandidateReport, name: str) -> str:
    """An old kernel keeps no peak: the highest of samples may read low."""
    return f"{what}, peak" + (" (sampled)" if name in row.sampled else "")
