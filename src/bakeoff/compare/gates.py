"""The gates of `bakeoff compare`: what may not get worse, and what these runs show about it.

Gates ask about the very examples that both runs have: what varies by chance is how often each of them passes. A gate
passes if it is shown that its margin holds, and fails if a rise is shown and seen to exceed the margin.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bakeoff import stats
from bakeoff.config import selectors
from bakeoff.config.schema import Gates
from bakeoff.record.base import JsonDict
from bakeoff.text import figures

if TYPE_CHECKING:
    from bakeoff.compare.changes import Change
    from bakeoff.compare.side import Side

Status = Literal["passed", "failed", "unknown"]
ROUNDING = 1e-9  # a drop of 2 points is not more than 2 points
NAMED = 10  # examples
EXAMPLES, TRIALS = "these very examples", "all trials of HEAD"


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate's answer. `unknown`: neither that the margin holds nor that it does not is shown.

    `value`, `low` and `high` are in the unit of `margin`: what was seen, and the one-sided 95 % bounds of the truth.
    """

    gate: str  # as the option is called, with its bound
    candidate: str
    status: Status
    because: str  # one sentence; examples' names as the user wrote them: escape before printing
    about: str = EXAMPLES
    margin: float | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    p_adjusted: float | None = None  # one-sided, of no rise (infra: of no more than the margin); Holm's


def judge(gates: Gates, changes: Sequence[Change], head: Side, *, doubtful: bool = False) -> list[GateResult]:
    """Every gate on every compared candidate; where the runs are `doubtful`, only the one on infrastructure errors.

    Each gate is corrected for the number of candidates (Holm) and of nights (Bonferroni, which holds for a baseline
    that stays, which all nights share, and for one that moves).
    """
    alpha = stats.ALPHA / gates.nights
    by_gate = [
        _rises(each, margin, changes, alpha)
        for each in (() if doubtful else _RISING)
        if (margin := each.margin(gates)) is not None
    ]
    if gates.max_infra is not None:
        by_gate.append(_infra(gates.max_infra, changes, head, alpha))
    results = []
    for index, change in enumerate(changes):
        results += [answers[index] for answers in by_gate]
        for text in () if doubtful else gates.must_pass:
            if (answer := _must_pass(text, change, head)) is not None:
                results.append(GateResult(f"must-pass {text}", change.name, *answer))
    return results


def selected(text: str, head: Side) -> list[str]:
    """The examples of HEAD that meet the conditions. Raises InputError for conditions that are none."""
    wanted = selectors.parse(text)
    facts: Iterator[tuple[str, JsonDict]] = ((each, head.facts(each)) for each in sorted(head.examples))
    return [example for example, known in facts if all(one.holds(known) for one in wanted)]


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"


def _by(share: float) -> str:
    return f"{100 * share:.1f} %"


def _score(rise: stats.Rise) -> str:
    fell = rise.rise or 0.0
    return (
        f"The score {'fell' if fell > 0 else 'rose'} by {_points(abs(fell))}"
        if fell
        else "The score did not move"
    )


def _ended(limit: str) -> Callable[[stats.Rise], str]:
    def seen(rise: stats.Rise) -> str:
        shares = f"{figures.percent(rise.before)} to {figures.percent(rise.after)}"
        return f"The share of trials that the {limit} limit ended went from {shares}"

    return seen


def _mean(what: str, show: Callable[[float], str]) -> Callable[[stats.Rise], str]:
    def seen(rise: stats.Rise) -> str:
        by = "from nothing" if rise.rise is None else f"{100 * rise.rise:+.1f} %"
        return f"The mean {what} of a trial went from {show(rise.before)} to {show(rise.after)} ({by})"

    return seen


@dataclass(frozen=True, slots=True)
class _Rising:
    """A gate on something that may not rise by more than a margin, and its words."""

    name: str
    margin: Callable[[Gates], float | None]
    of: Callable[[Change], stats.Rise | None]
    noun: str
    seen: Callable[[stats.Rise], str]  # the beginning of a sentence
    amount: Callable[[float], str]
    missing: str = "No example has a trial with a verdict on both sides."


_RISING = (
    _Rising("max-drop", lambda g: g.max_drop, lambda c: c.failing, "drop", _score, _points),
    _Rising(
        "max-time-limit", lambda g: g.max_time_limit, lambda c: c.time_limits, "rise", _ended("time"), _points
    ),
    _Rising(
        "max-turn-limit", lambda g: g.max_turn_limit, lambda c: c.turn_limits, "rise", _ended("turn"), _points
    ),
    _Rising(
        "max-cost-increase",
        lambda g: g.max_cost_increase,
        lambda c: c.cost.rise if c.cost else None,
        "increase",
        _mean("cost", figures.dollars),
        _by,
        "The price of a trial is not known.",
    ),
    _Rising(
        "max-latency-increase",
        lambda g: g.max_latency_increase,
        lambda c: c.latency.rise if c.latency else None,
        "increase",
        _mean("working time", figures.seconds),
        _by,
    ),
)


