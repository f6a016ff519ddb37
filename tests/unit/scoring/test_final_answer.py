"""final_answer: what each mode takes for agreement, and which references it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from bakeoff.config.evaluators import FinalAnswer
from bakeoff.errors import EvaluatorError
from bakeoff.scoring.final_answer import flaws
from tests.unit.scoring.shapes import called, example, one

FENCED = 'Here you are:\n```json\n{"a": 1}\n```\nAnything else?'


@pytest.mark.parametrize(
    ("options", "reference", "answer", "score"),
    [
        ({"match": "exact"}, "Shipped today", " shipped\n today ", 1),
        ({"match": "exact"}, "Shipped", "It is shipped", 0),
        ({"match": "exact"}, "it’s 1,234.50", "It's 1234.5", 1),
        ({"match": "exact"}, "2.40", "12.40", 0),
        ({"match": "exact"}, 2.4, "2.40", 1),
        ({"match": "exact"}, "-5", "5", 0),
        ({"match": "exact", "case_sensitive": True}, "Shipped", "shipped", 0),
        ({"match": "exact", "collapse_whitespace": False}, "a b", "a  b", 0),
        ({"match": "contains"}, "SHIPPED", "It was shipped.", 1),
        ({"match": "contains"}, "shipped", "", 0),
        ({"match": "contains"}, 42, "It is 42.", 1),
        ({"match": "contains"}, "2.40", "It costs 12.40 euros.", 0),
        ({"match": "contains"}, "12.40", "It costs 12.40 euros.", 1),
        ({"match": "contains"}, ["shipped", "12.40", 3], "Shipped: 3 parcels for €12.4.", 1),
        ({"match": "contains"}, ["shipped", "12.40", 3], "Shipped: 13 parcels for €12.4.", 0),
        ({"match": "contains"}, ["shipped"], "open", 0),
        ({"match": "contains"}, ['say "hi"', "on 2 lines"], '{"a": ["say \\"hi\\"", "on 2\\nlines"]}', 1),
        ({"match": "contains"}, "on 2 lines", '{"a": "on 3\\nlines"}', 0),
        ({"match": "regex"}, r"^\$?12\.50$", "$12.50", 1),
        ({"match": "regex"}, r"^\$?12\.50$", "$12150", 0),
        ({"match": "regex"}, "a-17 is (not )?open", "A\u201117 is\u00a0open", 1),
        ({"match": "regex"}, "[\u2013\u2014]", "5\u201310", 1),
        ({"match": "regex", "case_sensitive": True}, "shipped", "Shipped", 0),
        ({"match": "regex"}, ["ship", r"\d{2}"], "shipped on the 22nd", 1),
        ({"match": "regex"}, ["ship", r"\d{2}"], "shipped", 0),
        ({"match": "json"}, '{"a": 1, "b": [2]}', '{"b": [2], "a": 1.0}', 1),
        ({"match": "json"}, {"a": 1}, '{"a": 1}', 1),
        ({"match": "json"}, {"a": 1}, '{"a": true}', 0),
        ({"match": "json"}, {"a": [True]}, '{"a": [1]}', 0),
        ({"match": "json"}, {"a": 1}, '{"a": "1"}', 0),
        ({"match": "json"}, {"a": "it's 5-6"}, '{"a": "it\u2019s 5\u20136"}', 1),
        ({"match": "json"}, {"a": 1}, FENCED, 1),
        ({"match": "json"}, {"a": 1}, '```\n{"a": 1}', 1),
        ({"match": "json"}, {"a": 1}, f"{FENCED}\n{FENCED}", 0),
        ({"match": "json"}, {"a": 1}, f"```py\nprint()\n```\n{FENCED}", 1),
        ({"match": "json"}, {"a": 2}, FENCED, 0),
        ({"match": "json"}, {"a": 1}, "a is 1", 0),
        ({"match": "json"}, {"a": 1}, "[" * 100_000, 0),
        ({"match": "json"}, "[1]", "[NaN]", 0),
        ({"match": "json"}, ["a", "b"], '["a", "b"]', 1),
    ],
)
def test_agreement(options: dict[str, Any], reference: Any, answer: str, score: float) -> None:
    assert one("final_answer", called(answer=answer), example(answer=reference), **options) == score
    assert list(flaws(FinalAnswer(**options), reference)) == []


def test_a_pattern_that_would_search_for_ever_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bakeoff.scoring.final_answer.REGEX_SECONDS", 0.1)
    answer, pattern = "a" * 60 + "bc", r"^(a|a)*(a|aa)*c$"
    with pytest.raises(EvaluatorError, match="TimeoutError"):
        one("final_answer", called(answer=answer), example(answer=pattern), match="regex")


@pytest.mark.parametrize(
    ("match", "reference", "loc", "problem"),
    [
        ("regex", "total: ($42", (), "is not a regular expression: missing )"),
        ("regex", ["fine", "(?P<a"], (1,), "is not a regular expression"),
        ("regex", "*", (), "is not a regular expression: nothing to repeat"),
        ("regex", "", (), "is empty"),
        ("regex", {"a": 1}, (), "is not what `match: regex` compares"),
        ("json", "{a: 1}", (), "is not JSON"),
        ("json", "", (), "is not JSON"),
        ("json", "[NaN]", (), "is not JSON"),
        ("contains", "", (), "is empty"),
        ("contains", " \u200b\n", (), "is empty"),
        ("contains", [], (), "is an empty list"),
        ("contains", ["a", ""], (1,), "is empty"),
        ("contains", ["a", ["b"]], (1,), "is not what `match: contains` compares"),
        ("contains", True, (), "is not what `match: contains` compares"),
        ("contains", {"a": 1}, (), "is not what `match: contains` compares"),
        ("exact", ["a"], (), "is not what `match: exact` compares"),
        ("exact", "", (), "is empty"),
    ],
)
def test_a_reference_that_cannot_be_compared_is_refused(
    match: Any, reference: Any, loc: Any, problem: str
) -> None:
    [(where, what, hint)] = flaws(FinalAnswer(match=match), reference)
    assert where == loc
    assert what.startswith(problem)
    assert hint
