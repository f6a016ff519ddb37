"""report.md: for a buyer who was not there and believes nothing without its conditions.

It answers, in order: what is the decision, what exactly was the harness, what is the infrastructure error
rate, does the test environment resemble production. Made from the run directory alone, so the same
directory gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from bakeoff.escape import code, code_block, markdown, markdown_cell
from bakeoff.records import JsonDict, ResourceLimits
from bakeoff.report import figures
from bakeoff.report.data import SCORES, CandidateReport, ReportData, Spread
from bakeoff.stats import Comparison
from bakeoff.verdict import LIMIT_CAUSES, describe

EXCERPT = 160  # characters of hostile text in a table

SCORE_MEANINGS = {
    "score": "Infrastructure errors are left out: the fairest figure, if they hit all alike.",
    "as_deployed": "Errors that the pinned limits caused (memory, disk, processes, CPU) are failures: "
    "what production with these limits would see.",
    "worst_case": "Every infrastructure error is a failure: the score cannot be lower.",
    "best_case": "Every infrastructure error is a pass: the score cannot be higher.",
}


def render(data: ReportData) -> str:
    """The whole report. Its first line is the decision."""
    sections = (
        _decision,
        _scoreboard,
        _comparisons,
        _harness,
        _infrastructure,
        _four_scores,
        _resources,
        _host,
        _causes,
        _slices,
        _reproduce,
        _limits_of_this_report,
    )
    return "\n".join(line for section in sections for line in section(data)).rstrip() + "\n"


# --- building blocks --------------------------------------------------------------------------------


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table of cells that are Markdown already; headings that begin with `#` are numbers and go right."""
    yield "| " + " | ".join(heading.removeprefix("#") for heading in headings) + " |"
    yield "| " + " | ".join("---:" if heading.startswith("#") else "---" for heading in headings) + " |"
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def _heading(title: str, *explanation: str) -> Iterator[str]:
    yield from (f"## {title}", "")
    if explanation:
        yield from (" ".join(explanation), "")


def _time(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else figures.UNKNOWN


def _value(value: Any) -> str:
    """Any plain value as a cell."""
    if value is None or value in ({}, []):
        return figures.UNKNOWN
    return markdown_cell(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), EXCERPT)


def _name(row: CandidateReport) -> str:
    return markdown_cell(row.name) + (" (simulated)" if row.simulated else "")


# --- the sections, in the order in which they are read ------------------------------------------------


def _decision(data: ReportData) -> Iterator[str]:
    manifest = data.manifest
    yield from (f"**{markdown(data.sentence, 2000)}**", "")
    when = f"{_time(manifest.started_at)} to {_time(manifest.finished_at)}"
    version = code(manifest.bakeoff_version)
    yield f"Run {code(manifest.run_id)}, {when}, state: {manifest.state}, bakeoff {version}."
    yield (
        f"{len(data.candidates)} candidates, {manifest.dataset.get('rows', figures.UNKNOWN)} examples, "
        f"{data.n} of {manifest.trials_planned} planned trials have a verdict."
    )
    yield ""
    if data.inconclusive:
        yield from (
            "**Inconclusive** means: too much of what happened was not the models' doing. The numbers below "
            "are shown so that the cause can be found, not to choose a model by.",
            "",
        )
        # the statistics are still told, below the stamp that forbids to act on them
        alone = markdown(data.decision.sentence, 2000)
        yield from (f"Without that reservation the numbers would say: {alone}", "")
    if simulated := [row.name for row in data.candidates if row.simulated]:
        yield from (
            f"**Simulated**: {markdown(', '.join(simulated))} made no call to any model. These numbers",
            "say how the harness and the box behave, and nothing of a real model.",
            "",
        )
    for caveat in data.decision.caveats:
        yield f"- {markdown(caveat, 1000)}"
    for warning in data.warnings:
        yield f"- Warning: {markdown(warning, 1000)}"
    if data.decision.caveats or data.warnings:
        yield ""


def _scoreboard(data: ReportData) -> Iterator[str]:
    yield from _heading(
        "Scoreboard",
        "Score is the share of trials that passed, infrastructure errors left out. The interval holds the",
        "true score with 95 % confidence; repetitions of one example (or cluster) count as related, not as",
        "new evidence. Cost, time, tokens and turns are of one trial with a verdict on the model; cost,",
        "tokens and turns are means, time is the agent's working time without queueing for the provider.",
    )
    headings = ("Candidate", "#Trials", "#Score", "#95 % interval", "#Passed", "#Failed", "#Infra errors")
    use = ("#Cost", "#Time p50", "#Time p95", "#Tokens in", "#Tokens out", "#Turns")
    yield from _table((*headings, *use), (_score_row(row) for row in data.candidates))
    params = {row["name"]: row.get("params") for row in data.manifest.candidates}
    yield from _table(
        ("Candidate", "Model", "Parameters"),
        ((_name(row), _value(row.model), _value(params.get(row.name))) for row in data.candidates),
    )
    if names := sorted({name for row in data.candidates for name in row.evaluators}):
        yield from ("Mean of each evaluator, over the trials that it scored:", "")
        yield from _table(
            ("Candidate", *(f"#{markdown_cell(name)}" for name in names)),
            (
                (_name(row), *(figures.number(row.evaluators.get(name), 3) for name in names))
                for row in data.candidates
            ),
        )


