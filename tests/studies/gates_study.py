"""How often do the gates of `bakeoff compare` fail, pass and stay unknown? Synthetic nights whose truth is known.

    python -m tests.studies.gates_study [--runs 2000] [--table drop|measures|infra|nights|margins]

Prints the tables of docs/statistics.md, section Gates. A dataset is drawn anew in each run, and then it is fixed: a
gate asks about these very examples, so a drop is the mean of what their true rates lose. The chance of an example is
Beta distributed around 0.8, wide apart; examples of one cluster are alike. A drop is made of single examples or of
whole clusters that turn (they are never solved again), or it is spread evenly.
"""

from __future__ import annotations

import argparse
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bakeoff import stats
from bakeoff.compare.gates import _status

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

RATE, ALIKE, WITHIN = 0.8, 1.5, 3.0  # as in stats_study


@dataclass(frozen=True, slots=True)
class Design:
    """The shape of a run."""

    clusters: int
    examples: int  # in each cluster
    repetitions: int

    @property
    def name(self) -> str:
        """Short, for a table."""
        of = f" x {self.examples}" if self.examples > 1 else ""
        return f"{self.clusters}{of} examples x {self.repetitions}"

    def rng(self, what: str) -> np.random.Generator:
        """One stream of random numbers for each question, whatever else is asked."""
        return np.random.default_rng(zlib.crc32(f"{self.name} {what}".encode()))


DESIGNS = (
    Design(6, 1, 4),
    Design(13, 3, 2),
    Design(40, 1, 3),
    Design(89, 1, 1),
    Design(89, 1, 5),
    Design(200, 1, 3),
)


def beta(rng: np.random.Generator, mean: Floats | float, spread: float, size: tuple[int, ...]) -> Floats:
    """Chances around `mean`; the larger `spread` (a + b), the more alike."""
    mean = np.broadcast_to(np.asarray(mean, dtype=float), size)
    return rng.beta(np.maximum(mean * spread, 1e-9), np.maximum((1 - mean) * spread, 1e-9))


def chances(rng: np.random.Generator, design: Design, rate: float = RATE) -> Floats:
    """The chance of a pass, by cluster and example."""
    shape = (design.clusters, design.examples)
    if design.examples == 1:
        return beta(rng, rate, ALIKE, shape)
    return beta(rng, beta(rng, rate, ALIKE, (design.clusters, 1)), WITHIN, shape)


def worse(rng: np.random.Generator, truth: Floats, share: float, how: str) -> Floats:
    """What is left of the chances after a drop of about `share` of them."""
    if how == "evenly":
        return truth * (1 - share)
    turned = truth.shape if how == "examples" else (len(truth), 1)
    return np.where(rng.random(turned) < share, 0.0, truth)


def drawn(rng: np.random.Generator, truth: Floats, repetitions: int) -> dict[str, list[float]]:
    """One run: 1 for a trial that fails, by example."""
    failed = rng.random((truth.size, repetitions)) >= truth.reshape(-1, 1)
    return {str(e): each for e, each in enumerate(failed.astype(float).tolist())}


@dataclass
class Shares:
    """How often each status came, and a bound was wrong."""

    failed: int = 0
    passed: int = 0
    below: int = 0  # the truth lies below the lower bound
    above: int = 0
    runs: int = 0

    def add(self, rise: stats.Rise, margin: float, truth: float, alpha: float = stats.ALPHA) -> None:
        """Count one comparison."""
        status = _status(rise, margin, shown=rise.p_rise < alpha)
        self.failed += status == "failed"
        self.passed += status == "passed"
        self.below += rise.low is not None and truth < rise.low - 1e-12
        self.above += rise.high is not None and truth > rise.high + 1e-12
        self.runs += 1

    def percent(self, count: int) -> str:
        """For a table."""
        return f"{100 * count / self.runs:.1f}"


def drops(
    design: Design, runs: int, drop: float, how: str, margin: float | None, rate: float = RATE
) -> Shares:
    """The gate on a drop; `margin` None: it is just the true drop of these examples."""
    rng, counted = design.rng(f"drop {drop} {how} {margin} {rate}"), Shares()
    for _ in range(runs):
        truth = chances(rng, design, rate)
        after = worse(rng, truth, drop / rate, how)
        fell = float((truth - after).mean())
        rise = stats.rise_of_share(
            drawn(rng, truth, design.repetitions), drawn(rng, after, design.repetitions)
        )
        if rise is not None:
            counted.add(rise, fell if margin is None else margin, fell)
    return counted


