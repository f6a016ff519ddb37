"""The simulated model: its rate is true, each error fails, its answer depends on its tools."""

import json
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import messages_from_dict
from openevals import create_trajectory_match_evaluator
from scipy.special import bdtr

from bakeoff.config.schema import Candidate
from bakeoff.errors import ModelCallError
from bakeoff.gateway import check, open_backend
from bakeoff.gateway.models.simulated import ERRORS, parse, plan, true_pass_rate
from bakeoff.gateway.types import CallContext, ModelRequest

TWO_STEPS = {
    "trajectory": [
        {"name": "get_order", "args": {"order_id": "A-17"}, "result": "shipped"},
        {"name": "refund", "args": {"order_id": "A-17", "cents": 1250}},
    ],
    "answer": "refunded 12.50",
}
NO_STEPS = {"trajectory": [], "answer": "No"}
TURNS = 8


def candidate(spec):
    return Candidate(name="s", model=spec)


def play(spec, reference, seed=1, tool=lambda call: "it is shipped"):
    """A harness in miniature: calls tools until the model answers, at most TURNS times."""
    backend = open_backend(candidate(spec))
    messages = [{"type": "human", "data": {"content": "please"}}]
    for index in range(TURNS):
        request = ModelRequest(messages=list(messages), tools=[{"type": "function"}])
        message = backend.complete(request, CallContext("s/e/1", "e", seed, index, reference)).message
        messages.append(message)
        if not message["data"]["tool_calls"]:
            break
        for call in message["data"]["tool_calls"]:
            messages.append({"type": "tool", "data": {"content": tool(call), "tool_call_id": call["id"]}})
    return messages


def passes(messages, reference):
    """What a user's evaluators say: superset trajectory match and `contains`, both openevals' way."""

    def openai(calls):
        return [
            {"type": "function", "function": {"name": c["name"], "arguments": json.dumps(c["args"])}}
            for c in calls
        ]

    made = [c for m in messages if m["type"] == "ai" for c in m["data"]["tool_calls"]]
    wanted = reference["trajectory"]
    match = create_trajectory_match_evaluator(trajectory_match_mode="superset")(
        outputs=[{"role": "assistant", "content": "", "tool_calls": openai(made)}],
        reference_outputs=[{"role": "assistant", "content": "", "tool_calls": openai(wanted)}],
    )
    final = messages[-1]["data"]["content"] if messages[-1]["type"] == "ai" else ""
    return bool(match["score"]) and reference["answer"].casefold() in final.casefold()


@pytest.mark.parametrize("reference", [TWO_STEPS, NO_STEPS], ids=["two steps", "no step"])
def test_the_share_of_passing_trials_is_the_skill(reference):
    trials, skill = 2000, 0.9
    flawless = sum(plan(parse(f"skill={skill}"), seed, reference).error is None for seed in range(trials))
    assert 0.0005 < bdtr(flawless, trials, skill) < 0.9995
    for seed in range(60):  # and flawless is what passes
        expected = plan(parse("skill=0.5"), seed, reference).error is None
        assert passes(play("simulated:skill=0.5", reference, seed), reference) is expected


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize(
    "answer", ["3", "yes", "no", "i", "I'm sorry", "hm", "?", ".", "xqz", "refunded 12.50"]
)
@pytest.mark.parametrize(
    "calls",
    [
        [],
        [{"name": "look", "args": {}}],
        [{"name": "look", "args": {"n": 1}}, {"name": "look", "args": {"n": 2}}, {"name": "look", "args": {"n": 1}}],
        [{"name": "set", "args": {"on": True}}, {"name": "set", "args": {"on": False}}],
    ],
    ids=["no call", "no args", "twins", "booleans"],
)  # fmt: skip
def test_every_error_makes_the_trial_fail(error, answer, calls):
    reference = {"trajectory": calls, "answer": answer}
    for seed in range(3):
        assert not passes(play(f"simulated:skill=0,errors={error}", reference, seed), reference)


@settings(max_examples=60, deadline=None)
@given(
    calls=st.lists(
        st.fixed_dictionaries(
            {
                "name": st.sampled_from(["a", "b"]),
                "args": st.dictionaries(
                    st.sampled_from("xy"),
                    st.one_of(st.integers(), st.text(max_size=3), st.booleans(), st.none()),
                ),
            }
        ),
        max_size=4,
    ),
    answer=st.text(min_size=1, max_size=4).filter(str.strip),
    seed=st.integers(0, 2**63),
)
def test_any_reference_is_passed_with_skill_1_and_failed_with_skill_0(calls, answer, seed):
    reference = {"trajectory": calls, "answer": answer}
    assert passes(play("simulated:skill=1", reference, seed), reference)
    assert not passes(play("simulated:skill=0", reference, seed), reference)


def test_a_failed_tool_makes_a_wrong_answer():
    messages = play("simulated:skill=1", TWO_STEPS, tool=lambda call: "Error: killed")
    assert "refunded" not in messages[-1]["data"]["content"]
    assert messages[-1]["data"]["content"]


def test_recovery_retries_the_call_once():
    outcomes = {"first": iter(["Error: killed", "it is shipped", "done"]), "never": iter(["Error"] * 9)}
    saved = play("simulated:skill=1,recover=1", TWO_STEPS, tool=lambda call: next(outcomes["first"]))
    lost = play("simulated:skill=1,recover=1", TWO_STEPS, tool=lambda call: next(outcomes["never"]))
    assert passes(saved, TWO_STEPS)
    assert not passes(lost, TWO_STEPS)
    assert sum(m["type"] == "ai" for m in lost) == 4  # the call, once more, the next step, the answer


