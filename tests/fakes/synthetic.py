"""Synthetic run directories: realistic trial records without Docker and without models."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from bakeoff.config.loading import dump
from bakeoff.config.schema import Candidate, Config, EvaluatorSpec, Harness
from bakeoff.gateway.recording.call_record import call_record
from bakeoff.gateway.types import ModelRequest
from bakeoff.record.evidence import AnswerFacts, ClockFacts, Evidence, HarnessFacts, KernelFacts
from bakeoff.record.manifest import Manifest
from bakeoff.record.store import RunDirectory
from bakeoff.record.trial import (
    AttemptRecord,
    ModelCall,
    Observed,
    ResourceLimits,
    ResourceRecord,
    Seconds,
    ToolTotals,
    TrialRecord,
    Usage,
)
from bakeoff.run import looks
from bakeoff.stats import sequential

START = datetime(2026, 7, 22, 14, 15, 3, tzinfo=UTC)
MIB = 2**20
LIMITS = ResourceLimits(cpus=1.0, memory_bytes=512 * MIB, pids=128, disk_bytes=64 * MIB, network="none")


def merged(whole: Any, changes: Any) -> Any:
    if not isinstance(whole, dict) or not isinstance(changes, dict):
        return changes
    return whole | {key: merged(whole.get(key), value) for key, value in changes.items()}


def configuration(rows: Sequence[dict[str, Any]], trials: int) -> dict[str, Any]:
    config = Config(
        name="support-desk",
        harness=Harness(entrypoint="support_desk.agent:build_agent", source="src/support_desk"),
        candidates=[Candidate(name=row["name"], model=row["model"]) for row in rows],
        dataset="datasets/support_desk.jsonl",
        trials=trials,
        evaluators=[
            EvaluatorSpec(kind=kind, name=kind, options=options, threshold=1.0)
            for kind, options in (
                ("trajectory_match", {"mode": "superset"}),
                ("final_answer", {"match": "contains"}),
            )
        ],
        seed=7,
    )
    return dump(config)


def manifest(
    candidates: Sequence[str] = ("steady", "hasty"),
    examples: int = 12,
    repetitions: int = 3,
    *,
    simulated: bool = True,
    **changes: Any,
) -> Manifest:
    """A finished run's manifest; `changes` replace fields, or parts of `config` and `dataset`."""
    prefix = "simulated:skill=0.9," if simulated else "anthropic:"
    rows = [
        {"name": name, "model": prefix + name, "params": {}, "simulated": simulated} for name in candidates
    ]
    ids = [f"case-{number:03d}" for number in range(examples)]
    fields: dict[str, Any] = {
        "run_id": "20260722-141503-support-desk-ab12",
        "bakeoff_version": "0.1.0",
        "state": "finished",
        "started_at": START,
        "finished_at": START + timedelta(minutes=3),
        "harness_file": "harness.yaml",
        "config": configuration(rows, repetitions),
        "candidates": rows,
        "dataset": {
            "path": "datasets/support_desk.jsonl",
            "digest": "sha256:" + "d" * 64,
            "rows": examples,
            "example_ids": ids,
            "clusters": {id_: f"cluster-{number % 6}" for number, id_ in enumerate(ids)},
            "suites": {id_: "benchmark" if number % 3 else "regression" for number, id_ in enumerate(ids)},
        },
        "fingerprint": "sha256:" + "f" * 64,
        "fingerprint_parts": {"harness": "a" * 64, "resources": "b" * 64, "dataset": "c" * 64},
        "resources": LIMITS,
        "image": {
            "id": "sha256:" + "1" * 64,
            "reference": "bakeoff/support-desk:1111",
            "base": {
                "kind": "pulled",
                "reference": "python:3.12-slim-bookworm",
                "digest": "sha256:" + "2" * 64,
            },
            "python": "3.12.11",
            "packages": {"langchain": "1.3.0", "langchain-core": "1.3.1"},
        },
        "host": {
            "cpu_model": "Example CPU @ 2.40GHz",
            "cores": 2,
            "memory_bytes": 8 * 2**30,
            "kernel": "6.1.0",
            "os": "Debian GNU/Linux 12",
            "architecture": "x86_64",
            "cgroup_version": 2,
            "docker_version": "27.1.1",
            "storage_driver": "overlay2",
            "cgroup_driver": "systemd",
        },
        "max_concurrency": 2,
        "trials_planned": len(candidates) * examples * repetitions,
        "command": ["bakeoff", "run", "harness.yaml", "--seed", "7"],
    }
    for part in ("config", "dataset"):
        changes[part] = merged(fields[part], changes.get(part, {}))
    return Manifest.model_validate(fields | changes)


