"""Does the test environment resemble your production? Limits side by side, each difference in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bakeoff.record.configuration import Production
from bakeoff.record.trial import ResourceLimits
from bakeoff.report.data import ReportData, Spread
from bakeoff.report.document import Block, Callout, Code, Heading, Items, Listing, Paragraph, Table
from bakeoff.text import figures

EXAMPLE = """\
production: # what the same harness gets in production
  cpus: 1.0
  memory: 1GiB
  network: none # or in words what it can reach
  seconds: 120
  turns: 12
  retries: {model_call: 2}
"""
# key of `production:` -> what it is called, how it reads
KEYS: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "cpus": ("CPUs", figures.number),
    "memory": ("Memory", figures.size),
    "pids": ("Processes", figures.number),
    "disk": ("Disk", figures.size),
    "network": ("Network", str),
    "turns": ("Model calls of a trial", figures.number),
    "seconds": ("Working time of a trial", figures.seconds),
    "tool_seconds": ("Time of one tool call", figures.seconds),
    "tokens": ("Tokens of a trial", figures.number),
    "retries": ("Extra tries of a model call", figures.number),
}
# key of `production:` -> where a candidate's measured use of it is
USED = {
    "memory": "memory_peak_bytes",
    "pids": "pids_peak",
    "disk": "disk_bytes",
    "turns": "turns",
    "seconds": "attempt_seconds",
}
LIMITS = {
    "cpus": "cpus",
    "memory": "memory_bytes",
    "pids": "pids",
    "disk": "disk_bytes",
    "network": "network",
}


def blocks(data: ReportData) -> Iterator[Block]:
    """Requested, effective, observed and production side by side; each mismatch in words."""
    yield Heading("Does the test environment resemble your production?")
    yield Paragraph(
        "A score holds for the resources that it was measured with. Requested is what harness.yaml asks for; "
        "effective is what Docker and the kernel said when asked back; observed is the most that any trial "
        "used; production is what harness.yaml says of yours."
        + (
            f" This is a sweep: requested is its smallest profile, {data.sweep.profiles[0].name}."
            if data.sweep
            else ""
        )
    )
    yield Table(
        ("Limit", "#Production", "#Requested", "#Effective", "#Observed, at most"), _side_by_side(data)
    )
    yield from _mismatches(data)
    yield from _effective(data)
    yield from _conditions(data)


def requested(data: ReportData) -> dict[str, Any]:
    """What the run asked for, under the keys of `production:`; None: no limit, or not known."""
    harness = data.manifest.config.harness
    return {
        **{key: getattr(data.manifest.resources, name) for key, name in LIMITS.items()},
        **dict(harness.limits),
        **({"tool_seconds": None} if harness.command else {}),  # a program's tools are its own
        "retries": harness.retries.model_call,
    }


def production(data: ReportData) -> dict[str, Any]:
    """What harness.yaml says of production, under the same keys; only what it says."""
    given = data.manifest.config.production or Production()
    flat = dict(given) | {"retries": given.retries and given.retries.model_call}
    return {key: flat[key] for key in KEYS if flat[key] is not None}


def mismatches(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Each difference between production (`there`) and the run (`here`), and what it may do to the numbers.

    A key that production does not say is no mismatch; a limit that the run does not have is one.
    """
    found = []
    for key, wanted in there.items():
        name, show = KEYS[key]
        got = here.get(key)
        if got == wanted:
            continue
        if key == "network":
            found.append(
                f"{name}: production has {_quoted(wanted)}, this run had {_quoted(got)}. A tool that needs "
                "what is not reachable here behaves otherwise there."
            )
        elif got is None or got > wanted:
            had = f"{show(got)}" if got is not None else "no limit"
            found.append(
                f"{name}: production gives {show(wanted)}, this run gave more ({had}). What passed here may "
                "fail there."
            )
        else:
            found.append(
                f"{name}: production gives {show(wanted)}, this run gave less ({show(got)}). What failed "
                "here may pass there."
            )
    return found


def _quoted(value: Any) -> str:
    return f"“{value}”" if value is not None else "nothing known"


