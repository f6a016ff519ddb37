"""Does `bakeoff.stats` keep its promises? Synthetic runs of candidates whose true rates are known.

    python tests/stats_study.py [--runs 2000] [--design NAME] [--power]

Prints the table of docs/statistics.md. No container and no model: trials are drawn.

How a run is drawn: the chance of an example is Beta distributed around the rate, wide apart (a real agent nearly
always or nearly never solves a given task); examples of one cluster are alike. An equal candidate has the same
chance on 70 % of the examples and a fresh draw on the others. A worse one never solves a share of them. Infra
errors strike at random.
"""

from __future__ import annotations

import argparse
import random
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from bakeoff import stats

ALIKE = 1.5  # a + b of an example's Beta: chances lie mostly near 0 and 1
WITHIN = 3.0  # the same of an example within its cluster
REDRAWN = 0.3  # share of the examples on which an equal candidate has a chance of its own


@dataclass(frozen=True, slots=True)
class Design:
    """A run's shape and the truth behind it."""

    clusters: int
    examples: int  # in each cluster; `sizes` replaces it
    repetitions: int
    rate: float
    infra: float = 0.0
    alike: float = ALIKE  # a + b of an example's (or a cluster's) Beta: the larger, the more alike they are
    sizes: tuple[int, int] | None = None  # clusters have from so many examples to so many, most of them few

    @property
    def name(self) -> str:
        """Short, for a table."""
        examples = f"{self.sizes[0]} to {self.sizes[1]}" if self.sizes else self.examples
        shape = f"{self.clusters} x {examples} x {self.repetitions}, rate {self.rate}"
        shape += f", infra {self.infra:.0%}" if self.infra else ""
        return shape if self.alike == ALIKE else f"{shape}, alike"

    def examples_of(self, cluster: int) -> int:
        """How many examples a cluster has: equally spaced on the logarithmic scale, where sizes differ."""
        if self.sizes is None:
            return self.examples
        least, most = self.sizes
        return round(least * (most / least) ** (cluster / (self.clusters - 1)))


@dataclass(frozen=True, slots=True)
class Found:
    """What the synthetic runs of a design showed; shares in [0, 1]."""

    design: Design
    coverage: float  # of the score's 95 % interval
    coverage_difference: float  # of the interval of a real difference
    false_positives: float  # runs of three equal candidates in which any pair was told apart, after Holm
    coverage_infra: float | None  # of the interval of the infra error rate, where there are errors
    power: Stated


@dataclass(frozen=True, slots=True)
class Stated:
    """How often a new run finds the difference that another run of its kind stated to be found in four of five."""

    effect: float  # stated, on average, by runs with a difference in them: the one that the run before stated
    found: float | None  # of those; None: none stated any that could be
    effect_equal: float  # stated by runs of two equal candidates
    found_equal: float | None
    silent: (
        float  # runs of either kind that state none, or more than the rate: a candidate cannot fall so far
    )


DESIGNS = (
    *(Design(13, 3, 2, rate) for rate in (0.5, 0.8, 0.9, 0.95)),  # the demonstration's shape
    *(Design(20, 2, 3, rate) for rate in (0.5, 0.8, 0.9)),
    *(Design(40, 1, 3, rate) for rate in (0.5, 0.8, 0.9, 0.95)),
    *(Design(100, 1, 1, rate) for rate in (0.5, 0.8, 0.95)),
    *(Design(100, 1, 5, rate) for rate in (0.5, 0.8, 0.95)),
    *(Design(40, 1, 3, 0.8, infra) for infra in (0.02, 0.1)),
    *(Design(8, 3, 2, rate) for rate in (0.5, 0.8, 0.95)),  # hard: few clusters
    *(Design(shape, 1, 5, 0.98) for shape in (40, 100)),  # hard: hardly any failure
    Design(8, 10, 2, 0.8),  # hard: few clusters, and many trials in each
    *(Design(*shape, alike=20.0) for shape in ((40, 1, 5, 0.9), (13, 6, 2, 0.8))),  # clusters hardly differ
    Design(6, 3, 2, 0.8),  # hard: the fewest clusters that a t-test is made of
    Design(13, 0, 2, 0.8, sizes=(1, 60)),  # hard: as few degrees of freedom as five clusters have
    # clusters of very different sizes
    *(Design(13, 0, 2, rate, sizes=(1, 6)) for rate in (0.5, 0.8, 0.95)),
    *(Design(13, 0, 2, rate, sizes=(1, 20)) for rate in (0.5, 0.8, 0.95)),
    *(Design(40, 0, 2, rate, sizes=(1, 8)) for rate in (0.5, 0.8, 0.95)),
)


