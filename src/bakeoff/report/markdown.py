"""report.md: the document in Markdown, for a terminal, a code review or a step summary.

Made from the run directory alone, so the same directory gives the same bytes. Plots are in report.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bakeoff.report import sections
from bakeoff.report.data import ReportData
from bakeoff.report.document import (
    LISTING_LIMIT,
    TEXT_LIMIT,
    Block,
    Callout,
    Code,
    Details,
    Heading,
    Inline,
    Items,
    Listing,
    Paragraph,
    Phrase,
    Plot,
    Strong,
    Table,
    edges,
    parts,
)
from bakeoff.text import escape
from bakeoff.text.figures import UNKNOWN


def render(data: ReportData) -> str:
    """The whole report. Its first line is the decision."""
    return text(sections.document(data))


def text(document: Iterable[Block]) -> str:
    """Any document of blocks."""
    return "\n".join(line for block in document for line in _block(block)).rstrip() + "\n"


def _block(block: Block) -> Iterator[str]:
    match block:
        case Heading(text, level):
            yield from (f"{'#' * level} {escape.markdown(text)}", "")
        case Paragraph(text):
            yield from (_phrase(text), "")
        case Callout("decision", text):
            yield from (f"**{_phrase(text)}**", "")
        case Callout(kind, text):
            yield from (f"> **{kind.capitalize()}**: {_phrase(text)}", "")
        case Items(items):
            yield from (*(f"- {_phrase(item)}" for item in items), "")
        case Table(headings, rows):
            yield from _table(headings, rows)
        case Listing(text, language):
            yield from (escape.code_block(text.rstrip(), language, LISTING_LIMIT), "")
        case Details(summary, blocks):
            yield from ("<details>", f"<summary>{escape.html(summary)}</summary>", "")
            for inner in blocks:
                yield from _block(inner)
            yield from ("</details>", "")
        case Plot():
            return


def _table(headings: Sequence[str], rows: Sequence[Sequence[Phrase]]) -> Iterator[str]:
    yield "| " + " | ".join(escape.markdown_cell(heading.removeprefix("#")) for heading in headings) + " |"
    yield "| " + " | ".join("---:" if heading.startswith("#") else "---" for heading in headings) + " |"
    for row in rows:
        yield "| " + " | ".join(_cell(cell) for cell in row) + " |"
    yield ""


def _cell(phrase: Phrase) -> str:
    """As running text, but that code is plain: a code span with a pipe in it would end the cell."""
    plain = tuple(part.text if isinstance(part, Code) else part for part in parts(phrase))
    return "".join(map(_inline, plain)).strip() or UNKNOWN


def _phrase(phrase: Phrase) -> str:
    """Only what stands first could begin a block: a list, a heading."""
    first, *others = parts(phrase)
    start = escape.markdown(first, TEXT_LIMIT) + edges(first)[1] if isinstance(first, str) else _inline(first)
    return "".join((start, *map(_inline, others))).strip()


def _inline(part: Inline) -> str:
    match part:
        case Code(text):
            return escape.code(text, TEXT_LIMIT)
        case Strong(text):
            return f"**{escape.markdown_cell(text, TEXT_LIMIT)}**"
        case str(text):
            before, after = edges(text)
            return f"{before}{escape.markdown_cell(text, TEXT_LIMIT) if text.strip() else ''}{after}"
