"""Does `bakeoff.stats` keep its promises? Synthetic runs of candidates whose true rates are known.

    python -m tests.studies.stats_study [--runs 2000] [--design NAME] [--power]

Prints the tables of docs/statistics.md. No container and no model: trials are drawn.

How a run is drawn: the chance of an example is Beta distributed around the rate, wide apart (a real agent nearly
always or nearly never solves a given task); examples of one cluster are alike. An equal candidate has the same
chance on 70 % of the examples and a fresh draw on the others. A worse one never solves a share of the examples, or
of the clusters. Infra errors strike at random.
"""

from __future__ import annotations

import argparse
import random
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from unittest.mock import patch

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

    @property
    def grouped(self) -> bool:
        """Whether clusters have several examples."""
        return self.sizes is not None or self.examples > 1

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
    coverage_difference: float  # of the interval of a difference of 0.3 x rate, where single examples turn
    coverage_clusters: float | None  # where whole clusters turn; None: each example is its own cluster
    false_positives: float  # runs of three equal candidates in which any pair was told apart, after Holm
    coverage_infra: float | None  # of the interval of the infra error rate, where there are errors


@dataclass(frozen=True, slots=True)
class Stated:
    """How often a new run finds the difference that another run of its kind stated to be found in four of five."""

    effect: float | None  # stated, on average; None: no run stated one that could be
    found: float | None  # how often it was found, of those that could be
    silent: float  # runs that state none, or more than the rate: a candidate cannot fall so far