def chances(design: Design, rng: random.Random) -> list[list[float]]:
    """The truth of one drawn dataset: chance of a pass, by cluster and example."""

    def beta(mean: float, spread: float) -> float:
        return rng.betavariate(max(mean * spread, 1e-9), max((1 - mean) * spread, 1e-9))

    if design.examples == 1:
        return [[beta(design.rate, design.alike)] for _ in range(design.clusters)]
    centres = (beta(design.rate, design.alike) for _ in range(design.clusters))
    return [[beta(centre, WITHIN) for _ in range(design.examples_of(c))] for c, centre in enumerate(centres)]


def equal(base: list[list[float]], design: Design, rng: random.Random) -> list[list[float]]:
    """Another candidate with the same true rate."""
    fresh = chances(design, rng)
    return [
        [own if rng.random() >= REDRAWN else other for own, other in zip(*pair, strict=True)]
        for pair in zip(base, fresh, strict=True)
    ]


def worse(base: list[list[float]], share: float, rng: random.Random) -> list[list[float]]:
    """A candidate that never solves a share of the examples: its true rate is lower by share x rate."""
    return [[0.0 if rng.random() < share else chance for chance in cluster] for cluster in base]


def drawn(
    candidate: str, truth: list[list[float]], design: Design, rng: random.Random
) -> list[stats.Outcome]:
    """The outcomes of one candidate's trials."""
    outcomes = []
    for c, cluster in enumerate(truth):
        for e, chance in enumerate(cluster):
            for repetition in range(design.repetitions):
                passed = rng.random() < chance
                broken = design.infra and rng.random() < design.infra
                verdict = "infra_error" if broken else "passed" if passed else "failed"
                outcomes.append(stats.Outcome(candidate, f"{c}.{e}", f"{c}", repetition, verdict))  # type: ignore[arg-type]
    return outcomes


def promised(design: Design, runs: int, seed: int = 1) -> Stated:
    """Draw `runs` times two runs that state what they would find, each with another run that has just that.

    A worse candidate makes a run vary more than an equal one does. So half of them hold equal candidates, and
    half a difference as large as they state: each has the one that the run before it stated.
    """
    rng = random.Random(zlib.crc32(f"power {design.name} {seed}".encode()))
    effect = 0.3 * design.rate
    stated: dict[str, list[float]] = {"worse": [], "equal": []}
    found: dict[str, list[bool]] = {"worse": [], "equal": []}
    testable = False  # whether `effect` is what the run before stated
    for _ in range(runs):
        truth = chances(design, rng)
        a = drawn("a", truth, design, rng)
        with_effect = stats.compare(
            [*a, *drawn("b", worse(truth, effect / design.rate, rng), design, rng)], "a", "b"
        )
        if testable:
            found["worse"].append(_found(with_effect))
        effect, testable = _stated(with_effect, design)
        stated["worse"].append(effect)
        equals = stats.compare([*a, *drawn("b", equal(truth, design, rng), design, rng)], "a", "b")
        apart, holds = _stated(equals, design)
        stated["equal"].append(apart)
        if holds:
            truth = chances(design, rng)
            lower = worse(truth, apart / design.rate, rng)
            again = stats.compare(
                [*drawn("a", truth, design, rng), *drawn("b", lower, design, rng)], "a", "b"
            )
            found["equal"].append(_found(again))
    tested = {kind: fmean(each) if each else None for kind, each in found.items()}
    return Stated(
        fmean(stated["worse"]),
        tested["worse"],
        fmean(stated["equal"]),
        tested["equal"],
        1 - sum(map(len, found.values())) / (2 * runs - 1),
    )


