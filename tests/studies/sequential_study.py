"""Does stopping early keep its promises? Synthetic runs with looks, of candidates whose true rates are known.

    python -m tests.studies.sequential_study [--runs 3000] [--design NAME]

Prints the tables of docs/statistics.md. The looks are re-implemented for arrays of runs, with the product's boundaries;
a unit test checks them against the product, run by run.

How a run is drawn: as in stats_study, but what differs between candidates lies in whole clusters. An equal candidate
has fresh chances in 30 % of the clusters; a worse one never solves a share of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats as distributions

from bakeoff.stats import sequential
from bakeoff.stats.detectable import ALPHA, FEW_CLUSTERS
from bakeoff.stats.intervals import difference_df
from tests.studies.stats_study import ALIKE, REDRAWN, WITHIN


@dataclass(frozen=True)
class Design:
    """A run's shape, and how much each candidate is worse than the first one, in shares of all examples."""

    clusters: int
    examples: int  # in each cluster; `sizes` replaces it
    repetitions: int
    rate: float
    worse: tuple[float, ...] = (0.0, 0.0, 0.0)
    sizes: tuple[int, int] | None = None  # equally spaced on a logarithmic scale

    @property
    def name(self) -> str:
        examples = f"{self.sizes[0]} to {self.sizes[1]}" if self.sizes else self.examples
        return f"{self.clusters} x {examples} x {self.repetitions}, rate {self.rate}"

    @property
    def layout(self) -> np.ndarray:
        """The cluster of each example."""
        if self.sizes is None:
            return np.repeat(np.arange(self.clusters), self.examples)
        least, most = self.sizes
        share = np.arange(self.clusters) / (self.clusters - 1)
        return np.repeat(np.arange(self.clusters), np.rint(least * (most / least) ** share).astype(int))


@dataclass(frozen=True)
class Found:
    """Shares of runs."""

    wrong: float  # in which a candidate was dropped by one that is no better
    peeking: float  # the same, if each look used the level of a run without looks
    winner: float  # in which the best one alone was left
    fixed: float  # in which it would have won without looks
    saved: float  # of the trials, on average
    early: float  # that ended before the last look
    coverage: float  # of the repeated interval of a pair's difference, at its last look
    coverage_fixed: float  # the same, of the 95 % interval of a run without looks
    excess: float  # by how much the lead is overstated where there is a winner, in points


EQUAL = (
    *(Design(13, 3, 5, rate) for rate in (0.5, 0.8)),
    *(Design(40, 1, 5, rate) for rate in (0.5, 0.8)),
    *(Design(89, 1, 5, rate) for rate in (0.6, 0.9)),
    *(Design(8, 10, 5, rate) for rate in (0.5, 0.8)),
    Design(13, 0, 5, 0.5, sizes=(1, 6)),
    Design(13, 0, 5, 0.5, sizes=(1, 20)),
    Design(20, 2, 3, 0.7),
    Design(89, 1, 2, 0.6),
    Design(40, 1, 10, 0.5),
    *(Design(clusters, 1, 5, 0.6, (0.0,) * 5) for clusters in (40, 89)),
    Design(13, 3, 10, 0.6, (0.0,) * 5),
    *(Design(clusters, 1, 5, 0.6, (0.0,) * 2) for clusters in (40, 89)),
)
DIFFERENT = (
    *(Design(89, 1, 5, 0.6, (0.0, gap)) for gap in (0.05, 0.1, 0.2, 0.3)),
    Design(40, 1, 5, 0.8, (0.0, 0.2)),
    Design(13, 3, 5, 0.8, (0.0, 0.3)),
    Design(8, 10, 5, 0.8, (0.0, 0.4)),
    # hard: few clusters, or of different sizes, of which 30 % turn
    *(Design(8, 10, 5, rate, (0.0, 0.3 * rate)) for rate in (0.5, 0.8)),
    Design(13, 0, 5, 0.5, (0.0, 0.15), sizes=(1, 6)),
    *(Design(13, 0, 5, 0.8, (0.0, 0.24), sizes=(1, most)) for most in (20, 60)),
    Design(40, 0, 5, 0.8, (0.0, 0.24), sizes=(1, 8)),
    Design(89, 1, 5, 0.8, (0.0, 0.3, 0.3)),
    Design(200, 1, 5, 0.8, (0.0, 0.02, 0.1, 0.2, 0.3)),
    Design(200, 1, 5, 0.8, (0.0, 0.2, 0.2, 0.2, 0.2)),
    Design(200, 1, 10, 0.8, (0.0, 0.2, 0.3)),
)


