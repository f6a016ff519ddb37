"""What the model said and called, as the gateway saw it, whatever the harness does with its state."""

import base64
import hashlib
from typing import Any

import pytest

from bakeoff.attempt.conversation import Conversation
from bakeoff.attempt.protocol import ToolEnded, ToolStarted
from bakeoff.attempt.tool_log import MAX_RAW_ARGS, ToolLog
from bakeoff.backends.fake import ai, human, tool_message
from bakeoff.gateway.types import ModelRequest
from bakeoff.record.base import JsonDict
from bakeoff.record.trial import Message, ToolCall
from tests.growth import LINEAR, growth

TOOLS: list[JsonDict] = [
    {"type": "function", "function": {"name": name}} for name in ("get_order", "refund", "Answer")
]


class Talk:
    """One attempt's conversations, driven as the loop drives them."""

    def __init__(self) -> None:
        self.conversation, self.log, self.calls = Conversation(), ToolLog(10.0), 0

    def turn(self, messages: list[JsonDict], reply: JsonDict, **asked: Any) -> JsonDict:
        self.conversation.asked(self.calls, ModelRequest(messages, **{"tools": TOOLS, **asked}))
        self.conversation.replied(self.calls, reply)
        self.calls += 1
        return reply

    def run(self, name: str, args: JsonDict, call_id: str = "", result: str = "done", **end: Any) -> None:
        run = self.log.start(ToolStarted(f"r{len(self.log.runs)}", call_id, name, args), 0.0)
        assert run is not None
        self.conversation.ran(run)
        said = {"errnos": [], "error": None, "timed_out": False, "rejected": False, **end}
        self.log.end(ToolEnded(f"r{len(self.log.runs) - 1}", 0.5, result, **said), 0.5)

    def end(
        self, *messages: JsonDict, structured: str | None = None, watched: bool = True
    ) -> tuple[list[Message], list[ToolCall]]:
        self.conversation.finish(messages)
        return self.conversation.record(list(messages), structured, self.log.runs, watched=watched)


def order(ident: str, number: str = "A-17") -> tuple[str, str, JsonDict]:
    return ident, "get_order", {"order_id": number}


def test_calls_with_one_id_in_every_turn_are_told_apart() -> None:
    talk = Talk()
    history = [human("A-1?"), ai("", order("call_0", "A-1")), tool_message("call_0", "paid"), ai("Paid.")]
    state = [*history, human("A-17?")]
    for number in ("A-17", "A-18"):
        state.append(talk.turn(state, ai("", order("call_0", number))))
        talk.run("get_order", {"order_id": number}, "call_0", result=f"{number} shipped")
        state.append(tool_message("call_0", f"{number} shipped"))
    state.append(talk.turn(state, ai("Both shipped.")))
    messages, calls = talk.end(*state)
    assert [(call.args, call.result, call.outcome) for call in calls] == [
        ({"order_id": "A-17"}, "A-17 shipped", "ran"),
        ({"order_id": "A-18"}, "A-18 shipped", "ran"),
    ]
    assert [message.answers for message in messages if message.answers is not None] == [0, 1]
    own = [message for message in messages if message.model_call is not None]
    assert [message.calls for message in own] == [[0], [1], []]
    assert len(messages) == len(state)


def test_parallel_calls_without_an_id_are_matched_by_their_arguments() -> None:
    talk = Talk()
    reply = talk.turn([human("?")], ai("", order("", "A-1"), order("", "A-2"), order("", "A-3")))
    for number in ("A-3", "A-1"):
        talk.run("get_order", {"order_id": number, "runtime": "injected"}, result=number)
    state = [human("?"), reply, tool_message("", "A-1"), tool_message("", "refused"), tool_message("", "A-3")]
    _, calls = talk.end(*state, talk.turn(state, ai("Done.")))
    assert [(call.result, call.outcome, call.args) for call in calls] == [
        ("A-1", "ran", {"order_id": "A-1"}),
        ("refused", "unseen", {"order_id": "A-2"}),
        ("A-3", "ran", {"order_id": "A-3"}),
    ]


def test_a_summary_or_a_trimmed_state_loses_no_call_and_counts_none_twice() -> None:
    talk = Talk()
    state: list[JsonDict] = [human("All orders?")]
    for turn in range(5):
        reply = talk.turn(state, ai("", order(f"c{turn}", f"A-{turn}")))
        talk.run("get_order", {"order_id": f"A-{turn}"}, f"c{turn}")
        state = [human(f"Summary {turn}"), reply, tool_message(f"c{turn}", "done")]
    messages, calls = talk.end(human("Summary"), talk.turn(state, ai("All done.")))
    assert [call.args for call in calls] == [{"order_id": f"A-{turn}"} for turn in range(5)]
    assert {call.conversation for call in calls} == {0}
    assert sum(message.model_call is not None for message in messages) == 6