def _stated(pair: stats.Comparison, design: Design) -> tuple[float, bool]:
    """The effect that a comparison states to find, and whether there can be one."""
    effect = pair.minimum_detectable_effect
    return (design.rate, False) if effect is None or effect > design.rate else (effect, True)


def _found(pair: stats.Comparison) -> bool:
    return pair.p_value is not None and pair.p_value < stats.ALPHA and (pair.difference or 0) > 0


def study(design: Design, runs: int, seed: int = 1) -> Found:
    """Draw `runs` runs of the design and count."""
    rng = random.Random(zlib.crc32(f"{design.name} {seed}".encode()))
    power = promised(design, runs, seed)
    covered = covered_difference = covered_infra = false = 0
    for _ in range(runs):
        truth = chances(design, rng)
        a = drawn("a", truth, design, rng)
        b = drawn("b", equal(truth, design, rng), design, rng)
        c = drawn("c", equal(truth, design, rng), design, rng)
        d = drawn("d", worse(truth, power.effect / design.rate, rng), design, rng)
        scores = stats.score_set("a", a)
        score, infra = scores.score, scores.infra_rate
        covered += score is not None and score.low <= design.rate <= score.high
        covered_infra += infra is not None and infra.low <= design.infra <= infra.high
        false += any(pair.distinguishable for pair in stats.compare_all([*a, *b, *c], ["a", "b", "c"]))
        pair = stats.compare([*a, *d], "a", "d")
        covered_difference += (
            pair.low is not None and pair.high is not None and pair.low <= power.effect <= pair.high
        )
    return Found(
        design,
        covered / runs,
        covered_difference / runs,
        false / runs,
        covered_infra / runs if design.infra else None,
        power,
    )


def table(found: Sequence[Found]) -> str:
    """How often intervals hold the truth, and equal candidates are told apart: the rows in Markdown."""
    lines = [
        "| clusters x examples x repetitions | score | difference | false positives | infra rate |",
        "| :-- | --: | --: | --: | --: |",
    ]
    for each in found:
        shares = (each.coverage, each.coverage_difference, each.false_positives)
        cells = [f"{100 * share:.1f} %" for share in shares]
        cells.append("" if each.coverage_infra is None else f"{100 * each.coverage_infra:.1f} %")
        lines.append(f"| {each.design.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def power_table(found: Sequence[tuple[Design, Stated]]) -> str:
    """How often the stated effect is found: the rows in Markdown."""
    lines = [
        "| clusters x examples x repetitions | stated effect | found | of equals | found | none |",
        "| :-- | --: | --: | --: | --: | --: |",
    ]
    for design, power in found:
        cells = [
            f"{100 * power.effect:.1f} points",
            "" if power.found is None else f"{100 * power.found:.0f} %",
            f"{100 * power.effect_equal:.1f} points",
            "" if power.found_equal is None else f"{100 * power.found_equal:.0f} %",
            f"{100 * power.silent:.0f} %" if power.silent >= 0.005 else "",
        ]
        lines.append(f"| {design.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the study and print its tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--design", default="", help="only designs whose name contains this")
    parser.add_argument("--power", action="store_true", help="only how often the stated effect is found")
    options = parser.parse_args()
    chosen = [design for design in DESIGNS if options.design in design.name]
    found: list[Found] = []
    power: list[tuple[Design, Stated]] = []
    for design in chosen:
        if options.power:
            power.append((design, promised(design, options.runs, options.seed)))
        else:
            found.append(study(design, options.runs, options.seed))
            power.append((design, found[-1].power))
            print(table(found[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
        print(power_table(power[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    if found:
        print(table(found), end="\n\n")
    print(power_table(power))


if __name__ == "__main__":
    main()
