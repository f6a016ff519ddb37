"""Numbers read well, and what is not known is never a zero."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bakeoff.text import figures


@pytest.mark.parametrize("name", ["percent", "points", "size", "seconds", "dollars", "number", "p_value"])
def test_the_unknown_is_a_dash(name: str) -> None:
    assert getattr(figures, name)(None) == figures.UNKNOWN


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (figures.percent(0.935), "93.5 %"),
        (figures.percent(0.0), "0.0 %"),
        (figures.points(-0.042), "-4.2"),
        (figures.interval(0.881, 0.97), "88.1 to 97.0"),
        (figures.score(None), "–"),
        (figures.score_interval(None), "–"),
        (figures.interval(None, 0.97), "–"),
        (figures.size(0), "0 B"),
        (figures.size(512 * 2**20), "512 MiB"),
        (figures.size(3 * 2**29), "1.5 GiB"),
        (figures.seconds(0), "0.0 s"),
        (figures.seconds(0.000001), "< 0.01 ms"),
        (figures.seconds(0.00042), "0.4 ms"),
        (figures.seconds(0.04), "40 ms"),
        (figures.seconds(0.9996), "1.0 s"),
        (figures.seconds(2.345), "2.3 s"),
        (figures.seconds(4.21), "4.2 s"),
        (figures.seconds(59.99), "1 min 00 s"),
        (figures.seconds(185), "3 min 05 s"),
        (figures.seconds(3599.7), "1 h 00 min"),
        (figures.dollars(0.0), "$0.00"),
        (figures.dollars(0.0123), "$0.0123"),
        (figures.dollars(1234.5), "$1,234.50"),
        (figures.number(2100), "2,100"),
        (figures.number(0.65625, 3), "0.656"),
        (figures.p_value(0.00001), "< 0.001"),
        (figures.p_value(0.0456), "0.046"),
        (figures.count(1, "trial"), "1 trial"),
        (figures.count(1200, "trial"), "1,200 trials"),
        (figures.count(None, "trial"), "– trials"),
        (figures.plain({"mode": "ä"}), '{"mode": "ä"}'),
        (figures.plain("as it is"), "as it is"),
        (figures.plain({}), ""),
        (figures.moment(None), "–"),
        (figures.moment(datetime(2026, 7, 22, 14, 15, 3, tzinfo=UTC)), "2026-07-22 14:15:03 UTC"),
    ],
)
def test_figures(shown: str, expected: str) -> None:
    assert shown == expected
