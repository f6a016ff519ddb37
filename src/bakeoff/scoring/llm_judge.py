"""llm_judge: a model's judgement of the answer, through openevals."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from string import Formatter
from typing import Any

from bakeoff.config.evaluators import LlmJudge
from bakeoff.errors import InputError
from bakeoff.record.trial import Example
from bakeoff.scoring.types import Evaluate, JudgeFactory, Mark, Outputs

PLACEHOLDERS = ("inputs", "outputs", "reference_outputs", "messages")
_ALLOWED = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)


def make(options: LlmJudge, judge_factory: JudgeFactory) -> Evaluate:
    """The judge's yes (1) or no (0), or its number with `continuous`; its reasoning is the comment.

    The prompt sees `{outputs}` (the final answer, as it is) and, as JSON, `{inputs}`, `{reference_outputs}`
    and `{messages}` (the whole conversation). The answer is an agent's text and may try to talk the judge
    round: a judge alone should not decide what must not be gamed.

    Raises:
        InputError: a placeholder that does not exist, or what the factory says of the model.
    """
    _check_prompt(options.prompt)
    judge = judge_factory(options)

    @cache
    def openevals() -> Callable[..., Any]:
        from openevals.llm import create_llm_as_judge
        from openevals.prompts import CORRECTNESS_PROMPT

        prompt = options.prompt or CORRECTNESS_PROMPT
        return create_llm_as_judge(prompt=prompt, judge=judge, continuous=options.continuous)

    def evaluate(example: Example, outputs: Outputs) -> Mark:
        from langsmith import tracing_context

        with tracing_context(enabled=False):  # see trajectory_match
            result = openevals()(
                inputs=json.dumps(example.inputs, ensure_ascii=False),
                outputs=outputs["answer"],
                reference_outputs=json.dumps(example.outputs, ensure_ascii=False),
                messages=json.dumps(outputs["messages"], ensure_ascii=False),
            )
        return Mark(result["score"], str(result.get("comment") or ""))

    return evaluate


def _check_prompt(prompt: str | None) -> None:
    try:
        fields = [field for _, field, _, _ in Formatter().parse(prompt or "") if field is not None]
    except ValueError as error:
        raise InputError(
            f"the prompt is no format string ({error})",
            key="llm_judge.prompt",
            hint="Write a literal brace as {{ or }}.",
        ) from error
    for field in fields:
        if field not in PLACEHOLDERS:
            raise InputError(
                f"the prompt has the unknown placeholder {{{field}}}",
                key="llm_judge.prompt",
                hint=f"Use {_ALLOWED}; write a literal brace as {{{{ or }}}}.",
            )
