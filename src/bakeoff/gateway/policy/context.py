"""How a candidate is called: its own part of the policy, and what all candidates of a run share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bakeoff.config.schema import Config, ModelSpec
from bakeoff.gateway.policy.prices import Price
from bakeoff.gateway.policy.rate import Limiter
from bakeoff.gateway.policy.spending import Spending
from bakeoff.text.redact import secrets_of

if TYPE_CHECKING:
    from bakeoff.gateway.policy.retry import RetryPolicy
    from bakeoff.gateway.recording.cassette import Recorder


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """How the calls of one model are made."""

    retry: RetryPolicy
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    limiter: Limiter = field(default_factory=Limiter)
    price: Price | None = None  # harness.yaml's; None: the bundled table's


@dataclass(frozen=True, slots=True)
class RunContext:
    """What the candidates of one run share: keys, providers' limits, prices, the budget, the recording."""

    environ: Mapping[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    root: Path
    limiters: Mapping[str, Limiter]  # by provider
    prices: Mapping[str, Price]  # by model, as harness.yaml writes it
    spending: Spending
    recorder: Recorder | None = None

    @classmethod
    def of(
        cls,
        config: Config,
        environ: Mapping[str, str],
        *,
        spent_usd: float = 0.0,
        recorder: Recorder | None = None,
    ) -> RunContext:
        """For one run. `environ` is what `keys.environment` gives; `spent_usd` is what a resumed run has spent."""
        named = [environ.get(name) for name in config.key_command]
        named += [environ.get(candidate.api_key_env or "") for candidate in config.candidates]
        return cls(
            environ=environ,
            secrets=secrets_of(environ, also=named),
            root=config.root,
            limiters={provider: Limiter(rate) for provider, rate in config.rate.items()},
            prices={model: Price.stated(price) for model, price in config.prices.items()},
            spending=Spending(config.budget.usd if config.budget else None, spent_usd),
            recorder=recorder,
        )

    def policy(self, model: ModelSpec, retry: RetryPolicy) -> CallPolicy:
        """The policy for one candidate or judge."""
        return CallPolicy(
            retry=retry,
            environ=self.environ,
            secrets=self.secrets,
            limiter=self.limiters.get(model.ref.server) or Limiter(),
            price=self.prices.get(model.model),
        )