TRUTHS = ((0.0, "evenly"), (0.05, "examples"), (0.05, "clusters"), (0.05, "evenly"), (0.1, "examples"))
WAYS = ("examples", "clusters", "evenly")


def drop_table(runs: int, designs: Sequence[Design]) -> Iterator[str]:
    """The gate `max_drop`: shares of runs that fail / pass, then those at the margin, then bounds that were wrong."""
    yield (
        "| design | margin | nothing changed | 5, examples turn | 5, clusters turn | 5, evenly | 10, examples turn "
        "| drop = margin (examples, clusters, evenly): fails | passes | truth below, above the bounds |"
    )
    yield "| :-- | --: | --: | --: | --: | --: | --: | --: | --: | --: |"
    for design in designs:
        for margin in (0.02, 0.05):
            found = [drops(design, runs, drop, how, margin) for drop, how in TRUTHS]
            at = [drops(design, runs, margin, how, None) for how in WAYS]
            cells = [f"{each.percent(each.failed)} / {each.percent(each.passed)}" for each in found]
            cells.append(", ".join(each.percent(each.failed) for each in at))
            cells.append(", ".join(each.percent(each.passed) for each in at))
            below, above = (
                max(100 * count / each.runs for each, count in counts)
                for counts in zip(*(((e, e.below), (e, e.above)) for e in [*found, *at]), strict=True)
            )
            cells.append(f"{below:.1f}, {above:.1f}")
            yield f"| {design.name} | {100 * margin:g} | {' | '.join(cells)} |"


def measured(
    rng: np.random.Generator, usual: Floats, factor: float, spread: float, repetitions: int
) -> dict[str, list[float]]:
    """Seconds or dollars of one run: lognormal around what is usual for the example."""
    values = factor * usual[:, None] * np.exp(rng.normal(0, spread, (len(usual), repetitions)))
    return {str(e): each for e, each in enumerate(values.tolist())}


def measures(design: Design, runs: int, increase: float, margin: float, spread: float) -> Shares:
    """The gate on a relative increase, examples differing by a factor of e^0.8."""
    rng, counted = design.rng(f"measure {increase} {margin} {spread}"), Shares()
    for _ in range(runs):
        usual = np.exp(rng.normal(0, 0.8, design.clusters * design.examples))
        sides = [measured(rng, usual, f, spread, design.repetitions) for f in (1.0, 1 + increase)]
        rise = stats.rise_of_mean(*sides)
        if rise is not None:
            counted.add(rise, margin, increase)
    return counted


def measure_table(runs: int, designs: Sequence[Design]) -> Iterator[str]:
    """The gates on cost and latency, margin 10 %."""
    yield "| design | noise of a trial | nothing changed | true 10 | true 25 |"
    yield "| :-- | --: | --: | --: | --: |"
    for design in designs:
        for spread in (0.1, 0.4, 0.8):
            found = [measures(design, runs, increase, 0.1, spread) for increase in (0.0, 0.1, 0.25)]
            cells = [f"{each.percent(each.failed)} / {each.percent(each.passed)}" for each in found]
            yield f"| {design.name} | {spread:g} | {' | '.join(cells)} |"


