"""The scorer: every evaluator of harness.yaml over one trial, and whether the trial passed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

from bakeoff.config.evaluators import BUILT_IN
from bakeoff.config.schema import EvaluatorSpec
from bakeoff.errors import BakeoffError, EvaluatorError
from bakeoff.record.trial import Example
from bakeoff.scoring import (
    final_answer,
    llm_judge,
    tool_call_precision,
    tool_call_recall,
    trajectory_match,
    users_own,
)
from bakeoff.scoring.types import Evaluate, JudgeFactory, Outputs
from bakeoff.verdict import Aspect


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """One built-in: what it judges, and how it is made from its options (one of `evaluator_options`)."""

    aspect: Aspect
    make: Callable[[Any, JudgeFactory], Evaluate]


BUILT_INS: dict[str, BuiltIn] = {
    "trajectory_match": BuiltIn("trajectory", lambda options, _: trajectory_match.make(options)),
    "tool_call_precision": BuiltIn("trajectory", lambda options, _: tool_call_precision.make(options)),
    "tool_call_recall": BuiltIn("trajectory", lambda options, _: tool_call_recall.make(options)),
    "final_answer": BuiltIn("answer", lambda options, _: final_answer.make(options)),
    "llm_judge": BuiltIn("answer", llm_judge.make),
}


@dataclass(frozen=True, slots=True)
class ScoreSheet:
    """The scores of one trial."""

    scores: Mapping[str, float]  # evaluator's name -> [0, 1]
    comments: Mapping[str, str]  # where an evaluator said why; may quote the agent's text
    failing: tuple[str, ...]  # names of the evaluators below their threshold
    failing_kinds: frozenset[Aspect]  # what those judge; `verdict.attribute` takes it

    @property
    def passed(self) -> bool:
        """Whether every evaluator with a threshold reached it."""
        return not self.failing


class Scorer:
    """Scores trials. Safe to use from many threads, as far as the user's own evaluators are."""

    def __init__(self, evaluators: Sequence[tuple[EvaluatorSpec, Aspect, Evaluate]]) -> None:
        self._evaluators = tuple(evaluators)

    def score(self, example: Example, outputs: Outputs) -> ScoreSheet:
        """Run every evaluator.

        Raises:
            EvaluatorError: one raised, or gave something other than a number in [0, 1].
            ModelCallError: a judge's model call failed for good.
        """
        scores: dict[str, float] = {}
        comments: dict[str, str] = {}
        short: list[tuple[str, Aspect]] = []
        for spec, aspect, evaluate in self._evaluators:
            try:
                mark = evaluate(example, outputs)
            except BakeoffError:
                raise
            except (Exception, SystemExit) as error:  # a user's evaluator may call sys.exit
                raise EvaluatorError(spec.name, f"{type(error).__name__}: {error}") from error
            scores[spec.name] = score = _score(spec.name, mark.score)
            if mark.comment:
                comments[spec.name] = mark.comment
            if spec.threshold is not None and score < spec.threshold:
                short.append((spec.name, aspect))
        return ScoreSheet(
            scores, comments, tuple(name for name, _ in short), frozenset(kind for _, kind in short)
        )


def _score(name: str, value: object) -> float:
    """The number itself. No clipping: a score outside [0, 1] means that the evaluator does not work."""
    if not isinstance(value, Real):  # bool is one: True is 1
        raise EvaluatorError(name, f"gave {type(value).__name__}, not a number or a bool")
    score = float(value)
    if math.isnan(score) or not 0.0 <= score <= 1.0:
        raise EvaluatorError(name, f"gave {score}, which is not in [0, 1]")
    return score


def build(evaluators: Sequence[EvaluatorSpec], *, root: Path, judge_factory: JudgeFactory) -> Scorer:
    """Make every evaluator, so that what cannot work is known before a container starts.

    Args:
        evaluators: as harness.yaml has them, options already checked.
        root: directory of harness.yaml; a user's own evaluators are imported from there.
        judge_factory: makes the chat model of an `llm_judge`.

    Raises:
        InputError: an import path that does not work, a judge's prompt or model that cannot be used.
    """
    return Scorer([_made(spec, root, judge_factory) for spec in evaluators])


def _made(
    spec: EvaluatorSpec, root: Path, judge_factory: JudgeFactory
) -> tuple[EvaluatorSpec, Aspect, Evaluate]:
    if spec.use is not None:
        return spec, "answer", users_own.make(spec.use, spec.options, root)
    built_in = BUILT_INS[spec.kind]
    options = BUILT_IN[spec.kind].model_validate(spec.options)
    return spec, built_in.aspect, built_in.make(options, judge_factory)
