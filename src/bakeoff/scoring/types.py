"""What crosses between the scorer and one evaluator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from bakeoff.config.fitting import Loc
from bakeoff.config.schema import ModelSpec
from bakeoff.config.section import Section
from bakeoff.record.base import JsonDict
from bakeoff.record.trial import Example
from bakeoff.verdict import Aspect

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call that the model asked for.

    `args` is None if they do not parse to an object: such a call never ran. `artificial` is a call that serves the
    harness and not the task: a hand-off to another agent, or a structured answer in the form of a call.
    """

    name: str
    args: JsonDict | None
    artificial: bool = False


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the agent did. All of it is hostile."""

    messages: list[JsonDict]  # OpenAI-style: the conversation that gave the answer
    answer: str
    turns: list[list[Call]] = field(
        default_factory=list
    )  # calls that were made, by the reply that asked for them
    structured: Any = None  # the structured answer, as JSON values. None: there was none

    def for_users(self) -> JsonDict:
        """As a user's own evaluator gets it, in openevals' shape."""
        shown: JsonDict = {"messages": self.messages, "answer": self.answer}
        return shown if self.structured is None else shown | {"structured_response": self.structured}


@dataclass(frozen=True, slots=True)
class Score:
    """One evaluator's score in [0, 1], and its reason."""

    score: float
    comment: str = ""


Evaluate = Callable[[Example, Outputs], Score]
"""One evaluator, ready to use from many threads. The scorer turns what it raises into an `EvaluatorError`."""

# What is wrong with a value: its key, the problem, and a hint.
Flaw = tuple[Loc, str, str]
Options = TypeVar("Options", bound=Section)


JudgeFactory = Callable[[ModelSpec], "BaseChatModel"]
"""Makes the chat model of an `llm_judge`, through the gateway. It raises `ModelCallError` when a call failed for good.

Raises:
    InputError: no such model, no key, no provider package.
"""


@dataclass(frozen=True, slots=True)
class Context:
    """What making an evaluator may need beside its options."""

    root: Path  # the directory of harness.yaml: the user's functions are imported from there
    judge_factory: JudgeFactory


def _nothing(*_: Any) -> Iterator[Any]:
    yield from ()


@dataclass(frozen=True, slots=True)
class Evaluator(Generic[Options]):
    """One kind of evaluator: a row of `table.EVALUATORS`.

    Attributes:
        options: its section in harness.yaml.
        aspect: what it judges: the way, or the result.
        needs: the key of a row's `outputs` that has its reference. None: it needs none.
        make: makes it. Raises InputError for options that cannot work.
        flaws: what is wrong with a row's reference, so that it could not be scored.
        functions: the user's own functions that its options name, as `module:function`.
    """

    options: type[Options]
    aspect: Aspect
    make: Callable[[Options, Context], Evaluate]
    needs: str | None = None
    flaws: Callable[[Options, Any], Iterator[Flaw]] = _nothing
    functions: Callable[[Options], Iterator[str]] = _nothing