def infra_table(runs: int, _: Sequence[Design]) -> Iterator[str]:
    """The gate `max_infra: 0.02`."""
    rates = (0.0, 0.01, 0.02, 0.04, 0.08)
    yield f"| trials | {' | '.join(f'true {100 * rate:g} %' for rate in rates)} |"
    yield f"| --: | {' | '.join('--:' for _ in rates)} |"
    for trials in (78, 120, 200, 445, 1000):
        rng, cells = np.random.default_rng(trials), []
        for rate in rates:
            failed = passed = 0
            for _ in range(runs):
                errors = (rng.random(trials) < rate).astype(float).tolist()
                share = stats.share_against(errors, [str(n // 3) for n in range(trials)], 0.02)
                assert share is not None
                failed += share.p_above < stats.ALPHA
                passed += share.p_above >= stats.ALPHA and share.high <= 0.02
            cells.append(f"{100 * failed / runs:.1f} / {100 * passed / runs:.1f}")
        yield f"| {trials} | {' | '.join(cells)} |"


def p_rises(before: Counts, after: Counts, repetitions: int) -> Floats:
    """`stats.rise_of_share(...).p_rise` of many comparisons at once (rows), from failed trials by example.

    Examples with the same number of failures on both sides are alike, so the characteristic function of the sum is a
    product of powers, and its inverse Fourier transform is the distribution.
    """
    size = before.shape[1] * repetitions + 1
    both, points = before + after, np.arange(repetitions + 1)
    spectrum = np.zeros((len(before), size), dtype=complex)
    for ones in range(2 * repetitions + 1):
        ways = np.array(
            [math.comb(repetitions, k) * math.comb(repetitions, ones - k) if k <= ones else 0 for k in points]
        )
        transformed = np.fft.fft(np.pad(ways / ways.sum(), (0, size - len(ways))))
        spectrum += (both == ones).sum(1)[:, None] * np.log(transformed + 1e-300)
    chances = np.fft.ifft(np.exp(spectrum)).real
    return np.where(np.arange(size) >= after.sum(1)[:, None], chances, 0.0).sum(1)


def any_alarm(design: Design, runs: int, nights: int, alpha: float, *, moving: bool) -> float:
    """The share of series of `nights` in which nothing changes and `max_drop: 0` fails at least once."""
    rng, alarmed = design.rng(f"nights {nights} {alpha} {moving}"), np.zeros(runs, dtype=bool)
    truth = np.stack([chances(rng, design).ravel() for _ in range(runs)])
    base = rng.binomial(design.repetitions, 1 - truth)
    for _ in range(nights):
        head = rng.binomial(design.repetitions, 1 - truth)
        alarmed |= p_rises(base, head, design.repetitions) < alpha
        base = head if moving else base
    return float(alarmed.mean())


def night_table(runs: int, designs: Sequence[Design]) -> Iterator[str]:
    """Thirty nights in which nothing changes."""
    yield "| design | one night | 30, baseline fixed | 30, baseline moves | `nights: 30`, fixed | moves |"
    yield "| :-- | --: | --: | --: | --: | --: |"
    for design in designs:
        cells = [
            any_alarm(design, each, nights, alpha, moving=moving)
            for each, nights, alpha, moving in (
                (10 * runs, 1, 0.05, False),
                (runs, 30, 0.05, False),
                (runs, 30, 0.05, True),
                (runs, 30, 0.05 / 30, False),
                (runs, 30, 0.05 / 30, True),
            )
        ]
        yield f"| {design.name} | {' | '.join(f'{100 * each:.1f} %' for each in cells)} |"


def margins(design: Design, runs: int, rate: float, *, worst: bool) -> tuple[float | None, Shares]:
    """The margin that a design is said to answer, and how often it does if nothing changes."""
    rng, counted = design.rng(f"margin {rate} {worst}"), Shares()
    examples = design.clusters * design.examples
    noise = 0.25 if worst else rate * (1 - rate) * ALIKE / (ALIKE + 1)
    margin = stats.smallest_margin(examples, design.repetitions, noise)
    if margin is None:
        return None, counted
    for _ in range(runs):
        truth = (
            np.full((design.clusters, design.examples), 0.5)
            if worst
            else beta(rng, rate, ALIKE, (design.clusters, design.examples))
        )
        sides = [drawn(rng, truth, design.repetitions) for _ in range(2)]
        rise = stats.rise_of_share(*sides)
        if rise is not None:
            counted.add(rise, margin, 0.0)
    return margin, counted


def margin_table(runs: int, designs: Sequence[Design]) -> Iterator[str]:
    """What `run`, `doctor` and `power` say that a sample can answer, and how often it does."""
    yield "| design | half of all trials pass | passed | rate 0.8, noise known | passed |"
    yield "| :-- | --: | --: | --: | --: |"
    for design in designs:
        cells = []
        for worst in (True, False):
            margin, counted = margins(design, runs, RATE, worst=worst)
            cells += (
                ["none", ""]
                if margin is None
                else [f"{100 * margin:.1f} points", f"{counted.percent(counted.passed)} %"]
            )
        yield f"| {design.name} | {' | '.join(cells)} |"


TABLES: dict[str, Callable[[int, Sequence[Design]], Iterator[str]]] = {
    "drop": drop_table,
    "measures": measure_table,
    "infra": infra_table,
    "nights": night_table,
    "margins": margin_table,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study and print its tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--table", choices=TABLES)
    parser.add_argument("--design", type=int, choices=range(len(DESIGNS)), help="only this one")
    given = parser.parse_args(arguments)
    designs = DESIGNS if given.design is None else (DESIGNS[given.design],)
    for name, table in TABLES.items():
        if given.table in (None, name):
            for line in table(given.runs, designs):
                print(line, flush=True)
            print()


if __name__ == "__main__":
    main()
