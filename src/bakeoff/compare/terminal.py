"""A comparison in the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from bakeoff.compare.comparison import RunComparison
from bakeoff.compare.document import document
from bakeoff.report.document import Block, Callout, Heading, Items, Paragraph, Phrase, Strong, Table, parts
from bakeoff.text import escape
from bakeoff.text.figures import UNKNOWN

LIMIT = 2000  # characters of one phrase


def render(data: RunComparison) -> RenderableType:
    """The document, its result in colour."""
    style = {0: "bold green", 1: "bold red"}.get(data.exit_code, "bold yellow")
    return Group(*(shown for block in document(data) for shown in _block(block, style)))


def _block(block: Block, result: str) -> Iterator[RenderableType]:
    match block:
        case Callout("decision", text):
            yield _text(text, result)
        case Callout("warning", text):
            yield _text(("note: ", *parts(text)), "yellow")
        case Callout(_, text) | Paragraph(text):
            yield _text(text, "dim")
        case Heading(text):
            yield Text(f"\n{escape.line(text)}", style="bold")
        case Items(items):
            yield from (_text(("- ", *parts(item))) for item in items)
        case Table(headings, rows):
            table = RichTable(box=None, pad_edge=False)
            for heading in headings:
                table.add_column(
                    Text(escape.line(heading.removeprefix("#"))),
                    justify="right" if heading.startswith("#") else "left",
                    overflow="fold",  # a narrow terminal breaks a name, and cuts none
                )
            for row in rows:
                table.add_row(*(_text(cell) for cell in row))
            yield table


def _text(phrase: Phrase, style: str = "") -> Text:
    shown = Text(style=style)
    for part in parts(phrase):
        text = part if isinstance(part, str) else part.text
        before, after = " " * text[:1].isspace(), " " * text[-1:].isspace()
        shown.append(
            f"{before}{escape.line(text, LIMIT)}{after}" if text.strip() else text,
            style="bold" if isinstance(part, Strong) else None,
        )
    return shown if shown.plain.strip() else Text(UNKNOWN)