def _score_row(row: CandidateReport) -> tuple[str, ...]:
    time = row.working_seconds
    tokens = (row.input_tokens, row.output_tokens)
    return (
        _name(row),
        str(row.n),
        figures.score(row.scores.score),
        figures.score_interval(row.scores.score),
        *(str(count) for count in row.counts.values()),
        figures.dollars(row.cost_usd.mean if row.cost_usd else None),
        figures.seconds(time.p50 if time else None),
        figures.seconds(time.p95 if time else None),
        *(figures.number(round(spread.mean) if spread else None) for spread in tokens),
        figures.number(row.model_calls.mean if row.model_calls else None, 3),
    )


def _comparisons(data: ReportData) -> Iterator[str]:
    pairs = data.decision.comparisons
    if not pairs:
        return
    yield from _heading(
        "Is the difference real?",
        "Each pair is compared on the examples that both completed. The p-value is the chance of a",
        "difference at least this large if the two were equal; it is corrected for the number of pairs",
        "(Holm). The smallest detectable difference is what this many examples would show four times out",
        "of five: a smaller true difference stays unseen, and not seeing one is no proof that there is",
        "none.",
    )
    headings = (
        "Pair",
        "#Examples",
        "#Difference (points)",
        "#95 % interval",
        "#p, corrected",
        "Told apart",
        "#Smallest detectable",
    )
    yield from _table(headings, (_pair_row(pair) for pair in pairs))


def _pair_row(pair: Comparison) -> tuple[str, ...]:
    return (
        f"{markdown_cell(pair.first)} minus {markdown_cell(pair.second)}",
        str(pair.examples),
        figures.points(pair.difference),
        figures.interval(pair.low, pair.high),
        figures.p_value(pair.p_adjusted),
        "yes" if pair.distinguishable else "no",
        figures.points(pair.minimum_detectable_effect).lstrip("+"),
    )


def _harness(data: ReportData) -> Iterator[str]:
    manifest = data.manifest
    config, image = manifest.config, manifest.image
    harness: JsonDict = config.get("harness") or {}
    base: JsonDict = image.get("base") or {}
    prompt = harness.get("prompt")
    facts: dict[str, Any] = {
        "Name": config.get("name"),
        "Entry point": harness.get("entrypoint"),
        "Prompt": f"sha256:{hashlib.sha256(prompt.encode()).hexdigest()}" if prompt else None,
        "Tools": harness.get("tools"),
        "Middleware": harness.get("middleware"),
        "Source": harness.get("source"),
        "Requirements": harness.get("requirements"),
        "Limits": harness.get("limits"),
        "Retry budget": harness.get("retries"),
        "Configuration": harness.get("config"),
        "Evaluators": "; ".join(_evaluator(each) for each in config.get("evaluators") or ()),
        "Image": f"{image.get('reference', '')} {image.get('id', '')}".strip(),
        "Base image": " ".join(str(base[key]) for key in ("reference", "digest", "kind") if base.get(key)),
        "Python": image.get("python"),
        "Dataset": f"{manifest.dataset.get('path')} {manifest.dataset.get('digest')}",
        "Repetitions": config.get("trials"),
        "Seed": config.get("seed"),
        "Fingerprint": manifest.fingerprint,
    }
    yield from _heading(
        "What exactly was the harness?",
        "Everything here was the same for every candidate. Two results may be compared only where the",
        "fingerprint is the same; where it is not, its parts say what differs.",
    )
    rows = ((name, _long(value)) for name, value in facts.items() if value not in (None, "", [], {}))
    yield from _table(("What", "Value"), rows)
    yield from _table(
        ("Part of the fingerprint", "Digest"),
        (
            (markdown_cell(part), markdown_cell(digest))
            for part, digest in sorted(manifest.fingerprint_parts.items())
        ),
    )
    packages: Mapping[str, str] = image.get("packages") or {}
    listed = "\n".join(f"{name}=={version}" for name, version in sorted(packages.items()))
    yield from ("<details><summary>Python packages in the image</summary>", "")
    yield from (code_block(listed or "not recorded", limit=100_000), "", "</details>", "")


def _long(value: Any) -> str:
    return markdown_cell(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 2000)


