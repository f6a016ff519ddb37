"""The gateway: the host-side only road to a model. It holds keys, meters, retries, names what went wrong.

A kind of model is chosen by what stands before the colon: `KINDS` has those of our own, everything else is a
LangChain provider and stands in `providers.PROVIDERS`. Nothing heavy is imported until a model is opened.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from bakeoff.config.model_ref import OWN_KINDS
from bakeoff.config.schema import Candidate, Config
from bakeoff.errors import InputError
from bakeoff.gateway.problem import Problem
from bakeoff.gateway.types import ChatBackend

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from bakeoff.gateway.policy.retry import Budget
    from bakeoff.gateway.policy.terms import Shared, Terms

__all__ = [
    "KINDS",
    "Problem",
    "check",
    "check_budget",
    "environment",
    "is_simulated",
    "judge_model",
    "open_backend",
]


def check(
    candidate: Candidate, *, environ: Mapping[str, str] = os.environ, root: Path = Path()
) -> Problem | None:
    """Whether this candidate can be called: None, or what stands in the way and how to fix it.

    Imports no provider package and opens no connection. `root` is where relative paths start.
    """
    return _kind(candidate).check(_located(candidate, root), environ)


def check_budget(config: Config) -> tuple[str, Problem] | None:
    """A budget needs the price of every model: the first candidate's name without one, and what to do."""
    if config.budget is None:
        return None
    from bakeoff.gateway.models import providers
    from bakeoff.gateway.policy import prices

    for candidate in config.candidates:
        own = candidate.model in config.prices or candidate.model.partition(":")[0] in KINDS
        if not own and isinstance(providers.price(candidate), prices.Unknown):
            hint = (
                f'Add `prices: {{"{candidate.model}": {{input: ..., output: ...}}}}`, USD per million tokens.'
            )
            return candidate.name, Problem(
                f"has no known price, and `budget` needs one: {candidate.model}", hint
            )
    return None


def environment(config: Config) -> dict[str, str]:
    """The variables that keys are looked up in: environment, .env, `key_command` of the keys that are wanted.

    Raises:
        InputError: .env or a command is at fault.
    """
    from bakeoff.gateway import keys

    return keys.environment(config, set(_key_variables(config)))


def is_simulated(candidate: Candidate, root: Path) -> bool:
    """Whether its numbers are a simulation's: a simulated model, or a recording of one.

    Not named `simulated`: importing the module of that name would take its place.
    """
    if candidate.model.partition(":")[0] != "replay":
        return candidate.ref.simulated
    from bakeoff.gateway.models import replay

    return replay.recorded_model(_located(candidate, root)).startswith("simulated:")


def open_backend(
    candidate: Candidate,
    *,
    retries: int,
    environ: Mapping[str, str] = os.environ,
    budget: Budget | None = None,
    shared: Shared | None = None,
) -> ChatBackend:
    """The candidate's model, to be called from many threads.

    Args:
        candidate: who.
        retries: extra tries of one call.
        environ: where its key is, when there is no `shared`.
        budget: overrides `retries` and their pace.
        shared: what the candidates of a run have in common; without it the candidate stands alone.

    Raises:
        InputError: what `check` says, or the provider refuses the candidate's params.
        UnfitEnvironment: the local model's server does not start.
    """
    environ = shared.environ if shared else environ
    root = shared.root if shared else Path()
    if problem := check(candidate, environ=environ, root=root):
        raise InputError(problem.problem, key=f"candidates.{candidate.name}.model", hint=problem.hint)
    backend = _kind(candidate).open_backend(
        _located(candidate, root), _terms(candidate, retries, environ, budget, shared)
    )
    if shared and shared.spending.limit_usd is not None and not candidate.model.startswith("replay:"):
        from bakeoff.gateway.policy.spending import Metered

        backend = Metered(backend, shared.spending)
    if shared and shared.recorder:
        from bakeoff.gateway.recording.cassette import Recording

        backend = Recording(backend, candidate.name, shared.recorder)
    return backend


