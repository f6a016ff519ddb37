"""An MLflow run's parameters, metrics and tags: the candidate's configuration and the numbers of the report.

What is not known has no field: MLflow would show a NaN or an empty text as if it had been measured. The table in
docs/publishing.md lists every field.
"""

from __future__ import annotations

import hashlib
import json
import math
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bakeoff.publish.source import Source
from bakeoff.record.base import JsonDict
from bakeoff.record.configuration import Reserve
from bakeoff.record.trial import ResourceLimits
from bakeoff.report.data import GIVEN, USED, CandidateReport, Spread
from bakeoff.report.summary import deaths
from bakeoff.stats import Estimate
from bakeoff.text import escape

# MLflow's limits are 250 characters of a key, 6000 of a parameter and 8000 of a tag
KEY_CHARACTERS, PARAM_CHARACTERS, TAG_CHARACTERS = 250, 5900, 5000
NOTE_CHARACTERS = 100  # that say how much was cut
SPREAD = ("mean", "p50", "p95", "max")


@dataclass(frozen=True, slots=True)
class Fields:
    """One run's fields by key. Metrics are finite."""

    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]  # bakeoff's, kept equal to the run directory
    first_tags: Mapping[str, str]  # MLflow's, set once: its users may change them


def of(source: Source, candidate: CandidateReport, effective: Mapping[ResourceLimits, int]) -> Fields:
    """Fields of a candidate's run. `effective`: its limits as read back, and how many trials had them."""
    return Fields(
        params=_texts(_params(source, candidate, effective), PARAM_CHARACTERS),
        metrics={
            _key(key): float(value)
            for key, value in _metrics(source, candidate)
            if value is not None and math.isfinite(value)
        },
        tags=_texts(_tags(source, candidate), TAG_CHARACTERS),
        first_tags={
            "mlflow.note.content": _note(source, candidate),
            "mlflow.source.name": "bakeoff",
            "mlflow.source.type": "JOB",
        },
    )


def run_name(source: Source, candidate: CandidateReport) -> str:
    """The run's name, stamped with what a reader must know before trusting its numbers."""
    return escape.line(candidate.label + (" (inconclusive)" if source.report.inconclusive else ""))


def resources(
    source: Source, candidate: CandidateReport, effective: Mapping[ResourceLimits, int]
) -> JsonDict:
    """resources.json: the full resource configuration: requested, read back and used. Bytes and seconds."""
    manifest = source.manifest
    given = manifest.config.resources
    return {
        "run_id": manifest.run_id,
        "candidate": candidate.name,
        "requested": manifest.resources.model_dump(),
        "reserve": _reserve(given.reserve),
        "pin": given.pin,
        "effective": [{"limits": each.model_dump(), "trials": trials} for each, trials in effective.items()],
        "observed": {
            **{name: _spread(getattr(candidate, name)) for name in GIVEN},
            "oom_kills": candidate.oom_kills,
            "bound": dict(candidate.bound),
            "contended": candidate.contended,
        },
        "max_concurrency": manifest.max_concurrency,
        **manifest.model_dump(mode="json", include={"image", "host", "host_worst"}),
    }


def _spread(spread: Spread | None) -> JsonDict | None:
    return None if spread is None else asdict(spread)


def _reserve(reserve: Reserve) -> JsonDict:
    return {"cpus": reserve.cpus, "memory_bytes": reserve.memory}


def _params(
    source: Source, candidate: CandidateReport, effective: Mapping[ResourceLimits, int]
) -> Iterator[tuple[str, Any]]:
    manifest, config = source.manifest, source.manifest.config
    yield from {
        "candidate": candidate.name,
        "model": candidate.model,
        "simulated": candidate.simulated,
        "profiles": source.profiles or None,
        "trials": source.report.repetitions,
        "seed": config.seed,
        "max_concurrency": manifest.max_concurrency,
        "bakeoff_version": manifest.bakeoff_version,
        "fingerprint": manifest.fingerprint,
        "harness": config.name,
    }.items()
    yield from _flat("params", manifest.candidate(candidate.name).params)
    yield from _flat("harness", config.harness.model_dump())
    yield from _flat("infra", config.infra.model_dump())
    yield from _flat("resources.requested", manifest.resources.model_dump())
    yield from _flat("resources.reserve", _reserve(config.resources.reserve))
    yield "resources.pin", config.resources.pin
    if len(effective) == 1:
        yield from _flat("resources.effective", next(iter(effective)).model_dump())
    else:
        yield "resources.effective", f"{len(effective)} different ones: see resources.json"
    yield from _flat("image", manifest.image.model_dump(exclude={"packages"}))
    dataset = manifest.dataset
    yield from _flat("dataset", dataset.model_dump(include={"path", "digest", "rows", "langsmith"}))
    yield "dataset.examples", len(dataset.example_ids)
    yield from _flat("fingerprint", manifest.fingerprint_parts)
    for evaluator in config.evaluators:
        yield f"evaluator.{evaluator.name}", evaluator.model_dump(exclude={"name"}, exclude_none=True)
    yield from _flat("host", manifest.host.model_dump())


