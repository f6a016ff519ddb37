"""trajectory_match, tool_call_precision, tool_call_recall: which calls count, and when two are the same."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bakeoff.config.evaluators import TrajectoryMatch
from bakeoff.errors import EvaluatorError, InputError
from bakeoff.record.evidence import Evidence
from bakeoff.record.trial import AttemptResult, ResourceLimits, ToolCall
from bakeoff.scoring import Outputs
from bakeoff.scoring.calls import agree, ignore, pairs, turns
from bakeoff.scoring.types import Call
from tests.unit.scoring.shapes import WANTED, A, B, C, called, example, one, scorer, spec

MODES = ("strict", "unordered", "superset", "subset")


@pytest.mark.parametrize(
    ("calls", "matching"),
    [
        ([A, B], {"strict", "unordered", "superset", "subset"}),
        ([B, A], {"unordered", "superset", "subset"}),
        ([A, B, C], {"superset"}),
        ([A], {"subset"}),
        ([A, A, B], {"superset"}),
        ([], {"subset"}),
        ([A, C], set()),
    ],
)
def test_modes(calls: list[tuple[str, Any]], matching: set[str]) -> None:
    for mode in MODES:
        score = one("trajectory_match", called(*calls), example(WANTED), mode=mode)
        assert score == float(mode in matching), mode


def test_calls_of_one_turn_have_no_order_and_turns_do() -> None:
    reference = example([{"name": name, "args": args} for name, args in (A, B, C)])

    def strict(*made: list[tuple[str, Any]]) -> float:
        outputs = Outputs([], "", [[Call(*call) for call in turn] for turn in made])
        return one("trajectory_match", outputs, reference, mode="strict")

    assert strict([A, B, C]) == strict([C, A, B]) == strict([B, A], [C]) == strict([A], [C, B]) == 1.0
    assert strict([C], [A, B]) == strict([A, C], [B]) == strict([A, B], [C], [C]) == strict([A, B]) == 0.0


def test_no_call_wanted_and_none_made_is_a_match() -> None:
    assert one("trajectory_match", called(), example([]), mode="strict") == 1.0
    assert one("trajectory_match", called(A), example([]), mode="strict") == 0.0


# --- arguments --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("args", ["exact", "subset", "superset"])
@pytest.mark.parametrize(("made", "wanted"), [(True, 1), (False, 0), ("1", 1), ([{"a": True}], [{"a": 1}])])
def test_true_is_not_1_and_text_is_not_a_number(mode: str, args: str, made: Any, wanted: Any) -> None:
    reference = example([{"name": "list_orders", "args": {"limit": wanted}}])
    outputs = called(("list_orders", {"limit": made}))
    assert one("trajectory_match", outputs, reference, mode=mode, args=args) == 0.0
    assert one("trajectory_match", outputs, reference, mode=mode, overrides={"list_orders": ["limit"]}) == 0.0
    assert (
        one("tool_call_precision", outputs, reference) == one("tool_call_recall", outputs, reference) == 0.0
    )


def test_whole_numbers_may_be_written_with_a_point() -> None:
    reference = example([{"name": "list_orders", "args": {"limit": 1}}])
    assert one("trajectory_match", called(("list_orders", {"limit": 1.0})), reference) == 1.0


def test_argument_modes_and_overrides() -> None:
    reference = example([{"name": "get_order", "args": {"id": "A-17", "why": {"text": "refund"}}}])
    made = called(("get_order", {"id": "A-17", "why": {"text": "he asked"}}))
    assert one("trajectory_match", made, reference) == 0.0
    assert one("trajectory_match", made, reference, args="ignore") == 1.0
    assert one("trajectory_match", made, reference, overrides={"get_order": "ignore"}) == 1.0
    assert one("trajectory_match", made, reference, overrides={"get_order": ["id"]}) == 1.0
    assert one("trajectory_match", made, reference, overrides={"get_order": ["why.text"]}) == 0.0
    assert one("trajectory_match", made, reference, overrides={"get_order": ["absent"]}) == 0.0
    assert one("trajectory_match", made, reference, overrides={"other": "ignore"}) == 0.0
    fewer = called(("get_order", {"id": "A-17"}))
    assert one("trajectory_match", fewer, reference, args="subset") == 1.0
    assert one("trajectory_match", fewer, reference, args="superset") == 0.0


OWN = """
def alike(made, wanted):
    made_query = made.pop("query")
    return made_query.lower() == wanted["query"].lower()

def raises(made, wanted):
    raise KeyError("query")

