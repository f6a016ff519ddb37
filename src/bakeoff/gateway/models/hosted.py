"""The kind of model that a LangChain provider serves: whether it can be called, and its opening."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bakeoff.config.fitting import did_you_mean
from bakeoff.config.schema import ModelSpec
from bakeoff.gateway.models import providers
from bakeoff.gateway.types import Problem

if TYPE_CHECKING:
    from bakeoff.gateway.policy.context import CallPolicy
    from bakeoff.gateway.types import ChatBackend


def check(model: ModelSpec, environ: Mapping[str, str]) -> Problem | None:
    """Why this model cannot be called, found without importing its package."""
    name = model.ref.provider
    provider = providers.PROVIDERS.get(name)
    if provider is None:
        known = ("simulated", "local", *providers.PROVIDERS)
        hint = f"write provider:model with one of {', '.join(known)}"
        if model.base_url:
            hint = f"for an OpenAI-compatible server write openai:{model.model}"
        shown = name or model.model
        return Problem(f"unknown provider {shown!r}{did_you_mean(shown, known)}", hint)
    if not model.ref.name:
        return Problem(f"{model.model!r} names no model", f"write {name}:<model>")
    if importlib.util.find_spec(provider.package) is None:
        problem = f"provider {name!r} needs the package {provider.package}, which is not installed"
        return Problem(problem, provider.install)
    key_env = model.api_key_env or (None if model.base_url else provider.key_env)
    key = environ.get(key_env or "", "")
    if key_env and not key:
        hint = f"export {key_env}=... or put it into .env"
        return Problem(f"the environment variable {key_env} is not set", hint)
    if not (key.isascii() and key.isprintable()):
        problem = f"the key in {key_env} has a line break or another character that no request can carry"
        return Problem(problem, f"set {key_env} again without it")
    return _check_surroundings(model, provider, environ) or _check_timeouts(model.params)


def _check_surroundings(
    model: ModelSpec, provider: providers.Provider, environ: Mapping[str, str]
) -> Problem | None:
    if not model.base_url:  # with one, nothing of the environment is asked
        for variable, instead in {**providers.ANY_CLASS, **provider.ambient}.items():
            if environ.get(variable):
                problem = (
                    f"the environment variable {variable} would decide where or on whose account it is called"
                )
                return Problem(problem, f"unset {variable}, or {instead}")
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        if (place := environ.get(variable)) and not Path(place).exists():
            return Problem(f"{variable} names {place}, which is not there", f"correct or unset {variable}")
    proxy = providers.proxy_of(model, environ)
    if proxy and (wrong := proxy.problem):
        return Problem(wrong, f"correct or unset {proxy.variable}")
    if proxy and proxy.url.startswith("socks") and importlib.util.find_spec("socksio") is None:
        problem = f"{proxy.variable} names a SOCKS proxy, which needs the package socksio"
        return Problem(problem, "pip install socksio")
    return None


def _check_timeouts(params: Mapping[str, Any]) -> Problem | None:
    for name in ("timeout", "connect_timeout"):
        value = params.get(name, 1.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            problem = f"params.{name} is not a positive number of seconds: {value!r}"
            return Problem(problem, f"write {name}: 60")
    return None


def open_backend(model: ModelSpec, policy: CallPolicy) -> ChatBackend:
    """The model behind its provider's client."""
    from bakeoff.gateway.models.backend import ProviderBackend, build

    proxy = providers.proxy_of(model, policy.environ)
    return ProviderBackend(
        build(model, policy.environ),
        replace(policy, price=policy.price or providers.price(model)),
        wired=providers.PROVIDERS[model.ref.provider].over_transport,
        route=f"through the proxy {proxy.shown} of {proxy.variable}" if proxy else "",
    )
