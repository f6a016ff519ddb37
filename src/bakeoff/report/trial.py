"""One trial in the terminal: what was asked, done, returned and measured, and why it was judged so."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bakeoff.errors import InputError
from bakeoff.record.base import JsonDict
from bakeoff.record.evidence import Sampled
from bakeoff.record.store import RunDirectory, file_name
from bakeoff.record.trial import AttemptRecord, Observed, TrialRecord
from bakeoff.text import escape, figures
from bakeoff.verdict import describe

LOG_LINES = 20  # of the end of each attempt's log
COMPARED_IDS = 5000  # for a suggestion: comparing is slow, and the reader waits
STYLES = {"passed": "bold green", "failed": "bold red", "infra_error": "bold yellow"}
OUTCOMES = {  # of a tool call that did not run
    "rejected": "rejected",
    "unknown_tool": "no such tool",
    "malformed": "malformed arguments",
    "not_run": "never ran",
    "answer": "the answer's form",
}
SOURCES = {"system": "dim", "user": "bold cyan", "agent": "bold magenta"}


def find(run: RunDirectory, trial_id: str) -> TrialRecord:
    """The trial with this id (or with its file's name). Raises InputError that suggests the nearest ids."""
    seen: list[str] = []
    for record in run.trials():
        if trial_id in (record.trial_id, file_name(record.trial_id)):
            return record
        seen.append(record.trial_id)
    near = [each for each in seen if trial_id in each][:3]
    near = near or difflib.get_close_matches(trial_id, seen[:COMPARED_IDS], cutoff=0.5)
    raise InputError(
        f"no finished trial is called {escape.line(trial_id)}",
        file=str(run.path),
        hint=f"perhaps {' or '.join(near)}" if near else f"`bakeoff show {run.path}` lists the failing ones",
    )


def view(run: RunDirectory, record: TrialRecord) -> RenderableType:
    """Everything the run directory knows about the trial."""
    parts: list[RenderableType] = [
        _head(record),
        _resources(record),
        *_steps(run.trajectory(record.trial_id)),
    ]
    for number, attempt in enumerate(record.attempts, start=1):
        parts += _attempt(number, attempt, run.log(record.trial_id, number))
    return Group(*parts)


def _head(record: TrialRecord) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    verdict = Text(record.verdict, style=STYLES[record.verdict])
    if record.cause:
        verdict.append(f"  {record.cause}: {describe(record.cause)}", style="default")
    usage, clock, attempts = record.usage, record.seconds, len(record.attempts)
    tokens = f"{figures.number(usage.input_tokens)} tokens in, {figures.number(usage.output_tokens)} out"
    rows: dict[str, Text] = {
        "trial": Text(escape.line(record.trial_id), style="bold"),
        "model": Text(escape.line(record.model)),
        "verdict": verdict,
        "scores": Text(
            escape.line("  ".join(f"{name} {score:.3g}" for name, score in record.scores.items())) or "none"
        ),
        "usage": Text(f"{usage.model_calls} model calls, {tokens}, {figures.dollars(usage.cost_usd)}")
        + (f", in {attempts} attempts" if attempts > 1 else ""),
        "time": Text(
            f"{figures.seconds(clock.working)} working, {figures.seconds(clock.model)} of it in the model; "
            f"{figures.seconds(clock.queued)} queued; {figures.seconds(clock.wall)} in all"
        ),
        "answer": Text(escape.terminal(record.output) or "none"),
    }
    for name, text in rows.items():
        table.add_row(Text(name, style="dim"), text)
    return table


def _resources(record: TrialRecord) -> RenderableType:
    given = record.resources
    table = Table("", "requested", "effective", "observed", box=None, title="resources", title_justify="left")
    observed = given.observed
    used = {
        "cpus": f"{figures.seconds(observed.cpu_seconds)} used, "
        f"{figures.seconds(observed.throttled_seconds)} throttled",
        "memory_bytes": f"{figures.size(observed.memory_peak_bytes)} at most{_sampled(observed, 'memory_peak_bytes')}, "
        f"{figures.number(observed.oom_kills)} OOM kills",
        "pids": f"{figures.number(observed.pids_peak)} at most{_sampled(observed, 'pids_peak')}",
        "disk_bytes": f"{figures.size(observed.disk_bytes)} at most",
        "network": figures.UNKNOWN,
    }
    for key, observation in used.items():
        show = figures.size if key.endswith("_bytes") else _plain
        values = (show(getattr(given.requested, key)), show(getattr(given.effective, key)))
        table.add_row(key.removesuffix("_bytes"), *values, observation)
    if record.resource_bound:
        table.caption = Text(f"ran into its limit of: {escape.line(', '.join(record.resource_bound))}")
    return table


def _sampled(observed: Observed, name: Sampled) -> str:
    return " (sampled)" if name in observed.sampled else ""


def _plain(value: float | str | None) -> Text:
    return Text(escape.line(value) if isinstance(value, str) else figures.number(value))


def _steps(trajectory: JsonDict | None) -> Iterator[RenderableType]:
    if trajectory is None:
        yield Text("\nno trajectory was written for this trial", style="dim")
        return
    for step in trajectory.get("steps", []):
        source, extra = str(step.get("source")), step.get("extra") or {}
        named = escape.line(f"{step.get('step_id')} {source}")
        title = Text(f"\n{named}", style=SOURCES.get(source, ""))
        if "seconds" in extra:
            started = escape.line(str(extra.get("started")))
            title.append(f"  at {started} s, {figures.seconds(extra['seconds'])}", style="dim")
        yield title
        if message := step.get("message"):
            yield _indented(message if isinstance(message, str) else _json(message))
        results = (step.get("observation") or {}).get("results", [])
        for call in step.get("tool_calls") or []:
            yield _tool_call(call)
            mine = [result for result in results if result.get("source_call_id") == call.get("tool_call_id")]
            yield from (_result(result) for result in mine)
            results = [result for result in results if result not in mine]
        yield from (_result(result) for result in results)


def _tool_call(call: JsonDict) -> Text:
    extra = call.get("extra") or {}
    arguments = extra.get("raw_arguments") if extra.get("malformed") else _json(call.get("arguments"))
    text = Text("  → ", style="cyan")
    text.append(escape.line(f"{call.get('function_name')}({arguments})", limit=1000))
    if (outcome := OUTCOMES.get(extra.get("outcome", "ran"))) is not None:
        text.append(f"  {outcome}", style="bold red")
    if "seconds" in extra:
        text.append(f"  {figures.seconds(extra['seconds'])}", style="dim")
    if extra.get("timed_out"):
        text.append("  timed out", style="bold red")
    return text


def _result(result: JsonDict) -> Text:
    content = result.get("content")
    text = _indented(content if isinstance(content, str) else _json(content), first="  ← ")
    if error := (result.get("extra") or {}).get("error"):
        text.append(f"\n    {escape.line(str(error))}", style="red")
    return text


def _attempt(number: int, attempt: AttemptRecord, log: str | None) -> Iterator[RenderableType]:
    title = Text(f"\nattempt {number}: ", style="bold")
    title.append(attempt.verdict, style=STYLES[attempt.verdict])
    why = escape.line(f"{attempt.cause or ''} {attempt.because}", limit=500)
    title.append(f" {why}", style="default")
    yield title
    table = Table.grid(padding=(0, 2))
    for key, value in _flat(attempt.evidence.model_dump(mode="json", exclude_defaults=True)):
        table.add_row(Text(f"  {key}", style="dim"), Text(escape.line(value, limit=500)))
    yield table
    if log:
        lines = log.splitlines()
        kept = lines[-LOG_LINES:]
        yield Text(f"  log, last {len(kept)} of {len(lines)} lines", style="dim")
        yield _indented("\n".join(kept), first="  │ ", rest="  │ ")


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested facts as dotted names and one-line values."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value if isinstance(value, str) else _json(value)


def _indented(text: str, *, first: str = "    ", rest: str = "    ") -> Text:
    return Text(first + escape.terminal(text).replace("\n", f"\n{rest}"))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