def test_a_loop_never_ends_and_malformed_arguments_have_no_valid_call():
    loop = play("simulated:skill=0,errors=loop", TWO_STEPS)
    ids = [c["id"] for m in loop if m["type"] == "ai" for c in m["data"]["tool_calls"]]
    assert len(ids) == TURNS == len(set(ids))
    last = play("simulated:skill=0,errors=malformed", TWO_STEPS)[-1]["data"]
    assert last["invalid_tool_calls"]
    assert not last["tool_calls"]
    with pytest.raises(json.JSONDecodeError):
        json.loads(last["invalid_tool_calls"][0]["args"])


@pytest.mark.parametrize("error", ["loop", "malformed", "refuse", "nothing"])
def test_langchain_accepts_the_messages(error):
    for message in messages_from_dict(play(f"simulated:skill=0,errors={error}", TWO_STEPS)[1:2]):
        assert message.type == "ai"
        assert message.usage_metadata["total_tokens"] > 0
    refusal = messages_from_dict(play("simulated:skill=0,errors=refuse", TWO_STEPS)[-1:])[0]
    assert refusal.additional_kwargs["refusal"] == refusal.content


def test_the_same_conversation_gives_the_same_reply():
    first, second = (play("simulated:skill=0.5", TWO_STEPS, seed=5) for _ in range(2))
    assert first == second


def test_a_terse_or_structured_answer_stands_alone():
    assert play("simulated:skill=1,terse=1", NO_STEPS)[-1]["data"]["content"] == "No"
    assert play("simulated:skill=1", {"answer": {"total": 3}})[-1]["data"]["content"] == '{"total": 3}'


def test_latency_is_slept_and_ends_when_the_attempt_does():
    backend = open_backend(candidate("simulated:skill=1,latency=30"))
    ended = threading.Event()
    threading.Timer(0.05, ended.set).start()
    began = time.monotonic()
    backend.complete(ModelRequest([]), CallContext("t", "e", 1, 0, NO_STEPS, ended.is_set))
    assert 0.04 < time.monotonic() - began < 25
    quick = open_backend(candidate("simulated:skill=1,latency=0.05"))
    assert quick.complete(ModelRequest([]), CallContext("t", "e", 1, 0, NO_STEPS)).seconds >= 0.05


def test_tokens_are_a_quarter_of_the_characters_and_cost_nothing():
    backend = open_backend(candidate("simulated:skill=1,terse=1"))
    messages = [{"type": "human", "data": {"content": "x" * 41}}]
    reply = backend.complete(ModelRequest(messages), CallContext("t", "e", 1, 0, {"answer": "12345"}))
    assert (reply.input_tokens, reply.output_tokens, reply.cost_usd) == (11, 2, 0.0)


def test_a_hostile_conversation_is_a_model_call_error():
    backend = open_backend(candidate("simulated:skill=1"))
    for message in (
        {"type": "ai"},
        {"type": "ai", "data": {"tool_calls": [7]}},
        {"type": "tool", "data": []},
    ):
        with pytest.raises(ModelCallError):
            backend.complete(ModelRequest([message]), CallContext("t", "e", 1, 0, NO_STEPS))


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("simulated:", "skill is missing"),
        ("simulated:latency=1", "skill is missing"),
        ("simulated:skill=1.1", "between 0 and 1"),
        ("simulated:skill=nan", "between 0 and 1"),
        ("simulated:skill=high", "not a number"),
        ("simulated:skill=1,skill=0", "twice"),
        ("simulated:skill=1,speed=3", "not an option"),
        ("simulated:skill=1,errors=loop+sulk", "'sulk' is no error"),
        ("simulated:skill=1,recover=yes", "neither 0 nor 1"),
        ("simulated:0.9", "not an option"),
    ],
)
def test_a_bad_specification_is_named(spec, problem):
    assert problem in check(candidate(spec)).problem


def test_the_true_pass_rate_is_the_skill():
    assert true_pass_rate("simulated:skill=0.85,latency=0.1") == 0.85
    assert check(candidate("simulated:skill=0.85,latency=0.1")) is None


WAYS = {
    "answer": "refunded 12.50",
    "trajectory": [{"name": "refund", "args": {"at_once": True}}],
    "ways": {"careful": [{"name": "get_order", "args": {}}, {"name": "refund", "args": {"at_once": False}}]},
}


@pytest.mark.parametrize(
    ("spec", "reference", "calls"),
    [
        ("skill=1", WAYS, [("refund", {"at_once": True})]),
        ("skill=1,way=careful", WAYS, [("get_order", {}), ("refund", {"at_once": False})]),
        ("skill=1,way=careful", NO_STEPS, []),
    ],
)
def test_it_takes_its_way_where_the_reference_has_several(spec, reference, calls):
    assert [(step.name, step.args) for step in plan(parse(spec), 1, reference).steps] == calls


def test_a_way_that_the_reference_does_not_have_is_an_error():
    with pytest.raises(ModelCallError, match="way=quick: the reference has only careful"):
        play("simulated:skill=1,way=quick", WAYS)
