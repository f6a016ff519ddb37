"""Numbers and plain values as text. An unknown value is a dash, never a zero."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

UNKNOWN = "–"


class Interval(Protocol):
    """An estimated share with its interval, for example `stats.Estimate`."""

    @property
    def mean(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


def percent(share: float | None, digits: int = 1) -> str:
    """A share in [0, 1] as `93.5 %`."""
    return UNKNOWN if share is None else f"{100 * share:.{digits}f} %"


def points(difference: float | None) -> str:
    """A difference of shares in percentage points, with its sign: `+4.2`."""
    return UNKNOWN if difference is None else f"{100 * difference:+.1f}"


def interval(low: float | None, high: float | None) -> str:
    """An interval of shares, in percent: `88.1 to 97.0`."""
    return UNKNOWN if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}"


def score(estimate: Interval | None) -> str:
    """An estimated share: `93.5 %`."""
    return percent(estimate.mean if estimate else None)


def score_interval(estimate: Interval | None) -> str:
    """The interval of an estimated share: `88.1 to 97.0 %`."""
    return f"{interval(estimate.low, estimate.high)} %" if estimate else UNKNOWN


def size(count: float | None) -> str:
    """Bytes in binary units: `512 MiB`."""
    if count is None:
        return UNKNOWN
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} GiB"


def seconds(value: float | None) -> str:
    """A duration: `40 ms`, `4.2 s`, `3 min 05 s`, `2 h 07 min`. Only zero reads as zero."""
    if value is None:
        return UNKNOWN
    if 0 < value < 0.9995:
        milliseconds = 1000 * value
        if milliseconds < 0.01:
            return "< 0.01 ms"
        return f"{milliseconds:.0f} ms" if milliseconds >= 9.5 else f"{milliseconds:.1g} ms"
    # 59.95 and above would read as 60.0 s
    if value < 59.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def dollars(value: float | None) -> str:
    """US dollars, with more digits for small sums: `$0.0123`."""
    if value is None:
        return UNKNOWN
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.4f}"


def number(value: float | None, digits: int = 4) -> str:
    """A plain number to `digits` significant ones: whole ones with thousands apart."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 10**digits else f"{value:.{digits}g}"


def p_value(value: float | None) -> str:
    """A p-value; below a thousandth only that is said."""
    if value is None:
        return UNKNOWN
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def p_words(value: float | None) -> str:
    """A p-value in a sentence: `p = 0.024`, `p < 0.001`."""
    said = p_value(value)
    return f"p {said}" if said.startswith("<") else f"p = {said}"


def moment(value: datetime | None) -> str:
    """A moment in UTC: `2026-07-22 14:15:03 UTC`."""
    return f"{value:%Y-%m-%d %H:%M:%S} UTC" if value else UNKNOWN


def count(value: int | None, noun: str) -> str:
    """A whole number and what is counted: `1 trial`, `3 trials`."""
    return f"{UNKNOWN if value is None else f'{value:,}'} {noun}{'' if value == 1 else 's'}"


def some(phrases: Sequence[str], most: int = 3) -> str:
    """The first few of many phrases in one sentence, and how many more there are."""
    more = len(phrases) - most
    return "; ".join(phrases if more < 2 else [*phrases[:most], f"and {more} more of this kind"])


def plain(value: Any) -> str:
    """Any plain value as text: JSON where it is no text itself; nothing of nothing."""
    if value in (None, "", [], {}):
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