def judge_model(
    model: str,
    *,
    params: dict[str, Any] | None = None,
    base_url: str | None = None,
    api_key_env: str | None = None,
    retries: int = 2,
    environ: Mapping[str, str] = os.environ,
    budget: Budget | None = None,
    shared: Shared | None = None,
) -> BaseChatModel:
    """A chat model for LLM-as-judge evaluators. A call that fails for good raises ModelCallError.

    Raises:
        InputError: what `check` says; also for models of our own kinds, which cannot judge.
    """
    environ = shared.environ if shared else environ
    candidate = Candidate(
        name="judge", model=model, params=params or {}, base_url=base_url, api_key_env=api_key_env
    )
    problem = check(candidate, environ=environ)
    if problem is None and candidate.model.partition(":")[0] in KINDS:
        problem = Problem(f"{model} cannot judge", "name a provider's model, such as openai:gpt-4.1")
    if problem:
        raise InputError(problem.problem, key="model", hint=problem.hint)
    from dataclasses import replace

    from bakeoff.gateway.models import providers
    from bakeoff.gateway.models.judge import Judge
    from bakeoff.gateway.policy.spending import Spending

    terms = _terms(candidate, retries, environ, budget, shared)
    return Judge(
        inner=providers.build(candidate, environ),
        terms=replace(terms, price=terms.price or providers.price(candidate)),
        spending=shared.spending if shared else Spending(),
    )


def _terms(
    candidate: Candidate,
    retries: int,
    environ: Mapping[str, str],
    budget: Budget | None,
    shared: Shared | None,
) -> Terms:
    from dataclasses import replace

    from bakeoff.gateway.models.providers import timeouts
    from bakeoff.gateway.policy.retry import Budget
    from bakeoff.gateway.policy.terms import Terms
    from bakeoff.text.redact import secrets_of

    # the client's own timeouts come first, where they are for the whole
    retry = replace(budget or Budget(retries), reply_seconds=sum(timeouts(candidate.params)))
    if shared:
        return shared.terms(candidate, retry)
    return Terms(retry, environ, secrets_of(environ, also=[environ.get(candidate.api_key_env or "")]))


def _key_variables(config: Config) -> Iterator[str]:
    """The variables that hold the keys of the run's models, judges too."""
    from bakeoff.gateway.models import providers

    judges = [spec.options for spec in config.evaluators if spec.kind == "llm_judge"]
    models = [(one.model, one.base_url, one.api_key_env) for one in config.candidates]
    models += [(one["model"], one["base_url"], one["api_key_env"]) for one in judges]
    for model, base_url, api_key_env in models:
        provider = providers.PROVIDERS.get(providers.split(model, base_url)[0])
        if name := api_key_env or (provider.key_env if provider and not base_url else None):
            yield name


class _Kind(Protocol):
    """What the module of a kind of model has."""

    def check(self, candidate: Candidate, environ: Mapping[str, str]) -> Problem | None: ...

    def open_backend(self, candidate: Candidate, terms: Terms) -> ChatBackend: ...


# A new kind of model is one new prefix, and a module of that name that has `check` and `open_backend`.
KINDS = {kind: f"bakeoff.gateway.models.{kind}" for kind in OWN_KINDS}


def _kind(candidate: Candidate) -> _Kind:
    prefix = candidate.model.partition(":")[0]
    return cast(_Kind, importlib.import_module(KINDS.get(prefix, "bakeoff.gateway.models.providers")))


def _located(candidate: Candidate, root: Path) -> Candidate:
    """A recording's path is relative to harness.yaml, as all paths in it are."""
    prefix, _, path = candidate.model.partition(":")
    return (
        candidate.model_copy(update={"model": f"{prefix}:{root / path}"}) if prefix == "replay" else candidate
    )
