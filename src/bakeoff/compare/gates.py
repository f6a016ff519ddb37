"""The gates of `bakeoff compare`: what may not get worse, and whether it did by more than noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bakeoff import stats
from bakeoff.config import selectors
from bakeoff.config.schema import Gates
from bakeoff.record.base import JsonDict
from bakeoff.text import figures

if TYPE_CHECKING:
    from bakeoff.compare.changes import Change, Measure
    from bakeoff.compare.side import Side

Status = Literal["passed", "failed", "unknown"]
ROUNDING = 1e-9  # a drop of 2 points is not more than 2 points
NAMED = 10  # examples


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate's answer. `unknown`: it could not be asked, which is neither a pass nor a failure."""

    gate: str  # as the option is called, with its bound
    candidate: str
    status: Status
    because: str  # one sentence; examples' names as the user wrote them: escape before printing


def judge(gates: Gates, changes: Sequence[Change], head: Side) -> list[GateResult]:
    """Every gate on every compared candidate."""
    asked: Mapping[str, tuple[float | None, Callable[[Change, float], tuple[Status, str]]]] = {
        "max-drop": (gates.max_drop, _drop),
        "max-infra": (gates.max_infra, _infra),
        "max-cost-increase": (gates.max_cost_increase, _cost),
        "max-latency-increase": (gates.max_latency_increase, _latency),
    }
    results = []
    for change in changes:
        for name, (bound, gate) in asked.items():
            if bound is not None:
                results.append(
                    GateResult(f"{name} {figures.percent(bound)}", change.name, *gate(change, bound))
                )
        for text in gates.must_pass:
            if (answer := _must_pass(text, change, head)) is not None:
                results.append(GateResult(f"must-pass {text}", change.name, *answer))
    return results


def selected(text: str, head: Side) -> list[str]:
    """The examples of HEAD that meet the conditions. Raises InputError for conditions that are none."""
    wanted = selectors.parse(text)
    facts: Iterator[tuple[str, JsonDict]] = ((each, head.facts(each)) for each in sorted(head.examples))
    return [example for example, known in facts if all(one.holds(known) for one in wanted)]


def _drop(change: Change, bound: float) -> tuple[Status, str]:
    test = change.tested
    if test.difference is None:
        return "unknown", "No example has a trial with a verdict on both sides."
    drop = -test.difference
    seen = _seeable(test)
    moved = f"{'fell' if drop > 0 else 'rose'} by {abs(100 * drop):.1f} points" if drop else "did not move"
    if drop > bound + ROUNDING and test.conclusion < 0:
        named = [e.example_id for e in change.turned("newly failing")]
        return "failed", (
            f"The score {moved}, which is more than noise ({figures.p_words(test.p_adjusted)}; 95 % interval "
            f"{figures.interval(test.low, test.high)}); {seen}.{_listed(' Newly failing', named)}"
        )
    if (test.minimum_detectable_effect or 2) > 1:
        return "unknown", f"The score {moved}, and {seen}."
    if drop <= bound + ROUNDING:
        return "passed", f"The score {moved}; {seen}."
    return "passed", f"The score {moved}, which is within noise ({figures.p_words(test.p_adjusted)}); {seen}."


def _seeable(test: stats.Comparison) -> str:
    effect = test.minimum_detectable_effect
    if effect is None or effect > 1:
        return "this sample is too small to see any drop"
    return f"this sample would see a drop of {100 * effect:.1f} points in four runs of five"


def _infra(change: Change, bound: float) -> tuple[Status, str]:
    rate = change.head_infra_rate
    if rate is None:
        return "unknown", "HEAD has no trial of it."
    said = f"{figures.percent(rate)} of its trials ended as infrastructure errors"
    return ("failed" if rate > bound + ROUNDING else "passed"), f"{said}."


def _cost(change: Change, bound: float) -> tuple[Status, str]:
    return _increase(change.cost, bound, "cost", figures.dollars, "The price of a trial is not known.")


def _latency(change: Change, bound: float) -> tuple[Status, str]:
    nothing = "No example has a trial with a verdict on both sides."
    return _increase(change.latency, bound, "working time", figures.seconds, nothing)


def _increase(
    measure: Measure | None, bound: float, what: str, show: Callable[[float], str], unknown: str
) -> tuple[Status, str]:
    if measure is None:
        return "unknown", unknown
    share, test = measure.increase, measure.test
    by = "from nothing" if share is None else f"{100 * share:+.1f} %"
    said = f"The mean {what} of a trial went from {show(measure.base)} to {show(measure.head)} ({by})"
    within = share is not None and share <= bound + ROUNDING
    if test.distinguishable and not within:
        return "failed", f"{said}, which is more than noise ({figures.p_words(test.p_adjusted)})."
    if not test.can_tell:
        return "unknown", f"{said}, and this sample is too small to tell any increase from noise."
    if within:
        return "passed", f"{said}."
    return "passed", f"{said}, which is within noise ({figures.p_words(test.p_adjusted)})."


def _must_pass(text: str, change: Change, head: Side) -> tuple[Status, str] | None:
    """These are not sampled, they are promised: one failed trial is one too many. None: there is no such example."""
    wanted = set(selected(text, head))
    if not wanted:
        return None
    own = [trial for trial in head.trials.get(change.head, ()) if trial.example_id in wanted]
    deaths = change.head_scores.deaths
    failed = sorted(
        {
            t.example_id
            for t in own
            if stats.counted_in_score(t.verdict, t.died_inside or t.unscored, deaths) == 0.0
        }
    )
    if failed:
        return (
            "failed",
            f"{len(failed)} of {figures.count(len(wanted), 'example')} failed{_listed('', failed)}",
        )
    without = {trial.example_id for trial in own if trial.verdict == "infra_error"}
    unjudged = sorted(without | wanted - {trial.example_id for trial in own})
    if unjudged:
        some = figures.count(len(unjudged), "example")
        return "unknown", f"{some} with trials without a verdict{_listed('', unjudged)}"
    return "passed", f"All trials of {figures.count(len(wanted), 'example')} passed."


def _listed(title: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{title}: {', '.join(names[:NAMED])}{more}."
