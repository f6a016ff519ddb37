"""Refuses, before the first model call, what could not be scored: evaluators that cannot work, references that are bad.

`run` and `doctor` call it after the dataset is read. Options of built-ins are checked when harness.yaml is loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Protocol

from bakeoff.config.fitting import Loc
from bakeoff.config.schema import Config, EvaluatorSpec
from bakeoff.errors import InputError
from bakeoff.harness.source import SourceTree
from bakeoff.record.trial import Example
from bakeoff.scoring.scorer import make
from bakeoff.scoring.table import EVALUATORS
from bakeoff.scoring.types import Context


class Rows(Protocol):
    """A dataset, as far as it is checked here."""

    @property
    def examples(self) -> Sequence[Example]:
        """The rows that are to run."""
        ...

    def error(self, example: Example, loc: Loc, problem: str, hint: str) -> InputError:
        """The error about one key of one row."""
        ...


def check_references(config: Config, dataset: Rows) -> None:
    """Refuse the first row whose reference is bad, or missing and needed. This runs no code of the user's.

    Raises:
        InputError: with the file, line and key of the row.
    """
    for spec in config.evaluators:
        if spec.use is None:
            _check_references(spec, dataset)


def check_functions(config: Config) -> None:
    """Refuse the first of the user's own functions that could not be called. This imports their modules.

    Raises:
        InputError: with the line and key of harness.yaml.
    """
    source = (config.root / config.harness.source).resolve()
    if source.is_dir() and (directory := str(SourceTree.of(source).directory)) not in sys.path:
        sys.path.append(directory)  # last and for good: see `user_function.load`
    for i, spec in enumerate(config.evaluators):
        try:
            make(spec, Context(config.root, _no_judge))
        except InputError as error:
            loc: Loc = ("evaluators", i, "use") if spec.use else ("evaluators", i, spec.kind, "overrides")
            hint = error.hint or "Name a function of a module next to harness.yaml or in the source."
            raise config.error(loc, error.problem, hint) from error


def _no_judge(options: Any) -> Any:
    """Stands in for a judge's model, which the providers' check has looked at."""


def _check_references(spec: EvaluatorSpec, dataset: Rows) -> None:
    row = EVALUATORS[spec.kind]
    if row.needs is None:
        return
    options = row.options.model_validate(spec.options)
    for example in dataset.examples:
        reference = example.outputs.get(row.needs)
        if reference is not None:
            for loc, problem, hint in row.flaws(options, reference):
                raise dataset.error(example, ("outputs", row.needs, *loc), problem, hint)
        elif spec.threshold is not None:
            hint = f"Add `outputs.{row.needs}` to the row, or take the threshold from {spec.name}."
            problem = f"is missing, and the evaluator {spec.name} needs it"
            raise dataset.error(example, ("outputs", row.needs), problem, hint)
