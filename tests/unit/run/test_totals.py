"""What a trial did and used, in numbers."""

from __future__ import annotations

from typing import Any

import pytest

from bakeoff.record.evidence import AnswerFacts, ClockFacts, Evidence, Verdict
from bakeoff.record.trial import Seconds, ToolCall, ToolTotals, TrialSpec, Usage
from bakeoff.run.record import MAX_ANSWER, _tool_totals, attempt_record, not_attempted, trial_record
from tests.fakes.synthetic import LIMITS


def call(outcome: Any, **fields: Any) -> ToolCall:
    return ToolCall(call_id="", name="f", args={}, model_call=0, outcome=outcome, **fields)


def test_rejected_calls_and_calls_of_unknown_tools_are_counted_as_such() -> None:
    calls = [
        call("ran", result="a"),
        call("ran", result="a"),
        call("ran", error="no"),
        call("rejected"),
        call("malformed"),
        call("unknown_tool"),
        call("answer"),
    ]
    assert _tool_totals(calls) == ToolTotals(calls=6, failed=4, repeated=1, rejected=2, unknown=1)


@pytest.mark.parametrize(("costs", "in_all"), [((0.5, 0.25), 0.75), ((None, 0.25), None)])
def test_tokens_cost_and_time_of_all_attempts_count(
    costs: tuple[float | None, float], in_all: float | None
) -> None:
    attempts = []
    for number, cost in enumerate(costs, start=1):
        clock = ClockFacts(wall_seconds=9.0, working_seconds=5.0, model_seconds=2.0, queued_seconds=1.0)
        usage = Usage(model_calls=number, input_tokens=100, output_tokens=7, cost_usd=cost)
        result = not_attempted(number, LIMITS, Evidence(clock=clock)).model_copy(update={"usage": usage})
        attempts.append(
            attempt_record(result, Verdict(verdict="infra_error", cause="infra.provider_timeout"))
        )
    trial = TrialSpec(trial_id="m/e/1", candidate="m", example_id="e", repetition=1, seed=1)
    record = trial_record(trial, "m", result, {}, attempts)
    assert record.usage == Usage(model_calls=3, input_tokens=200, output_tokens=14, cost_usd=in_all)
    assert record.seconds == Seconds(wall=18.0, working=10.0, model=4.0, queued=2.0)
    assert [each.usage.cost_usd for each in record.attempts if each.usage] == list(costs)


def test_a_long_answer_is_in_the_trial_s_line_with_its_beginning_and_its_length() -> None:
    text = "x" * 5_000_000
    result = not_attempted(1, LIMITS, Evidence(answer=AnswerFacts(text=text)))
    attempt = attempt_record(result, Verdict(verdict="failed", cause="model.wrong_answer"))
    spec = TrialSpec(trial_id="c/e/1", candidate="c", example_id="e", repetition=1, seed=1)
    record = trial_record(spec, "m", result, {}, [attempt])
    assert record.output == f"{text[:MAX_ANSWER]}… (5000000 characters in all)"
    assert len(record.model_dump_json()) < 3 * MAX_ANSWER
