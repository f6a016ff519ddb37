"""The report's plots, drawn by matplotlib as SVG that takes its colours from the page around it.

Text stays text: it can be read aloud, searched and scaled. Colours are drawn as sentinels and then
become CSS variables: one picture serves a light and a dark page. Only this module imports matplotlib, whose 50
MiB are loaded when a report is made and at no other time.
"""

from __future__ import annotations

import io
import logging
import math
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bakeoff.report.data import CandidateReport, ReportData, Spread
from bakeoff.text import figures
from bakeoff.text.escape import line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 5.2  # inches; with 9 point text it can be read at 360 CSS pixels and at 700
ROW, MARGIN = 0.34, 0.75  # inches of height: of one candidate, of everything else
NAME = 24  # characters of a candidate's name
SQUEEZED = 20  # times as dear as another: side by side, the cheap ones would be one dot
LABELLED = 12  # candidates whose names all have room beside their dots
TASKS = 60  # tasks with a row each
CAUSES = 8  # causes with a colour each; the rest share one

# sentinel -> what the page calls the colour
COLOURS = {
    "#000001": "currentColor",
    "#000002": "var(--line)",
    "#000003": "var(--accent)",
    "#000004": "var(--limit)",
    "#000005": "var(--page)",
} | {f"#0000{10 + i}": f"var(--series-{i})" for i in range(CAUSES + 1)}
INK, GRID, ACCENT, LIMIT, PAGE = list(COLOURS)[:5]
SERIES = list(COLOURS)[5:]

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"


def draw(data: ReportData) -> dict[str, str]:
    """The plots by name, each an `<svg>` element; a plot without data is absent."""
    import matplotlib

    drawn = {}
    # the same run gives the same bytes; hostile names are no formulas
    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "bakeoff",
        "text.parse_math": False,
        "font.family": "DejaVu Sans",  # matplotlib's own, to measure by
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": GRID,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "hatch.color": PAGE,
        "hatch.linewidth": 0.8,
    }
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # users need no news of its font cache
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the user's own matplotlibrc says
        matplotlib.rcParams.update(settings)
        for name, plot in PLOTS.items():
            if (svg := plot(data)) is not None:
                drawn[name] = svg
    return drawn


# --- the plots ----------------------------------------------------------------------------------------


def _score(data: ReportData) -> str | None:
    rows = [row for row in data.candidates if row.scores.score]
    if not rows:
        return None

    def paint(axes: Axes) -> None:
        for place, row in enumerate(rows):
            estimate = row.scores.score
            assert estimate is not None
            axes.plot([100 * estimate.low, 100 * estimate.high], [place, place], color=ACCENT, lw=2)
            axes.plot(100 * estimate.mean, place, "o", color=ACCENT, ms=6)
            axes.annotate(
                figures.score(estimate),
                (100 * estimate.mean, place),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
            )
        axes.set_xlim(-2, 102)
        axes.set_xlabel("trials passed, %")
        _candidates(axes, rows)

    return _picture("score", paint, height=MARGIN + 1.3 * ROW * len(rows))


def _cost(data: ReportData) -> str | None:
    rows = [(row, row.scores.score, row.cost_usd) for row in data.candidates]
    known = [(row, score, cost) for row, score, cost in rows if score and cost]
    if not known:
        return None

    def paint(axes: Axes) -> None:
        costs = [cost.mean for _, _, cost in known]
        dearest, cheapest = max(costs) or 0.01, min(costs)
        wide = 0 < SQUEEZED * cheapest < dearest
        label_at, undercut = 200.0, math.inf
        for row, score, cost in sorted(known, key=lambda each: -each[1].mean):
            axes.plot([cost.mean] * 2, [100 * score.low, 100 * score.high], color=ACCENT, lw=1.2, alpha=0.5)
            axes.plot(cost.mean, 100 * score.mean, "o", color=ACCENT, ms=6)
            if cost.mean >= undercut and len(known) > LABELLED:
                continue
            undercut = min(cost.mean, undercut)
            label_at = min(100 * score.mean, label_at - 7)  # names of equal candidates go below each other
            axes.annotate(
                _name(row, " "), (cost.mean, label_at), xytext=(8, 0), textcoords="offset points", va="center"
            )
        axes.set_ylim(-4, 104)
        if wide:
            axes.set_xscale("log")
            axes.set_xlim(cheapest / 1.5, dearest * (dearest / cheapest) ** 0.5)
            axes.xaxis.set_major_formatter("{x:g}")
        else:
            axes.set_xlim(-0.05 * dearest, 1.6 * dearest)
        axes.set_xlabel(f"mean cost of a trial, US dollars{', logarithmic' if wide else ''}")
        axes.set_ylabel("trials passed, %")
        axes.grid(color=GRID, lw=0.5)

    return _picture("cost", paint, height=2.9)


