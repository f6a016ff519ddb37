"""Text in the form in which it is compared, so that two texts that a person reads as the same are the same.

`plain` undoes typography. `comparable` also folds case and brings numbers into one form, so that a search for one
text in another finds a number only as a whole number. docs/evaluators.md has the rules, with examples.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

# NFKC would make 10² of `102` and 2½ of `21⁄2`: these characters stay as they are.
_KEPT = "\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u209f\u2150-\u215f\u2189"
_FOLDED = re.compile(f"[^{_KEPT}]+")
_TYPOGRAPHY = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe58\ufe63\uff0d", "-")  # hyphens, en dash, minus
    | dict.fromkeys("\u2014\u2015", " - ")  # an em dash parts what it is between
    | dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc\u00b4\u2039\u203a", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"')
    | dict.fromkeys("\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff", "")  # soft hyphens, joiners, marks
    | dict.fromkeys(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]), "")  # directions
    | dict.fromkeys(map(chr, [*range(9), *range(14, 32)]), "")  # control characters
)
_FOREIGN_DIGIT = re.compile(r"(?![0-9])\d")
# Markdown's emphasis and code: marks that touch the text inside and no letter outside
_EMPHASIS = re.compile(r"(?<![\w*_`])(\*{1,3}|_{1,3}|`{1,3})(?=\S)([^\n]{1,200}?)(?<=\S)\1(?![\w*_`])")


def plain(text: str) -> str:
    """The text in Unicode's form NFKC, with ASCII hyphens, quotes, spaces and digits, and nothing invisible."""
    text = _FOLDED.sub(lambda run: unicodedata.normalize("NFKC", run[0]), text.translate(_TYPOGRAPHY))
    return _FOREIGN_DIGIT.sub(lambda digit: str(unicodedata.digit(digit[0])), text)


def comparable(text: str, *, case_sensitive: bool = False, collapse_whitespace: bool = True) -> str:
    """The text as it is compared: `plain`, without Markdown's emphasis, numbers in one form, case folded.

    Control characters stand around each number, so that a search finds it whole or not at all.
    """
    text = _with_numbers(_EMPHASIS.sub(r"\2", plain(text)))
    text = text if case_sensitive else text.casefold()
    return " ".join(text.split()) if collapse_whitespace else text


# --- numbers ----------------------------------------------------------------------------------------

_LONGEST = 60  # characters; the digits of a longer number are compared as they are written
_CURRENCIES = {
    "$": r"(?:us)?\$|usd|dollars?",
    "€": "€|eur|euros?",
    "£": "£|gbp",
    "¥": "¥|jpy|yen",
    **{code: code for code in ("chf", "cny", "inr", "aud", "cad", "sek", "nok", "dkk", "pln", "brl", "mxn")},
}
_UNITS = _CURRENCIES | {"%": r"%|per\ ?cent"}
_BEFORE, _AFTER = ("|".join(f"(?:{words})" for words in units.values()) for units in (_CURRENCIES, _UNITS))
_LETTER = "[a-z\u00aa-\u024f\u0370-\u052f]"  # of scripts that part words with spaces: Latin, Greek, Cyrillic
_TOKEN = re.compile(
    rf"""
    (?P<name> (?<!{_LETTER}) (?!v\d|(?:{_BEFORE})-?\d) {_LETTER}++ (?: [-_]?\d++(?:\.\d++)*+{_LETTER}*+ )++ )
  | (?: (?P<sign> (?<![\w)\]%])[-+] | \b(?:minus|negative)\  ) )?
    (?: (?P<before> (?<!{_LETTER})(?:{_BEFORE}) ) \ ?(?P<inner_sign>-)? )?
    (?P<digits> (?:(?<![\w.)\]])\.)? \d++ (?: [.,']\d++ | (?<!\d{{4}})\ \d{{3}}(?!\d) )*+ )
    (?P<exponent> e[-+]?\d{{1,3}}(?!\w) )?
    (?(before) | (?: \ ? (?P<after> {_AFTER} ) (?!{_LETTER}|\ ?\d) )? )
    """,
    re.IGNORECASE | re.VERBOSE,
)
_FORMS = [
    re.compile(form)
    for form in (
        r"(?P<whole>0|[1-9]\d*)",
        r"(?P<whole>\d*)\.(?P<fraction>\d+)",
        r"(?P<whole>\d+),(?P<fraction>\d{1,2}|\d{4,})",  # a decimal comma: three digits would be a group
        r"(?P<whole>0),(?P<fraction>\d+)",
        r"(?P<whole>[1-9]\d{0,2}([,.' ])\d{3}(?:\2\d{3})*)(?:(?!\2)[.,](?P<fraction>\d+))?",
        r"(?P<whole>[1-9]\d?(?:,\d{2})+,\d{3})(?:\.(?P<fraction>\d+))?",  # lakhs and crores
    )
]
_HOUR = re.compile(r"(?<![\d:])0(?=\d:\d\d)")
_UNIT_GAP = re.compile(r"(?<=\x03)\s+(?=[^\W\d_]|°)")  # 5 GB is 5GB


def _with_numbers(text: str) -> str:
    """The text with its numbers in one form: `1,234.50 euros` and `€1234.5` give the same."""
    return _UNIT_GAP.sub("", _TOKEN.sub(_token, _HOUR.sub("", text)))


def _token(match: re.Match[str]) -> str:
    if match["name"]:
        return re.sub(r"\d+(?:\.\d+)*", lambda digits: f"\x04{digits[0]}\x05", match["name"])
    digits, around = match["digits"], match.string
    if around[match.start() - 1 : match.start()] == "[" or around[match.end() : match.end() + 1] == "]":
        number = ",".join(map(_number, digits.split(",")))  # a list without spaces
    else:
        number = _number(digits, match["exponent"] or "")
    negative = (match["sign"] or "+") != "+" or match["inner_sign"]
    unit = match["before"] or match["after"]
    symbol = next((each for each, words in _UNITS.items() if unit and re.fullmatch(words, unit, re.I)), "")
    return (number.replace("\x02", "\x02-", 1) if negative else number) + symbol


def _number(digits: str, exponent: str = "") -> str:
    """The digits as one number, or as several where they are not one; a version or a date stays as it is."""
    if len(digits) <= _LONGEST:
        for form in _FORMS:
            if found := form.fullmatch(digits):
                parts = found.groupdict()
                whole, fraction = re.sub(r"\D", "", parts["whole"]), parts.get("fraction")
                value = Decimal(f"{whole or 0}.{fraction or 0}{exponent}").normalize()
                return f"\x02{value:f}\x03"
        for separator in " ,'":
            if separator in digits:
                return separator.join(map(_number, digits.split(separator)))
    return f"\x02{digits}{exponent}\x03"
