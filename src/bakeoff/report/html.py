"""report.html: the document as one self-contained page. No script, no request, light and dark, any width.

The page's content security policy forbids scripts and requests besides: a mistake in escaping would still run
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files

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
from bakeoff.text.escape import html as escape
from bakeoff.text.escape import html_block, line
from bakeoff.text.figures import UNKNOWN

WHOLE = 30  # characters of a code that no line is broken in
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def render(data: ReportData, plots: Mapping[str, str]) -> str:
    """The whole page.

    Args:
        data: what is said.
        plots: the `<svg>` elements of `plots.draw`, by name; the only markup that is taken as it is.
    """
    blocks = list(sections.document(data))
    title = escape(f"Bake-off {data.manifest.config.name}")
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="color-scheme" content="light dark">',
            '<link rel="icon" href="data:,">',
            f"<title>{title}</title>",
            f"<style>\n{files('bakeoff.report').joinpath('report.css').read_text()}</style>",
            "</head>",
            "<body>",
            "<main>",
            f"<h1>{title}</h1>",
            *_contents(blocks),
            *(line for block in blocks for line in _block(block, plots)),
            "</main>",
            "</body>",
            "</html>",
            "",
        )
    )


def _contents(blocks: Sequence[Block]) -> Iterator[str]:
    yield '<nav aria-label="Contents"><ul>'
    for block in blocks:
        if isinstance(block, Heading) and block.level == 2:
            yield f'<li><a href="#{_anchor(block.text)}">{escape(block.text)}</a></li>'
    yield "</ul></nav>"


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _block(block: Block, plots: Mapping[str, str]) -> Iterator[str]:
    match block:
        case Heading(text, 2):
            yield f'<h2 id="{_anchor(text)}">{escape(text)}</h2>'
        case Heading(text):
            yield f"<h3>{escape(text)}</h3>"
        case Paragraph(text):
            yield f"<p>{_phrase(text)}</p>"
        case Callout("decision", text):
            yield f'<p class="decision">{_phrase(text)}</p>'
        case Callout(kind, text):
            yield f'<p class="{kind}"><strong>{kind.capitalize()}:</strong> {_phrase(text)}</p>'
        case Items(items):
            yield from ("<ul>", *(f"<li>{_phrase(item)}</li>" for item in items), "</ul>")
        case Table(headings, rows):
            yield from _table(headings, rows)
        case Listing(text):
            # it scrolls in its own box, so a keyboard must be able to reach it
            yield f'<pre tabindex="0"><code>{html_block(text.rstrip(), LISTING_LIMIT)}</code></pre>'
        case Details(summary, blocks):
            yield f"<details><summary>{escape(summary)}</summary>"
            for inner in blocks:
                yield from _block(inner, plots)
            yield "</details>"
        case Plot(name, title, text):
            drawn = plots.get(name)
            yield f"<figure><figcaption><strong id='{name}-title'>{escape(title)}</strong>"
            yield f"<span id='{name}-text'>{escape(text, TEXT_LIMIT)}</span></figcaption>"
            yield f"{drawn or '<p>There is nothing to draw.</p>'}</figure>"


def _table(headings: Sequence[str], rows: Sequence[Sequence[Phrase]]) -> Iterator[str]:
    numeric = [heading.startswith("#") for heading in headings]
    yield '<div class="scroll" tabindex="0"><table>'
    yield "<thead><tr>"
    for heading, is_number in zip(headings, numeric, strict=True):
        kind = ' class="number"' if is_number else ""
        yield f'<th scope="col"{kind}>{escape(heading.removeprefix("#"))}</th>'
    yield "</tr></thead><tbody>"
    for row in rows:
        first, *others = (_phrase(cell) or UNKNOWN for cell in row)
        cells = [
            f'<td class="number">{cell}</td>' if is_number else f"<td>{cell}</td>"
            for cell, is_number in zip(others, numeric[1:], strict=True)
        ]
        yield f'<tr><th scope="row">{first}</th>{"".join(cells)}</tr>'
    yield "</tbody></table></div>"


def _phrase(phrase: Phrase) -> str:
    return "".join(_inline(part) for part in parts(phrase)).strip()


def _inline(part: Inline) -> str:
    match part:
        case Code(text):
            whole = ' class="whole"' if len(line(text)) <= WHOLE else ""
            return f"<code{whole}>{escape(text, TEXT_LIMIT)}</code>"
        case Strong(text):
            return f"<strong>{escape(text, TEXT_LIMIT)}</strong>"
        case str(text):
            before, after = edges(text)
            shown = re.sub(r"(?<=\d) %", "&nbsp;%", escape(text, TEXT_LIMIT))  # no line begins with the sign
            return f"{before}{shown}{after}"