DESIGNS = (
    *(Design(13, 3, 2, rate) for rate in (0.5, 0.8, 0.9, 0.95)),  # the demonstration's shape
    *(Design(20, 2, 3, rate) for rate in (0.5, 0.8, 0.9)),
    *(Design(40, 1, 3, rate) for rate in (0.5, 0.8, 0.9, 0.95)),
    *(Design(100, 1, 1, rate) for rate in (0.5, 0.8, 0.95)),
    *(Design(100, 1, 5, rate) for rate in (0.5, 0.8, 0.95)),
    *(Design(40, 1, 3, 0.8, infra) for infra in (0.02, 0.1)),
    *(Design(8, 3, 2, rate) for rate in (0.5, 0.8, 0.95)),  # hard: few clusters
    *(Design(shape, 1, 5, 0.98) for shape in (40, 100)),  # hard: hardly any failure
    *(Design(8, 10, 2, rate) for rate in (0.5, 0.8)),  # hard: few clusters, and many trials in each
    *(Design(13, 10, 2, rate) for rate in (0.5, 0.8)),
    *(Design(*shape, alike=20.0) for shape in ((40, 1, 5, 0.9), (13, 6, 2, 0.8))),  # clusters hardly differ
    Design(6, 3, 2, 0.8),  # hard: the fewest clusters that a t-test is made of
    *(
        Design(13, 0, 2, rate, sizes=(1, 60)) for rate in (0.5, 0.8)
    ),  # hard: as few degrees of freedom as five clusters have
    # clusters of very different sizes
    *(Design(13, 0, 2, rate, sizes=(1, 6)) for rate in (0.5, 0.8, 0.95)),
    *(Design(13, 0, 2, rate, sizes=(1, 20)) for rate in (0.5, 0.8, 0.95)),
    *(Design(20, 0, 2, rate, sizes=(1, 20)) for rate in (0.5, 0.8)),
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


def worse(
    base: list[list[float]], share: float, rng: random.Random, whole_clusters: bool = False
) -> list[list[float]]:
    """A candidate that never solves a share of the examples, or of the clusters: its rate is lower by share x rate."""
    if whole_clusters:
        return [[0.0] * len(cluster) if rng.random() < share else cluster for cluster in base]
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


def promised(design: Design, runs: int, seed: int = 1, whole_clusters: bool = False) -> Stated:
    """Draw `runs` times a pair of equals, which states what it would find, and a new pair that has just that.

    The new pair differs as the first does, and one of the two is worse besides: two models, and not a model and its
    own shadow, which would vary less.
    """
    rng = random.Random(zlib.crc32(f"power {design.name} {whole_clusters} {seed}".encode()))
    stated: list[float] = []
    found = 0
    for _ in range(runs):
        pair = compared(design, rng)
        effect = pair.detectable_in_clusters if whole_clusters else pair.minimum_detectable_effect
        if effect is None or effect > design.rate:
            continue
        stated.append(effect)
        found += _found(compared(design, rng, effect, whole_clusters))
    if not stated:
        return Stated(None, None, 1.0)
    return Stated(fmean(stated), found / len(stated), 1 - len(stated) / runs)


def compared(
    design: Design, rng: random.Random, effect: float = 0.0, whole_clusters: bool = False
) -> stats.Comparison:
    """A new run of two candidates of which the second is worse by `effect`."""
    truth = chances(design, rng)
    second = equal(truth, design, rng)
    if effect:
        second = worse(second, effect / design.rate, rng, whole_clusters)
    trials = [*drawn("a", truth, design, rng), *drawn("b", second, design, rng)]
    return stats.compare(trials, "a", "b")


def _found(pair: stats.Comparison) -> bool:
    return pair.p_value is not None and pair.p_value < stats.ALPHA and (pair.difference or 0) > 0


def study(design: Design, runs: int, seed: int = 1) -> Found:
    """Draw `runs` runs of the design and count."""
    rng = random.Random(zlib.crc32(f"{design.name} {seed}".encode()))
    effect = 0.3 * design.rate
    covered = covered_infra = false = 0
    covered_difference = {False: 0, True: 0}
    ways = (False, True) if design.grouped else (False,)
    for _ in range(runs):
        truth = chances(design, rng)
        a = drawn("a", truth, design, rng)
        b = drawn("b", equal(truth, design, rng), design, rng)
        c = drawn("c", equal(truth, design, rng), design, rng)
        scores = stats.score_set("a", a)
        score, infra = scores.score, scores.infra_rate
        covered += score is not None and score.low <= design.rate <= score.high
        covered_infra += infra is not None and infra.low <= design.infra <= infra.high
        false += any(pair.distinguishable for pair in stats.compare_all([*a, *b, *c], ["a", "b", "c"]))
        for whole in ways:
            d = drawn("d", worse(truth, effect / design.rate, rng, whole), design, rng)
            pair = stats.compare([*a, *d], "a", "d")
            held = pair.low is not None and pair.high is not None and pair.low <= effect <= pair.high
            covered_difference[whole] += held
    return Found(
        design,
        covered / runs,
        covered_difference[False] / runs,
        covered_difference[True] / runs if design.grouped else None,
        false / runs,
        covered_infra / runs if design.infra else None,
    )


def table(found: Sequence[Found]) -> str:
    """How often intervals hold the truth, and equal candidates are told apart: the rows in Markdown."""
    lines = [
        "| clusters x examples x repetitions | score | difference | in clusters | false positives | infra rate |",
        "| :-- | --: | --: | --: | --: | --: |",
    ]
    for each in found:
        shares = (
            each.coverage,
            each.coverage_difference,
            each.coverage_clusters,
            each.false_positives,
            each.coverage_infra,
        )
        cells = ["" if share is None else f"{100 * share:.1f} %" for share in shares]
        lines.append(f"| {each.design.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def power_table(found: Sequence[tuple[Design, Sequence[Stated]]]) -> str:
    """How often the stated effects are found: the rows in Markdown."""
    lines = [
        "| clusters x examples x repetitions | examples turn | found | none | clusters turn | found | none |",
        "| :-- | --: | --: | --: | --: | --: | --: |",
    ]
    for design, both in found:
        cells = [cell for power in both for cell in _cells(power)]
        cells += [""] * (6 - len(cells))
        lines.append(f"| {design.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cells(power: Stated) -> tuple[str, str, str]:
    return (
        "" if power.effect is None else f"{100 * power.effect:.1f} points",
        "" if power.found is None else f"{100 * power.found:.0f} %",
        f"{100 * power.silent:.0f} %" if power.silent >= 0.005 else "",
    )


def main() -> None:
    """Run one of the two studies and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--design", default="", help="only designs whose name contains this")
    parser.add_argument("--power", action="store_true", help="how often the stated effects are found")
    options = parser.parse_args()
    chosen = [design for design in DESIGNS if options.design in design.name]
    if options.power:
        power = []
        for design in chosen:
            ways = (False, True) if design.grouped else (False,)
            power.append((design, [promised(design, options.runs, options.seed, whole) for whole in ways]))
            print(power_table(power[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
        print(power_table(power))
        return
    found = []
    for design in chosen:
        # Detectable effects are not looked at here, and would take most of the time
        with patch("bakeoff.stats.paired.minimum_detectable_effect", return_value=None):
            found.append(study(design, options.runs, options.seed))
        print(table(found[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    print(table(found))


if __name__ == "__main__":
    main()
