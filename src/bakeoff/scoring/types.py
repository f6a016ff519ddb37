"""What crosses between the scorer and one evaluator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from bakeoff.record.trial import Example

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from bakeoff.config.evaluators import LlmJudge

JsonDict = dict[str, Any]


class Outputs(TypedDict):
    """What the agent did. All of it is hostile text."""

    messages: list[JsonDict]  # OpenAI-style, the whole conversation
    answer: str


@dataclass(frozen=True, slots=True)
class Mark:
    """One evaluator's score in [0, 1], and why."""

    score: float
    comment: str = ""


Evaluate = Callable[[Example, Outputs], Mark]
"""One evaluator, ready to use from many threads. What it raises, the scorer makes an `EvaluatorError` of."""


class JudgeFactory(Protocol):
    """Makes the chat model of an `llm_judge` from its options, through the gateway."""

    def __call__(self, options: LlmJudge) -> BaseChatModel:
        """A chat model that raises `ModelCallError` when a call failed for good.

        Raises:
            InputError: no such model, no key, no provider package.
        """
        ...