def _evaluator(each: JsonDict) -> str:
    threshold = each.get("threshold")
    required = "reported only" if threshold is None else f"at least {threshold}"
    options = f" {json.dumps(each['options'], ensure_ascii=False)}" if each.get("options") else ""
    return f"{each.get('name')}{options}: {required}"


def _infrastructure(data: ReportData) -> Iterator[str]:
    yield from _heading(
        "What is the infrastructure error rate?",
        f"{figures.percent(data.infra_error_rate)} of all trials ({data.infra_errors} of {data.n}) ended",
        f"without a verdict on the model; above {figures.percent(data.max_error_rate)} for any candidate",
        "the run is inconclusive. Only infrastructure errors are tried again, in a fresh container; a",
        "model's failure is not.",
    )
    yield from _table(
        ("Candidate", "#Infra errors", "#Rate", "#Attempts beyond the first", "#Trials saved by them"),
        (
            (
                _name(row),
                str(row.counts["infra_error"]),
                figures.percent(row.infra_error_rate),
                str(row.reattempts),
                str(row.recovered),
            )
            for row in data.candidates
        ),
    )
    causes: dict[str, Counter[str]] = {}
    for each in data.causes:
        if each.verdict == "infra_error":
            causes.setdefault(each.cause, Counter())[each.candidate] += each.count
    if not causes:
        return
    names = [row.name for row in data.candidates]
    yield from _table(
        ("Cause", "Meaning", "By the pinned limits", *(f"#{markdown_cell(name)}" for name in names)),
        (
            (
                markdown_cell(cause),
                markdown_cell(describe(cause)),
                "yes" if cause in LIMIT_CAUSES else "no",
                *(str(counts[name]) for name in names),
            )
            for cause, counts in sorted(causes.items())
        ),
    )


def _four_scores(data: ReportData) -> Iterator[str]:
    yield from _heading(
        "The four scores",
        "Leaving infrastructure errors out can flatter a candidate. Where the four agree, they did not",
        "matter; where worst and best case are far apart, the truth is between them and this run cannot",
        "say where.",
    )
    for name in SCORES:
        yield f"- {markdown(name)}: {SCORE_MEANINGS[name]}"
    yield ""
    rows = []
    for row in data.candidates:
        four = [getattr(row.scores, name) for name in SCORES]
        cells = [f"{figures.score(each)} ({figures.score_interval(each)})" for each in four]
        rows.append((_name(row), *cells))
    yield from _table(("Candidate", *(f"#{markdown_cell(name)}" for name in SCORES)), rows)


def _resources(data: ReportData) -> Iterator[str]:
    yield from _heading(
        "Does the test environment resemble your production?",
        "A score holds for the resources that it was measured with. Requested is what harness.yaml asks",
        "for, effective is what Docker and the kernel said when asked back, in how many trials.",
    )
    configurations = [("requested", data.manifest.resources, "")]
    configurations += [("effective", limits, str(count)) for limits, count in data.effective]
    headings = ("", "#CPUs", "#Memory", "#Processes", "#Disk", "Network", "#Trials")
    yield from _table(headings, ((kind, *_limits(limits), count) for kind, limits, count in configurations))
    reserve = ((data.manifest.config.get("resources") or {}).get("reserve")) or {}
    if reserve:
        floor = f"{figures.number(reserve.get('cpus'))} CPUs and {figures.size(reserve.get('memory'))}"
        yield (
            f"Each trial was admitted only when {floor} were free for it (the reserve, its guaranteed floor)."
        )
    yield f"At most {data.manifest.max_concurrency} containers ran at the same time. There is no swap."
    yield "The one writable place, /task, is kept in memory: what is in it counts against the memory limit."
    yield ""
    yield from (
        "Observed use, with the headroom that the largest left to the limit. Where it is small, a slightly",
        "larger task may be killed here and not in production, or the reverse.",
        "",
    )
    rows = [cells for row in data.candidates for cells in _observed(row, data.manifest.resources)]
    yield from _table(("Candidate", "Resource", "#p50", "#p95", "#Largest", "#Limit", "#Headroom"), rows)
    for row in data.candidates:
        if row.bound:
            met = ", ".join(f"{limit} ({count})" for limit, count in row.bound.items())
            yield f"- {_name(row)} ran into its limits, and in how many trials: {markdown(met)}."
    yield ""


def _limits(limits: ResourceLimits) -> tuple[str, ...]:
    return (
        figures.number(limits.cpus),
        figures.size(limits.memory_bytes),
        figures.number(limits.pids),
        figures.size(limits.disk_bytes),
        _value(limits.network),
    )


