"""The kinds of models: `KINDS` has bakeoff's own, everything else is `hosted` by one of `providers.PROVIDERS`.

Nothing heavy is imported until a model is opened.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from bakeoff.config.schema import Candidate, Config, ModelSpec
from bakeoff.errors import InputError
from bakeoff.gateway.types import ChatBackend, Problem

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from bakeoff.gateway.policy.context import CallPolicy, RunContext
    from bakeoff.gateway.policy.retry import RetryPolicy

# A new kind of model is one new entry: its prefix, and the module that has `check` and `open_backend`.
KINDS = {
    "simulated": "bakeoff.gateway.models.simulated",
    "local": "bakeoff.gateway.models.local",
    "replay": "bakeoff.gateway.models.replay",
}


class Kind(Protocol):
    """What the module of a kind of model has."""

    def check(self, candidate: Candidate, environ: Mapping[str, str]) -> Problem | None: ...

    def open_backend(self, candidate: Candidate, policy: CallPolicy) -> ChatBackend: ...


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

    for candidate in config.candidates:
        if candidate.model in config.prices or candidate.ref.own or providers.price(candidate):
            continue
        hint = f'Add `prices: {{"{candidate.model}": {{input: ..., output: ...}}}}`, USD per million tokens.'
        problem = f"has no known price, and `budget` needs one: {candidate.model}"
        return candidate.name, Problem(problem, hint)
    return None


def environment(config: Config) -> dict[str, str]:
    """The variables that keys are looked up in: environment, .env, `key_command` of the keys that are wanted.

    Raises:
        InputError: .env or a command is at fault.
    """
    from bakeoff.config import keys

    return keys.environment(config, set(_key_variables(config)))


def notes(config: Config, environ: Mapping[str, str]) -> list[str]:
    """What of the environment bears on how models are called: a sentence each, for the manifest and the report."""
    from bakeoff.gateway.models import providers

    found: dict[str, list[str]] = {}
    for name, model in _models(config):
        if not model.ref.own:
            for note in providers.notes(model, environ):
                found.setdefault(note, []).append(name)
    return [f"{', '.join(names)}: {note}." for note, names in found.items()]


def is_simulated(candidate: Candidate, root: Path) -> bool:
    """Whether its numbers are a simulation's: a simulated model, or a recording of one."""
    if candidate.ref.provider != "replay":
        return candidate.ref.simulated
    from bakeoff.gateway.models import replay

    return replay.recorded_model(_located(candidate, root)).startswith("simulated:")


def open_backend(
    candidate: Candidate,
    *,
    retry: RetryPolicy | None = None,
    environ: Mapping[str, str] = os.environ,
    run: RunContext | None = None,
) -> ChatBackend:
    """The candidate's model, to be called from many threads.

    Args:
        candidate: who.
        retry: how a failed call is tried again; None: it is not.
        environ: where its key is, when there is no `run`.
        run: what the candidates of a run share; without it the candidate is called alone.

    Raises:
        InputError: what `check` says, or the provider refuses the candidate's params.
        UnfitEnvironment: the local model's server does not start.
    """
    environ, root = (run.environ, run.root) if run else (environ, Path())
    if problem := check(candidate, environ=environ, root=root):
        raise InputError(problem.problem, key=f"candidates.{candidate.name}.model", hint=problem.hint)
    backend = _kind(candidate).open_backend(
        _located(candidate, root), _policy(candidate, retry, environ, run)
    )
    if run and candidate.ref.provider != "replay":
        from bakeoff.gateway.policy.spending import Metered

        backend = Metered(backend, run.spending, candidate.name)
    if run and run.recorder:
        from bakeoff.gateway.recording.cassette import Recording

        backend = Recording(backend, candidate.name, run.recorder)
    return backend


def judge_model(
    model: ModelSpec,
    *,
    retry: RetryPolicy | None = None,
    environ: Mapping[str, str] = os.environ,
    run: RunContext | None = None,
) -> BaseChatModel:
    """A chat model for LLM-as-judge evaluators. A call that fails for good raises ModelCallError.

    Raises:
        InputError: what `check` says; also for bakeoff's own kinds of models, which cannot judge.
    """
    environ = run.environ if run else environ
    candidate = Candidate(name="judge", **model.model_dump(include=set(ModelSpec.model_fields)))
    problem = check(candidate, environ=environ)
    if problem is None and model.ref.own:
        problem = Problem(f"{model.model} cannot judge", "name a provider's model, such as openai:gpt-4.1")
    if problem:
        raise InputError(problem.problem, key="model", hint=problem.hint)
    from bakeoff.gateway.models import judge

    return judge.open_judge(model, _policy(model, retry, environ, run), run.spending if run else None)


def _policy(
    model: ModelSpec, retry: RetryPolicy | None, environ: Mapping[str, str], run: RunContext | None
) -> CallPolicy:
    from bakeoff.gateway.models.providers import timeouts
    from bakeoff.gateway.policy.context import CallPolicy
    from bakeoff.gateway.policy.retry import RetryPolicy
    from bakeoff.text.redact import secrets_of

    # the client's own timeouts come first, where they bound a whole reply
    retry = replace(retry or RetryPolicy(0), reply_seconds=sum(timeouts(model.params)))
    if run:
        return run.policy(model, retry)
    return CallPolicy(retry, environ, secrets_of(environ, also=[environ.get(model.api_key_env or "")]))


def _models(config: Config) -> Iterator[tuple[str, ModelSpec]]:
    """Every model that the run calls, by the name of its candidate or evaluator."""
    for candidate in config.candidates:
        yield candidate.name, candidate
    for spec in config.evaluators:
        if spec.kind == "llm_judge":
            yield spec.name, ModelSpec(**{key: spec.options[key] for key in ModelSpec.model_fields})


def _key_variables(config: Config) -> Iterator[str]:
    """The variables that hold the keys of the run's models."""
    from bakeoff.gateway.models import providers

    for _, model in _models(config):
        provider = providers.PROVIDERS.get(model.ref.provider)
        if name := model.api_key_env or (provider.key_env if provider and not model.base_url else None):
            yield name


def _kind(candidate: Candidate) -> Kind:
    module = KINDS.get(candidate.ref.provider, "bakeoff.gateway.models.hosted")
    return cast(Kind, importlib.import_module(module))


def _located(candidate: Candidate, root: Path) -> Candidate:
    """A recording's path is relative to harness.yaml, as all paths in it are."""
    if candidate.ref.provider != "replay":
        return candidate
    return candidate.model_copy(update={"model": f"replay:{root / candidate.ref.name}"})
