"""Finish words: each has one meaning, joined words come apart, and an unknown word is never `stop`."""

import pytest

from bakeoff.record.finish import WORDS, Finish, meaning, word_of


def test_a_word_has_one_meaning_in_every_dialect() -> None:
    seen: dict[str, Finish] = {}
    for dialect, source, table in WORDS:
        assert source.startswith("https://"), dialect
        for finish, words in table.items():
            for word in words.split():
                assert seen.setdefault(word, finish) is finish, word


MEANS = {
    Finish.STOP: "stop end_turn STOP FINISH_REASON_STOP completed",
    Finish.CALLS: "tool_calls tool-calls",
    Finish.LENGTH: "length max_output_tokens MAX_TOKENS",
    Finish.REFUSAL: "content_filter content-filter sensitive SAFETY refusal",
    Finish.BAD_CALL: "MALFORMED_FUNCTION_CALL",
    Finish.BROKEN: "error abort insufficient_system_resource network_error queued",
    Finish.UNKNOWN: "eaten_by_a_bear OTHER stopped",
}


@pytest.mark.parametrize(
    ("word", "expected"), [(one, kind) for kind, words in MEANS.items() for one in words.split()]
)
def test_what_a_word_means(word: str, expected: Finish) -> None:
    assert meaning(word)[1] is expected


@pytest.mark.parametrize("word", [None, "", "null", "FINISH_REASON_UNSPECIFIED"])
def test_no_word_has_no_meaning(word: str | None) -> None:
    assert meaning(word) is None


@pytest.mark.parametrize(
    ("joined", "expected"),
    [
        ("stopstop", ("stop", Finish.STOP)),
        ("lengthlength", ("length", Finish.LENGTH)),
        ("content_filtercontent_filter", ("content_filter", Finish.REFUSAL)),
        ("tool_callstool_callstool_calls", ("tool_calls", Finish.CALLS)),
        ("STOPSTOP", ("stop", Finish.STOP)),
        ("stop_sequencestop_sequence", ("stop_sequence", Finish.STOP)),
        ("tool_callsstop", ("tool_calls", Finish.CALLS)),
        ("stoperror", ("error", Finish.BROKEN)),
        ("stoplength", ("length", Finish.LENGTH)),
        ("stopbear", ("stopbear", Finish.UNKNOWN)),
        ("stop" * 50, ("stop" * 50, Finish.UNKNOWN)),
    ],
)
def test_words_that_a_client_joined_come_apart(joined: str, expected: tuple[str, Finish]) -> None:
    assert meaning(joined) == expected


@pytest.mark.parametrize(
    ("metadata", "word"),
    [
        ({"finish_reason": "stop"}, "stop"),
        ({"stop_reason": "end_turn"}, "end_turn"),
        ({"stopReason": "tool_use"}, "tool_use"),
        ({"done_reason": "load"}, "load"),
        ({"status": "completed", "incomplete_details": None}, "completed"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({"status": "incomplete", "incomplete_details": None}, "incomplete"),
        ({"finish_reason": None}, None),
        ({}, None),
    ],
)
def test_where_a_word_is_found(metadata: dict[str, object], word: str | None) -> None:
    assert word_of(metadata) == word