def trial(
    candidate: str = "steady",
    example: str = "case-000",
    repetition: int = 1,
    *,
    verdict: str = "passed",
    cause: str | None = None,
    because: str = "",
    output: str = "Your order A-17 has shipped.",
    earlier: Sequence[str] = (),
    memory_mib: float = 180.0,
    seconds: float = 4.2,
    index: int = 0,
    **changes: Any,
) -> TrialRecord:
    """One finished trial. `earlier` are the causes of infra errors that earlier attempts of it ended with."""
    oom = cause == "infra.oom_killed"
    evidence = Evidence(
        kernel=KernelFacts(
            source="host",
            cgroup_version=2,
            memory_peak_bytes=int(memory_mib * MIB),
            memory_limit_bytes=512 * MIB,
            oom_kills=int(oom),
            cpu_seconds=1.1,
            throttled_seconds=0.0,
            pids_peak=9,
        ),
        harness=HarnessFacts(reached="answered", exit_code=0, startup_seconds=0.9),
        clock=ClockFacts(wall_seconds=seconds + 1, working_seconds=seconds, model_seconds=seconds / 2),
        answer=AnswerFacts(text=output),
    )
    failed_before = [
        AttemptRecord(verdict="infra_error", cause=each, because=f"{each} happened", evidence=evidence)
        for each in earlier
    ]
    last = AttemptRecord(verdict=verdict, cause=cause, because=because, evidence=evidence)  # type: ignore[arg-type]
    fields: dict[str, Any] = {
        "trial_id": f"{candidate}/{example}/{repetition}",
        "candidate": candidate,
        "model": f"simulated:skill=0.9,{candidate}",
        "example_id": example,
        "repetition": repetition,
        "verdict": verdict,
        "cause": cause,
        "scores": {}
        if verdict == "infra_error"
        else {"trajectory_match": float(verdict == "passed"), "final_answer": 1.0},
        "output": output,
        "usage": Usage(model_calls=4, input_tokens=2100, output_tokens=180, cost_usd=0.0123),
        "tools": ToolTotals(calls=3, failed=int(verdict == "failed"), repeated=0),
        "seconds": Seconds(working=seconds, wall=seconds + 1, model=seconds / 2, queued=0.3),
        "resources": ResourceRecord(
            requested=LIMITS,
            effective=LIMITS,
            observed=Observed(
                memory_peak_bytes=int(memory_mib * MIB),
                cpu_seconds=1.1,
                throttled_seconds=0.0,
                oom_kills=int(oom),
                pids_peak=9,
                disk_bytes=2 * MIB,
            ),
        ),
        "resource_bound": ["memory"] if oom else [],
        "attempts": [*failed_before, last],
        "started_at": START + timedelta(seconds=index),
        "finished_at": START + timedelta(seconds=index + seconds),
    }
    return TrialRecord.model_validate(fields | changes)


def trials(
    candidates: Sequence[str] = ("steady", "hasty"),
    examples: int = 12,
    repetitions: int = 3,
    *,
    skills: Sequence[float] = (0.95, 0.6),
    infra_rate: float = 0.0,
    seed: int = 1,
) -> Iterable[TrialRecord]:
    """A whole run's trials: each candidate passes at its skill; `infra_rate` of all end as infra errors."""
    chance = random.Random(seed)
    index = 0
    for number in range(examples):
        for repetition in range(1, repetitions + 1):
            for candidate, skill in zip(candidates, skills, strict=True):
                index += 1
                outcome: dict[str, Any] = {}
                if chance.random() < infra_rate:
                    outcome = {
                        "verdict": "infra_error",
                        "cause": chance.choice(["infra.oom_killed", "infra.provider_unavailable"]),
                        "because": "the kernel killed a process for memory",
                        "earlier": ["infra.provider_unavailable"] * 2,
                    }
                elif chance.random() > skill:
                    cause = chance.choice(
                        ["model.wrong_answer", "model.wrong_trajectory", "model.turn_limit"]
                    )
                    outcome = {
                        "verdict": "failed",
                        "cause": cause,
                        "because": "final_answer 0.0 is below 1.0",
                    }
                yield trial(
                    candidate,
                    f"case-{number:03d}",
                    repetition,
                    index=index,
                    memory_mib=150 + 60 * chance.random(),
                    seconds=3 + 2 * chance.random(),
                    **outcome,
                )


