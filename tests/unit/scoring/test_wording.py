"""What is the same text to a person, and what is not."""

# ruff: noqa: E501 - one pair of texts a line

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.scoring.wording import comparable, plain
from tests.growth import LINEAR, growth


def said(fact: str, answer: str) -> bool:
    return comparable(fact) in comparable(answer)


@pytest.mark.parametrize(
    ("fact", "answer"),
    [
        # trailing zeros, separators of thousands, decimal commas that can be nothing else
        ("12.40", "It costs 12.4."), ("12.40", "twelve (12.40)"), ("1234.50", "The total is 1,234.50 euros."),
        ("1234.50", "1.234,50 €"), ("1234.5", "1'234.50"), ("1234.5", "1’234.50"), ("1234.5", "1 234,50"),
        ("1234.5", "1\u202f234,50"), ("1234.5", "1\u00a0234,50"), ("1234567", "1,234,567"), ("1234567", "1.234.567"),
        ("123456", "1,23,456.00"), ("0.5", ".5"), ("0.5", "0,5"), ("0.125", "0,125"), ("100000", "1e5"), ("5", "+5"),
        ("12.40", "12,40"), ("1234", "1,234"),
        # signs
        ("-5", "It is -5."), ("-5", "It is −5 °C"), ("-5", "minus 5"), ("-$5", "$-5"), ("5", "$5-$10"), ("10", "$5-$10"),
        ("10", "5–10 days"), ("5", "(5)"),
        # currencies and units beside the number
        ("12.40", "12.40€"), ("$12.40", "12.40 USD"), ("12,40 €", "€12.40"), ("12.40 euros", "€ 12.4"), ("12.40", "USD12.40"),
        ("$6", "$5 $6"), ("5%", "5 percent"), ("5%", "5 per cent"), ("5 GB", "5GB"), ("20 °C", "20°C"), ("3", "3rd"), ("12", "共12个"),
        # names, versions, dates, times, lists
        ("A-17", "Order A‑17 is open."), ("1.2.3", "Version 1.2.3."), ("2.40", "v2.40"), ("2026-07-22", "On 2026‑07‑22."),
        ("9:30", "at 09:30"), ("10:00", "at 10:00:30"), ("200", "[100,200,300]"), ("2", "1,2,3"), ("7", "7. July"), ("gpt-4.1", "GPT-4.1"),
        # typography
        ("don't", "don’t"), ('"yes"', "“yes”"), ('"yes"', "«yes»"), ("well-known", "well‑known"), ("yes - it", "yes—it"),
        ("not shipped", "is **not** shipped"), ("npm ci", "run `npm ci`"), ("12.40", "**12.40**"), ("café", "cafe\u0301"),
        ("office", "oﬃce"), ("sh\u00adipped", "shipped"), ("ship\u200bped", "shipped"), ("Ｓhipped", "shipped"),
        ("Müller", "MÜLLER"), ("Straße", "STRASSE"), ("3", "٣"), ("½", "½ cup"), ("...", "wait…"), ("a b", "a\n\t b"),
    ],
)  # fmt: skip
def test_what_a_person_reads_as_said(fact: str, answer: str) -> None:
    assert said(fact, answer)


@pytest.mark.parametrize(
    ("fact", "answer"),
    [
        ("2.40", "12.40"), ("2.40", "It costs 12.40 euros"), ("234.50", "1,234.50"), ("234.50", "1 234.50"), ("234,50", "1.234,50"),
        ("000", "1,000"), ("1", "1,000"), ("12", "12.40"), ("40", "12.40"), ("1234", "1.234"), ("5", "15"), ("5", "50"),
        ("5", "5.5"), ("5", "0.5"), ("5", ".5"), ("2", "2e5"), ("5", "-5"), ("5", "−5"), ("-5", "5"), ("5", "minus 5"),
        ("-5", "$5-$10"), ("A-1", "A-17"), ("17", "A-17"), ("7", "A-17"), ("B1", "B12"), ("7", "A-7-3"), ("1.2", "1.2.3"),
        ("gpt-4", "gpt-4.1"), ("4:30", "14:30"), ("7", "007"), ("102", "10²"), ("21", "2½"), ("5 GB", "15GB"), ("$5", "5 euros"),
        ("26", "2026-07-22"),
    ],
)  # fmt: skip
def test_a_number_is_found_only_as_a_whole_number(fact: str, answer: str) -> None:
    assert not said(fact, answer)


def test_case_and_white_space_count_where_they_are_asked_for() -> None:
    assert comparable("Shipped", case_sensitive=True) != comparable("shipped", case_sensitive=True)
    assert comparable("a  b", collapse_whitespace=False) != comparable("a b", collapse_whitespace=False)


WORDS = st.text(st.sampled_from("aB7 .,-'€$%()[]½²\u202f‑’"), min_size=1, max_size=12)


@given(WORDS)
def test_a_text_says_itself_among_other_words(text: str) -> None:
    assert said(text.strip(), f"So: {text.strip()} !")


@given(st.text(max_size=30))
def test_any_text_has_a_form(text: str) -> None:
    assert comparable(text) == comparable(plain(text))


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    [
        "1",
        "1,",
        "1 ",
        "1 000",
        "a",
        "a-1",
        "*a ",
        "**",
        "$",
        "-",
        "1e",
        ".",
        "usd ",
        "minus ",
        "[1,1",
        "a1_",
        "²",
    ],
)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    assert growth(lambda size: comparable(piece * (size // len(piece))), 25_000) < LINEAR