def test_a_sub_agents_calls_count_and_are_marked_and_artificial_ones_do_not() -> None:
    talk = Talk()
    boss: list[JsonDict] = [{"type": "system", "data": {"content": "Delegate."}}, human("Refund A-17.")]
    first = talk.turn(boss, ai("", ("t1", "refund", {"to": "agent"})))
    inner: list[JsonDict] = [{"type": "system", "data": {"content": "Look up."}}, human("A-17")]
    inner.append(talk.turn(inner, ai("", order("t1"))))
    talk.run("get_order", {"order_id": "A-17"}, "t1", result="paid")
    talk.turn([*inner, tool_message("t1", "paid")], ai("It is paid."))
    made_up = ai("", ("back", "transfer_back", {}))
    boss += [first, tool_message("t1", "It is paid."), made_up, tool_message("back", "transferred")]
    messages, calls = talk.end(*boss, talk.turn(boss, ai("Refunded.")))
    assert [(call.name, call.conversation) for call in calls] == [("refund", 0), ("get_order", 1)]
    assert "transfer_back" not in str([message.openai for message in messages])
    assert [message.model_call for message in messages if message.conversation == 0] == [
        *(None, None, 0, None, 3)
    ]


def test_calls_that_did_not_run_say_why() -> None:
    talk = Talk()
    bad = ai("", order("a"), ("b", "no_such_tool", {}), ("c", "refund", {"x": 1}), ("d", "refund", {"y": 1}))
    bad["data"]["invalid_tool_calls"] = [{"id": "e", "name": "refund", "args": "{oops"}]
    talk.turn([human("?")], bad)
    talk.run("get_order", {"order_id": "A-17"}, "a", result="", error="ValidationError", rejected=True)
    state = [human("?"), bad, tool_message("a", "bad"), tool_message("b", "no such tool", status="error")]
    state.append(tool_message("c", "a person said no", status="error"))
    _, calls = talk.end(*state, talk.turn(state, ai("Sorry.")))
    assert {call.call_id: call.outcome for call in calls} == {
        "a": "rejected",
        "b": "unknown_tool",
        "c": "rejected",
        "d": "not_run",
        "e": "malformed",
    }
    assert calls[-1].raw_args == "{oops"


def test_a_tool_that_the_harness_calls_by_itself_is_not_the_models_call() -> None:
    talk = Talk()
    talk.run("get_order", {"order_id": "A-1"}, "direct-1")
    talk.turn([human("?")], ai("", order("c", "A-2")))
    talk.run("get_order", {"order_id": "A-2"}, "direct-2")
    _, calls = talk.end()
    assert [(call.model_call, call.args) for call in calls] == [
        (0, {"order_id": "A-2"}),
        (None, {"order_id": "A-1"}),
    ]


def test_of_a_models_arguments_one_copy_is_kept_and_of_large_ones_of_the_harness_the_beginning() -> None:
    talk = Talk()
    asked: JsonDict = {"order_id": "A-1" * 10}
    talk.turn([human("?")], ai("", ("c", "get_order", asked)))
    talk.run("get_order", {**asked, "runtime": "injected"}, "c")
    talk.run("refund", {"order_id": "x" * 10**6}, "direct")
    mine, own = talk.log.runs
    own.cut()
    _, calls = talk.end()
    assert mine.args is asked
    assert [(call.args, len(call.raw_args or "")) for call in calls] == [(asked, 0), (None, MAX_RAW_ARGS)]
    assert (calls[1].raw_args or "").startswith('{"order_id": "xxx')


@pytest.mark.parametrize(
    ("args", "status", "outcome"),
    [
        ({"state": "shipped"}, "success", "answer"),
        ({"state": "shipped", "day": "2026-1-2"}, "success", "answer"),  # the schema made a date of it
        ({"state": "shipped", "day": "2026-1-2"}, "error", "rejected"),
        ({"order_id": "A-1"}, "success", "unseen"),
        ({}, "success", "unseen"),
    ],
)
def test_the_call_that_is_the_structured_answer_is_not_an_action(
    args: JsonDict, status: str, outcome: str
) -> None:
    talk = Talk()
    reply = talk.turn([human("?")], ai("", ("c", "Answer", args)))
    structured = '{"state": "shipped", "day": "2026-01-02", "note": null}'
    state = [human("?"), reply, tool_message("c", "Returning structured response", status=status)]
    _, calls = talk.end(*state, structured=structured)
    assert [call.outcome for call in calls] == [outcome]
    answer = talk.conversation.answer(state, structured, program=False)
    assert (answer.text, answer.source) == (structured, "structured")


