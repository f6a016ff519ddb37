"""The candidates' models of one run, open, and what they share: keys, limits, money and the recording."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bakeoff import gateway
from bakeoff.config.schema import ModelSpec
from bakeoff.gateway.policy.context import RunContext
from bakeoff.gateway.policy.retry import RetryPolicy
from bakeoff.gateway.policy.spending import Spending
from bakeoff.gateway.recording.cassette import Recorder
from bakeoff.gateway.types import ChatBackend
from bakeoff.run.task import Task
from bakeoff.scoring import JudgeFactory

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


@dataclass(frozen=True, slots=True)
class Models:
    """What a trial needs of the gateway. `secrets` are masked in every record of a model call."""

    by_candidate: Mapping[str, ChatBackend]
    spending: Spending = field(default_factory=Spending)
    secrets: tuple[str, ...] = field(default=(), repr=False)


def shared(task: Task, recording: Path | None) -> RunContext:
    """What all models of the run share.

    Args:
        task: what is run. What a resumed run has spent is spent.
        recording: directory that every model call is recorded in.

    Raises:
        InputError: .env or a `key_command` is at fault, or another run was recorded there.
    """
    spent = task.resumed.spent_usd() if task.resumed else 0.0
    made = RunContext.of(task.config, task.environ, spent_usd=spent)
    if recording is None:
        return made
    recorder = Recorder(recording, task.config.candidates, made.secrets, resumed=task.resumed is not None)
    return replace(made, recorder=recorder)


@contextmanager
def opened(task: Task, shared: RunContext) -> Iterator[Models]:
    """Open every candidate's model, and close them at the end.

    Raises:
        InputError: a provider refuses the candidate's params.
        UnfitEnvironment: a local model's server does not start.
    """
    retry = RetryPolicy(task.config.harness.retries.model_call)
    with ExitStack() as stack:
        models = {}
        for candidate in task.config.candidates:
            models[candidate.name] = gateway.open_backend(candidate, retry=retry, run=shared)
            stack.callback(models[candidate.name].close)
        yield Models(models, shared.spending, shared.secrets)


def judge_factory(task: Task, shared: RunContext) -> JudgeFactory:
    """Makes the model of an `llm_judge`, which shares keys, limits and money with the candidates."""

    def judge(model: ModelSpec) -> BaseChatModel:
        retry = RetryPolicy(task.config.harness.retries.model_call)
        return gateway.judge_model(model, retry=retry, run=shared)

    return judge
