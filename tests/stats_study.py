"""Does `bakeoff.stats` keep its promises? Synthetic runs of candidates whose true rates are known.

    python tests/stats_study.py [--runs 2000] [--design NAME]

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
    effect: float  # the difference that the runs state to find in four of five
    power: float  # runs that found it
    coverage_infra: float | None  # of the interval of the infra error rate, where there are errors


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


def stated_effect(design: Design, rng: random.Random, pilots: int = 60) -> float:
    """The effect that runs of this design, with that very effect in them, state to find; by fixed point."""
    effect = 0.2 * design.rate
    for _ in range(4):
        stated = []
        for _ in range(pilots):
            truth = chances(design, rng)
            rows = drawn("a", truth, design, rng) + drawn(
                "b", worse(truth, min(1.0, effect / design.rate), rng), design, rng
            )
            if (mde := stats.compare(rows, "a", "b").minimum_detectable_effect) is not None:
                stated.append(mde)
        effect = min(fmean(stated), design.rate)
    return effect


def study(design: Design, runs: int, seed: int = 1) -> Found:
    """Draw `runs` runs of the design and count."""
    rng = random.Random(zlib.crc32(f"{design.name} {seed}".encode()))
    effect = stated_effect(design, rng)
    covered = covered_difference = covered_infra = false = found = 0
    for _ in range(runs):
        truth = chances(design, rng)
        a = drawn("a", truth, design, rng)
        b = drawn("b", equal(truth, design, rng), design, rng)
        c = drawn("c", equal(truth, design, rng), design, rng)
        d = drawn("d", worse(truth, effect / design.rate, rng), design, rng)
        scores = stats.score_set("a", a)
        score, infra = scores.score, scores.infra_rate
        covered += score is not None and score.low <= design.rate <= score.high
        covered_infra += infra is not None and infra.low <= design.infra <= infra.high
        false += any(pair.distinguishable for pair in stats.compare_all([*a, *b, *c], ["a", "b", "c"]))
        pair = stats.compare([*a, *d], "a", "d")
        covered_difference += (
            pair.low is not None and pair.high is not None and pair.low <= effect <= pair.high
        )
        found += pair.p_value is not None and pair.p_value < stats.ALPHA and (pair.difference or 0) > 0
    return Found(
        design,
        covered / runs,
        covered_difference / runs,
        false / runs,
        effect,
        found / runs,
        covered_infra / runs if design.infra else None,
    )


def table(found: Sequence[Found]) -> str:
    """The rows in Markdown."""
    lines = [
        "| clusters x examples x repetitions | score | difference | false positives | stated effect | found "
        "| infra rate |",
        "| :-- | --: | --: | --: | --: | --: | --: |",
    ]
    for each in found:
        shares = (each.coverage, each.coverage_difference, each.false_positives)
        cells = [f"{100 * share:.1f} %" for share in shares]
        cells += [f"{100 * each.effect:.1f} points", f"{100 * each.power:.0f} %"]
        cells.append("" if each.coverage_infra is None else f"{100 * each.coverage_infra:.1f} %")
        lines.append(f"| {each.design.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the study and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--design", default="", help="only designs whose name contains this")
    options = parser.parse_args()
    chosen = [design for design in DESIGNS if options.design in design.name]
    found = []
    for design in chosen:
        found.append(study(design, options.runs, options.seed))
        print(table(found[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    print(table(found))


if __name__ == "__main__":
    main()