def chances(design: Design, runs: int, rng: np.random.Generator) -> np.ndarray:
    """The truth of drawn datasets: (runs, examples) chances of a pass."""

    def beta(mean: np.ndarray, spread: float) -> np.ndarray:
        return rng.beta(np.maximum(mean * spread, 1e-9), np.maximum((1 - mean) * spread, 1e-9))

    centres = beta(np.full((runs, design.clusters), design.rate), ALIKE)
    if design.sizes is None and design.examples == 1:
        return centres
    return beta(centres[:, design.layout], WITHIN)


def passes(design: Design, runs: int, rng: np.random.Generator) -> np.ndarray:
    """Passes of (runs, candidates, examples, repetitions)."""
    layout, truth = design.layout, chances(design, runs, rng)
    drawn = []
    for number, gap in enumerate(design.worse):
        own = truth
        if number:
            redrawn = (rng.random((runs, design.clusters)) < REDRAWN)[:, layout]
            own = np.where(redrawn, chances(design, runs, rng), truth)
        lost = (rng.random((runs, design.clusters)) < gap / design.rate)[:, layout]
        own = np.where(lost, 0.0, own)
        drawn.append(rng.random((*own.shape, design.repetitions)) < own[..., None])
    return np.stack(drawn, axis=1)


def tested(differences: np.ndarray, layout: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean, standard error, degrees of freedom and p of (runs, examples) differences, as `stats.compare`."""
    n, g = differences.shape[1], layout.max() + 1
    member = np.zeros((n, g))
    member[np.arange(n), layout] = 1
    sizes, mean = member.sum(0), differences.mean(1)
    sums, share = differences @ member, sizes / n
    residuals = sums - mean[:, None] * sizes
    se = np.sqrt((residuals**2 / (1 - share)).sum(1)) / n
    df = np.full(len(mean), g - 1.0)
    if len(set(sizes)) > 1:
        clusters = [str(each) for each in layout]
        df = np.array([difference_df(own, clusters) for own in differences.tolist()])
    level = se < 1e-12
    p = 2 * distributions.t.sf(np.abs(mean) / np.where(level, 1, se), df)
    differing = (np.abs(sums) > 1e-12).sum(1)
    p = np.where(differing < FEW_CLUSTERS, 1.0, p)  # the exact test's is never below 0.05
    p = np.where(level, np.where(np.abs(mean) < 1e-12, 1.0, 2.0 ** (1 - g)), p)
    return mean, se, df, p, differing


def sequential_p(p: np.ndarray, look: int, times: tuple[float, ...]) -> np.ndarray:
    """`sequential.sequential_p` of many."""
    known = np.array(sequential._known(times)[look - 1])
    z = distributions.norm.isf(np.maximum(p, 1e-300) / 2)
    found = 4 * distributions.norm.sf(np.interp(z, known, sequential.KNOTS))
    return np.where(z <= known[0], 1.0, found)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values of (runs, pairs)."""
    m, order = p.shape[1], np.argsort(p, axis=1)
    ranked = np.take_along_axis(p, order, 1) * np.arange(m, 0, -1)
    adjusted = np.minimum(1, np.maximum.accumulate(ranked, axis=1))
    return np.take_along_axis(adjusted, np.argsort(order, axis=1), 1)


def conditional_power(p: np.ndarray, time: float, critical: np.ndarray) -> np.ndarray:
    """`sequential.conditional_power` of many."""
    z = distributions.norm.isf(np.maximum(p, 1e-300) / 2)
    expected = z * np.sqrt(time) + z * (1 - time) / np.sqrt(time)
    return distributions.norm.sf((critical - expected) / np.sqrt(1 - time))


def study(design: Design, runs: int, seed: int = 1, *, futility: bool = True) -> Found:
    """Draw runs of the design, take the looks, and count."""
    return judged(design, passes(design, runs, np.random.default_rng(seed)), futility=futility)


@dataclass
class Course:
    """How many runs go, look by look: arrays of (runs, candidates) and (runs, pairs)."""

    last: np.ndarray  # look of each candidate's end; the planned number of looks: it was not dropped
    ended: np.ndarray  # look at which the run ended
    p: np.ndarray  # sequential, at each pair's last look
    naive: np.ndarray  # whether a pair was distinguished at any look at the level of a run without looks
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def course(design: Design, drawn: np.ndarray, *, futility: bool) -> Course:
    """Take the looks."""
    runs, count, _, repetitions = drawn.shape
    pairs, looks = list(combinations(range(count), 2)), sequential.planned(repetitions)
    times, layout = sequential.Looks(looks, 1).times, design.layout
    one = sequential.boundaries(times, ALPHA)
    alive, running = np.ones((runs, count), bool), np.ones(runs, bool)
    shape = (runs, len(pairs))
    made = Course(
        np.full((runs, count), len(looks)),
        np.full(runs, len(looks)),
        np.ones(shape),
        np.zeros(shape, bool),
        *(np.zeros(shape) for _ in range(3)),
    )
    for number, until in enumerate(looks, start=1):
        rates = drawn[..., :until].mean(3)
        raw = np.ones(shape)
        sides = np.zeros(shape)
        for i, (a, b) in enumerate(pairs):
            mean, se, df, raw[:, i], differing = tested(rates[:, a] - rates[:, b], layout)
            here = running & alive[:, a] & alive[:, b]
            made.p[here, i] = sequential_p(raw[:, i], number, times)[here]
            half = distributions.t.isf(one[number - 1] / 2, df)
            clusters = design.clusters
            extra = (layout.size / clusters) ** 2 * clusters / (layout.size * until)
            cautious = np.sqrt(se**2 + clusters / (clusters - 1) * extra / layout.size**2)
            few = differing < FEW_CLUSTERS
            low = np.where(few, np.minimum(mean - half * cautious, 0), mean - half * se)
            high = np.where(few, np.maximum(mean + half * cautious, 0), mean + half * se)
            for held, value in ((made.mean, mean), (made.low, low), (made.high, high)):
                held[here, i] = value[here]
            sides[:, i] = mean
        made.naive |= holm(raw) < ALPHA
        significant = holm(made.p) < ALPHA
        before = alive.copy()
        for i, (a, b) in enumerate(pairs):
            here = running & before[:, a] & before[:, b] & significant[:, i]
            for name, loses in ((a, sides[:, i] < 0), (b, sides[:, i] > 0)):
                made.last[here & loses & alive[:, name], name] = number
                alive[here & loses, name] = False
        over = alive.sum(1) <= 1
        if futility and number < len(looks) and times[number - 1] >= sequential.FUTILE_FROM:
            over |= futile(raw, alive, (~significant).sum(1), times, number)
        made.ended[running & over] = number
        running &= ~over
    made.last = np.minimum(made.last, made.ended[:, None])
    return made


def futile(
    p: np.ndarray, alive: np.ndarray, undecided: np.ndarray, times: tuple[float, ...], number: int
) -> np.ndarray:
    """In which runs no pair that is left is likely to be distinguished by the end; `p`: (runs, pairs)."""
    pairs = list(combinations(range(alive.shape[1]), 2))
    last = [0.0, *(sequential.critical_values(times, ALPHA / m)[-1] for m in range(1, len(pairs) + 1))]
    likely = np.zeros(len(alive), bool)
    for i, (a, b) in enumerate(pairs):
        power = conditional_power(p[:, i], times[number - 1], np.array(last)[undecided])
        likely |= alive[:, a] & alive[:, b] & (power >= sequential.FUTILE_BELOW)
    return ~likely


def judged(design: Design, drawn: np.ndarray, *, futility: bool = True) -> Found:
    """What the looks at drawn runs show."""
    made = course(design, drawn, futility=futility)
    count, repetitions = drawn.shape[1], drawn.shape[3]
    pairs, looks = list(combinations(range(count), 2)), np.array(sequential.planned(repetitions))
    gap = np.array([design.worse[b] - design.worse[a] for a, b in pairs])
    significant = holm(made.p) < ALPHA
    wrong = (significant & (made.mean * gap <= 0)).any(1)
    final = np.ones(significant.shape)
    fixed_covers = np.zeros(significant.shape, bool)
    rates = drawn.mean(3)
    lead = np.zeros(significant.shape)
    for i, (a, b) in enumerate(pairs):
        mean, se, df, final[:, i], _ = tested(rates[:, a] - rates[:, b], design.layout)
        half = distributions.t.isf(ALPHA / 2, df) * se
        fixed_covers[:, i] = (mean - half <= gap[i] + 1e-12) & (gap[i] - 1e-12 <= mean + half)
        lead[:, i] = mean
    of_best = [i for i, (a, _) in enumerate(pairs) if a == 0]
    fixed = ((holm(final) < ALPHA) & (lead > 0))[:, of_best].all(1)
    beaten = np.zeros((drawn.shape[0], count), bool)
    for i, (a, b) in enumerate(pairs):
        beaten[:, b] |= significant[:, i] & (made.mean[:, i] > 0)
        beaten[:, a] |= significant[:, i] & (made.mean[:, i] < 0)
    winner = beaten[:, 1:].all(1) & ~beaten[:, 0]
    closest = int(np.argmin(np.where([a == 0 for a, _ in pairs], gap, np.inf)))
    excess = (made.mean[:, closest] - gap[closest])[winner]
    covers = (made.low <= gap + 1e-12) & (gap - 1e-12 <= made.high)
    return Found(
        wrong=float(wrong.mean()),
        peeking=float((made.naive & (gap == 0)).any(1).mean()),
        winner=float(winner.mean()),
        fixed=float(fixed.mean()),
        saved=1 - float(looks[made.last - 1].mean()) / repetitions,
        early=float((made.ended < len(looks)).mean()),
        coverage=float(covers.mean()),
        coverage_fixed=float(fixed_covers.mean()),
        excess=100 * float(excess.mean()) if winner.any() else 0.0,
    )


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def main() -> None:
    """Run the study and print its tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--design", default="", help="only designs whose name contains this")
    options = parser.parse_args()
    table(
        ("equal candidates", "", "wrong", "no futility", "peeking", "saved", "interval"),
        [_equal(design, options) for design in EQUAL if options.design in design.name],
    )
    table(
        (
            "one is best",
            "behind it",
            "wins",
            "no looks",
            "saved",
            "interval",
            "no futility",
            "no looks",
            "overstated",
        ),
        [_different(design, options) for design in DIFFERENT if options.design in design.name],
    )


def _equal(design: Design, options: argparse.Namespace) -> list[str]:
    drawn = passes(design, options.runs, np.random.default_rng(options.seed))
    found, bare = judged(design, drawn), judged(design, drawn, futility=False)
    shares = (found.wrong, bare.wrong, found.peeking, found.saved, min(found.coverage, bare.coverage))
    return [design.name, str(len(design.worse)), *map(percent, shares)]


def _different(design: Design, options: argparse.Namespace) -> list[str]:
    drawn = passes(design, options.runs, np.random.default_rng(options.seed))
    found, bare = judged(design, drawn), judged(design, drawn, futility=False)
    behind = ", ".join(f"{100 * gap:g}" for gap in design.worse[1:])
    shares = (found.winner, found.fixed, found.saved, found.coverage, bare.coverage, found.coverage_fixed)
    return [design.name, behind, *map(percent, shares), f"{found.excess:.1f} points"]


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print the rows in Markdown."""
    print(f"| {' | '.join(headings)} |")
    print(f"| :-- {'| --: ' * (len(headings) - 1)}|")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print()


if __name__ == "__main__":
    main()
