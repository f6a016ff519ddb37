"""Two runs in which every text that a stranger writes is the payload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakeoff.errors import ModelErrorKind
from bakeoff.gateway.recording.call_record import call_record
from bakeoff.gateway.types import ModelRequest
from bakeoff.record.evidence import DockerFacts, Evidence, HarnessFacts, ModelFault
from bakeoff.record.store import RunDirectory
from bakeoff.record.trial import AttemptRecord, ModelCall, TrialRecord
from tests.fakes import synthetic
from tests.sinks.payloads import MARK, PAYLOADS, stored

LONGEST_NAME, LONGEST_GIVEN = 1000, 100_000  # characters of a name, and of what a harness or a dataset gives
RUN_IDS = "20260101-older", "20260102-newer"


@dataclass(frozen=True)
class Scene:
    """The payload, a run that passed, and a newer one that failed."""

    text: str
    name: str  # of the candidate and the example
    older: RunDirectory
    run: RunDirectory
    trial_id: str


def scene(out: Path, payload: str, *, names: bool = True) -> Scene:
    """The runs of a payload, below `out`; with `names` also under its name, though bakeoff refuses such ones."""
    text = PAYLOADS[payload]
    name = stored(text) if names and len(text) < LONGEST_NAME else MARK
    pair = (name, f"{name}2")
    older, newer = (_manifest(run_id, stored(text)[:LONGEST_GIVEN], pair) for run_id in RUN_IDS)
    good = [synthetic.trial(each, name, number, output=text) for each in pair for number in (1, 2)]
    bad = [
        *_failed(text, name),
        *(synthetic.trial(pair[1], name, n, output=text, earlier=[name]) for n in (1, 2)),
    ]
    base = _run(out, older, good, text)
    run = _run(out, newer, bad, text)
    return Scene(text, name, base, run, bad[0].trial_id)


def _manifest(run_id: str, text: str, candidates: tuple[str, str]) -> Any:
    name = candidates[0]
    tool = {"name": text, "description": text, "parameters": {"properties": {text: {}}}}
    plan = ("replaces", "owner", "rollback", "notes")
    return synthetic.manifest(
        candidates,
        1,
        2,
        run_id=run_id,
        notes=[text],
        observed_harness={"system_prompt": text, "tools": [{"type": "function", "function": tool}]},
        host={"kernel": text, "security_options": [text]},
        config={
            "production": {"network": text},
            "change": dict.fromkeys(plan, text),
            "gates": {"max_drop": 0.0},
        },
        dataset={"example_ids": [name], "clusters": {name: name}, "suites": {name: name}},
        command=["bakeoff", "run", text],
    )


def _failed(text: str, name: str) -> list[TrialRecord]:
    """One trial with a cause that this version knows, one with a cause of the payload's."""
    evidence = Evidence(
        docker=DockerFacts(error=text),
        harness=HarnessFacts(
            reached="answered", error_type=text, error_message=text, error_bases=[text], error_traceback=text
        ),
        model_fault=ModelFault(kind=ModelErrorKind.BAD_RESPONSE, message=text),
        limits_mismatch=[text],
        protocol_errors=[text],
        disputed=[text],
        evaluator_error=text,
        internal_error=text,
    )
    records = []
    for number, cause in enumerate(("model.wrong_answer", f"model.{name}"), 1):
        attempt = AttemptRecord(verdict="failed", cause=cause, because=text, evidence=evidence)
        records.append(
            synthetic.trial(
                name,
                name,
                number,
                verdict="failed",
                cause=cause,
                output=text,
                model=name,
                scores={name: 0.0},
                resource_bound=[name],
                attempts=[attempt],
            )
        )
    return records


def _run(out: Path, manifest: Any, records: Sequence[TrialRecord], text: str) -> RunDirectory:
    given = text[:LONGEST_GIVEN]
    examples = [
        {**row, "inputs": {"question": given}, "outputs": {"answer": given}, "metadata": {given: given}}
        for row in synthetic.examples(manifest)
    ]
    run = RunDirectory.create(out, manifest, examples)
    for record in records:
        run.append_call(record.trial_id, _call(text))
        run.write_trajectory(record.trial_id, _trajectory(text, record))
        run.write_log(record.trial_id, 1, text)
        run.append(record)
    return run


def _call(text: str) -> dict[str, Any]:
    messages = [{"type": kind, "data": {"content": text}} for kind in ("system", "human")]
    tools = [{"type": "function", "function": {"name": text}}]
    request = ModelRequest(messages=messages, tools=tools, params={"stop": [text]})
    call = ModelCall(
        index=0,
        started=0.1,
        seconds=1.0,
        finish_reason=text,
        error=ModelFault(kind=ModelErrorKind.BAD_RESPONSE, message=text),
        message={"type": "ai", "data": {"content": text, "tool_calls": []}},
    )
    return call_record(1, call, request)


def _trajectory(text: str, record: TrialRecord) -> dict[str, Any]:
    call = {
        "tool_call_id": "c1",
        "function_name": text,
        "arguments": {text: text},
        "extra": {"started": 1.25, "seconds": 0.2, "error": text},
    }
    broken = {**call, "tool_call_id": "c2", "extra": {"malformed": True, "raw_arguments": text}}
    results = [{"source_call_id": "c1", "content": text, "extra": {"error": text}}, {"content": [text]}]
    step = {
        "step_id": 2,
        "source": "agent",
        "message": text,
        "model_name": text,
        "reasoning_content": text,
        "tool_calls": [call, broken],
        "observation": {"results": results},
        "extra": {"model_call": 0, "started": 0.1, "seconds": 1.0, "queued_seconds": 0.1, "attempts": 1},
    }
    question = {"step_id": 1, "source": "user", "message": text}
    stranger = {"step_id": text, "source": text, "message": [text]}
    extra = {"trial_id": record.trial_id, "attempt": 1, "unmatched_tool_calls": []}
    return {"schema_version": "ATIF-v1.8", "steps": [question, step, stranger], "extra": extra}