def _causes(data: ReportData) -> str | None:
    if not data.causes:
        return None
    totals: Counter[tuple[str, str]] = Counter()
    counts: dict[tuple[str, str], Counter[str]] = {}
    for each in data.causes:
        totals[each.verdict, each.cause] += each.count
    shown = [key for key, _ in totals.most_common(CAUSES)]
    for each in data.causes:
        key = (each.verdict, each.cause)
        counts.setdefault(key if key in shown else ("", "other causes"), Counter())[each.candidate] += (
            each.count
        )
    ordered = sorted(counts, key=lambda key: (key[0] != "failed", -sum(counts[key].values())))
    rows = data.candidates

    def paint(axes: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        left = [0] * len(rows)
        for colour, key in zip(SERIES, ordered, strict=False):
            widths = [counts[key][row.name] for row in rows]
            hatch = "////" if key[0] == "infra_error" else None
            axes.barh(
                range(len(rows)),
                widths,
                left=left,
                height=0.62,
                color=colour,
                hatch=hatch,
                edgecolor=PAGE,
                lw=0.8,
                label=line(key[1], 40),
            )
            left = [start + width for start, width in zip(left, widths, strict=True)]
        axes.set_xlim(0, max(left) * 1.02)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("trials that did not pass")
        _candidates(axes, rows)
        axes.figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=8.5)

    legend = 0.2 * ((len(ordered) + 1) // 2)
    return _picture("causes", paint, height=MARGIN + ROW * len(rows) + legend)


def _memory(data: ReportData) -> str | None:
    # The ceilings of a sweep are in its own picture
    limit = None if data.sweep else data.manifest.resources.memory_bytes
    production = data.manifest.config.production
    there = production.memory if production else None
    marks = {"limit": limit, "production": there if there != limit else None}
    return _spreads(
        "memory",
        [(row, row.memory_peak_bytes) for row in data.candidates],
        unit=2**20,
        label="MiB",
        marks=marks,
        show=figures.size,
    )


def _latency(data: ReportData) -> str | None:
    rows = [(row, row.attempt_seconds) for row in data.candidates]
    longest = max((spread.max for _, spread in rows if spread), default=0)
    limit = data.manifest.config.harness.limits.seconds
    near = longest > limit / 5  # a far limit would squeeze the plot
    return _spreads(
        "latency",
        rows,
        unit=1,
        label="seconds",
        marks={"limit": limit if near else None},
        show=figures.seconds,
    )


def _spreads(
    name: str,
    rows: Sequence[tuple[CandidateReport, Spread | None]],
    *,
    unit: float,
    label: str,
    marks: Mapping[str, float | None],
    show: Callable[[float], str],
) -> str | None:
    """A row a candidate: a dot at the median, a bar to the 95th percentile, a line to the largest."""
    known = [(row, spread) for row, spread in rows if spread]
    if not known:
        return None

    def paint(axes: Axes) -> None:
        for place, (_, spread) in enumerate(known):
            p50, p95, largest = spread.p50 / unit, spread.p95 / unit, spread.max / unit
            axes.plot([p50, largest], [place, place], color=ACCENT, lw=1)
            axes.plot([p50, p95], [place, place], color=ACCENT, lw=5, solid_capstyle="butt")
            axes.plot(p50, place, "o", color=ACCENT, ms=7, markeredgecolor=PAGE)
            axes.plot(largest, place, "|", color=ACCENT, ms=9, markeredgewidth=2)
            axes.annotate(
                show(spread.max),
                (largest, place),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
            )
        for style, (what, value) in zip(("--", ":"), marks.items(), strict=False):
            if value is not None:
                axes.axvline(value / unit, color=LIMIT, ls=style, lw=1.5)
                axes.annotate(
                    what, (value / unit, 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom"
                )
        axes.set_xlim(left=0)
        axes.margins(x=0.1)
        axes.set_xlabel(label)
        _candidates(axes, [row for row, _ in known])

    return _picture(name, paint, height=MARGIN + 0.2 + 1.3 * ROW * len(known))


def _sweep(data: ReportData) -> str | None:
    """A row an experiment, with three estimates below each other."""
    if data.sweep is None:
        return None
    levels = [level for study in data.sweep.studies.values() for level in study.levels]
    if not any(level.trials for level in levels):
        return None
    shown = (
        ("infrastructure errors", LIMIT, [level.infra for level in levels]),
        ("as deployed", ACCENT, [level.as_deployed for level in levels]),
        ("clean tasks", INK, [level.clean for level in levels]),
    )

    def paint(axes: Axes) -> None:
        for shift, (label, colour, estimates) in zip((-0.22, 0.0, 0.22), shown, strict=True):
            named: str | None = label
            for place, estimate in enumerate(estimates):
                if estimate is None:
                    continue
                at, low, high = place + shift, 100 * estimate.low, 100 * estimate.high
                axes.plot([low, high], [at, at], color=colour, lw=2)
                axes.plot(100 * estimate.mean, at, "o", color=colour, ms=5, label=named)
                named = None
        axes.set_xlim(-2, 102)
        axes.set_xlabel("of all trials, %")
        _rows(axes, [line(level.experiment, NAME) for level in levels])
        axes.figure.legend(loc="outside lower left", ncols=3, frameon=False, fontsize=8.5)

    return _picture("sweep", paint, height=MARGIN + 0.3 + 1.6 * ROW * len(levels))


def _peaks(data: ReportData) -> str | None:
    """A row a task, the hungriest on top: its highest memory peak under each profile."""
    tasks = [each for each in data.sweep.tasks if each.peak][:TASKS] if data.sweep else []
    if data.sweep is None or not tasks:
        return None
    profiles = data.sweep.profiles

    def paint(axes: Axes) -> None:
        from matplotlib.transforms import blended_transform_factory

        above = blended_transform_factory(axes.transData, axes.transAxes)
        for number, profile in enumerate(profiles):
            colour = SERIES[number % len(SERIES)]
            found = [(task.peaks[number], place) for place, task in enumerate(tasks)]
            known = [(peak / 2**20, place) for peak, place in found if peak is not None]
            axes.plot(*zip(*known, strict=True), "o", color=colour, ms=4, label=line(profile.name, NAME))
            if (ceiling := profile.limits.memory_bytes) is not None:
                axes.axvline(ceiling / 2**20, color=colour, ls="--", lw=1)
                axes.text(
                    ceiling / 2**20, 1.0, line(profile.name, 8), transform=above, ha="center", va="bottom"
                )
        axes.set_xlim(left=0)
        axes.set_xlabel("MiB")
        _rows(axes, [line(task.example_id, NAME) for task in tasks])
        axes.figure.legend(loc="outside lower left", ncols=4, frameon=False, fontsize=8.5)

    return _picture("peaks", paint, height=MARGIN + 0.5 + 0.6 * ROW * len(tasks))


PLOTS: Mapping[str, Callable[[ReportData], str | None]] = {
    "score": _score,
    "cost": _cost,
    "causes": _causes,
    "memory": _memory,
    "latency": _latency,
    "sweep": _sweep,
    "peaks": _peaks,
}


def _name(row: CandidateReport, between: str) -> str:
    name = line(row.name)
    short = name if len(name) <= NAME else f"{name[:NAME]}…"
    return f"{short}{between}(simulated)" if row.simulated else short


def _candidates(axes: Axes, rows: Sequence[CandidateReport]) -> None:
    """The candidates down the left side, the best on top."""
    _rows(axes, [_name(row, "\n") for row in rows])


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.7)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GRID, lw=0.5)
    axes.set_axisbelow(True)


