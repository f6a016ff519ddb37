"""Where each value was written, and the errors about it: a file with the lines of its keys, or the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from bakeoff.config.fitting import Loc, dotted
from bakeoff.errors import InputError


@dataclass(frozen=True)
class Located:
    """A file, or a part of one, with the line of every key in it. It makes the errors about that file.

    Attributes:
        file: as the user gave it.
        start: the 1-based line where it starts; None where no line is known.
        lines: the 1-based line of each key.
        note: a sentence that every hint ends with.
    """

    file: str
    start: int | None = None
    lines: Mapping[Loc, int] = field(default_factory=dict, compare=False, repr=False)
    note: str = ""

    def line(self, key: Loc | str) -> int | None:
        """The line of a key; for a key that is not there, of the section that should have it."""
        loc = _loc(key) if isinstance(key, str) else key
        known = (self.lines[loc[:end]] for end in range(len(loc), 0, -1) if loc[:end] in self.lines)
        return next(known, self.start)

    def error(self, key: Loc | str, problem: str, hint: str | None) -> InputError:
        """The error about a key, which may be dotted: `candidates[1].model`. An empty key is the file itself."""
        shown = key if isinstance(key, str) else dotted(key)
        hint = f"{hint or ''} {self.note}".strip() or None
        return InputError(problem, file=self.file, line=self.line(key), key=shown or None, hint=hint)


@dataclass(frozen=True)
class CommandLine:
    """Options, as the source of settings. `options` has the option of each setting that is named otherwise."""

    options: Mapping[str, str] = field(default_factory=dict)

    def error(self, loc: Loc, problem: str, hint: str | None) -> InputError:
        """The error about the option that gives the setting at `loc`."""
        setting = str(loc[0]) if loc else ""
        option = self.options.get(setting, setting.replace("_", "-"))
        return InputError(problem, key=f"--{option}", hint=hint)


def _loc(key: str) -> Loc:
    """The opposite of `dotted`, for keys without quoted parts."""
    return tuple(int(part[1:]) if part[0] == "[" else part for part in re.findall(r"\[\d+|[^.\[\]]+", key))