def _metrics(source: Source, candidate: CandidateReport) -> Iterator[tuple[str, float | None]]:
    report = source.report
    for counting, estimate in candidate.scores.by.items():
        yield from _estimate(counting, estimate)
    yield "died_inside", candidate.scores.died_inside
    yield from _estimate("infra_error_rate", candidate.scores.infra_rate)
    yield "trials_finished", candidate.n
    for verdict, count in candidate.counts.items():
        yield verdict, count
    yield "pass_at_k", candidate.pass_at_k
    yield "pass_hat_k", candidate.pass_hat_k
    for name, mean in candidate.evaluators.items():
        yield f"evaluator/{name}", mean
    for each in report.causes:
        if each.candidate == candidate.name:
            yield f"cause/{each.cause}", each.count
            yield f"cause_rate/{each.cause}", each.count / candidate.n
    yield from _measured(candidate, source.manifest.resources.memory_bytes)
    for name in ("oom_kills", "contended", "reattempts", "recovered"):
        yield name, getattr(candidate, name)
    for limit, count in candidate.bound.items():
        yield f"bound/{limit}", count
    for cause, count in candidate.lost_attempts.items():
        yield f"lost_attempts/{cause}", count


def _measured(candidate: CandidateReport, memory_limit: int | None) -> Iterator[tuple[str, float | None]]:
    """What the trials used: money, tokens, time, and the resources of their sandboxes."""
    yield "cost_usd_total", candidate.total_cost_usd
    yield "wasted_tool_calls_share", candidate.wasted_share
    for name in (*USED, *GIVEN):
        spread: Spread | None = getattr(candidate, name)
        if spread is not None:
            for figure in SPREAD:
                yield f"{name}_{figure}", getattr(spread, figure)
            yield f"{name}_n", spread.n
    peak = candidate.memory_peak_bytes
    if memory_limit and peak is not None:
        for figure in SPREAD:
            yield f"memory_peak_share_of_limit_{figure}", getattr(peak, figure) / memory_limit


def _estimate(name: str, estimate: Estimate | None) -> Iterator[tuple[str, float | None]]:
    if estimate is not None:
        yield name, estimate.mean
        yield f"{name}_low", estimate.low
        yield f"{name}_high", estimate.high


def _tags(source: Source, candidate: CandidateReport) -> Iterator[tuple[str, Any]]:
    manifest, report = source.manifest, source.report
    yield "bakeoff.run_id", manifest.run_id
    yield "bakeoff.candidate", candidate.name
    yield "bakeoff.harness", source.harness
    yield "bakeoff.version", manifest.bakeoff_version
    yield "bakeoff.fingerprint", manifest.fingerprint
    yield "bakeoff.simulated", candidate.simulated
    yield "bakeoff.inconclusive", report.inconclusive
    yield "bakeoff.decision", report.sentence
    for verdict, count in candidate.counts.items():
        yield f"bakeoff.{verdict}", count
    yield "bakeoff.resources", manifest.resources.model_dump()
    yield "bakeoff.deaths_are_failures", deaths(candidate.scores)
    if report.doubts:
        yield "bakeoff.doubts", "\n".join(report.doubts)
    if report.warnings:
        yield "bakeoff.warnings", "\n".join(report.warnings)


def _note(source: Source, candidate: CandidateReport) -> str:
    """The run's description, Markdown."""
    limits = source.manifest.resources
    counts = ", ".join(f"{count} {verdict.replace('_', ' ')}" for verdict, count in candidate.counts.items())
    lines = [
        f"**{escape.markdown(source.report.sentence, 1000)}**",
        f"{escape.markdown(candidate.label)}, {escape.code(candidate.model)}: {counts}.",
        f"Limits: {_number(limits.cpus)} CPUs, {_number(limits.memory_bytes)} bytes of memory, "
        f"{_number(limits.pids)} pids, {_number(limits.disk_bytes)} bytes of disk, "
        f"network {escape.markdown(str(limits.network))}. "
        "Everything else is in the artifacts: report.html, report.md, resources.json.",
    ]
    return "\n\n".join(lines)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,g}" if isinstance(value, float) else f"{value:,}"


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A nested object as dotted keys; a list is one value."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}", inner)
    elif value not in (None, [], ""):
        yield prefix, value


def _plain(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _texts(values: Iterable[tuple[str, Any]], limit: int) -> dict[str, str]:
    """As MLflow takes them. Control characters are made visible, which takes room, and so the text is cut again."""
    plain = ((key, _plain(value)) for key, value in values)
    return {
        _key(key): escape.terminal(value, limit)[: limit + NOTE_CHARACTERS]
        for key, value in plain
        if value is not None
    }


def _key(name: str) -> str:
    """A key that MLflow takes. A changed key ends in a digest, so that no two become one."""
    key = re.sub(r"[^\w.\- /]", "_", name, flags=re.ASCII)
    if posixpath.normpath(key) != key or key.startswith(("/", "..")):
        key = key.replace("/", "_").replace("..", "__")
    if key == name and len(key) <= KEY_CHARACTERS:
        return key
    return (
        f"{key[: KEY_CHARACTERS - 9]}.{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"
    )