def examples(the_manifest: Manifest) -> Iterable[dict[str, Any]]:
    """The examples of a manifest, as a run keeps them; what it does not know of one is left out."""
    dataset = the_manifest.dataset
    for id_ in dataset.example_ids:
        yield {
            "id": id_,
            "inputs": {"question": f"Where is the order of {id_}?"},
            "outputs": {
                "answer": "shipped",
                "trajectory": [{"name": "get_order", "args": {"order_id": "A-17"}}],
            },
            "metadata": {
                fact: known[id_]
                for fact, known in (("cluster", dataset.clusters), ("suite", dataset.suites))
                if id_ in known
            },
            "files": {},
            "digest": hashlib.sha256(id_.encode()).hexdigest()[:16],
        }


def run_directory(
    out: Path,
    records: Iterable[TrialRecord] | None = None,
    the_manifest: Manifest | None = None,
    *,
    files: bool = False,
) -> RunDirectory:
    """A run directory below `out`, as the engine writes it; with `files` also each trial's calls and trajectory."""
    the_manifest = the_manifest or manifest()
    run = RunDirectory.create(out, the_manifest, examples(the_manifest))
    for record in trials() if records is None else records:
        if files:
            write_files(run, record)
        run.append(record)
    return run


def write_files(run: RunDirectory, record: TrialRecord) -> None:
    """Two model calls with a tool call between them, in the last attempt of the trial."""
    number = len(record.attempts)
    asked = {"id": "c1", "name": "get_order", "args": {"order_id": "A-17"}, "type": "tool_call"}
    question = {"type": "human", "data": {"content": f"Where is the order of {record.example_id}?"}}
    asks = {"type": "ai", "data": {"content": "", "tool_calls": [asked]}}
    shipped = {"type": "tool", "data": {"content": "shipped", "tool_call_id": "c1", "name": "get_order"}}
    answers = {"type": "ai", "data": {"content": record.output, "tool_calls": []}}
    for index, (messages, response) in enumerate((([question], asks), ([question, asks, shipped], answers))):
        call = ModelCall(
            index=index,
            started=0.1 + 1.5 * index,
            seconds=1.0,
            queued_seconds=0.1,
            input_tokens=1050,
            output_tokens=90,
            cost_usd=0.00615,
            finish_reason="stop" if index else "tool_calls",
            message=response,
        )
        request = ModelRequest(
            messages=messages, tools=[{"type": "function", "function": {"name": "get_order"}}]
        )
        run.append_call(record.trial_id, call_record(number, call, request))
    ran = {"started": 1.25, "seconds": 0.2, "timed_out": False}
    steps = [
        {"step_id": 1, "source": "user", "message": question["data"]["content"]},
        {
            "step_id": 2,
            "source": "agent",
            "message": "",
            "model_name": record.model,
            "tool_calls": [
                {
                    "tool_call_id": "c1",
                    "function_name": "get_order",
                    "arguments": {"order_id": "A-17"},
                    "extra": ran,
                }
            ],
            "extra": {"model_call": 0, "started": 0.1, "seconds": 1.0, "queued_seconds": 0.1, "attempts": 1},
            "observation": {"results": [{"source_call_id": "c1", "content": "shipped"}]},
        },
        {"step_id": 3, "source": "agent", "message": record.output, "model_name": record.model},
    ]
    extra = {"trial_id": record.trial_id, "attempt": number, "unmatched_tool_calls": []}
    run.write_trajectory(record.trial_id, {"schema_version": "ATIF-v1.8", "steps": steps, "extra": extra})


def early_run(
    out: Path,
    candidates: Sequence[str] = ("steady", "hasty"),
    skills: Sequence[float] = (0.95, 0.3),
    *,
    examples: int = 40,
    repetitions: int = 5,
    **changes: Any,
) -> RunDirectory:
    """A finished run with `--stop-early`: its trials as far as its looks let it go."""
    plan = looks.plan(sequential.planned(repetitions), len(candidates))
    assert plan is not None
    alone = {f"case-{number:03d}": f"case-{number:03d}" for number in range(examples)}
    made = manifest(
        candidates,
        examples,
        repetitions,
        dataset={"clusters": alone},
        stop_early=plan.model_dump(),
        **changes,
    )
    run = run_directory(out, [], made)
    everything = list(trials(candidates, examples, repetitions, skills=skills))
    for begin, end in pairwise((0, *plan.repetitions)):
        plan = run.manifest().stop_early
        if plan is None or plan.ended:
            break
        for record in everything:
            if begin < record.repetition <= end and record.candidate not in plan.dropped:
                run.append(record)
        plan = plan.model_copy(update={"looks": [*plan.looks, looks.judge(run)]})
        run.update_manifest(stop_early=plan.model_dump())
    return run
