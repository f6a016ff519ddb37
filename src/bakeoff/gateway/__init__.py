"""The gateway: the host-side only road to a model. It holds keys, meters, retries, names what went wrong.

A kind of model is chosen by what stands before the colon: `KINDS` has those of our own, everything else is a
LangChain provider and stands in `providers.PROVIDERS`. Nothing heavy is imported until a model is opened.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from bakeoff.config import Candidate
from bakeoff.errors import InputError
from bakeoff.gateway.problem import Problem
from bakeoff.gateway.types import ChatBackend

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from bakeoff.gateway.retrying import Budget

__all__ = ["KINDS", "Problem", "check", "judge_model", "open_backend"]


def check(candidate: Candidate, *, environ: Mapping[str, str] = os.environ) -> Problem | None:
    """Whether this candidate can be called: None, or what stands in the way and how to mend it.

    Imports no provider package and opens no connection.
    """
    return _kind(candidate).check(candidate, environ)


def open_backend(
    candidate: Candidate,
    *,
    retries: int,
    environ: Mapping[str, str] = os.environ,
    budget: Budget | None = None,
) -> ChatBackend:
    """The candidate's model, to be called from many threads. `budget` overrides `retries` and their pace.

    Raises:
        InputError: what `check` says, or the provider refuses the candidate's params.
        UnfitEnvironment: the local model's server does not start.
    """
    if problem := check(candidate, environ=environ):
        raise InputError(problem.problem, key=f"candidates.{candidate.name}.model", mend=problem.mend)
    from bakeoff.gateway.retrying import Budget

    return _kind(candidate).open_backend(candidate, budget or Budget(retries), environ)


def judge_model(
    model: str,
    *,
    params: dict[str, Any] | None = None,
    base_url: str | None = None,
    api_key_env: str | None = None,
    retries: int = 2,
    environ: Mapping[str, str] = os.environ,
    budget: Budget | None = None,
) -> BaseChatModel:
    """A chat model for LLM-as-judge evaluators. A call that fails for good raises ModelCallError.

    Raises:
        InputError: what `check` says; also for simulated and local models, which cannot judge.
    """
    candidate = Candidate(
        name="judge", model=model, params=params or {}, base_url=base_url, api_key_env=api_key_env
    )
    problem = check(candidate, environ=environ)
    if problem is None and candidate.model.partition(":")[0] in KINDS:
        problem = Problem(f"{model} cannot judge", "name a provider's model, such as openai:gpt-4.1")
    if problem:
        raise InputError(problem.problem, key="model", mend=problem.mend)
    from bakeoff.gateway.judge import Judge
    from bakeoff.gateway.providers import build
    from bakeoff.gateway.redact import secrets_of
    from bakeoff.gateway.retrying import Budget

    secrets = secrets_of(environ, also=[environ.get(api_key_env or "")])
    return Judge(inner=build(candidate, environ), budget=budget or Budget(retries), secrets=secrets)


class _Kind(Protocol):
    """What the module of a kind of model has."""

    def check(self, candidate: Candidate, environ: Mapping[str, str]) -> Problem | None: ...

    def open_backend(
        self, candidate: Candidate, budget: Budget, environ: Mapping[str, str]
    ) -> ChatBackend: ...


# A new kind of model is one new entry: its prefix, and the module that has `check` and `open_backend`.
KINDS = {
    "simulated": "bakeoff.gateway.simulated",
    "local": "bakeoff.gateway.local",
}


def _kind(candidate: Candidate) -> _Kind:
    prefix = candidate.model.partition(":")[0]
    return cast(_Kind, importlib.import_module(KINDS.get(prefix, "bakeoff.gateway.providers")))