def test_the_answer_is_what_the_user_got_and_says_who_wrote_it() -> None:
    talk = Talk()
    reply = talk.turn([human("?")], ai("<think>A-18?</think>It is shipped."))
    for end, expected in (
        ([reply], ("It is shipped.", "model")),
        ([reply, human("Say it shorter.")], ("It is shipped.", "model")),
        ([ai("It is shipped.")], ("It is shipped.", "model")),
        ([ai("Limit reached.")], ("Limit reached.", "harness")),
        ([reply, tool_message("c", "Your order is shipped.")], ("Your order is shipped.", "tool")),
    ):
        answer = talk.conversation.answer([human("?"), *end], None, program=False)
        assert (answer.text, answer.source) == expected
    assert Conversation().answer([], None, program=True) is None


@pytest.mark.slow
def test_many_calls_and_results_take_time_that_grows_with_their_number() -> None:
    def converse(size: int) -> None:
        talk = Talk()
        calls = [order("same", f"A-{n}") for n in range(size)]
        reply = talk.turn([human("?")], ai("", *calls))
        for n in range(size):
            talk.run("get_order", {"order_id": f"A-{n}"}, "same")
        state = [human("?"), reply, *(tool_message("same", f"{n}") for n in range(size))]
        _, made = talk.end(*state, talk.turn(state, ai("Done.")))
        assert all(call.outcome == "ran" for call in made)

    assert growth(converse, 300) < LINEAR  # beyond what one run is compared with


def said(talk: Talk) -> list[str]:
    return [str(message.openai["content"]) for message in talk.end()[0]]


def test_the_models_words_are_the_gateways_whatever_the_harness_says_they_were() -> None:
    talk = Talk()
    talk.turn([human("List.")], ai("no"))
    talk.turn([human("List."), ai("yes"), human("Sure?")], ai("no"))
    assert said(talk) == ["List.", "no", "Sure?", "no"]


def test_turns_before_the_model_spoke_are_examples() -> None:
    talk = Talk()
    talk.turn([human("List."), ai("like this"), human("Now you.")], ai("done"))
    assert [(m.openai["content"], m.model_call) for m in talk.end()[0]] == [
        *(("List.", None), ("like this", None), ("Now you.", None), ("done", 0))
    ]


def test_equal_messages_are_there_as_often_as_they_were_said() -> None:
    talk = Talk()
    for turns in (1, 2, 3):
        talk.turn([human("List."), *[human("Go on.")] * turns], ai("more"))
    assert said(talk).count("Go on.") == 3
    assert said(talk).count("more") == 3


def test_a_history_that_was_compacted_loses_nothing_and_repeats_nothing() -> None:
    talk = Talk()
    first = talk.turn([human("List.")], ai("", order("c1")))
    second = talk.turn([human("List."), first, tool_message("c1", "a long list")], ai("", order("c2")))
    shortened = [tool_message("c1", "[gone]"), second, tool_message("c2", "done")]
    talk.turn([human("Summary: listed."), *shortened], ai("fine"))
    assert said(talk) == ["List.", "", "a long list", "", "Summary: listed.", "done", "fine"]


def test_an_image_is_a_line_in_the_record_wherever_it_is() -> None:
    data = base64.b64encode(bytes(2**20)).decode()
    line = f"[image: image/png, {2**20} bytes, sha256 {hashlib.sha256(bytes(2**20)).hexdigest()}]"
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    talk = Talk()
    question = human("?")
    question["data"]["content"] = [{"type": "text", "text": "What is this?"}, image]
    state = [question, talk.turn([question], ai("", order("c1")))]
    talk.run("get_order", {"order_id": "A-17"}, "c1")
    result = tool_message("c1", "")
    result["data"]["content"] = [{"type": "image", "base64": data, "mime_type": "image/png"}]
    state.append(result)
    painted = ai("")
    painted["data"]["content"] = [{"type": "text", "text": "Here:"}, image]
    state.append(talk.turn(state, painted))
    messages, _ = talk.end(*state)
    assert [message.openai["content"] for message in messages] == [
        f"What is this?\n{line}",
        "",
        line,
        f"Here:\n{line}",
    ]
    assert len(messages) == len(state)
    assert talk.conversation.kept < 10_000
    facts = talk.conversation.answer(state, None, program=False)
    assert (facts.text, facts.source) == ("Here:", "model")


def test_a_call_that_is_the_form_of_an_answer_is_no_tool_s() -> None:
    talk = Talk()
    schema = {"title": "Route", "type": "object", "properties": {"department": {"type": "string"}}}
    form: JsonDict = {"schema": schema, "is_class": True, "options": {}}
    route = ("c1", "Route", {"department": "orders"})
    talk.turn([human("?")], ai("", route), tools=None, structured=form)
    beside = {**form, "options": {"tools": TOOLS}}
    talk.turn([human("?")], ai("", order("c2"), ("c3", "Route", {})), tools=None, structured=beside)
    _, calls = talk.end(human("?"))
    assert [(call.name, call.outcome) for call in calls] == [
        ("Route", "answer"),
        ("get_order", "not_run"),
        ("Route", "answer"),
    ]
