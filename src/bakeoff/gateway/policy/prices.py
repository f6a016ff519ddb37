"""What a call costs, from genai-prices' bundled table. Offline: its updater is never started.

An unknown price is None, never 0. Simulated and local models have a price, and it is 0.0: nobody bills their tokens.

The table takes 65 MiB to load and one model's entry some numbers, so a short-lived child looks the entry up
(`python -m bakeoff.gateway.policy.prices PROVIDER MODEL`) and prints it as JSON.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from bakeoff.config.schema import TokenPrice
from bakeoff.gateway.types import TokenCounts

if TYPE_CHECKING:
    from collections.abc import Sequence

# From so many input tokens, US dollars per million tokens. The highest tier that is reached prices them all.
Tiers = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one model."""

    input: Tiers
    output: Tiers
    cached: Tiers | None = None  # None: as input
    cache_written: Tiers | None = None  # None: as input

    @classmethod
    def stated(cls, price: TokenPrice) -> Price:
        """A price that harness.yaml gives."""
        cached = None if price.cached is None else ((0, price.cached),)
        return cls(((0, price.input),), ((0, price.output),), cached)

    def cost_usd(self, counts: TokenCounts | None) -> float | None:
        """US dollars of one call. None when a count is not known, or the price is not a number."""
        if self == FREE:
            return 0.0  # whatever was used, and whether it was counted
        if counts is None or counts.input is None or counts.output is None:
            return None
        cached, written = counts.cached or 0, counts.cache_written or 0
        fresh = max(counts.input - cached - written, 0)
        parts = (
            (fresh, self.input),
            (cached, self.cached or self.input),
            (written, self.cache_written or self.input),
            (counts.output, self.output),
        )
        cost = sum(tokens * _rate(tiers, counts.input) for tokens, tiers in parts) / 1e6
        return cost if math.isfinite(cost) and cost >= 0 else None


FREE = Price(((0, 0.0),), ((0, 0.0),))
"""A model that nobody bills: simulated, or on this machine."""


def _rate(tiers: Tiers, tokens: int) -> float:
    return next((rate for start, rate in reversed(tiers) if tokens > start), tiers[0][1])


@cache
def price_of(provider: str | None, model: str) -> Price | None:
    """The price of `model` at the provider that genai-prices calls `provider`; None when it has no usable entry."""
    if provider is None:
        return None
    found = subprocess.run(
        [sys.executable, "-m", "bakeoff.gateway.policy.prices", provider, model],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    try:
        tiers = {
            name: tuple((int(s), float(r)) for s, r in rows)
            for name, rows in json.loads(found.stdout).items()
        }
        return Price(**tiers)
    except (ValueError, TypeError, AttributeError):
        return None  # an odd entry never costs a run its answers


def _look_up(provider_id: str, model: str) -> str:
    """The entry as JSON: kind of tokens -> tiers. `{}` where there is none, which makes no price."""
    from datetime import UTC, datetime

    from genai_prices.data_snapshot import get_snapshot

    try:
        _, entry = get_snapshot().find_provider_model(model, None, provider_id, None)
        price = entry.get_prices(datetime.now(UTC))
    except LookupError:
        return "{}"
    names = {
        "input": "input_mtok",
        "output": "output_mtok",
        "cached": "cache_read_mtok",
        "cache_written": "cache_write_mtok",
    }
    found = {name: getattr(price, attribute, None) for name, attribute in names.items()}
    return json.dumps({name: _tiers(value) for name, value in found.items() if value is not None})


def _tiers(price: Any) -> Sequence[tuple[int, float]]:
    if not hasattr(price, "tiers"):
        return [(0, float(price))]
    return [(0, float(price.base)), *((int(tier.start), float(tier.price)) for tier in price.tiers)]


if __name__ == "__main__":
    print(_look_up(*sys.argv[1:]))
