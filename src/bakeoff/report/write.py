"""report.md and report.html of a run, written into its directory."""

from __future__ import annotations

from pathlib import Path

from bakeoff.record.store import HTML_REPORT, REPORT, RunDirectory
from bakeoff.report import html, markdown, plots
from bakeoff.report.data import ReportData


def write(run: RunDirectory, data: ReportData) -> tuple[Path, Path]:
    """Both reports from the same data; where they are. Loads matplotlib: not for the orchestrator."""
    return (
        run.write_report(markdown.render(data), REPORT),
        run.write_report(html.render(data, plots.draw(data)), HTML_REPORT),
    )
