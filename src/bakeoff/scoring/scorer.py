"""The scorer: every evaluator of harness.yaml over one trial, and whether the trial passed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

from bakeoff.config.schema import EvaluatorSpec
from bakeoff.errors import BakeoffError, EvaluatorError
from bakeoff.record.trial import AttemptResult, Example
from bakeoff.scoring import calls, user_function
from bakeoff.scoring.table import EVALUATORS
from bakeoff.scoring.types import Context, Evaluate, JudgeFactory, Outputs
from bakeoff.verdict import Aspect


@dataclass(frozen=True, slots=True)
class ScoreSheet:
    """The scores of one trial."""

    scores: Mapping[str, float]  # evaluator's name -> [0, 1]; without those that the row has no reference for
    comments: Mapping[str, str]  # where an evaluator gave a reason; may quote the agent's text
    failing: tuple[str, ...]  # names of the evaluators below their threshold
    failing_kinds: frozenset[Aspect]  # what those judge; `verdict.attribute` takes it

    @property
    def passed(self) -> bool:
        """Whether every evaluator with a threshold reached it."""
        return not self.failing


@dataclass(frozen=True, slots=True)
class Ready:
    """One evaluator of harness.yaml, made."""

    spec: EvaluatorSpec
    aspect: Aspect
    needs: str | None
    evaluate: Evaluate


class Scorer:
    """Scores trials. Safe to use from many threads, as far as the user's own evaluators are."""

    def __init__(self, evaluators: Sequence[Ready]) -> None:
        self._evaluators = tuple(evaluators)

    def score(self, example: Example, outputs: Outputs) -> ScoreSheet:
        """Run every evaluator. One without a threshold leaves out an example that has no reference for it.

        Raises:
            EvaluatorError: one raised, or gave something other than a number in [0, 1].
            ModelCallError: a judge's model call failed for good.
        """
        scores: dict[str, float] = {}
        comments: dict[str, str] = {}
        short: list[Ready] = []
        for ready in self._evaluators:
            spec = ready.spec
            if spec.threshold is None and ready.needs and example.outputs.get(ready.needs) is None:
                continue
            try:
                result = ready.evaluate(example, outputs)
            except BakeoffError:
                raise
            except (Exception, SystemExit) as error:  # a user's evaluator may call sys.exit
                raise EvaluatorError(spec.name, f"{type(error).__name__}: {error}") from error
            scores[spec.name] = score = _number(spec.name, result.score)
            if result.comment:
                comments[spec.name] = result.comment
            if spec.threshold is not None and score < spec.threshold:
                short.append(ready)
        failing = tuple(ready.spec.name for ready in short)
        return ScoreSheet(scores, comments, failing, frozenset(ready.aspect for ready in short))


def _number(name: str, value: object) -> float:
    """The number itself. No clipping: a score outside [0, 1] means that the evaluator does not work."""
    if not isinstance(value, Real):  # a bool is one: True is 1
        raise EvaluatorError(name, f"gave {type(value).__name__}, not a number or a bool")
    score = float(value)
    if math.isnan(score) or not 0.0 <= score <= 1.0:
        raise EvaluatorError(name, f"gave {score}, which is not in [0, 1]")
    return score


def outputs_of(result: AttemptResult) -> Outputs:
    """What the evaluators see of an attempt that answered."""
    answer = result.evidence.answer
    messages = [message.openai for message in result.messages if message.conversation == 0]
    if answer is None or answer.source != "structured":
        return Outputs(messages, answer.text if answer else "", calls.turns(result))
    try:
        structured = json.loads(answer.text)
    except ValueError:  # the harness's structured answer is a text
        structured = answer.text
    text = structured if isinstance(structured, str) else json.dumps(structured, ensure_ascii=False)
    return Outputs(messages, text, calls.turns(result), structured)


def build(evaluators: Sequence[EvaluatorSpec], *, root: Path, judge_factory: JudgeFactory) -> Scorer:
    """Make every evaluator, so that what cannot work is known before a sandbox starts.

    Args:
        evaluators: as harness.yaml has them, options already checked.
        root: directory of harness.yaml; a user's own functions are imported from there.
        judge_factory: makes the chat model of an `llm_judge`.

    Raises:
        InputError: an import path that does not work, or a judge's model that cannot be used.
    """
    return Scorer([make(spec, Context(root, judge_factory)) for spec in evaluators])


def make(spec: EvaluatorSpec, context: Context) -> Ready:
    """One evaluator. Raises InputError as `build` does."""
    if spec.use is not None:
        return Ready(spec, "answer", None, user_function.make(spec.use, spec.options, context.root))
    row = EVALUATORS[spec.kind]
    options = row.options.model_validate(spec.options)
    return Ready(spec, row.aspect, row.needs, row.make(options, context))
