"""Prices of harness.yaml, and the budget: what is counted, what is refused, what cannot be known."""

from pathlib import Path

import pytest

from bakeoff import gateway
from bakeoff.config.schema import Candidate, Config, Harness, ModelSpec, Money, TokenPrice
from bakeoff.errors import BudgetSpent, ModelCallError
from bakeoff.gateway.policy.context import RunContext
from bakeoff.gateway.policy.prices import Price
from bakeoff.gateway.policy.retry import RetryPolicy
from bakeoff.gateway.types import CallContext, ModelRequest, TokenCounts
from tests.fakes.provider_server import ProviderServer

ASK = ModelRequest([{"type": "human", "data": {"content": "1 + 2?"}}])
CALL = CallContext("a/e/1", "e", 1, 0, {"answer": "3"})
SIMULATED = Candidate(name="a", model="simulated:skill=1")


def config(*candidates: Candidate, usd: float | None = None, **prices: TokenPrice) -> Config:
    return Config(
        name="x", harness=Harness(prompt="x"), candidates=list(candidates), dataset="d", evaluators=[],
        prices=prices, budget=None if usd is None else Money(usd=usd),
    )  # fmt: skip


def test_a_stated_price_is_per_million_tokens() -> None:
    price = Price.stated(TokenPrice(input=2.0, output=10.0, cached=0.5))
    assert price.cost_usd(TokenCounts(1_000_000, 0)) == 2.0
    assert price.cost_usd(TokenCounts(0, 100_000)) == 1.0
    assert price.cost_usd(TokenCounts(1_000_000, 0, cached=400_000)) == pytest.approx(0.6 * 2 + 0.4 * 0.5)
    assert Price.stated(TokenPrice(input=2.0, output=10.0)).cost_usd(
        TokenCounts(10, 0, cached=10)
    ) == pytest.approx(2e-5)
    assert price.cost_usd(None) is None


def test_a_price_of_harness_yaml_wins_and_an_unknown_one_is_null(server: ProviderServer) -> None:
    who = Candidate(name="a", model="openai:m", base_url=f"{server.url}/v1")
    stated = RunContext.of(config(who, **{"openai:m": TokenPrice(input=1.0, output=1.0)}), {})
    assert gateway.open_backend(who, run=stated).complete(ASK, CALL).cost_usd == pytest.approx(29e-6)
    unknown = RunContext.of(config(who), {})
    assert gateway.open_backend(who, run=unknown).complete(ASK, CALL).cost_usd is None


def test_no_call_is_admitted_once_the_money_is_spent() -> None:
    prices = {"simulated:skill=1": TokenPrice(input=1e6, output=0)}  # a dollar a token
    shared = RunContext.of(config(SIMULATED, usd=3.0, **prices), {})
    backend = gateway.open_backend(SIMULATED, run=shared)
    made = 0
    while not shared.spending.exhausted:
        backend.complete(ASK, CALL)
        made += 1
    with pytest.raises(BudgetSpent):
        backend.complete(ASK, CALL)
    assert made >= 1
    assert shared.spending.spent_usd == pytest.approx(2.0 * made)
    assert 2.0 * (made - 1) < 3.0


def test_what_a_resumed_run_has_spent_counts() -> None:
    shared = RunContext.of(config(SIMULATED, usd=3.0), {}, spent_usd=3.0)
    with pytest.raises(BudgetSpent):
        gateway.open_backend(SIMULATED, run=shared).complete(ASK, CALL)


def test_what_a_failed_call_cost_is_not_known(server: ProviderServer) -> None:
    who = Candidate(name="a", model="openai:m", base_url=f"{server.url}/fail/503/v1")
    shared = RunContext.of(config(who, usd=3.0, **{"openai:m": TokenPrice(input=1.0, output=1.0)}), {})
    backend = gateway.open_backend(who, run=shared, retry=RetryPolicy(0))
    with pytest.raises(ModelCallError):
        backend.complete(ASK, CALL)
    assert (shared.spending.unpriced, shared.spending.spent_usd) == (1, 0.0)


def test_a_judge_is_counted_and_never_refused(server: ProviderServer) -> None:
    priced = {"openai:m": TokenPrice(input=1e6, output=1e6)}
    shared = RunContext.of(config(SIMULATED, usd=3.0, **priced), {})
    judge = gateway.judge_model(ModelSpec(model="openai:m", base_url=f"{server.url}/v1"), run=shared)
    judge.invoke("Rate it")
    assert shared.spending.spent_usd == pytest.approx(29.0)
    judge.invoke("Rate it")
    assert shared.spending.spent_usd == pytest.approx(58.0)


def test_a_budget_needs_every_price(tmp_path: Path) -> None:
    unpriced = Candidate(name="b", model="openai:m", base_url="http://127.0.0.1:9/v1")
    found = gateway.check_budget(config(SIMULATED, unpriced, usd=1.0))
    assert found is not None
    name, problem = found
    assert name == "b"
    assert "prices:" in problem.hint
    assert gateway.check_budget(config(SIMULATED, unpriced)) is None
    priced = {"openai:m": TokenPrice(input=1.0, output=1.0)}
    assert gateway.check_budget(config(SIMULATED, unpriced, usd=1.0, **priced)) is None


@pytest.mark.slow
def test_the_bundled_list_has_the_price_of_a_known_model() -> None:
    known = Candidate(name="b", model="openai:gpt-4o-mini")
    assert gateway.check_budget(config(known, usd=1.0)) is None


def test_a_reply_without_usage_is_counted_by_its_candidate() -> None:
    from bakeoff.gateway.policy.spending import Metered, Spending
    from bakeoff.gateway.types import ModelReply

    class Silent:
        def complete(self, request: ModelRequest, call: CallContext) -> ModelReply:
            return ModelReply({"type": "ai", "data": {"content": "3"}}, 0.1)

    spending = Spending()
    Metered(Silent(), spending, "a").complete(ASK, CALL)  # type: ignore[arg-type]
    assert spending.uncounted == {"a": 1}


def test_reasoning_beside_a_message_is_recorded_and_not_handed_to_the_harness() -> None:
    from bakeoff.gateway.types import ModelReply
    from bakeoff.record.messages import to_openai

    reply = ModelReply({"type": "ai", "data": {"content": "3"}}, 0.1, reasoning="One and two.")
    [said] = to_openai([reply.recorded])
    assert said["reasoning_content"] == "One and two."
    assert "additional_kwargs" not in reply.message["data"]
