"""One trial as LangSmith runs and feedback: what is rare in a real run."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from bakeoff.publish.langsmith import runs
from bakeoff.publish.langsmith.runs import Place, Trace
from bakeoff.record.base import JsonDict
from bakeoff.record.timeline import AttemptEvent, ModelCallEvent, Timeline, ToolCallEvent
from bakeoff.stats import Excess
from tests.fakes import synthetic

START = datetime(2026, 7, 22, 14, 15, 3, 123456, tzinfo=UTC)
PLACE = Place("run-1", UUID(int=1), UUID(int=2), "2026-07-22T14:00:00+00:00", {"question": "?"})


def model_call(index: int = 0, **changes: Any) -> ModelCallEvent:
    fields: dict[str, Any] = {
        "index": index,
        "started_at": START + timedelta(seconds=1 + index),
        "finished_at": START + timedelta(seconds=1.5 + index),
        "seconds": 0.4,
        "queued_seconds": 0.1,
        "tries": 2,
        "first_token_seconds": None,
        "messages": [{"role": "user", "content": "?"}],
        "tools": [],
        "params": {"temperature": 0, "max_tokens": 100, "top_p": 0.5},
        "answer": {"role": "assistant", "content": "!"},
        "input_tokens": 10,
        "output_tokens": 5,
        "cached_tokens": 4,
        "reasoning_tokens": 2,
        "cost_usd": 0.01,
        "finish_reason": "stop",
        "error_kind": None,
        "error": None,
        "status": None,
    }
    return ModelCallEvent(**(fields | changes))


def tool_call(**changes: Any) -> ToolCallEvent:
    fields: dict[str, Any] = {
        "call_id": "c1",
        "name": "get_order",
        "arguments": {"order_id": "A-17"},
        "raw_arguments": None,
        "started_at": START + timedelta(seconds=1.6),
        "finished_at": START + timedelta(seconds=1.7),
        "result": "shipped",
        "error": None,
        "timed_out": False,
        "outcome": "ran",
        "model_call": 0,
    }
    return ToolCallEvent(**(fields | changes))


def traced(models: list[ModelCallEvent], tools: list[ToolCallEvent], **changes: Any) -> Trace:
    trial = synthetic.trial(**changes)
    end = START + timedelta(seconds=9)
    attempt = AttemptEvent(1, trial.attempts[-1], START, START + timedelta(seconds=1), end, models, tools)
    return runs.trace(Timeline(trial, [attempt], []), PLACE)


def only(made: Trace, run_type: str) -> JsonDict:
    (found,) = [run for run in made.runs if run["run_type"] == run_type]
    return found


def test_ids_are_version_7_of_their_start_and_always_the_same() -> None:
    one, two = traced([model_call()], [tool_call()]), traced([model_call()], [tool_call()])
    assert one == two
    for run in one.runs:
        assert run["id"].version == 7
        assert run["id"].variant == "specified in RFC 4122"
        assert run["id"].int >> 80 == int(run["start_time"].timestamp() * 1000)
        assert run["dotted_order"].endswith(f"{run['start_time']:%Y%m%dT%H%M%S%fZ}{run['id']}")
    assert len({run["id"] for run in one.runs}) == len(one.runs) == 4


def test_another_experiment_has_other_ids() -> None:
    trial = synthetic.trial()
    attempt = AttemptEvent(1, trial.attempts[-1], START, None, START, [], [])
    timeline = Timeline(trial, [attempt], [])
    there = Place("run-1", UUID(int=3), UUID(int=2), None, {})
    one, other = runs.trace(timeline, PLACE), runs.trace(timeline, there)
    assert not {run["id"] for run in one.runs} & {run["id"] for run in other.runs}
    assert not {e["feedback_id"] for e in one.feedback} & {e["feedback_id"] for e in other.feedback}


def test_a_model_call_has_what_langsmith_reads() -> None:
    run = only(traced([model_call(first_token_seconds=0.15)], []), "llm")
    metadata = run["extra"]["metadata"]
    usage = {
        "input_tokens": 10,
        "input_token_details": {"cache_read": 4},
        "output_tokens": 5,
        "output_token_details": {"reasoning": 2},
        "total_tokens": 15,
        "total_cost": 0.01,
    }
    assert metadata["usage_metadata"] == run["outputs"]["usage_metadata"] == usage
    assert (metadata["ls_provider"], metadata["ls_model_name"]) == ("simulated", "skill=0.9,steady")
    assert (metadata["ls_temperature"], metadata["ls_max_tokens"]) == (0, 100)
    assert run["extra"]["invocation_params"]["top_p"] == 0.5
    (event,) = run["events"]
    assert event["name"] == "new_token"  # 0.4 s with the provider before its end, and 0.15 s into that
    assert abs(datetime.fromisoformat(event["time"]) - (START + timedelta(seconds=1.25))) < timedelta(
        milliseconds=1
    )


def test_what_is_not_known_is_left_out_and_not_zero() -> None:
    unknown = model_call(
        input_tokens=None, output_tokens=None, cached_tokens=None, reasoning_tokens=None, cost_usd=None
    )
    run = only(traced([unknown], []), "llm")
    assert "usage_metadata" not in run["extra"]["metadata"]
    assert "usage_metadata" not in run["outputs"]
    assert run["events"] == []


def test_a_model_call_that_failed_is_an_error() -> None:
    failed = model_call(
        answer=None, error="overloaded", error_kind="unavailable", status=529, finish_reason=None
    )
    run = only(traced([failed], []), "llm")
    assert run["error"] == "overloaded"
    assert "choices" not in run["outputs"]
    assert (run["extra"]["metadata"]["error_kind"], run["extra"]["metadata"]["status"]) == (
        "unavailable",
        529,
    )


def test_tool_calls_that_went_wrong() -> None:
    never = tool_call(started_at=None, finished_at=None, result=None)
    run = only(traced([model_call()], [never]), "tool")
    assert run["error"] == "never ran"
    assert run["start_time"] == run["end_time"] == START + timedelta(seconds=1.5)  # where it was asked for
    assert run["extra"]["metadata"]["ran"] is False
    late = only(traced([], [tool_call(result=None, timed_out=True)]), "tool")
    assert late["error"] == "stopped at the tool's time limit"
    assert late["outputs"] is None
    raw = only(traced([], [tool_call(arguments={}, raw_arguments='{"order_id": ')]), "tool")
    assert raw["inputs"] == {"raw_arguments": '{"order_id": '}
    failed = only(traced([], [tool_call(error="no such order", result="Error: no such order")]), "tool")
    assert (failed["error"], failed["outputs"]) == ("no such order", {"output": "Error: no such order"})


def test_children_come_after_their_parents_in_the_order_of_time() -> None:
    made = traced([model_call(0), model_call(1)], [tool_call()])
    assert [run["run_type"] for run in made.runs] == ["chain", "chain", "llm", "tool", "llm"]
    orders = [run["dotted_order"] for run in made.runs]
    assert orders == sorted(orders)


def test_an_infra_error_is_an_error_without_scores() -> None:
    lost = traced(
        [], [], verdict="infra_error", cause="infra.oom_killed", because="the kernel killed 1 process"
    )
    assert lost.runs[0]["error"] == "infra.oom_killed: the kernel killed 1 process"
    assert [(e["key"], e.get("value"), e.get("score")) for e in lost.feedback] == [
        ("verdict", "infra_error", None),
        ("cause", "infra.oom_killed", None),
    ]
    failed = traced([], [], verdict="failed", cause="model.wrong_answer", because="below")
    assert failed.runs[0]["error"] is None
    assert {e["key"]: e["score"] for e in failed.feedback if "score" in e} == {
        "score": 0.0,
        "trajectory_match": 0.0,
        "final_answer": 1.0,
    }


def test_a_death_inside_has_the_score_that_it_has_in_the_report() -> None:
    place = replace(PLACE, deaths=Excess("a", 9, 9, "b", 0, 9, 0.001))

    def score(**changes: Any) -> list[float]:
        trial = synthetic.trial(**changes)
        attempt = AttemptEvent(1, trial.attempts[-1], START, None, START, [], [])
        made = runs.trace(Timeline(trial, [attempt], []), place)
        return [entry["score"] for entry in made.feedback if entry["key"] == "score"]

    assert score(verdict="infra_error", cause="infra.oom_killed") == [0.0]
    assert score(verdict="infra_error", cause="infra.provider_timeout") == []
    assert score() == [1.0]


def test_an_evaluator_named_like_a_key_of_ours_keeps_apart() -> None:
    made = traced([], [], scores={"verdict": 0.123456, "score": 1.0})
    keys = {e["key"]: e.get("score") for e in made.feedback}
    assert keys["evaluator.verdict"] == 0.1235  # LangSmith stores four decimal places
    assert keys["evaluator.score"] == 1.0
    assert len({e["feedback_id"] for e in made.feedback}) == len(made.feedback)


def test_a_run_that_is_too_large_keeps_all_but_its_messages() -> None:
    run = only(traced([model_call(messages=[{"role": "user", "content": "x" * 5000}])], []), "llm")
    kept, size, cut = runs.fitted(run, 4000)
    assert cut
    assert size <= 4000
    assert "left_out" in kept["inputs"]
    assert kept["extra"] == run["extra"]
    whole, size, cut = runs.fitted(run, 10**6)
    assert (whole, cut) == (run, False)
    assert size == len(json.dumps(run, default=str, ensure_ascii=False))
