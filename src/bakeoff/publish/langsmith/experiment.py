"""One candidate's experiment in LangSmith: a project of the dataset, with the full resource configuration.

It gets its end time once everything of it has arrived: an experiment without one is half published.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from bakeoff.errors import InputError
from bakeoff.publish.langsmith.client import Connection
from bakeoff.publish.langsmith.dataset import PublishedDataset
from bakeoff.publish.langsmith.runs import CAUSE, SCORE, VERDICT, feedback_key, stored_score
from bakeoff.publish.source import Source
from bakeoff.record.base import JsonDict
from bakeoff.record.trial import ResourceLimits
from bakeoff.report.data import GIVEN, USED, CandidateReport
from bakeoff.text.escape import storable

if TYPE_CHECKING:
    from langsmith.schemas import TracerSession

Effective = Mapping[str, Counter[ResourceLimits]]


@dataclass(frozen=True)
class Experiment:
    """One candidate's experiment. `fresh`: it was made just now, and nothing can be in it."""

    candidate: CandidateReport
    id: UUID
    name: str
    fresh: bool


def name_of(source: Source, candidate: CandidateReport) -> str:
    """The experiment's name: the same wherever it is published from."""
    return f"{source.harness}-{candidate.name}-{source.run_id}"


def find(
    connection: Connection, source: Source, candidate: CandidateReport, dataset: UUID | None
) -> TracerSession | None:
    """The experiment, if it is there already.

    Raises:
        InputError: another project has its name.
    """
    from langsmith.utils import LangSmithNotFoundError

    name = name_of(source, candidate)
    there: TracerSession | None = None
    with connection.errors(), suppress(LangSmithNotFoundError):
        there = connection.client.read_project(project_name=name)
    if there is None:
        return None
    if there.metadata.get("run_id") != source.run_id or there.reference_dataset_id != dataset:
        raise InputError(
            f"LangSmith has a project {name!r} already, which is not this candidate's experiment of that dataset",
            hint="Publish to the dataset that it belongs to, or delete or rename it there.",
        )
    return there


def begin(
    connection: Connection,
    source: Source,
    candidate: CandidateReport,
    dataset: PublishedDataset,
    effective: Effective,
) -> Experiment:
    """Make the experiment, or update its metadata. Raises NotPublished, InputError."""
    from langsmith.utils import LangSmithConflictError

    name, manifest = name_of(source, candidate), source.manifest
    metadata = _metadata(source, candidate, dataset, effective[candidate.name])
    there = find(connection, source, candidate, dataset.id)
    if there is None:
        body = {
            "name": name,
            "description": _description(source, candidate),
            "start_time": manifest.started_at.isoformat(),
            "reference_dataset_id": str(dataset.id),
            "extra": {"metadata": metadata},
            "num_examples": len(manifest.dataset.example_ids),
            "num_repetitions": source.report.repetitions,
            "evaluator_keys": list(_feedback_keys(source)),
        }
        with connection.errors():
            try:  # `create_project` has no parameter for the start
                answer = connection.client.request_with_retries("POST", "/sessions", json=body)
                return Experiment(candidate, UUID(answer.json()["id"]), name, fresh=True)
            except LangSmithConflictError:  # made at this moment, or by a request whose answer was lost
                pass
        there = find(connection, source, candidate, dataset.id)
        assert there is not None
    metadata["dataset_version"] = there.metadata.get("dataset_version", metadata["dataset_version"])
    if {**there.metadata, **metadata} != there.metadata:
        with connection.errors():
            connection.client.update_project(there.id, metadata={**there.metadata, **metadata})
    return Experiment(candidate, there.id, name, fresh=False)


def finish(connection: Connection, source: Source, experiment: Experiment) -> Counter[str]:
    """Everything has arrived: send the experiment's scores, then its end time. Returns what was sent."""
    rows = connection.pages("/feedback", {"session": [str(experiment.id)], "level": "session"})
    there = {UUID(row["id"]): row for row in rows}
    done: Counter[str] = Counter()
    for entry in _feedback(experiment):
        before = there.get(entry["feedback_id"])
        with connection.errors():
            if before is None:
                connection.create_feedback(project_id=experiment.id, **entry)
            elif (before["score"], before["comment"]) != (entry["score"], entry["comment"]):
                connection.client.update_feedback(
                    entry["feedback_id"], score=entry["score"], comment=entry["comment"]
                )
            else:
                done["present"] += 1
                continue
        done["sent"] += 1
    end = _end(source)
    with connection.errors():
        if connection.client.read_project(project_id=str(experiment.id)).end_time != end:
            connection.client.update_project(experiment.id, end_time=end)
    return done