def one_argument(made):
    return True

async def later(made, wanted):
    return True

number = 1
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "own_args.py").write_text(OWN)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("own_args", None)


def test_an_override_may_be_a_function_of_the_users(own: Path) -> None:
    reference = example([{"name": "search", "args": {"query": "Refunds"}}] * 2)
    made, overrides = called(*[("search", {"query": "REFUNDS", "page": 2})] * 2), {"search": "own_args:alike"}
    assert one("trajectory_match", made, reference) == 0.0
    for mode in MODES:
        assert one("trajectory_match", made, reference, root=own, mode=mode, overrides=overrides) == 1.0
    other = called(("search", {"query": "Returns"}))
    assert one("trajectory_match", other, reference, root=own, overrides=overrides) == 0.0
    with pytest.raises(EvaluatorError, match="KeyError"):
        one("trajectory_match", made, reference, root=own, overrides={"search": "own_args:raises"})


@pytest.mark.parametrize(
    "path", ["own_args:absent", "own_args:one_argument", "own_args:later", "own_args:number", "gone:f"]
)
def test_a_function_that_cannot_compare_is_found_before_anything_starts(own: Path, path: str) -> None:
    with pytest.raises(InputError) as caught:
        scorer(spec("trajectory_match", overrides={"search": path}), root=own)
    assert caught.value.hint


@pytest.mark.parametrize("rule", ["equal", "own_args", "own_args:", ":f", "a b:c", 3])
def test_an_override_that_is_no_rule_is_no_option(rule: Any) -> None:
    with pytest.raises(ValidationError, match="overrides"):
        TrajectoryMatch(overrides={"search": rule})


def test_a_pair_is_not_lost_to_the_order_of_the_calls() -> None:
    reference = example([{"name": "f", "args": {"a": 1}}, {"name": "f", "args": {"a": 1, "b": 2}}])
    made = called(("f", {"a": 1}), ("f", {"a": 1, "b": 2}), together=True)
    for args in ("subset", "superset", "exact"):
        assert one("trajectory_match", made, reference, mode="strict", args=args) == 1.0, args


@given(st.lists(st.sampled_from("abc"), max_size=6), st.lists(st.sampled_from("abc"), max_size=6))
def test_of_equal_calls_as_many_pair_up_as_both_lists_have(made: list[str], wanted: list[str]) -> None:
    common = sum(min(made.count(name), wanted.count(name)) for name in "abc")
    calls = [Call(name, {}) for name in made], [Call(name, {}) for name in wanted]
    assert pairs(*calls, agree(ignore)) == common


# --- openevals, where its equality and ours are the same --------------------------------------------------

CALLS = st.lists(
    st.tuples(st.sampled_from("fg"), st.dictionaries(st.sampled_from("ab"), st.integers(2, 3))), max_size=4
)


def as_openevals(calls: list[tuple[str, dict[str, int]]]) -> list[dict[str, Any]]:
    functions = [{"name": name, "arguments": json.dumps(args)} for name, args in calls]
    return [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c", "type": "function", "function": each}],
        }
        for each in functions
    ]


@settings(max_examples=60, deadline=None)
@given(made=CALLS, wanted=CALLS, mode=st.sampled_from(MODES), args=st.sampled_from(["exact", "ignore"]))
def test_the_modes_are_those_of_openevals(made: Any, wanted: Any, mode: str, args: str) -> None:
    from langsmith import tracing_context
    from openevals.trajectory.match import create_trajectory_match_evaluator

    with tracing_context(enabled=False):
        theirs = create_trajectory_match_evaluator(trajectory_match_mode=mode, tool_args_match_mode=args)(
            outputs=as_openevals(made), reference_outputs=as_openevals(wanted)
        )
    reference = example([{"name": name, "args": given} for name, given in wanted])
    assert one("trajectory_match", called(*made), reference, mode=mode, args=args) == float(theirs["score"])


# --- precision and recall ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("calls", "precision", "recall"),
    [([A, B], 1, 1), ([A, C], 0.5, 0.5), ([A, A, B], 2 / 3, 1), ([A], 1, 0.5), ([], 0, 0), ([B, A], 1, 1)],
)
def test_precision_and_recall(calls: list[tuple[str, Any]], precision: float, recall: float) -> None:
    assert one("tool_call_precision", called(*calls), example(WANTED)) == pytest.approx(precision)
    assert one("tool_call_recall", called(*calls), example(WANTED)) == pytest.approx(recall)