# --- from matplotlib's SVG to the page's ---------------------------------------------------------------


def _picture(name: str, paint: Callable[[Axes], None], *, height: float) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    paint(axes)
    out = io.StringIO()
    nothing: Any = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(out, format="svg", transparent=True, metadata=nothing)
    return _inlined(name, out.getvalue())


def _inlined(name: str, svg: str) -> str:
    """The picture as part of a page: its ids its own, its colours and its font the page's."""
    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", XLINK)
    root = ET.fromstring(svg)  # noqa: S314 - matplotlib's own output
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}style", f"{{{SVG}}}metadata"):
                parent.remove(child)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    elements = list(root.iter())
    text = " ".join(value for each in elements for value in each.attrib.values() if "#" in value)
    for each in elements:
        own = each.attrib.get("id")
        if own is not None and f"#{own}" not in text:
            del each.attrib["id"]
        for key, value in each.attrib.items():
            each.attrib[key] = _restyled(name, key, value)
    root.set("class", "plot")
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title")
    root.set("aria-describedby", f"{name}-text")
    return ET.tostring(root, encoding="unicode")


def _restyled(name: str, key: str, value: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key.endswith("href") and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    for sentinel, colour in COLOURS.items():
        value = value.replace(sentinel, colour)
    return value.replace("url(#", f"url(#{name}-").replace("'DejaVu Sans'", "system-ui, sans-serif")
