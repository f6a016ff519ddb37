"""Nothing hostile breaks out of a cell, a line or a fence, and no control character survives."""

from __future__ import annotations

import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from bakeoff.text import escape

PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])

ATOMS = [
    *"`*_[]()<>|~#+-=!&;:@.\\\"'{}$ \t\n\r1a\x1b\x00\x07\x7f\x9b",
    "\u202e", "\u2066", "\u2028", "\u200f", "\U000e0041", "\ud800", "é", "漢", "👩‍💻",
    "```", "~~~", "<script>", "-->", "http://evil.example", "www.evil.example", "</td>", "&lt;", "\n\n",
]  # fmt: skip
hostile = st.one_of(st.text(), st.lists(st.sampled_from(ATOMS), max_size=30).map("".join))


def harmless(text: str, allowed: str = "") -> bool:
    return all(
        char in allowed + "\u200c\u200d" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
        for char in text
    )


def inline(markdown: str) -> list[Token]:
    """What is in the text, without the comments that break up addresses."""
    children = (child for token in PARSER.parse(markdown) for child in token.children or ())
    return [child for child in children if child.content != "<!-- -->"]


def inline_types(markdown: str) -> set[str]:
    return {child.type for child in inline(markdown)}


@given(hostile)
def test_no_control_character_survives(text: str) -> None:
    assert harmless(escape.terminal(text), allowed="\n")
    assert harmless(escape.line(text))
    assert harmless(escape.markdown(text))
    assert harmless(escape.code_block(text), allowed="\n")


@given(hostile)
def test_a_cell_stays_a_cell_and_shows_its_text(text: str) -> None:
    cell = escape.markdown_cell(text)
    table = f"| a | b |\n| --- | --- |\n| {cell} | end |\n\n"
    tokens = PARSER.parse(f"{table}after\n")
    cells = [tokens[i + 1] for i, token in enumerate(tokens) if token.type in ("td_open", "th_open")]
    assert [token.content for token in cells[:2] + cells[3:]] == ["a", "b", "end"]
    assert inline_types(table) <= {"text", "text_special"}
    shown = "".join(child.content for child in inline(table))
    assert shown == f"ab{escape.line(text).strip() or '–'}end"
    assert tokens[-2].content == "after"


@given(hostile)
def test_prose_stays_one_paragraph_of_plain_text(text: str) -> None:
    tokens = PARSER.parse(f"{escape.markdown(text)}\n\nafter\n")
    blocks = [token.type for token in tokens if token.nesting >= 0 and token.type != "inline"]
    assert set(blocks) == {"paragraph_open"}
    assert inline_types(f"x {escape.markdown(text)} y") <= {"text", "text_special"}


@given(hostile)
@example("```")
@example("a\n`````\n# b")
@example("~~~\n```")
def test_a_fence_holds_everything(text: str) -> None:
    tokens = PARSER.parse(f"{escape.code_block(text)}\n\nafter\n")
    assert [token.type for token in tokens] == ["fence", "paragraph_open", "inline", "paragraph_close"]
    assert tokens[0].content == escape.terminal(text) + "\n"


@pytest.mark.slow
@given(hostile)
def test_a_code_span_holds_everything(text: str) -> None:
    (inline,) = (token for token in PARSER.parse(f"x {escape.code(text)} y") if token.type == "inline")
    kinds = [child.type for child in inline.children or ()]
    assert kinds in (["text", "code_inline", "text"], ["text"])


@given(hostile)
def test_html_has_no_markup_and_no_control_in_it(text: str) -> None:
    """Read back by a parser, it is one piece of text: the one that a terminal would be shown."""
    for escaped, shown in (
        (escape.html(text), escape.line(text)),
        (escape.html_block(text), escape.terminal(text)),
    ):
        heard: list[tuple[str, object]] = []
        parser = HTMLParser(convert_charrefs=True)
        parser.handle_data = lambda data, heard=heard: heard.append(("text", data))  # type: ignore[method-assign]
        parser.handle_starttag = lambda tag, attrs, heard=heard: heard.append((tag, attrs))  # type: ignore[method-assign]
        parser.feed(f'<p title="{escaped}">{escaped}</p>')
        parser.close()
        assert heard == [("p", [("title", shown)]), *([("text", shown)] if shown else [])]


@given(hostile, st.integers(1, 50))
def test_everything_is_bounded(text: str, limit: int) -> None:
    worst = (limit + 40) * 10  # a hidden character grows to at most ten
    assert len(escape.terminal(text, limit)) <= worst + 4 * text.count("\t")
    assert len(escape.markdown(text, limit)) <= 2 * worst


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "␛[31mred"),
        ("a\u202eb", "a\\u{202e}b"),
        ("one\r\ntwo\rthree", "one\ntwo␍three"),
        ("\x9b2J", "\\u{9b}2J"),
        ("plain", "plain"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("a\u3164b\U000e0101c\uffffd", "a\\u{3164}b\\u{e0101}c\\u{ffff}d"),
        ("✔\ufe0f", "✔\ufe0f"),
        ("::error::x", ":\\:error::x"),
        ("x ::Set-Output name=a::b", "x :\\:Set-Output name=a::b"),
        ("std::vector ##[group]", "std::vector #\\#[group]"),
    ],
)
def test_hidden_characters_are_shown_not_dropped(text: str, shown: str) -> None:
    assert escape.terminal(text) == shown


def test_long_text_says_how_much_is_missing() -> None:
    assert escape.line("x" * 12, limit=5) == "xxxxx… (7 more characters)"
