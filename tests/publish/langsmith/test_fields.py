"""What goes into LangSmith comes out: the demonstration, really run, read back by the client field by field."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import pytest
from langsmith import Client
from langsmith.schemas import Feedback, Run

from bakeoff.publish import source
from bakeoff.record.messages import to_openai
from bakeoff.record.store import RunDirectory
from bakeoff.record.trial import AttemptRecord, TrialRecord
from bakeoff.report.data import GIVEN, USED
from tests.fakes.langsmith.server import LangSmithServer
from tests.publish.demonstration import publish as command

pytestmark = [
    pytest.mark.docker,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning"),
]
CLOCK = timedelta(milliseconds=1)  # LangSmith's times are microseconds; sums of floats end beside them


@pytest.fixture(scope="module")
def server(demonstration: RunDirectory) -> Iterator[LangSmithServer]:
    """It has the demonstration."""
    with LangSmithServer() as server:
        env = {"LANGSMITH_API_KEY": server.api_key, "LANGSMITH_ENDPOINT": server.url}
        done = command(demonstration, "--to", "langsmith", env=env)
        assert done.returncode == 0, done.stderr
        yield server


@pytest.fixture(scope="module")
def client(server: LangSmithServer) -> Client:
    return Client(server.url, api_key=server.api_key, auto_batch_tracing=False)


def experiment(run: RunDirectory, candidate: str) -> str:
    return f"support-desk-{candidate}-{run.run_id}"


@pytest.fixture(scope="module")
def runs(demonstration: RunDirectory, client: Client) -> dict[str, list[Run]]:
    """By candidate, all runs of its experiment, in the order of their trace."""
    found = {}
    for row in demonstration.manifest().candidates:
        project = client.read_project(project_name=experiment(demonstration, row.name))
        listed = client.list_runs(project_id=project.id)
        found[row.name] = sorted(listed, key=lambda each: each.dotted_order)
    return found


def roots(runs: dict[str, list[Run]]) -> dict[str, Run]:
    """By trial id, its root."""
    return {
        each.metadata["trial_id"]: each for mine in runs.values() for each in mine if not each.parent_run_id
    }


def children(runs: dict[str, list[Run]], parent: Run, run_type: str) -> list[Run]:
    mine = [each for listed in runs.values() for each in listed if each.parent_run_id == parent.id]
    return [each for each in mine if each.run_type == run_type]


def test_an_experiment_says_what_made_its_numbers(
    demonstration: RunDirectory, client: Client, server: LangSmithServer
) -> None:
    whole = source.read(demonstration, allow_inconclusive=True)
    manifest = whole.manifest
    kept = json.loads((demonstration.path / "manifest.json").read_text())
    config = kept["config"]
    for candidate in whole.candidates:
        project = client.read_project(project_name=experiment(demonstration, candidate.name))
        given = project.metadata
        assert (project.start_time, project.end_time) == (manifest.started_at, manifest.finished_at)
        assert whole.report.sentence in (project.description or "")
        dataset = client.read_dataset(dataset_name="support-desk")
        assert project.reference_dataset_id == dataset.id
        version = client.read_dataset_version(dataset_id=dataset.id, tag=demonstration.run_id)
        assert datetime.fromisoformat(given["dataset_version"]) == version.as_of
        same = {
            "run_id": manifest.run_id,
            "bakeoff_version": manifest.bakeoff_version,
            "candidate": candidate.name,
            "model": candidate.model,
            "models": [candidate.model],
            "params": manifest.candidate(candidate.name).params,
            "simulated": True,
            "inconclusive": True,
            "doubts": list(whole.report.doubts),
            "decision": whole.report.sentence,
            "num_repetitions": 2,
            "trials": 10,
            "verdicts": dict(candidate.counts),
            "causes": {c.cause: c.count for c in whole.report.causes if c.candidate == candidate.name},
            "evaluator_means": dict(candidate.evaluators),
            "pass_at_k": candidate.pass_at_k,
            "pass_hat_k": candidate.pass_hat_k,
            "total_cost_usd": candidate.total_cost_usd,
            "fingerprint": manifest.fingerprint,
            "fingerprint_parts": manifest.fingerprint_parts,
            "harness": "support-desk",
            "harness_config": config["harness"],
            "infra": config["infra"],
            "evaluators": config["evaluators"],
            "observed_harness": kept["observed_harness"],
            "seed": config["seed"],
            "max_concurrency": manifest.max_concurrency,
            "image": kept["image"],
            "host": kept["host"],
            "host_worst": kept["host_worst"],
            "command": manifest.command,
            "notes": manifest.notes,
            "warnings": list(whole.report.warnings),
            "dataset": {key: kept["dataset"][key] for key in ("path", "digest", "rows")},
            "attempts": {
                "beyond_the_first": candidate.reattempts,
                "recovered": candidate.recovered,
                "lost": dict(candidate.lost_attempts),
            },
        }
        assert {key: given[key] for key in same} == json.loads(json.dumps(same))
        assert "get_order" in given["tools"]
        for name, estimate in candidate.scores.by.items():
            assert given["scores"][name] == (asdict(estimate) if estimate else None)
        for name in USED:
            spread = getattr(candidate, name)
            assert given["used"][name] == (asdict(spread) if spread else None)
        resources = given["resources"]
        assert resources["requested"] == manifest.resources.model_dump()
        assert resources["reserve"] == config["resources"]["reserve"]
        effective: Counter[str] = Counter()
        for trial in whole.trials(candidate.name):
            effective[trial.resources.effective.model_dump_json()] += 1
        assert {
            json.dumps(e["limits"], separators=(",", ":")): e["trials"] for e in resources["effective"]
        } == dict(effective)
        for name in GIVEN:
            spread = getattr(candidate, name)
            assert resources["observed"][name] == (asdict(spread) if spread else None)
        assert resources["observed"]["oom_kills"] == candidate.oom_kills > 0
        scores = {
            each["key"]: each["score"]
            for each in server.state.feedback.values()
            if each["run_id"] is None and each["session_id"] == project.id
        }
        estimates = {**candidate.scores.by, "infra_error_rate": candidate.scores.infra_rate}
        assert scores == {key: round(each.mean, 4) for key, each in estimates.items() if each}
        trials = list(client.list_runs(project_id=project.id, is_root=True))
        assert len(trials) == 10
        assert sum(each.error is not None for each in trials) / 10 == candidate.infra_error_rate


def test_a_trials_line_can_be_made_again_from_its_runs(
    demonstration: RunDirectory, runs: dict[str, list[Run]]
) -> None:
    whole = {trial.trial_id: trial for trial in demonstration.trials()}
    found = roots(runs)
    assert found.keys() == whole.keys()
    for trial_id, trial in whole.items():
        root = found[trial_id]
        attempts = children(runs, root, "chain")
        assert [each.metadata["attempt"] for each in attempts] == list(range(1, len(trial.attempts) + 1))
        line = {
            name: root.metadata[name]
            for name in TrialRecord.model_fields
            if name not in ("attempts", "output", "profile")
        }
        assert "profile" not in root.metadata  # the default one is not mentioned
        line["output"] = (root.outputs or {})["answer"]
        line["attempts"] = [
            {name: each.metadata[name] for name in AttemptRecord.model_fields} for each in attempts
        ]
        assert TrialRecord.model_validate_json(json.dumps(line)) == trial
        assert root.metadata["run_id"] == demonstration.run_id
        assert root.metadata["because"] == trial.attempts[-1].because
        assert root.name == "trial"
        assert root.tags == [each for each in (trial.verdict, trial.cause) if each]


def test_a_trial_is_linked_to_its_example_and_asks_what_it_asked(
    demonstration: RunDirectory, runs: dict[str, list[Run]], client: Client
) -> None:
    rows = {row["id"]: row for row in demonstration.examples()}
    examples = {each.id: each for each in client.list_examples(dataset_name="support-desk")}
    for root in roots(runs).values():
        assert root.reference_example_id
        example = examples[root.reference_example_id]
        assert (example.metadata or {})["bakeoff"]["id"] == root.metadata["example_id"]
        assert root.inputs == rows[root.metadata["example_id"]]["inputs"]
        assert example.modified_at
        assert datetime.fromisoformat(root.metadata["example_version"]) == example.modified_at
    for candidate in runs:
        results = client.get_experiment_results(name=experiment(demonstration, candidate))
        found = {
            row.id: sorted(each.metadata["repetition"] for each in row.runs)
            for row in results["examples_with_runs"]
        }
        assert found == {key: [1, 2] for key in examples}


def test_infra_errors_are_errors_and_no_scores(
    demonstration: RunDirectory, runs: dict[str, list[Run]], client: Client
) -> None:
    found, scored = roots(runs), set()
    for trial in demonstration.trials():
        root = found[trial.trial_id]
        given: dict[str, Feedback] = {each.key: each for each in client.list_feedback(run_ids=[root.id])}
        assert given["verdict"].value == trial.verdict
        assert given["verdict"].comment == (trial.attempts[-1].because or None)
        assert (given["cause"].value if "cause" in given else None) == trial.cause
        assert {each.trace_id for each in given.values()} == {root.id}
        assert {each.session_id for each in given.values()} == {root.session_id}
        if trial.verdict == "infra_error":
            assert root.status == "error"
            assert root.error == f"{trial.cause}: {trial.attempts[-1].because}"
            assert all(each.score is None for each in given.values())
        else:
            assert (root.status, root.error) == ("success", None)
            assert given["score"].score == float(trial.verdict == "passed")
            assert {key: given[key].score for key in trial.scores} == {
                key: round(score, 4) for key, score in trial.scores.items()
            }
        scores = 0 if trial.verdict == "infra_error" else 1 + len(trial.scores)
        assert len(given) == 1 + (trial.cause is not None) + scores
        scored.add(trial.verdict)
    assert scored == {"passed", "failed", "infra_error"}


def test_every_model_call_is_there(demonstration: RunDirectory, runs: dict[str, list[Run]]) -> None:
    found, calls_seen = roots(runs), 0
    for trial in demonstration.trials():
        for number, attempt in enumerate(children(runs, found[trial.trial_id], "chain"), start=1):
            record = trial.attempts[number - 1]
            calls = sorted(
                (call for call in demonstration.calls(trial.trial_id) if call["attempt"] == number),
                key=lambda call: call["index"],
            )
            models = children(runs, attempt, "llm")
            assert [each.metadata["index"] for each in models] == [call["index"] for call in calls]
            for model, call in zip(models, calls, strict=True):
                calls_seen += 1
                _compare_call(model, call, trial, record.agent_started_at)
                assert attempt.start_time <= model.start_time
                assert model.end_time
                assert attempt.end_time
                assert model.end_time <= attempt.end_time
    assert calls_seen > 30


def _compare_call(model: Run, call: dict[str, Any], trial: TrialRecord, origin: datetime | None) -> None:
    metadata, outputs = model.metadata, model.outputs or {}
    assert model.name == trial.model
    assert f"{metadata['ls_provider']}:{metadata['ls_model_name']}" == trial.model
    assert model.inputs["messages"] == to_openai(call["request"]["messages"])
    assert model.inputs["tools"] == call["request"]["tools"]
    answer = to_openai([call["response"]])[0] if call["response"] else None
    assert (outputs["choices"][0]["message"] if answer else None) == answer
    usage = metadata["usage_metadata"]
    assert usage["input_tokens"] == call["input_tokens"]
    assert usage["output_tokens"] == call["output_tokens"]
    assert usage == outputs["usage_metadata"]
    assert usage["input_token_details"]["cache_read"] == call["cached_tokens"]
    assert usage["total_cost"] == call["cost_usd"]
    for name in ("seconds", "queued_seconds", "cost_usd", "finish_reason", "first_token_seconds", "status"):
        assert metadata[name] == call[name]
    assert metadata["tries"] == call["attempts"]
    assert (model.error is None) == (call["error"] is None)
    assert origin
    assert model.end_time
    assert abs(model.start_time - (origin + timedelta(seconds=call["started"]))) < CLOCK
    assert (
        abs((model.end_time - model.start_time).total_seconds() - call["seconds"] - call["queued_seconds"])
        < 0.05
    )


def test_every_tool_call_is_there(demonstration: RunDirectory, runs: dict[str, list[Run]]) -> None:
    found, ran = roots(runs), 0
    for trial in demonstration.trials():
        attempt = children(runs, found[trial.trial_id], "chain")[-1]
        trajectory = demonstration.trajectory(trial.trial_id)
        wanted = {}
        for step in (trajectory or {}).get("steps", ()):
            results = {
                entry.get("source_call_id"): entry
                for entry in (step.get("observation") or {}).get("results", ())
            }
            for call in step.get("tool_calls", ()):
                wanted[call["tool_call_id"]] = (call, results.get(call["tool_call_id"]) or {})
        tools = {each.metadata["tool_call_id"]: each for each in children(runs, attempt, "tool")}
        assert wanted.keys() <= tools.keys()
        for call_id, (call, result) in wanted.items():
            tool, extra = tools[call_id], call.get("extra") or {}
            assert tool.name == call["function_name"]
            if raw := extra.get("raw_arguments"):
                assert tool.inputs == {"raw_arguments": raw}
            else:
                assert tool.inputs == call["arguments"]
            assert ((tool.outputs or {}).get("output")) == result.get("content")
            error = extra.get("error") or (result.get("extra") or {}).get("error")
            if error:
                assert tool.error == error
            if "started" in extra:
                origin = trial.attempts[-1].agent_started_at
                assert origin
                assert abs(tool.start_time - (origin + timedelta(seconds=extra["started"]))) < CLOCK
                ran += 1
    assert ran > 30
