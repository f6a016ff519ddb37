"""Making hostile text harmless: agent-made text before it reaches a terminal, a Markdown or an HTML page.

A model can write an escape sequence that repaints the terminal, a bidirectional override that swaps what is
read, a pipe that moves a table's columns, or a command to the CI server that reads the log. Everything here shows such
text instead of obeying it: nothing is silently dropped.
"""

from __future__ import annotations

import html as _html
import json
import re
import unicodedata
from typing import Any

LIMIT = 4000  # characters kept of a text
CELL_LIMIT = 200  # characters kept of a text in a table cell or in running prose

_JOINERS = "\u200c\u200d"  # needed by Persian, by Indic scripts and by emoji; they move nothing on the screen
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # controls, formats (bidi, tags), lone surrogates, line separators
# Default_Ignorable_Code_Point (Unicode, DerivedCoreProperties.txt) of other categories, without the variation selectors
# that emoji need; and the noncharacters of the Arabic block, which XML forbids
_INVISIBLE = frozenset((0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2065, 0x3164, 0xFFA0)).union(
    range(0x180B, 0x1810), range(0xFDD0, 0xFDF0), range(0xFFF0, 0xFFF9), range(0xE0000, 0xE1000)
)
# What a CI server obeys in a log: `::error::` at the start of a line (GitHub Actions, workflow commands); `##[error]`
# (GitHub, Azure), `##vso[` (Azure) and `##teamcity[` anywhere. Tables are folded, so any place may start a line.
_COMMAND = re.compile(
    r"(?i)(#)(#(?:vso|teamcity)?\[)|(:)(:(?:error|warning|notice|debug|group|endgroup|echo|stop-commands|add-mask"
    r"|add-path|(?:add|remove)-matcher|set-(?:env|output)|save-state|internal-set-repo-path)(?:\s|::))"
)
_PUNCTUATION = re.compile(r"([\\`*_\[\]<>|~$&])")
_BLOCK_START = re.compile(r"^(?:([#+=:-])|(\d{1,9})([.)]))")
# Schemes and hosts, and the @ of a person to notify or of an e-mail address: not that of `pass@2`
_LINK = re.compile(r"(?i)(https?|ftp|mailto|xmpp)(:)|(www)(\.)|((?<![a-zA-Z0-9_])@(?=\w)|@(?=[\w\\-]+\.))")


def _visible(char: str, keep: str) -> str:
    code = ord(char)
    invisible = unicodedata.category(char) in _HIDDEN or code in _INVISIBLE or code & 0xFFFE == 0xFFFE
    if char in keep or char in _JOINERS or not invisible:
        return char
    if code < 0x20:
        return chr(0x2400 + code)  # the control pictures: ESC becomes ␛
    return f"\\u{{{code:x}}}"


def _show(text: str, keep: str) -> str:
    plain = text.isascii() and text.isprintable()
    shown = text if plain else "".join(_visible(char, keep) for char in text)
    return _COMMAND.sub(lambda m: f"{m[1] or m[3]}\\{m[2] or m[4]}", shown)


def storable(value: Any) -> Any:
    """A JSON value in whose texts nothing is that databases refuse: no NUL, and no half of a surrogate pair."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, dict):
        return {storable(key): storable(each) for key, each in value.items()}
    return [storable(each) for each in value] if isinstance(value, list | tuple) else value


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON for stdout, where a terminal or a CI server may read it: printable ASCII, and no command in it.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(value, indent=indent, allow_nan=False).replace("##", "#\\u0023")


def bounded(text: str, limit: int) -> str:
    """The text itself, or its first `limit` characters and a note of how many were cut."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit} more characters)"


def terminal(text: str, limit: int = LIMIT) -> str:
    """Text for a terminal: newlines stay, any other control or bidi character is made visible.

    The result still has to be given to rich as `Text`, or through `rich.markup.escape`: brackets are left
    alone.
    """
    text = bounded(text.replace("\r\n", "\n").replace("\t", "    "), limit)
    return _show(text, keep="\n")


def line(text: str, limit: int = CELL_LIMIT) -> str:
    """Text for one line of a terminal: as `terminal`, with all white space folded to single spaces."""
    return _show(bounded(" ".join(text.split()), limit), keep="")


def last_lines(text: str, count: int = 8) -> str:
    """The end of a program's output as one line for a terminal."""
    lines = [each.strip() for each in text.strip().splitlines()[-count:]]
    return line(" | ".join(lines), LIMIT) or "it printed nothing"


def markdown(text: str, limit: int = CELL_LIMIT) -> str:
    """Text for running Markdown: one line, shown literally, at the start of a line too."""
    escaped = _inline(text, limit)
    return _BLOCK_START.sub(lambda m: f"\\{m[1]}" if m[1] else f"{m[2]}\\{m[3]}", escaped)


def markdown_cell(text: str, limit: int = CELL_LIMIT) -> str:
    """Text for one cell of a Markdown table; an empty one becomes a dash, which keeps the column visible."""
    return _inline(text, limit) or "–"


def _inline(text: str, limit: int) -> str:
    """One line in which nothing is markup.

    Backslashes before ASCII punctuation are the escape of CommonMark (section 2.4). Bare links are broken up
    too, since GitHub's dialect makes links of them without any markup. It looks for addresses and for people to notify
    after it has taken the backslashes out: only an element between, here a comment, keeps it from that.
    """
    escaped = _PUNCTUATION.sub(r"\\\1", line(text, limit))
    return _LINK.sub(lambda m: f"{m[1]}\\:" if m[1] else f"{m[3]}\\." if m[3] else "@<!-- -->", escaped)


def code(text: str, limit: int = CELL_LIMIT) -> str:
    """Text as an inline code span whose delimiter is longer than any in the text; not for table cells."""
    shown = line(text, limit)
    if not shown:
        return "–"
    ticks = "`" * (_longest(shown, "`") + 1)
    pad = " " if shown[0] == "`" or shown[-1] == "`" else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}"


def code_block(text: str, language: str = "", limit: int = LIMIT) -> str:
    """Text as a fenced code block whose fence is longer than any in the text (CommonMark, section 4.5)."""
    shown = terminal(text, limit)
    fence = "`" * max(3, _longest(shown, "`") + 1)
    return f"{fence}{language}\n{shown}\n{fence}"


def html(text: str, limit: int = CELL_LIMIT) -> str:
    """Text for one line of an HTML page, between tags or in a quoted attribute: shown literally."""
    return _html.escape(line(text, limit))


def html_block(text: str, limit: int = LIMIT) -> str:
    """Text for a `pre` of an HTML page: as `html`, its lines kept."""
    return _html.escape(terminal(text, limit))


def _longest(text: str, char: str) -> int:
    return max((len(run) for run in re.findall(f"{re.escape(char)}+", text)), default=0)
