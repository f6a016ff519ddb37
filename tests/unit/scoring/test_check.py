"""What could not be scored is refused before the first model call, with its file, line, key and a hint."""

# ruff: noqa: E501 - one reference a line

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from bakeoff import datasets
from bakeoff.config.evaluators import KINDS, BuiltIn
from bakeoff.config.loading import load as load_config
from bakeoff.config.schema import Config
from bakeoff.errors import InputError
from bakeoff.scoring.check import check_functions, check_references
from bakeoff.scoring.table import EVALUATORS

HARNESS = """version: 1
name: shop
harness: {{prompt: Be kind.}}
candidates: [{{name: a, model: "simulated:skill=1"}}]
dataset: rows.jsonl
evaluators:
- {evaluator}
"""
GOOD = {"id": "good", "inputs": {"question": "?"}, "outputs": {"answer": "1", "trajectory": []}}


def project(root: Path, evaluator: str, *rows: dict[str, Any]) -> Config:
    (root / "harness.yaml").write_text(HARNESS.format(evaluator=evaluator))
    lines = [GOOD, *({**GOOD, "id": f"r{i}", "outputs": outputs} for i, outputs in enumerate(rows))]
    (root / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return load_config(root / "harness.yaml")


@pytest.mark.parametrize(
    ("evaluator", "outputs", "key", "problem"),
    [
        ("{final_answer: {match: regex}, threshold: 1}", {"answer": "total: ($42"}, "outputs.answer", "regular expression"),
        ("{final_answer: {match: json}, threshold: 1}", {"answer": "{a: 1}"}, "outputs.answer", "is not JSON"),
        ("{final_answer: {match: contains}, threshold: 1}", {"answer": ["a", " "]}, "outputs.answer[1]", "is empty"),
        ("{final_answer: {}, threshold: 1}", {}, "outputs.answer", "is missing, and the evaluator final_answer needs it"),
        ("{tool_call_recall: {}, threshold: 1}", {"answer": "1"}, "outputs.trajectory", "is missing"),
        # without a threshold a missing reference is no flaw, a bad one is
        ("{tool_call_recall: {}, threshold: 1}\n- {final_answer: {match: regex}}", {"answer": "(", "trajectory": []}, "outputs.answer", "regular"),
    ],
)  # fmt: skip
def test_a_bad_reference_names_its_row(
    tmp_path: Path, evaluator: str, outputs: dict[str, Any], key: str, problem: str
) -> None:
    config = project(tmp_path, evaluator, {"answer": "1", "trajectory": []}, outputs)
    with pytest.raises(InputError) as caught:
        check_references(config, datasets.load(config))
    error = caught.value
    assert error.hint
    assert (error.file, error.line, error.key) == (str(tmp_path / "rows.jsonl"), 3, key)
    assert problem in error.problem


def test_a_rule_that_cannot_compare_arguments_names_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_rules.py").write_text("def one(made): return True\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    config = project(tmp_path, "{trajectory_match: {overrides: {f: own_rules:one}}, threshold: 1}")
    with pytest.raises(InputError) as caught:
        check_functions(config)
    sys.modules.pop("own_rules", None)
    error = caught.value
    assert (error.file, error.line) == (str(tmp_path / "harness.yaml"), 7)
    assert error.key == "evaluators[0].trajectory_match.overrides"
    assert "cannot compare arguments" in error.problem


def test_every_built_in_of_harness_yaml_has_its_row() -> None:
    assert tuple(EVALUATORS) == KINDS
    for kind, row in EVALUATORS.items():
        assert row.options in get_args(BuiltIn.model_fields[kind].annotation)
