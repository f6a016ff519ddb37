"""Equality of JSON values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.record.values import same

DIFFERENT = [
    (True, 1),
    (False, 0),
    (1, "1"),
    (1.0, "1.0"),
    (None, False),
    (None, 0),
    ("", None),
    ([], {}),
    (1, 2),
    ("a", "A"),
]
EQUAL = [(1, 1.0), (0.0, -0.0), (True, True), (None, None), ("a", "a"), (10**20, 1e20), ({}, {}), ([], [])]


def wrapped(value: Any) -> list[Any]:
    """The value at several depths."""
    return [value, [value], {"a": value}, {"a": [{"b": [1, value]}]}]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_values_that_json_tells_apart_differ_at_every_depth(one: Any, other: Any) -> None:
    for a, b in zip(wrapped(one), wrapped(other), strict=True):
        assert not same(a, b)
        assert not same(b, a)


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_numbers_are_equal_by_value_at_every_depth(one: Any, other: Any) -> None:
    for a, b in zip(wrapped(one), wrapped(other), strict=True):
        assert same(a, b)
        assert same(b, a)


def test_objects_have_no_order_and_lists_do() -> None:
    assert same({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert not same([1, 2], [2, 1])
    assert not same({"a": 1}, {"a": 1, "b": None})
    assert not same([1], [1, 1])


def test_depth_is_no_limit() -> None:
    one: Any = 1
    other: Any = True
    for _ in range(50_000):
        one, other = [one], [other]
    assert not same(one, other)


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
)


@given(VALUES, VALUES)
def test_without_floats_it_is_the_equality_of_the_json_text(one: Any, other: Any) -> None:
    assert same(one, other) == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))
    assert same(one, json.loads(json.dumps(one)))
