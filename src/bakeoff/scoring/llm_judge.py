"""llm_judge: a model's judgement of the answer, through openevals."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from bakeoff.config.evaluators import LlmJudge
from bakeoff.record.trial import Example
from bakeoff.scoring.types import Context, Evaluate, Outputs, Score


def make(options: LlmJudge, context: Context) -> Evaluate:
    """The judge's yes (1) or no (0), or its number with `continuous`; its reasoning is the comment.

    The prompt sees `{outputs}` (the final answer, as it is) and, as JSON, `{inputs}`, `{reference_outputs}` and
    `{messages}` (the conversation). The answer is an agent's text and may try to persuade the judge: a judge alone
    should not decide what must not be gamed.

    Raises:
        InputError: what the factory says of the model.
    """
    judge = context.judge_factory(options)

    @cache
    def openevals() -> Callable[..., Any]:
        from openevals.llm import create_llm_as_judge
        from openevals.prompts import CORRECTNESS_PROMPT

        prompt = options.prompt or CORRECTNESS_PROMPT
        return create_llm_as_judge(prompt=prompt, judge=judge, continuous=options.continuous)

    def evaluate(example: Example, outputs: Outputs) -> Score:
        from langsmith import tracing_context

        # openevals would trace each evaluation to LangSmith: what leaves this machine is the publishers' matter
        with tracing_context(enabled=False):
            result = openevals()(
                inputs=json.dumps(example.inputs, ensure_ascii=False),
                outputs=outputs.answer,
                reference_outputs=json.dumps(example.outputs, ensure_ascii=False),
                messages=json.dumps(outputs.messages, ensure_ascii=False),
            )
        return Score(result["score"], str(result.get("comment") or ""))

    return evaluate