def _end(source: Source) -> datetime:
    manifest = source.manifest
    return max(manifest.finished_at or manifest.started_at, manifest.started_at)


def _feedback_keys(source: Source) -> Iterator[str]:
    yield from (feedback_key(each.name) for each in source.manifest.config.evaluators)
    yield from (VERDICT, CAUSE, SCORE)


def _feedback(experiment: Experiment) -> Iterator[JsonDict]:
    """The four scores and the infra error rate, each with its interval in words."""
    scores = experiment.candidate.scores
    for name, estimate in (*scores.by.items(), ("infra_error_rate", scores.infra_rate)):
        if estimate is not None:
            yield {
                "feedback_id": uuid5(experiment.id, name),
                "key": name,
                "score": stored_score(estimate.mean),
                "comment": f"95 % interval {estimate.low:.4f} to {estimate.high:.4f}, {estimate.trials} trials in "
                f"{estimate.clusters} clusters",
            }


def _description(source: Source, candidate: CandidateReport) -> str:
    counts = ", ".join(f"{count} {verdict.replace('_', ' ')}" for verdict, count in candidate.counts.items())
    return str(storable(f"{candidate.label}, {candidate.model}: {counts}. {source.report.sentence}"))


def _metadata(
    source: Source, candidate: CandidateReport, dataset: PublishedDataset, effective: Counter[ResourceLimits]
) -> JsonDict:
    """Everything that made the numbers, and the numbers; plain JSON."""
    manifest, report, config = source.manifest, source.report, source.manifest.config
    seen = manifest.observed_harness
    scores = candidate.scores
    whole = {
        "run_id": manifest.run_id,
        "bakeoff_version": manifest.bakeoff_version,
        "candidate": candidate.name,
        "model": candidate.model,
        "models": [candidate.model],  # these two by the names of LangSmith's own columns
        "tools": [str(each.get("name")) for each in seen.functions] if seen else [],
        "params": manifest.candidate(candidate.name).params,
        "simulated": candidate.simulated,
        **({"profiles": source.profiles} if source.profiles else {}),
        "inconclusive": report.inconclusive,
        "doubts": list(report.doubts),
        "decision": report.sentence,
        "num_repetitions": report.repetitions,
        "trials": candidate.n,
        "verdicts": dict(candidate.counts),
        "scores": {name: _plain(estimate) for name, estimate in scores.by.items()},
        "died_inside": scores.died_inside,
        "deaths_are_failures": _plain(scores.deaths),
        "infra_error_rate": _plain(scores.infra_rate),
        "causes": {each.cause: each.count for each in report.causes if each.candidate == candidate.name},
        "evaluator_means": dict(candidate.evaluators),
        "pass_at_k": candidate.pass_at_k,
        "pass_hat_k": candidate.pass_hat_k,
        "used": {name: _plain(getattr(candidate, name)) for name in USED},
        "total_cost_usd": candidate.total_cost_usd,
        "resources": _resources(source, candidate, effective),
        "attempts": {
            "beyond_the_first": candidate.reattempts,
            "recovered": candidate.recovered,
            "lost": dict(candidate.lost_attempts),
        },
        "fingerprint": manifest.fingerprint,
        "fingerprint_parts": manifest.fingerprint_parts,
        "harness": config.name,
        "harness_config": config.harness.model_dump(),
        **config.model_dump(include={"infra", "evaluators", "seed"}),
        "max_concurrency": manifest.max_concurrency,
        **manifest.model_dump(mode="json", include={"observed_harness", "image", "host", "host_worst"}),
        "dataset": manifest.dataset.model_dump(include={"path", "digest", "rows", "langsmith"}),
        "dataset_version": dataset.version,
        "command": manifest.command,
        "notes": manifest.notes,
        "warnings": list(report.warnings),
    }
    plain: JsonDict = storable(json.loads(json.dumps(whole)))
    return plain


def _resources(source: Source, candidate: CandidateReport, effective: Counter[ResourceLimits]) -> JsonDict:
    return {
        "requested": source.manifest.resources.model_dump(),
        **source.manifest.config.resources.model_dump(include={"reserve", "pin"}),
        "effective": [
            {"limits": limits.model_dump(), "trials": count} for limits, count in effective.most_common()
        ],
        "observed": {
            **{name: _plain(getattr(candidate, name)) for name in GIVEN},
            "oom_kills": candidate.oom_kills,
            "bound": dict(candidate.bound),
            "contended": candidate.contended,
        },
    }


def _plain(value: Any) -> JsonDict | None:
    return None if value is None else asdict(value)