def _observed(row: CandidateReport, limits: ResourceLimits) -> Iterator[tuple[str, ...]]:
    measured: list[tuple[str, Spread | None, Any, float | None]] = [
        ("memory, peak", row.memory_peak_bytes, figures.size, limits.memory_bytes),
        ("processes, peak", row.pids_peak, figures.number, limits.pids),
        ("disk, peak", row.disk_bytes, figures.size, limits.disk_bytes),
        ("CPU time", row.cpu_seconds, figures.seconds, None),
        ("CPU time throttled", row.throttled_seconds, figures.seconds, None),
    ]
    for name, spread, show, limit in measured:
        if spread is None:
            yield (_name(row), name, *(figures.UNKNOWN,) * 5)
            continue
        headroom = figures.percent(max(1 - spread.max / limit, 0), 0) if limit else figures.UNKNOWN
        values = (show(spread.p50), show(spread.p95), show(spread.max))
        yield (_name(row), name, *values, show(limit), headroom)
    yield (
        _name(row),
        "OOM kills",
        figures.UNKNOWN,
        figures.UNKNOWN,
        str(row.oom_kills),
        figures.UNKNOWN,
        figures.UNKNOWN,
    )


def _host(data: ReportData) -> Iterator[str]:
    yield from _heading("The host", "The machine that ran the containers.")
    rows = (
        (markdown_cell(key.replace("_", " ").removesuffix(" bytes")), _host_value(key, value))
        for key, value in data.manifest.host.items()
    )
    yield from _table(("What", "Value"), rows)


def _host_value(key: str, value: Any) -> str:
    return figures.size(value) if key.endswith("_bytes") and isinstance(value, int) else _value(value)


def _causes(data: ReportData) -> Iterator[str]:
    if not data.causes:
        return
    yield from _heading(
        "Why trials did not pass",
        "One row a cause, with its first case: the fact that decided, and how the agent's answer begins.",
    )
    yield from _table(
        ("Candidate", "Verdict", "Cause", "#Trials", "Meaning", "First case", "Deciding fact", "Answer"),
        (
            (
                markdown_cell(row.candidate),
                row.verdict,
                markdown_cell(row.cause),
                str(row.count),
                markdown_cell(describe(row.cause)),
                markdown_cell(row.trial_id),
                markdown_cell(row.because, EXCERPT),
                markdown_cell(row.output, EXCERPT),
            )
            for row in data.causes
        ),
    )


def _slices(data: ReportData) -> Iterator[str]:
    for by, title in (("suite", "By suite"), ("cluster", "By cluster")):
        mine = [row for row in data.slices if row.by == by]
        if not mine or all(row.name in data.manifest.dataset.get("example_ids", ()) for row in mine):
            continue  # where every example is its own cluster, a table of them says nothing
        yield from _heading(title, "Passed of the trials that were judged; infrastructure errors apart.")
        names = [row.name for row in data.candidates]
        cells = {
            (
                row.name,
                row.candidate,
            ): f"{row.counts['passed']}/{row.counts['passed'] + row.counts['failed']} "
            f"({figures.percent(row.score, 0)})"
            + (f", {row.counts['infra_error']} infra" if row.counts["infra_error"] else "")
            for row in mine
        }
        yield from _table(
            (by.capitalize(), *(f"#{markdown_cell(name)}" for name in names)),
            (
                (markdown_cell(part), *(cells.get((part, name), figures.UNKNOWN) for name in names))
                for part in dict.fromkeys(row.name for row in mine)
            ),
        )


def _reproduce(data: ReportData) -> Iterator[str]:
    manifest = data.manifest
    yield from _heading(
        "How to reproduce",
        f"With bakeoff {code(manifest.bakeoff_version)}, the same harness file and dataset, and seed",
        f"{manifest.config.get('seed')}; everything random derives from the seed and each trial's id, so",
        "order and concurrency change nothing. Real models may still answer differently from day to day.",
    )
    command = shlex.join(manifest.command) or f"bakeoff run {shlex.quote(manifest.harness_file)}"
    yield from (code_block(command, "sh"), "")
    files = ", ".join(code(name) for name in ("manifest.json", "trials.jsonl", "trajectories/", "attempts/"))
    again = code(f"bakeoff report {manifest.run_id}")
    yield f"Every fact is in the run directory: {files}. This report is made again with {again}."
    yield ""


def _limits_of_this_report(data: ReportData) -> Iterator[str]:
    yield from _heading("What this report does not show")
    yield "- Whether the examples are like your users' requests: it measures these examples only."
    yield "- Other resources: another memory or CPU limit can move scores by more than the models differ."
    yield "- Another harness: the same models may rank otherwise with another prompt or other tools."
    yield "- What the attempts that were tried again cost: tokens and costs are of each trial's last attempt."
    if any(row.total_cost_usd is None for row in data.candidates):
        yield f"- The cost where it reads {figures.UNKNOWN}: the price of at least one call is not known."
    if data.simulated:
        yield "- Anything about a real model, where a candidate is simulated."
