"""What surrounds a run does not decide it in silence: addresses and accounts are refused, proxies used and noted."""

import pytest

from bakeoff import gateway
from bakeoff.config.schema import Candidate, Config, Harness
from bakeoff.gateway.models.providers import ANY_CLASS, PROVIDERS, proxy_of
from bakeoff.gateway.transport.route import proxy_for
from bakeoff.gateway.types import CallContext, ModelRequest
from tests.fakes.provider_server import ProviderServer

OPENAI = "https://api.openai.com/v1"
PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_each_variable_that_would_decide_is_refused_by_name(
    provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: True)
    key = PROVIDERS[provider].key_env
    for variable in {**ANY_CLASS, **PROVIDERS[provider].ambient}:
        environ = {variable: "http://127.0.0.1:1/v1", **({key: "x"} if key else {})}
        problem = gateway.check(Candidate(name="c", model=f"{provider}:m"), environ=environ)
        assert variable in problem.problem
        assert variable in problem.hint


def test_with_a_base_url_the_environment_is_not_asked() -> None:
    environ = {"OPENAI_BASE_URL": "http://elsewhere.example", "OPENAI_ORG_ID": "org-1"}
    who = Candidate(name="c", model="openai:m", base_url="http://127.0.0.1:8000/v1")
    assert gateway.check(who, environ=environ) is None


@pytest.mark.parametrize(
    ("address", "environ", "variable"),
    [
        (OPENAI, {"HTTPS_PROXY": PROXY}, "HTTPS_PROXY"),
        (OPENAI, {"https_proxy": PROXY, "HTTPS_PROXY": "http://other"}, "https_proxy"),
        (OPENAI, {"ALL_PROXY": PROXY}, "ALL_PROXY"),
        (OPENAI, {"HTTP_PROXY": PROXY}, None),
        (OPENAI, {"HTTPS_PROXY": PROXY, "NO_PROXY": "api.openai.com"}, None),
        (OPENAI, {"HTTPS_PROXY": PROXY, "NO_PROXY": ".openai.com"}, None),
        (OPENAI, {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, None),
        (OPENAI, {"HTTPS_PROXY": PROXY, "NO_PROXY": "example.com"}, "HTTPS_PROXY"),
        ("http://vllm.internal:8000/v1", {"HTTP_PROXY": PROXY}, "HTTP_PROXY"),
        ("http://127.0.0.1:8000/v1", {"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}, None),
        ("http://127.3.2.1/v1", {"HTTP_PROXY": PROXY}, None),
        ("http://localhost:8000/v1", {"HTTP_PROXY": PROXY}, None),
        ("http://[::1]:8000/v1", {"HTTP_PROXY": PROXY}, None),
    ],
)
def test_which_proxy_a_call_goes_through(address: str, environ: dict[str, str], variable: str | None) -> None:
    proxy = proxy_for(address, environ)
    assert (proxy.variable if proxy else None) == variable


def test_a_proxy_is_noted_without_its_password_and_a_broken_one_is_refused() -> None:
    who = Candidate(name="mini", model="openai:gpt-5-mini")
    config = Config(name="x", harness=Harness(prompt="x"), candidates=[who], dataset="d", evaluators=[])
    environ = {"HTTPS_PROXY": "http://me:secret@proxy.example:3128", "OPENAI_API_KEY": "x"}
    [note] = gateway.notes(config, environ)
    assert note == "mini: calls go through the proxy http://proxy.example:3128 (HTTPS_PROXY)."
    assert gateway.notes(config, {}) == []
    problem = gateway.check(who, environ={**environ, "HTTPS_PROXY": "ftp://proxy.example"})
    assert "HTTPS_PROXY" in problem.problem


@pytest.mark.parametrize("key", ["azure_endpoint", "endpoint_url"])
def test_an_address_among_the_params_is_the_address(key: str) -> None:
    who = Candidate(name="c", model="azure_openai:m", params={key: "http://127.0.0.1:1"})
    assert proxy_of(who, {"ALL_PROXY": PROXY}) is None
    assert proxy_of(who.model_copy(update={"params": {}}), {"ALL_PROXY": PROXY}) is not None


@pytest.mark.slow
@pytest.mark.parametrize("model", ["openai:m", "anthropic:m", "google_genai:m"])
def test_a_client_is_made_without_the_environment_s_proxy(
    model: str, server: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")  # would need a package that is not there
    who = Candidate(name="c", model=model, base_url=server.base_url(model))
    reply = gateway.open_backend(who, environ={}).complete(
        ModelRequest([{"type": "human", "data": {"content": "?"}}]), CallContext("c/e/1", "e", 1, 0, {})
    )
    assert reply.attempts == 1


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_that_are_not_there_are_refused_by_name(variable: str) -> None:
    who = Candidate(name="c", model="openai:m", base_url="https://h.example/v1")
    problem = gateway.check(who, environ={variable: "/nowhere"})
    assert problem is not None
    assert variable in problem.problem
    assert gateway.check(who, environ={variable: "/"}) is None
