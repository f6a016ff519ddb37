"""Sizes as people write them: `512MiB`, `1GB`, `64KiB`, or whole numbers of bytes."""

from __future__ import annotations

import re
from fractions import Fraction

from bakeoff.config.section import FormatError

_UNITS = {"B": 1} | {
    letter + suffix: base**power
    for power, letter in enumerate("KMGT", start=1)
    for suffix, base in (("B", 1000), ("iB", 1024))
}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([A-Za-z]*)")
_LARGEST = 2**63 - 1  # the kernel's and Docker's integers end here


class SizeError(FormatError):
    """Not a size."""


def parse_size(value: object) -> int:
    """Read a size. `KiB`, `MiB`, `GiB`, `TiB` are powers of 1024; `KB`, `MB`, `GB`, `TB` of 1000.

    Returns:
        Bytes, 1 or more.

    Raises:
        SizeError: it is no size; its `hint` says what to write.
    """
    hint = "Write a whole number and its unit without a space, for example 512MiB, 1GB or 64KiB."
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise SizeError(f"expected a size such as 512MiB, found {value!r}", hint)
    if isinstance(value, int):
        size = Fraction(value)
    else:
        found = _SIZE.fullmatch(value)
        if found is None or found[2] not in {*_UNITS, ""} or (found[2] == "" and "." in found[1]):
            raise SizeError(f"{value!r} is not a size", _suggestion(value) or hint)
        size = Fraction(found[1]) * _UNITS[found[2] or "B"]
    if size.denominator != 1:
        raise SizeError(f"{value!r} is not a whole number of bytes", hint)
    if not 1 <= size <= _LARGEST:
        raise SizeError(f"the size {value!r} is out of range", "Write a size from 1B to 8388607TiB.")
    return int(size)


def _suggestion(text: str) -> str | None:
    """What somebody who wrote `512 Mb`, `512m` or `512Mi` most likely means."""
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT])i?B?\s*", text, re.IGNORECASE)
    if found is None:
        return None
    number, letter = found[1], found[2].upper()
    return f"Write {number}{letter}iB (powers of 1024) or {number}{letter}B (powers of 1000)."
