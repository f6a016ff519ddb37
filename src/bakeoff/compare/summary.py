"""The one JSON object of `bakeoff compare --json`: a contract for programs; keys are added, never renamed."""

from __future__ import annotations

from dataclasses import asdict

from bakeoff.compare.changes import Change, ExampleChange, Measure
from bakeoff.compare.comparison import RunComparison
from bakeoff.compare.side import Side
from bakeoff.record.base import JsonDict
from bakeoff.report.summary import deaths, scores
from bakeoff.stats import Comparison, Rise


def summary(data: RunComparison) -> JsonDict:
    """The comparison in one object. Shares in [0, 1]; what is not known is null.

    Keys: `base`, `head` (`run_id`, `fingerprint`, `state`, `started_at`), `exit_code`, `result` (one sentence),
    `refused` (false; where nothing was compared, see `refusal.summary`), `inconclusive`, `doubts`,
    `allowed_doubts`, `drift` (differences that were allowed), `simulated`, `notes`,
    `gates` (`gate`, `candidate`, `status`: passed, failed or unknown, `because`, `about`: which question it answers;
    `margin`, `value`, `low`, `high`, `p_adjusted`: see `gates.GateResult`), `candidates`.

    A candidate: `base`, `head` (names), `base_scores`, `head_scores` (the four scores, `{value, interval}`),
    `base_deaths`, `head_deaths` (null, or the test by which trials that died inside count as failures in `score`),
    `change` (on requests like these: HEAD minus BASE, one object for each way to count infrastructure errors, see
    `stats.Comparison`), `on_these_examples` (`conclusion`: -1, 0 or 1; `failing`, `time_limits`, `turn_limits`: shares
    of trials, see `stats.Rise`),
    `depends_on_infra`, `newly_failing`, `newly_passing`, `causes` ({cause: [in BASE, in HEAD]}),
    `base_infra_rate`, `head_infra_rate`, `cost_usd` and `working_seconds` (on these examples: `base`, `head`,
    `increase`, `low`, `high`, `p_value`, `p_adjusted`).
    """
    return {
        "base": _side(data.base),
        "head": _side(data.head),
        "exit_code": data.exit_code,
        "result": data.sentence,
        "refused": False,
        "inconclusive": bool(data.doubts),
        "doubts": list(data.doubts),
        "allowed_doubts": list(data.allowed),
        "drift": list(data.drift),
        "simulated": data.simulated,
        "notes": list(data.notes),
        "gates": [asdict(gate) for gate in data.gates],
        "candidates": [_change(change) for change in data.changes],
    }


def _side(side: Side) -> JsonDict:
    manifest = side.manifest
    return {
        "run_id": manifest.run_id,
        "fingerprint": manifest.fingerprint,
        "state": manifest.state,
        "started_at": manifest.started_at.isoformat(),
    }


def _change(change: Change) -> JsonDict:
    return {
        "base": change.base,
        "head": change.head,
        "base_scores": scores(change.base_scores),
        "head_scores": scores(change.head_scores),
        "base_deaths": deaths(change.base_scores),
        "head_deaths": deaths(change.head_scores),
        "change": {way: _comparison(test) for way, test in change.difference.by.items()},
        "on_these_examples": {
            "conclusion": change.conclusion,
            "failing": _rise(change.failing),
            "time_limits": _rise(change.time_limits),
            "turn_limits": _rise(change.turn_limits),
        },
        "depends_on_infra": change.difference.depends,
        "newly_failing": [_example(each) for each in change.turned("newly failing")],
        "newly_passing": [_example(each) for each in change.turned("newly passing")],
        "causes": {cause: list(counts) for cause, counts in change.causes.items()},
        "base_infra_rate": change.base_infra_rate,
        "head_infra_rate": change.head_infra_rate,
        "cost_usd": _measure(change.cost),
        "working_seconds": _measure(change.latency),
    }


def _comparison(test: Comparison) -> JsonDict:
    shown = asdict(test)
    del shown["first"], shown["second"]
    return shown | {"distinguishable": test.distinguishable}


def _rise(rise: Rise | None) -> JsonDict | None:
    return None if rise is None else asdict(rise)


def _example(example: ExampleChange) -> JsonDict:
    return {
        "example_id": example.example_id,
        "base": list(example.base),
        "head": list(example.head),
        "base_cause": example.base_cause,
        "head_cause": example.head_cause,
    }


def _measure(measure: Measure | None) -> JsonDict | None:
    if measure is None:
        return None
    return {
        "base": measure.base,
        "head": measure.head,
        "increase": measure.increase,
        "low": measure.rise.low,
        "high": measure.rise.high,
        "p_value": measure.rise.p_value,
        "p_adjusted": measure.p_adjusted,
    }
