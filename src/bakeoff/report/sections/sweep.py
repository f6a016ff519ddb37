"""A sweep: what the box does to the score, which profile to use, what it costs, and whether the ranking holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bakeoff import stats
from bakeoff.record.trial import Profile
from bakeoff.report.data import CandidateReport, ReportData
from bakeoff.report.document import Block, Heading, Items, Listing, Paragraph, Phrase, Plot, Strong, Table
from bakeoff.report.sweep import Sweep
from bakeoff.text import figures

TASKS_SHOWN = 20
INFERENCE = {
    "these tasks": "Every interval and p-value is about these very tasks, run again in another box: only the model's "
    "sampling and the box vary.",
    "tasks like these": "Each task ran once under a profile, so its own noise cannot be told from the difference "
    "between tasks: intervals and p-values are about tasks like these, and wider. More repetitions narrow them.",
}


def blocks(data: ReportData) -> Iterator[Block]:
    """Nothing where the run was no sweep."""
    if (sweep := data.sweep) is None:
        return
    yield Heading("What does the box do to the score?")
    yield Paragraph(
        "The same harness and the same tasks ran under every profile, side by side in time. As deployed, a trial that "
        "the box killed is a failure, over all tasks. The score of clean tasks is over those of which no trial was "
        "killed under any profile: what remains of a difference there is another way of working, and no kills."
    )
    yield Table(
        (
            "Experiment",
            "#Infra errors",
            "#95 % interval",
            "Causes",
            "#As deployed",
            "#95 % interval",
            "#Clean tasks",
        ),
        [_level(data, level) for study in sweep.studies.values() for level in study.levels],
    )
    yield Plot(
        "sweep",
        "Infrastructure errors and scores by profile",
        "Dots with their 95 % intervals: infrastructure errors, the score as deployed, the score of clean tasks.",
    )
    for name, study in sweep.studies.items():
        yield from _differences(name, study, several=len(sweep.studies) > 1)
    yield from _which(data, sweep)
    yield from _cost(data)
    yield from _rankings(sweep)


def _level(data: ReportData, level: stats.Level) -> tuple[str, ...]:
    causes: Counter[str] = Counter()
    for each in data.causes:
        if each.candidate == level.experiment and each.verdict == "infra_error":
            causes[each.cause.removeprefix("infra.")] += each.count
    return (
        level.experiment,
        figures.score(level.infra),
        figures.score_interval(level.infra),
        ", ".join(f"{cause} ({count})" for cause, count in causes.most_common()),
        figures.score(level.as_deployed),
        figures.score_interval(level.as_deployed),
        figures.score(level.clean),
    )


def _differences(name: str, study: stats.SweepStudy, *, several: bool) -> Iterator[Block]:
    if several:
        yield Heading(name, 3)
    yield Paragraph(
        f"{INFERENCE[study.inference]} {study.clean_tasks} of {figures.count(study.tasks, 'task')} are clean; "
        f"{study.repetitions:.3g} repetitions of each count."
    )
    yield Table(
        ("Difference", "Over", "#Points", "#95 % interval", "#p", "Shown"),
        [
            (
                f"{each.high} minus {each.low}",
                over,
                figures.points(each.difference),
                figures.interval(each.lower, each.upper),
                figures.p_value(each.p_value),
                ("yes" if each.shown else "no") if each.asked else "not asked",
            )
            for over, contrasts in (("all tasks", study.deployed), ("clean tasks", study.clean))
            for each in contrasts
        ],
    )
    yield Paragraph(
        "The order of the tests was fixed before the run: the largest box against the smallest first, then each "
        "smaller one, until a difference is not shown; so all together claim falsely in at most 5 % of sweeps."
    )
    if found := list(_facts(study)):
        yield Items(found)


def _facts(study: stats.SweepStudy) -> Iterator[Phrase]:
    if (trend := study.trend) is not None:
        falls = "fall by more than noise" if trend.falls else "do not fall by more than noise"
        yield (
            Strong("Trend:"),
            f" infrastructure errors {falls} from profile to profile ({figures.points(trend.slope)} points a step, "
            f"{figures.p_words(trend.p_value)}; stratified by task).",
        )
    if (parts := study.decomposition) is not None:
        yield (
            Strong("Where the difference comes from:"),
            f" of {figures.points(parts.total)} points as deployed, {_part(parts.errors)} are trials that are no "
            f"longer killed, and {_part(parts.behaviour)} are trials that end otherwise (Kitagawa's decomposition).",
        )
    if study.bounds is not None:
        low, high = (figures.points(each) for each in study.bounds)
        yield (
            Strong("Whatever the killed trials would have done,"),
            f" the difference in these trials lies between {low} and {high} points.",
        )


def _part(part: stats.Part) -> str:
    estimate = (
        figures.points(part.low)
        if part.low == part.high
        else f"{figures.points(part.low)} to {figures.points(part.high)}"
    )
    known = part.lower is not None and part.upper is not None
    return f"{estimate} (95 % interval {figures.interval(part.lower, part.upper)})" if known else estimate


def _which(data: ReportData, sweep: Sweep) -> Iterator[Block]:
    yield Heading("Which profile should you use?")
    yield Items(
        [(Strong(f"{name}:"), f" {study.recommendation.reason}") for name, study in sweep.studies.items()]
    )
    yield Paragraph(
        "A profile is recommended when its infrastructure errors are shown to be fewer than "
        f"{figures.percent(sweep.max_infra)}, and its score of clean tasks is shown to be the smallest profile's, "
        f"give or take {100 * sweep.margin:g} points: a larger box that changes the score asks another question."
    )
    if (chosen := sweep.recommended) is not None:
        yield from _to_paste(chosen, data)
    yield Table(
        (
            "Profile",
            "Against",
            "#Difference (points)",
            "#90 % interval",
            "Within the margin",
            "#Repetitions to show it",
        ),
        [
            (
                each.high,
                each.low,
                figures.points(each.difference),
                figures.interval(each.lower, each.upper),
                {"equivalent": "yes", "different": "no", "not shown": "not shown"}[each.verdict],
                figures.number(each.repetitions_needed if each.verdict == "not shown" else None),
            )
            for study in sweep.studies.values()
            for each in study.equivalences
        ],
    )
    yield Plot(
        "peaks",
        "Memory peak of each task against the ceilings",
        "Dots: the highest peak of a task under each profile. Lines: the ceilings.",
    )
    yield from _tasks(sweep)


def _to_paste(chosen: Profile, data: ReportData) -> Iterator[Block]:
    limits = chosen.limits
    uncapped = [
        name
        for name, limit in (("cpus", limits.cpus), ("memory", limits.memory_bytes), ("pids", limits.pids))
        if limit is None
    ]
    if uncapped:
        most = max(
            (row.memory_peak_bytes.max for row in data.candidates if row.memory_peak_bytes), default=None
        )
        yield Paragraph(
            f"{chosen.name} has no ceiling of {' and '.join(uncapped)}, and `resources` always has one: set it above "
            f"what was used here (memory: at most {figures.size(most)}), and sweep again with that."
        )
        return
    yield Paragraph("In harness.yaml:")
    reserve = f"{{cpus: {chosen.reserved_cpus:g}, memory: {_size(chosen.reserved_memory_bytes)}}}"
    yield Listing(
        f"resources:\n  cpus: {limits.cpus:g}\n  memory: {_size(limits.memory_bytes)}\n  reserve: {reserve}\n"
        f"  pids: {limits.pids}\n"
        + ("" if limits.disk_bytes is None else f"  disk: {_size(limits.disk_bytes)}\n"),
        "yaml",
    )
    if chosen.seconds is not None:
        yield Paragraph(f"And `harness.limits.seconds: {chosen.seconds:g}`.")


def _size(count: int | None) -> str:
    if count is None or count % 2**20:
        return str(count)
    return f"{count // 2**20}MiB"


def _tasks(sweep: Sweep) -> Iterator[Block]:
    hungry = [each for each in sweep.tasks if each.suffices != 0]
    if not hungry:
        yield Paragraph("No trial of any task was killed under any profile.")
        return
    yield Paragraph(
        f"{figures.count(len(hungry), 'task')} of {len(sweep.tasks)} need more than {sweep.profiles[0].name}. Killed "
        "trials under each profile, and the profile from which on none was:"
    )
    yield Table(
        ("Task", "#Highest memory peak", *(f"#{each.name}" for each in sweep.profiles), "Suffices"),
        [
            (
                each.example_id,
                figures.size(each.peak or None),
                *(f"{count}/{each.trials}" if count else "0" for count in each.killed),
                "none" if each.suffices is None else sweep.profiles[each.suffices].name,
            )
            for each in hungry[:TASKS_SHOWN]
        ],
    )
    if (more := len(hungry) - TASKS_SHOWN) > 0:
        yield Paragraph(f"And {figures.count(more, 'more task')}.")


def _cost(data: ReportData) -> Iterator[Block]:
    yield Heading("What does it cost?")
    yield Table(
        (
            "Experiment",
            "#Memory p50",
            "#Memory p95",
            "#Memory, most",
            "#Ceiling",
            "#Throttled p95",
            "#Time p50",
            "#Time p95",
            "#Cost of a trial",
            "#Cost of all",
        ),
        [_costs(row, data.manifest.profile(row.name)) for row in data.candidates],
    )


def _costs(row: CandidateReport, profile: Profile) -> tuple[str, ...]:
    memory, time, throttled = row.memory_peak_bytes, row.working_seconds, row.throttled_seconds
    return (
        row.label,
        *(figures.size(each) for each in ((memory.p50, memory.p95, memory.max) if memory else (None,) * 3)),
        "none" if profile.limits.memory_bytes is None else figures.size(profile.limits.memory_bytes),
        figures.seconds(throttled.p95 if throttled else None),
        figures.seconds(time.p50 if time else None),
        figures.seconds(time.p95 if time else None),
        figures.dollars(row.cost_usd.mean if row.cost_usd else None),
        figures.dollars(row.total_cost_usd),
    )


def _rankings(sweep: Sweep) -> Iterator[Block]:
    if not sweep.rankings:
        return
    yield Heading("Does the ranking hold?")
    yield Items([each.sentence for each in sweep.rankings])
    yield Table(
        ("Pair", "#At the smallest", "#At the largest", "#Change", "#95 % interval", "#p"),
        [
            (
                f"{each.first} minus {each.second}",
                figures.points(each.at_floor.difference),
                figures.points(each.at_ceiling.difference),
                figures.points(each.interaction.difference),
                figures.interval(each.interaction.lower, each.interaction.upper),
                figures.p_value(each.interaction.p_value),
            )
            for each in sweep.rankings
        ],
    )
