"""What a call costs, from genai-prices' bundled table. Offline: its updater is never started.

An unknown price is None, never 0. Simulated and local models have a price, and it is 0.0: no token of theirs
is billed.

The table takes 65 MiB to load and one model's entry some kilobytes, so a short-lived child looks the entry up
(`python -m bakeoff.gateway.policy.prices PROVIDER MODEL`) and the orchestrator keeps only that.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from bakeoff.config.schema import TokenPrice

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

_UNKNOWN = 3  # the child's exit code for "no such model in the table"


class Price(Protocol):
    """The price of one model."""

    def cost_usd(self, usage: Mapping[str, Any] | None) -> float | None:
        """US dollars of one call from LangChain's `usage_metadata`, None when unknown."""
        ...


@dataclass(frozen=True, slots=True)
class Free:
    """A model nobody bills: simulated, or on this machine."""

    def cost_usd(self, usage: Mapping[str, Any] | None) -> float | None:
        """Nothing, whatever was used."""
        return 0.0


@dataclass(frozen=True, slots=True)
class Unknown:
    """A model that the table does not have."""

    def cost_usd(self, usage: Mapping[str, Any] | None) -> float | None:
        """Not known."""
        return None


@dataclass(frozen=True, slots=True)
class Listed:
    """A model of genai-prices' table."""

    provider: Provider
    model: ModelInfo

    def cost_usd(self, usage: Mapping[str, Any] | None) -> float | None:
        """All tokens at list price. LangChain's `input_tokens` include the cached ones, as the table's do."""
        if not usage or usage.get("input_tokens") is None or usage.get("output_tokens") is None:
            return None
        from genai_prices import Usage

        details = usage.get("input_token_details") or {}
        counted = Usage(
            input_tokens=usage["input_tokens"],
            output_tokens=usage["output_tokens"],
            cache_read_tokens=details.get("cache_read") or 0,
            cache_write_tokens=details.get("cache_creation") or 0,
        )
        return float(self.model.calc_price(counted, self.provider).total_price)


@dataclass(frozen=True, slots=True)
class Stated:
    """A price that harness.yaml gives."""

    price: TokenPrice

    def cost_usd(self, usage: Mapping[str, Any] | None) -> float | None:
        """All tokens at that price. `input_tokens` include the cached ones."""
        if not usage or usage.get("input_tokens") is None or usage.get("output_tokens") is None:
            return None
        price, cached = self.price, int((usage.get("input_token_details") or {}).get("cache_read") or 0)
        cheap = price.input if price.cached is None else price.cached
        fresh, output = int(usage["input_tokens"]) - cached, int(usage["output_tokens"])
        return (fresh * price.input + cached * cheap + output * price.output) / 1e6


@cache
def price_of(provider: str | None, model: str) -> Price:
    """The price of `model` at the `provider` that genai-prices calls so; `Unknown` when it has no entry."""
    if provider is None:
        return Unknown()
    found = subprocess.run(
        [sys.executable, "-m", "bakeoff.gateway.policy.prices", provider, model],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    if found.returncode == _UNKNOWN:
        return Unknown()
    found.check_returncode()
    return Listed(*pickle.loads(found.stdout))  # noqa: S301 - our own child wrote it


def _look_up(provider_id: str, model: str) -> int:
    from genai_prices.data_snapshot import get_snapshot

    try:
        entry = get_snapshot().find_provider_model(model, None, provider_id, None)
    except LookupError:
        return _UNKNOWN
    sys.stdout.buffer.write(pickle.dumps(entry))
    return 0


if __name__ == "__main__":
    sys.exit(_look_up(*sys.argv[1:]))