def _rises(asked: _Rising, margin: float, changes: Sequence[Change], alpha: float) -> list[GateResult]:
    """The gate on every candidate, p-values corrected over the candidates that have one."""
    rises = [asked.of(change) for change in changes]
    adjusted = iter(stats.holm([rise.p_rise for rise in rises if rise]))
    gate, results = f"{asked.name} {figures.percent(margin)}", []
    for change, rise in zip(changes, rises, strict=True):
        if rise is None:
            results.append(GateResult(gate, change.name, "unknown", asked.missing, margin=margin))
            continue
        p = next(adjusted)
        status = _status(rise, margin, shown=p < alpha)
        said = f"{asked.seen(rise)}{_because(status, asked, rise, margin, (p, alpha))}"
        if status == "failed" and asked.noun == "drop":
            said += _listed(" Newly failing", [e.example_id for e in change.turned("newly failing")])
        bounds = (margin, rise.rise, rise.low, rise.high, p)
        results.append(GateResult(gate, change.name, status, said, EXAMPLES, *bounds))
    return results


def _status(rise: stats.Rise, margin: float, *, shown: bool) -> Status:
    """`shown`: there is a rise, beyond noise."""
    if shown and (rise.rise is None or rise.rise > margin + ROUNDING):
        return "failed"
    return "passed" if rise.high is not None and rise.high <= margin + ROUNDING else "unknown"


def _because(
    status: Status, asked: _Rising, rise: stats.Rise, margin: float, test: tuple[float, float]
) -> str:
    """How the sentence about a rise goes on: the bound, the margin, and what would answer."""
    noun, allowed, (p, alpha) = asked.noun, asked.amount(margin), test
    once = (
        ""
        if rise.method == "repetitions"
        else " Most examples ran once on a side; noise is estimated between them."
    )
    if status == "failed":
        least = "" if rise.low is None else f"; it is at least {asked.amount(max(0.0, rise.low))} (95 %)"
        return (
            f", which is more than noise ({figures.p_words(p)}) and than the {allowed} allowed{least}.{once}"
        )
    if rise.high is None:
        return f", and this sample is too small to tell any {noun} from noise."
    most = f"the {noun} is at most {asked.amount(max(0.0, rise.high))} (95 %)"
    if status == "passed":
        return f"; {most}, within the {allowed} allowed.{once}"
    noise = "is more than noise" if p < alpha else "may be noise"
    return (
        f", which {noise} ({figures.p_words(p)}); {most}, so it is not shown to be within the {allowed} allowed."
        f"{_remedy(asked, rise, margin)}{once}"
    )


def _remedy(asked: _Rising, rise: stats.Rise, margin: float) -> str:
    """What would answer the gate if nothing changed."""
    if rise.answerable is None:
        return f" This sample is too small to rule out any {asked.noun}."
    if rise.answerable <= margin:
        return ""
    can = asked.amount(rise.answerable)
    shows = f" Where nothing changes, this sample can answer {can} in four comparisons of five"
    if not margin:
        return f"{shows}."
    times = math.ceil((rise.answerable / margin) ** 2)
    return f"{shows}; {times:,} times as many repetitions can answer {asked.amount(margin)}."


def _infra(bound: float, changes: Sequence[Change], head: Side, alpha: float) -> list[GateResult]:
    """The rate of infrastructure errors in HEAD, by the exact binomial test against the bound."""
    shares = []
    for change in changes:
        own = head.trials.get(change.head, ())
        errors = [float(trial.verdict == "infra_error") for trial in own]
        shares.append(stats.share_against(errors, [trial.example_id for trial in own], bound))
    adjusted = iter(stats.holm([share.p_above for share in shares if share]))
    gate = f"max-infra {figures.percent(bound)}"
    return [
        GateResult(gate, change.name, "unknown", "HEAD has no trial of it.", TRIALS, bound)
        if share is None
        else _infra_rate(gate, bound, change, share, (next(adjusted), alpha))
        for change, share in zip(changes, shares, strict=True)
    ]


def _infra_rate(
    gate: str, bound: float, change: Change, share: stats.Share, test: tuple[float, float]
) -> GateResult:
    p, alpha = test
    said = f"{figures.percent(share.share)} of its trials ended as infrastructure errors"
    allowed = figures.percent(bound)
    if p < alpha:
        status: Status = "failed"
        least = f"the rate is at least {figures.percent(share.low)} (95 %)"
        said += f"; {least}, more than the {allowed} allowed ({figures.p_words(p)})."
    else:
        status = "passed" if share.high <= bound + ROUNDING else "unknown"
        shown = "" if status == "passed" else "so it is not shown to be "
        said += f"; the rate is at most {figures.percent(share.high)} (95 %), {shown}within the {allowed} allowed."
    return GateResult(gate, change.name, status, said, TRIALS, bound, share.share, share.low, share.high, p)


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
