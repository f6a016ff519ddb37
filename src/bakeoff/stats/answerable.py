"""Which gates a dataset can answer, before a run or after it: the smallest margin, and the repetitions for another.

What is here needs no scipy: a run asks before its first trial, and stays small.

Reference: Abramowitz & Stegun 1964, *Handbook of Mathematical Functions*, 26.7.5.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import NormalDist

from bakeoff.config.schema import Gates
from bakeoff.record.base import VerdictName
from bakeoff.stats.conditional import LEAST_P, MOST_NOISE, noise_within
from bakeoff.stats.detectable import ALPHA, POWER
from bakeoff.stats.intervals import CAUTION, CONFIDENCE
from bakeoff.text import figures

MOST = 10_000  # repetitions; a larger need is no advice


@dataclass(frozen=True, slots=True)
class Sample:
    """What a comparison will have of each candidate. `noise`: see `smallest_margin`; None: not known."""

    examples: int
    repetitions: int
    candidates: int = 1
    noise: float | None = None


def smallest_margin(examples: int, repetitions: int, noise: float = MOST_NOISE) -> float | None:
    """The smallest `max_drop` that four comparisons of five pass if nothing changed; None: not even 1.

    (t + z) · SE, as `conditional.rise_of_share` has them.

    Args:
        examples: at least 1.
        repetitions: of each, in either run; at least 1.
        noise: the mean variance of one trial within an example: 0.25 where each passes half the time, which is the
            most; 0 where each always does the same.
    """
    part, caution = 2 * MOST_NOISE / repetitions, CAUTION * 2 * MOST_NOISE / repetitions
    varied = examples * noise / MOST_NOISE  # as many examples of coin flips vary as much
    whole = varied * part + caution
    df = 2 * whole**2 / (varied * part**2 + caution**2)
    margin = (_t(df) + NormalDist().inv_cdf(POWER)) * math.sqrt(whole) / examples
    return margin if margin <= 1 else None


def repetitions_for(margin: float, examples: int, noise: float = MOST_NOISE) -> int | None:
    """The fewest repetitions with which `smallest_margin` is at most `margin`; None beyond 10,000."""
    if margin <= 0:
        return None
    at_one = smallest_margin(examples, MOST, noise)
    if at_one is None:
        return None
    # SE falls with the root of the repetitions, and df do not depend on them
    needed = max(1, math.ceil(MOST * (at_one / margin) ** 2 - 1e-9))
    return needed if needed <= MOST else None


def noise_of(trials: Iterable[tuple[str, str, VerdictName]]) -> float | None:
    """The noise of the candidate of a run that varies most; None: no example ran twice.

    Args:
        trials: candidate, example id and verdict of each.
    """
    failed: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for candidate, example_id, verdict in trials:
        if verdict != "infra_error":
            failed[candidate][example_id].append(float(verdict == "failed"))
    return max((n for own in failed.values() if (n := noise_within(own)) is not None), default=None)


def unanswerable(gates: Gates, sample: Sample) -> list[str]:
    """One sentence for each gate that this sample will mostly leave unknown, with what would do."""
    if not sample.examples:
        return []
    return [*_rises(gates, sample), *_increases(gates, sample), *_infra(gates, sample)]


def round_up(share: float) -> float:
    """To whole points, as one writes a gate."""
    return math.ceil(100 * share - 1e-9) / 100


def _rises(gates: Gates, sample: Sample) -> Iterator[str]:
    n, r, noise = sample.examples, sample.repetitions, sample.noise
    assumed = MOST_NOISE if noise is None else noise
    why = "if they pass half the time; with less noise, less" if noise is None else "with the noise of a run"
    for name, margin, expected in (
        ("max_drop", gates.max_drop, assumed),
        ("max_time_limit", gates.max_time_limit, 0.0),  # mostly no trial ends so
        ("max_turn_limit", gates.max_turn_limit, 0.0),
    ):
        if margin is None:
            continue
        sure = smallest_margin(n, r, expected)
        if sure is not None and margin >= sure:
            continue
        more = repetitions_for(margin, n, expected)
        ways = [
            *([f"{name}: {round_up(sure):g}"] if sure is not None else []),
            *([figures.count(more, "repetition")] if more is not None else []),
            "more examples",
        ]
        can = "can answer none" if sure is None else f"answer {100 * sure:.1f} points or more"
        of = f" ({why})" if name == "max_drop" else ""
        yield (
            f"{name}: {margin:g} mostly stays unknown (exit code 3) where nothing changes: {_times(n, r)} {can} "
            f"in four comparisons of five{of}. What would do: {' or '.join(ways)}."
        )
    if any(m is not None for m in (gates.max_drop, gates.max_time_limit, gates.max_turn_limit)):
        least = _least_p(sample)
        if least >= ALPHA / gates.nights / sample.candidates:
            yield f"No drop or rise can fail a gate: {_times(n, r)} cannot tell any from noise."


def _increases(gates: Gates, sample: Sample) -> Iterator[str]:
    for name, margin in (
        ("max_cost_increase", gates.max_cost_increase),
        ("max_latency_increase", gates.max_latency_increase),
    ):
        if margin is not None and _least_p(sample) > LEAST_P:
            yield f"{name}: {margin:g} is always unknown: {_times(sample.examples, sample.repetitions)} are too few."


def _infra(gates: Gates, sample: Sample) -> Iterator[str]:
    bound, trials = gates.max_infra, sample.examples * sample.repetitions
    if bound is None or (1 - bound) ** trials <= 1 - CONFIDENCE:
        return
    what = "no number of trials"
    if bound > 0:
        what = f"{math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-bound)):,} trials"
    sure = 1 - (1 - CONFIDENCE) ** (1 / trials)
    yield (
        f"max_infra: {bound:g} is unknown even without any error: {figures.count(trials, 'trial')} of a candidate show "
        f"at best that its rate is below {figures.percent(sure)}. What would do: "
        f"max_infra: {round_up(sure):g} or {what}."
    )


def _times(examples: int, repetitions: int) -> str:
    return f"{figures.count(examples, 'example')} x {figures.count(repetitions, 'repetition')}"


def _least_p(sample: Sample) -> float:
    """The smallest p that the trials could have: see `conditional.rise_of_mean`."""
    return float(math.comb(2 * sample.repetitions, sample.repetitions) ** -float(sample.examples))


def _t(df: float) -> float:
    """The quantile of Student's t at 95 %, to 0.01 for two or more degrees of freedom."""
    x = NormalDist().inv_cdf(CONFIDENCE)
    return (
        x
        + (x**3 + x) / (4 * df)
        + (5 * x**5 + 16 * x**3 + 3 * x) / (96 * df**2)
        + (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / (384 * df**3)
        + (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / (92160 * df**4)
    )
