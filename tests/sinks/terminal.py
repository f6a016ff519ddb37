"""What commands print, as a terminal shows it and as a CI server reads it."""

from __future__ import annotations

import contextlib
import io
import os
import re
import unicodedata
from collections.abc import Callable
from unittest import mock

import pyte

WIDTH = 100
TERMINAL = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": str(WIDTH)}
JOINERS = "\u200c\u200d"
BARS = str.maketrans("━╸╺", "   ")  # of progress, which a pipe does not get


def printed(program: Callable[[], object], **environ: str) -> str:
    """What the program writes to stdout and stderr."""
    out = io.StringIO()
    clean = {key: value for key, value in os.environ.items() if key not in (*TERMINAL, "NO_COLOR", "CI")}
    with (
        mock.patch.dict(os.environ, clean | environ, clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
    ):
        program()
    return out.getvalue()


def shown(output: str) -> list[str]:
    """What stands on the screen of a terminal that was given this output. Fails where it changed more than that."""
    height = output.count("\n") + len(output) // WIDTH + 2
    screen = pyte.Screen(WIDTH, height)
    modes = set(screen.mode)
    pyte.Stream(screen).feed(output.replace("\n", "\r\n"))  # as a terminal's driver does (ONLCR)
    assert (screen.title, screen.icon_name, screen.mode) == ("", "", modes)
    lines = (line.translate(BARS).rstrip() for line in screen.display)
    return [line for line in lines if line]


def folded(output: str) -> list[str]:
    """The same of plain text."""
    lines = []
    for line in output.split("\n"):
        lines += [line[start : start + WIDTH].rstrip() for start in range(0, len(line), WIDTH)]
    return [line for line in lines if line]


def invisible(text: str) -> set[str]:
    """The characters that show nothing, or move others."""
    return {
        ascii(char)
        for char in text
        if (unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and char not in "\n" + JOINERS)
        or char in "\u034f\u115f\u1160\u3164\uffa0"
        or 0xE0000 <= ord(char) < 0xE1000
        or ord(char) & 0xFFFE == 0xFFFE
        or 0xFDD0 <= ord(char) < 0xFDF0
    }


COMMANDS = (
    "add-mask add-matcher add-path debug echo endgroup error group internal-set-repo-path notice remove-matcher "
    "save-state set-env set-output stop-commands warning"
).split()


def obeyed(output: str) -> list[str]:
    """The lines that GitHub's runner takes for commands: `ActionCommand.TryParseV2` and `TryParse` of actions/runner.

    Azure Pipelines and TeamCity take theirs anywhere in a line.
    """
    found = []
    for line in output.split("\n"):
        text = line.lstrip()
        name = text[2:].split("::")[0].split(" ")[0] if text.startswith("::") and "::" in text[2:] else ""
        if name.lower() in COMMANDS or re.search(r"(?i)##(vso|teamcity)?\[", line):
            found.append(line)
    return found
