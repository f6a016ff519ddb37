"""The host that ran the containers, and how it fared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bakeoff.report.data import ReportData
from bakeoff.report.document import Block, Heading, Table
from bakeoff.text import figures

# key of `manifest.host_worst` -> what it is
WORST = {
    "samples": "samples taken of the host",
    "cpu_percent_max": "CPU use, highest moment",
    "steal_percent_max": "CPU taken by other machines, highest moment",
    "load_max": "load, highest moment",
    "memory_available_min_bytes": "memory available, lowest moment",
    "swap_used_max_bytes": "swap used, highest moment",
}


def blocks(data: ReportData) -> Iterator[Block]:
    """What it is, its worst moments, and whether it kept its promise."""
    yield Heading("The host", 3)
    host, moments = data.manifest.host, data.manifest.host_worst or ()
    facts, worst = ([(_label(key), _fact(key, value)) for key, value in each] for each in (host, moments))
    contended = sum(row.contended for row in data.candidates)
    last = [("Trials that got less than their reserve", f"{contended} of {data.n}")]
    yield Table(("What", "Value"), [*facts, *worst, *last])


def _label(key: str) -> str:
    words = WORST.get(key) or key.replace("_", " ").removesuffix(" bytes")
    return (words[:1].upper() + words[1:]).replace("Cpu", "CPU").replace("Os", "OS")


def _fact(key: str, value: Any) -> str:
    if "_percent_" in key and isinstance(value, (int, float)):
        return figures.percent(value / 100)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return figures.size(value) if key.endswith("_bytes") else figures.number(value)
    return figures.plain(", ".join(map(str, value)) if isinstance(value, list) else value)
