"""The report as a document of plain blocks, independent of Markdown and HTML.

Every text in a block is literal. Only a renderer makes markup, and it escapes everything it receives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Strong:
    """Emphasised text."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """A name, a path, a digest: text to be read letter by letter."""

    text: str


TEXT_LIMIT = 4000  # characters of one phrase: a renderer shows no more
LISTING_LIMIT = 100_000  # characters of one listing

Inline = str | Strong | Code
Phrase = Inline | tuple[Inline, ...]  # parts of a tuple follow each other as they are: give them their spaces


def parts(phrase: Phrase) -> tuple[Inline, ...]:
    """The phrase as a tuple."""
    return phrase if isinstance(phrase, tuple) else (phrase,)


def edges(text: str) -> tuple[str, str]:
    """The white space before and after a text, at most one space each: escaping folds it away."""
    return " " * text[:1].isspace(), " " * text[-1:].isspace()


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of a section (level 2) or of a part of one (level 3)."""

    text: str
    level: Literal[2, 3] = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text."""

    text: Phrase


@dataclass(frozen=True, slots=True)
class Callout:
    """What must not be overlooked. `decision` is the report's first sentence."""

    kind: Literal["decision", "warning", "simulated"]
    text: Phrase


@dataclass(frozen=True, slots=True)
class Items:
    """A list of points."""

    items: Sequence[Phrase]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells. A heading that begins with `#` is over numbers, which go to the right."""

    headings: Sequence[str]
    rows: Sequence[Sequence[Phrase]]


@dataclass(frozen=True, slots=True)
class Listing:
    """Text kept line by line: a prompt, a command, an excerpt."""

    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Details:
    """What only some readers want: folded away under its summary."""

    summary: str
    blocks: Sequence[Heading | Paragraph | Items | Table | Listing]


@dataclass(frozen=True, slots=True)
class Plot:
    """A place for a picture. The table named in `text` says the same in numbers."""

    name: Literal["score", "cost", "causes", "memory", "latency", "sweep", "peaks"]
    title: str
    text: str  # what it shows, in a sentence


Block = Heading | Paragraph | Callout | Items | Table | Listing | Details | Plot
