"""The options of each built-in evaluator, as harness.yaml gives them, and what each needs of a row."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from bakeoff.config.section import KeyedAddress, Section, VariableName

ArgsMode = Literal["exact", "ignore", "subset", "superset"]  # openevals' tool_args_match_mode


class EvaluatorOptions(Section):
    """Base of every built-in's options."""

    needs: ClassVar[str | None] = None  # key of a row's `outputs` without which there is no score


class TrajectoryMatch(EvaluatorOptions):
    """1 when the tool calls match the reference trajectory, else 0."""

    needs: ClassVar[str | None] = "trajectory"

    mode: Literal["strict", "unordered", "subset", "superset"] = "strict"  # openevals' trajectory_match_mode
    args: ArgsMode = "exact"  # how the arguments of two calls are compared
    # tool name -> another mode for that tool, or the keys of its arguments that alone must be equal
    overrides: dict[str, ArgsMode | list[str]] = Field(default_factory=dict)


class ToolCallPrecision(EvaluatorOptions):
    """The share of the calls made that the reference has."""

    needs: ClassVar[str | None] = "trajectory"

    args: Literal["exact", "ignore"] = "exact"  # `ignore` compares names alone


class ToolCallRecall(EvaluatorOptions):
    """The share of the reference's calls that were made."""

    needs: ClassVar[str | None] = "trajectory"

    args: Literal["exact", "ignore"] = "exact"  # `ignore` compares names alone


class FinalAnswer(EvaluatorOptions):
    """1 when the final answer agrees with `outputs.answer`, else 0."""

    needs: ClassVar[str | None] = "answer"

    # contains: the reference is in the answer; regex: the reference is a pattern searched in the answer;
    # json: both parse as JSON and are equal as values
    match: Literal["exact", "contains", "regex", "json"] = "contains"
    case_sensitive: bool = False  # of no meaning to json
    collapse_whitespace: bool = True  # exact and contains: runs of white space count as one, ends are cut


class LlmJudge(EvaluatorOptions):
    """A model's judgement of the answer, through openevals."""

    model: Annotated[str, Field(min_length=1)]  # provider:model, as for a candidate
    prompt: Annotated[str, Field(min_length=1)] | None = (
        None  # with {inputs}, {outputs}, {reference_outputs};
    )
    # none: openevals' correctness prompt
    params: dict[str, Any] = Field(default_factory=dict)  # temperature, max_tokens, ...
    base_url: KeyedAddress | None = None  # an OpenAI-compatible server
    api_key_env: VariableName | None = None  # environment variable that holds the key
    continuous: bool = False  # a number from 0 to 1 in place of yes or no


BUILT_IN: dict[str, type[EvaluatorOptions]] = {
    "trajectory_match": TrajectoryMatch,
    "tool_call_precision": ToolCallPrecision,
    "tool_call_recall": ToolCallRecall,
    "final_answer": FinalAnswer,
    "llm_judge": LlmJudge,
}
