"""Sizes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.config.sizes import SizeError, parse_size


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("512MiB", 512 * 2**20),
        ("1GB", 10**9),
        ("64KiB", 65536),
        ("1.5GiB", 3 * 2**29),
        ("2TiB", 2**41),
        ("7B", 7),
        ("1024", 1024),
        (1024, 1024),
    ],
)
def test_good_sizes(written: str | int, size: int) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("512 Mb", "Write 512MiB (powers of 1024) or 512MB"),
        ("512m", "Write 512MiB"),
        ("512Mi", "Write 512MiB"),
        ("512 MiB", "Write 512MiB"),
        ("1.5gib", "Write 1.5GiB"),
        ("", "512MiB"),
        ("lots", "512MiB"),
        ("-1MiB", "512MiB"),
        ("1.5", "512MiB"),
        ("0.3B", "whole number"),
        ("0MiB", "from 1B"),
        (0, "from 1B"),
        (2**63, "from 1B"),
        (True, "512MiB"),
        (1.5, "512MiB"),
        (None, "512MiB"),
        ("٣MiB", "512MiB"),
        ("9" * 5000, "512MiB"),
    ],
)
def test_bad_sizes(written: object, hint: str) -> None:
    with pytest.raises(SizeError) as caught:
        parse_size(written)
    assert hint in caught.value.hint


@given(st.integers(1, 2**40), st.sampled_from([("B", 1), ("KiB", 2**10), ("MB", 10**6), ("MiB", 2**20)]))
def test_number_times_unit(number: int, unit: tuple[str, int]) -> None:
    assert parse_size(f"{number}{unit[0]}") == number * unit[1]


@given(st.text(max_size=20) | st.integers() | st.floats() | st.none() | st.booleans())
def test_a_size_or_a_size_error(written: object) -> None:
    try:
        assert parse_size(written) >= 1
    except SizeError as error:
        assert error.hint  # noqa: PT017 - either outcome is right