def test_precision_and_recall_where_nothing_is_wanted() -> None:
    assert one("tool_call_precision", called(), example([])) == 1.0
    assert one("tool_call_recall", called(A), example([])) == 1.0
    assert one("tool_call_precision", called(A), example([])) == 0.0


def test_names_alone() -> None:
    made = called(("get_order", {"id": "Z"}), B)
    assert one("tool_call_precision", made, example(WANTED), args="ignore") == 1.0
    assert one("tool_call_precision", made, example(WANTED)) == 0.5


# --- which calls count ------------------------------------------------------------------------------


def tool_call(
    name: str = "get_order", outcome: Any = "ran", model_call: int | None = 0, **fields: Any
) -> ToolCall:
    defaults: dict[str, Any] = {"call_id": "get_order:0", "args": {"id": "A-17"}}
    return ToolCall(name=name, outcome=outcome, model_call=model_call, **(defaults | fields))


def seen(*calls: ToolCall) -> list[list[Call]]:
    limits = ResourceLimits(cpus=1, memory_bytes=1, pids=1, disk_bytes=1, network="none")
    now = datetime(2026, 7, 22, tzinfo=UTC)
    times = {"started_at": now, "finished_at": now}
    made = {"attempt": 1, "evidence": Evidence(), "requested": limits, "effective": limits, **times}
    return turns(AttemptResult(tool_calls=list(calls), **made))


def test_calls_are_told_apart_by_the_reply_that_asked_for_them_never_by_their_ids() -> None:
    found = seen(
        tool_call(model_call=2),
        tool_call("get_policy", model_call=2),
        tool_call(model_call=0),
        tool_call(model_call=5, conversation=1),
    )
    assert [[call.name for call in turn] for turn in found] == [
        ["get_order"],
        ["get_order", "get_policy"],
        ["get_order"],
    ]


@pytest.mark.parametrize(
    ("outcome", "counts"),
    [("ran", True), ("unseen", True), ("unknown_tool", True), ("rejected", False), ("not_run", False)],
)
def test_a_call_that_was_not_made_does_not_count(outcome: str, counts: bool) -> None:
    outputs = Outputs(
        [], "", seen(tool_call(outcome=outcome), tool_call("get_policy", args={}, model_call=1))
    )
    assert one("trajectory_match", outputs, example(WANTED), mode="strict") == float(counts)
    assert one("tool_call_recall", outputs, example(WANTED)) == (1.0 if counts else 0.5)
    assert one("tool_call_precision", outputs, example(WANTED)) == 1.0


def test_what_the_harness_called_itself_is_not_the_models() -> None:
    assert seen(tool_call(model_call=None), tool_call(model_call=0)) == [[Call("get_order", {"id": "A-17"})]]


def test_arguments_that_do_not_parse_match_nothing() -> None:
    made = called(A, ("get_policy", None))
    assert seen(tool_call(outcome="malformed", args=None)) == [[Call("get_order", None)]]
    assert one("trajectory_match", made, example(WANTED), mode="superset") == 0.0
    assert one("trajectory_match", made, example(WANTED[:1]), mode="strict") == 1.0
    assert one("tool_call_precision", made, example(WANTED)) == 0.5
    assert one("tool_call_recall", made, example(WANTED)) == 0.5


@pytest.mark.parametrize(
    "artificial",
    [
        tool_call("transfer_to_orders", args={}),
        tool_call("Reply", "answer", args={"status": "shipped"}, model_call=3),
    ],
)
def test_artificial_calls_count_only_where_the_reference_names_them(artificial: ToolCall) -> None:
    outputs = Outputs(
        [], "", seen(artificial, tool_call(model_call=1), tool_call("get_policy", args={}, model_call=2))
    )
    assert one("trajectory_match", outputs, example(WANTED), mode="strict") == 1.0
    assert one("tool_call_precision", outputs, example(WANTED)) == 1.0
    named = {"name": artificial.name, "args": artificial.args}
    reference = [named, *WANTED] if artificial.model_call == 0 else [*WANTED, named]
    assert one("trajectory_match", outputs, example(reference), mode="strict") == 1.0
    assert one("trajectory_match", called(A, B), example(reference), mode="strict") == 0.0


def test_a_transfer_of_money_is_no_hand_off() -> None:
    outputs = Outputs(
        [], "", seen(tool_call("transfer_to_account", args={"amount": 5}), tool_call(model_call=1))
    )
    assert one("trajectory_match", outputs, example(WANTED[:1]), mode="strict") == 0.0
