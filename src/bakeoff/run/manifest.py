"""The manifest of a run: what is known before the first trial, and what its end adds."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime

from bakeoff import gateway
from bakeoff.config import loading
from bakeoff.config.schema import Config
from bakeoff.datasets.langsmith.reference import Reference
from bakeoff.gateway.policy.spending import Spending
from bakeoff.record import fingerprint
from bakeoff.record.base import JsonDict
from bakeoff.record.configuration import Configuration
from bakeoff.record.manifest import (
    Candidate,
    Dataset,
    Host,
    HostWorst,
    Image,
    Manifest,
    NotRun,
    ObservedHarness,
    Overrides,
)
from bakeoff.record.messages import text_of
from bakeoff.record.store import RunDirectory, new_run_id
from bakeoff.run import looks
from bakeoff.run.task import Task
from bakeoff.scoring import code_digests
from bakeoff.version import __version__


def at_start(task: Task, host: Host, image: Image, slots: int) -> Manifest:
    """The manifest of a new run of this task, on this host, in this image."""
    config, now = task.config, datetime.now(UTC)
    parts = _fingerprint(task, host, image)
    return Manifest(
        run_id=new_run_id(config.name, now),
        bakeoff_version=__version__,
        state="running",
        started_at=now,
        harness_file=str(config.file),
        config=configuration(config),
        candidates=[
            Candidate(
                name=each.name,
                model=each.model,
                params=each.params,
                simulated=gateway.is_simulated(each, config.root),
            )
            for each in config.candidates
        ],
        dataset=_dataset(task),
        fingerprint=fingerprint.digest(parts),
        fingerprint_parts=parts,
        resources=task.profiles[0].limits,
        profiles=task.profiles,
        image=image,
        host=host,
        max_concurrency=slots,
        trials_planned=len(task.trials),
        stop_early=looks.plan(task.looks, len(config.candidates)),
        command=["bakeoff", *sys.argv[1:]],
        overrides=Overrides(**asdict(task.overrides)),
        notes=[*_notes(config, image), *gateway.notes(config, task.environ)],
    )


def configuration(config: Config) -> Configuration:
    """What the manifest keeps of harness.yaml: all of it, secrets masked."""
    return Configuration.model_validate(loading.dump(config))


def _fingerprint(task: Task, host: Host, image: Image) -> dict[str, str]:
    """The parts of the fingerprint."""
    config, harness = task.config, task.config.harness
    middleware = [each.model_dump() for each in harness.middleware]
    entry = (harness.entrypoint, harness.prompt, harness.tools, middleware, harness.command)
    parts = {
        "harness": entry,
        "config": harness.config,
        "packages": image.packages,
        "base_image": image.base.digest,
        "limits": harness.limits.model_dump(),
        "retries": harness.retries.model_dump(),
        "host": fingerprint.host_class(host),
        "dataset": task.dataset.row_digests,
        "evaluators": [each.model_dump() for each in config.evaluators],
    }
    code = code_digests.digests(config.evaluators, config.root)
    return {
        "source": image.source_digest,
        fingerprint.IMAGE: image.key,
        fingerprint.SANDBOX: fingerprint.of(host.sandbox),
        **{name: fingerprint.of(part) for name, part in parts.items()},
        **{f"{fingerprint.EVALUATOR}{use}": digest for use, digest in code.items()},
        **fingerprint.of_profiles(task.profiles),
    }


def _dataset(task: Task) -> Dataset:
    dataset, examples = task.dataset, task.dataset.examples
    origin = dataset.origin
    return Dataset(
        # LangSmith's exact version: the report names it, and a resumed run reads it again
        path=task.config.dataset if origin is None else str(Reference(origin.name, origin.as_of)),
        langsmith=origin,
        digest=dataset.digest,
        rows=len(examples),
        example_ids=[example.id for example in examples],
        clusters={example.id: example.cluster for example in examples},
        suites={e.id: e.metadata["suite"] for e in examples if "suite" in e.metadata},
        severities={e.id: e.metadata["severity"] for e in examples if "severity" in e.metadata},
        row_digests=dataset.row_digests,
    )


def _notes(config: Config, image: Image) -> list[str]:
    """What bears on the numbers and is known before the first trial."""
    notes, limits = list(image.notes), config.harness.limits
    if config.harness.command and "tool_seconds" in limits.model_fields_set:
        notes.append(
            f"harness.limits.tool_seconds ({limits.tool_seconds:g} s) is not enforced: the harness is a program that "
            "runs its tools itself; it is only informed of the limit."
        )
    return notes


def at_end(
    run: RunDirectory, task: Task, *, finished: bool, spending: Spending, worst: HostWorst | None
) -> JsonDict:
    """What the end of a run, or of a stretch of it, changes in its manifest.

    Args:
        run: where the trials are.
        task: what was run.
        finished: whether every trial has a verdict, but those that a look left out.
        spending: the run's money.
        worst: the host's worst moments of this stretch.
    """
    before = run.manifest()
    changes: JsonDict = {
        "state": "finished" if finished else "interrupted",
        "finished_at": datetime.now(UTC),
        "host_worst": worst.worse(before.host_worst) if worst else before.host_worst,
        "observed_harness": before.observed_harness or _observed(run, task),
    }
    notes = []
    if task.config.budget and spending.unpriced:
        notes.append(f"{spending.unpriced} model calls have no known cost and are not in the budget.")
    if task.config.harness.limits.tokens is not None:
        notes += [
            f"harness.limits.tokens was not enforced in {calls} model calls of {name}: their provider reports no usage."
            for name, calls in spending.uncounted.items()
        ]
    if notes:
        changes["notes"] = [*before.notes, *notes]
    if not finished and spending.exhausted:
        left = before.trials_due - sum(1 for _ in run.trials())
        limit, spent = spending.limit_usd or 0.0, spending.spent_usd
        reason = f"the budget of {limit:g} USD is spent ({spent:.4f} USD)"
        changes["not_run"] = NotRun(trials=left, reason=reason)
    return changes


def _observed(run: RunDirectory, task: Task) -> ObservedHarness | None:
    """What the first harness of the plan asked of its model: the prompt and the tools, whatever the source says."""
    calls = (call for trial in task.trials for call in run.calls(trial.trial_id))
    if (first := next(calls, None)) is None:
        return None
    request = first["request"]
    system = [text_of(m["data"]["content"]) for m in request["messages"] if m["type"] == "system"]
    return ObservedHarness(
        system_prompt="\n\n".join(system), tools=request["tools"] or [], params=request["params"]
    )
