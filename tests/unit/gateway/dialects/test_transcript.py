"""A program's trajectory, rebuilt from what it asked and what it was answered."""

from bakeoff.gateway.dialects import serialised
from bakeoff.gateway.dialects.transcript import Transcript
from bakeoff.gateway.types import JsonDict


def said(transcript: Transcript) -> list[str]:
    return [f"{m['type']}: {m['data']['content']}" for m in transcript.messages]


def use(ident: str) -> JsonDict:
    return serialised.ai("", [serialised.call(ident, "bash", '{"command": "ls"}')])


QUESTION = [serialised.system("Work."), serialised.human("List.")]


def test_a_growing_conversation_is_itself() -> None:
    transcript = Transcript()
    transcript.asked(QUESTION)
    transcript.answered(use("c1"))
    transcript.asked([*QUESTION, use("c1"), serialised.tool("a b", "c1")])
    transcript.answered(serialised.ai("a and b", []))
    assert said(transcript) == ["system: Work.", "human: List.", "ai: ", "tool: a b", "ai: a and b"]


def test_the_models_words_are_the_gateways_whatever_the_program_says_they_were() -> None:
    transcript = Transcript()
    transcript.asked(QUESTION)
    transcript.answered(serialised.ai("no", []))
    transcript.asked([*QUESTION, serialised.ai("yes", []), serialised.human("Sure?")])
    transcript.answered(serialised.ai("no", []))
    assert said(transcript)[2:] == ["ai: no", "human: Sure?", "ai: no"]


def test_turns_before_the_model_spoke_are_examples() -> None:
    transcript = Transcript()
    transcript.asked([*QUESTION, serialised.ai("like this", []), serialised.human("Now you.")])
    transcript.answered(serialised.ai("done", []))
    assert said(transcript)[2:] == ["ai: like this", "human: Now you.", "ai: done"]


def test_equal_messages_stand_as_often_as_they_were_said() -> None:
    transcript = Transcript()
    again = serialised.human("Go on.")
    for turns in (1, 2, 3):
        transcript.asked([*QUESTION, *[again] * turns])
        transcript.answered(serialised.ai("more", []))
    assert said(transcript).count("human: Go on.") == 3


def test_a_history_that_was_compacted_loses_nothing_and_repeats_nothing() -> None:
    transcript = Transcript()
    transcript.asked(QUESTION)
    transcript.answered(use("c1"))
    transcript.asked([*QUESTION, use("c1"), serialised.tool("a long list", "c1")])
    transcript.answered(use("c2"))
    shortened = [serialised.tool("[gone]", "c1"), use("c2"), serialised.tool("done", "c2")]
    transcript.asked([QUESTION[0], serialised.human("Summary: listed."), *shortened])
    transcript.answered(serialised.ai("fine", []))
    assert said(transcript) == [
        *("system: Work.", "human: List.", "ai: ", "tool: a long list", "ai: "),
        *("human: Summary: listed.", "tool: done", "ai: fine"),
    ]
