"""`evaluators` in harness.yaml: the options of each built-in, and `{kind: options, threshold: ...}` -> EvaluatorSpec.

What each built-in does with its options is in `scoring`, in the file of its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import Formatter
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field

from bakeoff.config.fitting import Loc, fit, found
from bakeoff.config.located import Located
from bakeoff.config.schema import EvaluatorSpec, ModelSpec
from bakeoff.config.section import FormatError, Section

ArgsMode = Literal["exact", "ignore", "subset", "superset"]  # openevals' tool_args_match_mode
PLACEHOLDERS = ("inputs", "outputs", "reference_outputs", "messages")


def _override(rule: str | list[str]) -> str | list[str]:
    modes = get_args(ArgsMode)
    if (
        isinstance(rule, str)
        and rule not in modes
        and not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", rule)
    ):
        hint = f"Write one of {', '.join(modes)}, a list of argument names, or `module:function`."
        raise FormatError(f"{rule!r} is not a way to compare arguments", hint)
    return rule


def _prompt(prompt: str) -> str:
    allowed = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    try:
        fields = [field for _, field, _, _ in Formatter().parse(prompt) if field is not None]
    except ValueError as error:
        raise FormatError(f"is not a format string: {error}", "Write a literal brace as {{ or }}.") from None
    for field in fields:
        if field not in PLACEHOLDERS:
            hint = f"Use {allowed}; write a literal brace as {{{{ or }}}}."
            raise FormatError(f"has the unknown placeholder {{{field}}}", hint)
    return prompt


class TrajectoryMatch(Section):
    """1 when the tool calls match the reference trajectory, else 0.

    `strict`: exactly the reference's calls, in its order; calls that the model asked for in one reply have no order
    among themselves. `unordered`: exactly the reference's calls, in any order. `superset`: every call of the
    reference, and perhaps others. `subset`: no call but the reference's.
    """

    mode: Literal["strict", "unordered", "subset", "superset"] = "strict"  # openevals' trajectory_match_mode
    args: ArgsMode = "exact"  # how the arguments of two calls are compared
    # Tool name -> another mode for that tool, the names of the arguments that alone must be equal (`a.b` is the key b
    # of the argument a), or `module:function` of your own, called with the model's arguments and the reference's
    overrides: dict[str, Annotated[str | list[str], AfterValidator(_override)]] = Field(default_factory=dict)


class ToolCallPrecision(Section):
    """The share of the calls made that the reference has."""

    args: Literal["exact", "ignore"] = "exact"  # `ignore` compares names alone


class ToolCallRecall(Section):
    """The share of the reference's calls that were made."""

    args: Literal["exact", "ignore"] = "exact"  # `ignore` compares names alone


class FinalAnswer(Section):
    """1 when the final answer agrees with `outputs.answer`, else 0.

    `exact`: the answer is the reference. `contains`: the reference is in the answer; of a list, every item. `regex`:
    the pattern is found in the answer; of a list, every pattern. `json`: the answer, or the JSON in its code fence, is
    the reference's value.

    In `exact` and `contains`, typography, emphasis and case make no difference, and numbers are compared by value and
    as whole numbers: docs/evaluators.md has the rules.
    """

    match: Literal["exact", "contains", "regex", "json"] = "contains"
    case_sensitive: bool = False  # has no meaning for json
    collapse_whitespace: bool = True  # exact and contains: white space counts as one space, none at the ends


class LlmJudge(ModelSpec):
    """A model's judgement of the answer, through openevals."""

    model: Annotated[str, Field(min_length=1)]  # provider:model, as for a candidate
    # With {inputs}, {outputs}, {reference_outputs}, {messages}. None: openevals' correctness prompt
    prompt: Annotated[str, Field(min_length=1), AfterValidator(_prompt)] | None = None
    continuous: bool = False  # a number from 0 to 1 in place of yes or no


class BuiltIn(Section):
    """The built-in evaluators' keys. `scoring.table.EVALUATORS` has a row for each."""

    trajectory_match: TrajectoryMatch | None = None
    tool_call_precision: ToolCallPrecision | None = None
    tool_call_recall: ToolCallRecall | None = None
    final_answer: FinalAnswer | None = None
    llm_judge: LlmJudge | None = None


class _Entry(BuiltIn):
    """One item of the list: one built-in, or `use`."""

    name: str | None = None
    threshold: Annotated[float, Field(gt=0, le=1)] | None = None  # at 0 nothing could ever fail
    use: str | None = None
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")


KINDS = tuple(BuiltIn.model_fields)


def specs(data: Mapping[str, Any], source: Located) -> dict[str, Any]:
    """The entries of `evaluators` in the schema's form; nothing if it is no list: the schema says that."""
    entries = data.get("evaluators")
    if not isinstance(entries, list):
        return {}
    return {"evaluators": [_spec(entry, ("evaluators", i), source) for i, entry in enumerate(entries)]}


def _spec(entry: object, loc: Loc, source: Located) -> EvaluatorSpec:
    if isinstance(entry, str):
        entry = {entry: {}}
    if not isinstance(entry, dict):
        hint = "Write for example `- {final_answer: {match: contains}, threshold: 1.0}`."
        raise source.error(loc, f"expected an evaluator, found {found(entry)}", hint)
    given = {key: {} if key in KINDS and value is None else value for key, value in entry.items()}
    read = fit(_Entry, given, source, loc)
    kinds = [key for key in given if key in KINDS or key == "use"]
    if len(kinds) != 1:
        problem = f"names {' and '.join(kinds)}" if kinds else "names no evaluator"
        hint = f"Give each entry exactly one of {', '.join(KINDS)} or `use: module:function`."
        raise source.error(loc, problem, hint)
    kind = kinds[0]
    if kind == "use":
        if read.use is None:
            raise source.error((*loc, "use"), "is empty", "Write for example `use: my_checks:is_polite`.")
        options, name = read.with_, read.use.rpartition(":")[2]
    elif read.with_:
        problem = f"`with` is for `use`; {kind} takes its options below its own name"
        raise source.error((*loc, "with"), problem, f"Write `{kind}: {{...}}`.")
    else:
        options, name = getattr(read, kind).model_dump(mode="json"), kind
    return EvaluatorSpec(
        kind=kind, name=read.name or name, options=options, use=read.use, threshold=read.threshold
    )