def _side_by_side(data: ReportData) -> list[tuple[str, ...]]:
    here, there, most = requested(data), production(data), _most(data)
    rows: list[tuple[str, ...]] = []
    for key, (name, show) in KEYS.items():
        effective = {
            shown(show, getattr(limits, LIMITS[key], None)) for limits, _ in data.effective if key in LIMITS
        }
        observed = shown(show, most.get(key)) if key != "cpus" else _throttled(data)
        read_back = " or ".join(sorted(effective)) or figures.UNKNOWN
        rows.append((name, shown(show, there.get(key)), shown(show, here[key]), read_back, observed))
    return rows


def shown(show: Callable[[Any], str], value: Any) -> str:
    """A value as text; a dash for None."""
    return figures.UNKNOWN if value is None else show(value)


def _throttled(data: ReportData) -> str:
    """A CPU limit shows as time spent throttled."""
    waited = [row.throttled_seconds.max for row in data.candidates if row.throttled_seconds]
    return f"throttled for {figures.seconds(max(waited))}" if waited else figures.UNKNOWN


def _most(data: ReportData) -> dict[str, float | None]:
    def most(name: str) -> float | None:
        spreads: list[Spread] = [each for row in data.candidates if (each := getattr(row, name))]
        return max((spread.max for spread in spreads), default=None)

    return {key: most(attribute) for key, attribute in USED.items()}


def _mismatches(data: ReportData) -> Iterator[Block]:
    there = production(data)
    if not there:
        yield Callout(
            "warning",
            (
                "harness.yaml does not say what production gives the harness, so this question stays open. "
                "Fill in the section ",
                Code("production:"),
                " with what you know and make the report again after the next run:",
            ),
        )
        yield Listing(EXAMPLE, "yaml")
        return
    found = _found(data, there)
    if found:
        yield Callout("warning", f"{figures.count(len(found), 'difference')} from production:")
        yield Items(found)
    else:
        yield Paragraph("Everything that harness.yaml says of production was the same in this run.")
    if missing := [key for key in KEYS if key not in there]:
        yield Paragraph(
            ("Not compared, since ", Code("production:"), f" does not say: {', '.join(missing)}.")
        )


def differences(data: ReportData) -> list[str] | None:
    """What differs from production, by name; None: harness.yaml says nothing of production."""
    there = production(data)
    return [each.partition(":")[0] for each in _found(data, there)] if there else None


def _found(data: ReportData, there: Mapping[str, Any]) -> list[str]:
    return [*mismatches(there, requested(data)), *_exceeded(data, there)]


def _exceeded(data: ReportData, there: Mapping[str, Any]) -> Iterator[str]:
    """What a trial here used, and production does not have."""
    for key, attribute in USED.items():
        name, show = KEYS[key]
        for row in data.candidates:
            spread: Spread | None = getattr(row, attribute)
            if key in there and spread is not None and spread.max > there[key]:
                yield (
                    f"{name}: {row.label} used up to {show(spread.max)}, production gives {show(there[key])}: such "
                    "a trial would be stopped there."
                )


def _effective(data: ReportData) -> Iterator[Block]:
    """Said only where the limits that were read back are not one and the same as the requested."""
    odd = [(limits, count) for limits, count in data.effective if limits != data.manifest.resources]
    if not odd:
        return
    yield Callout(
        "warning", "Not every trial had the limits that were asked for, or they could not be read back:"
    )
    configurations = [("requested", data.manifest.resources, "")]
    configurations += [("effective", limits, str(count)) for limits, count in data.effective]
    yield Table(
        ("", "#CPUs", "#Memory", "#Processes", "#Disk", "Network", "#Trials"),
        [(kind, *_limits(limits), count) for kind, limits, count in configurations],
    )


def _limits(limits: ResourceLimits) -> tuple[str, ...]:
    return (
        figures.number(limits.cpus),
        figures.size(limits.memory_bytes),
        figures.number(limits.pids),
        figures.size(limits.disk_bytes),
        limits.network or figures.UNKNOWN,
    )


def _conditions(data: ReportData) -> Iterator[Block]:
    resources = data.manifest.config.resources
    floor = f"{figures.number(resources.reserve.cpus)} CPUs and {figures.size(resources.reserve.memory)}"
    yield Items(
        [
            f"Each trial was admitted only when {floor} were free for it: its reserve, a guaranteed floor.",
            *(["Each running container had cores of its own."] if resources.pin else []),
            f"At most {data.manifest.max_concurrency} containers ran at the same time. There is no swap.",
            "The one writable place, /task, is kept in memory: what lies there counts against the memory limit.",
        ]
    )
