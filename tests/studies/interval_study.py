"""Which interval for a clustered proportion? `bakeoff.stats.estimate` beside what else is in use.

    python tests/interval_study.py [--runs 2000]

Prints the second table of docs/statistics.md. Clusters have one size and come as counts of passed trials, so that
whole studies are one array; `tests/unit/test_stats.py` holds this file's form of our interval to `estimate`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import special

from bakeoff.stats.intervals import CAUTION

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Interval = tuple[Floats, Floats]

Z = float(special.ndtri(0.975))
TINY = 1e-12
SHAPES = (
    (6, 6),
    (8, 6),
    (8, 30),
    (8, 100),
    (13, 6),
    (20, 6),
    (40, 3),
    (40, 30),
    (100, 5),
)  # clusters, trials in each
RATES = (0.5, 0.8, 0.9, 0.95, 0.98)
SPREADS = (0.5, 1.5, 5.0, 20.0)  # a + b of a cluster's Beta: from all or nothing to alike


def moments(passed: Counts, size: int) -> tuple[Floats, Floats, int]:
    """Of each run (a row: passed trials by cluster): the rate, its squared standard error, and the clusters."""
    g = passed.shape[1]
    mean = passed.mean(1) / size
    return mean, ((passed / size - mean[:, None]) ** 2).sum(1) / (g * (g - 1)), g


def wilson(mean: Floats, n: Floats, z: float = Z) -> Interval:
    """`bakeoff.stats.wilson` of arrays."""
    centre = (mean + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(mean * (1 - mean) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return np.maximum(0, centre - half), np.minimum(1, centre + half)


def seen(mean: Floats, squared: Floats, most: int) -> Floats:
    """Korn & Graubard's effective number of trials."""
    return np.asarray(np.minimum(most, np.maximum(mean * (1 - mean), TINY) / np.maximum(squared, TINY**2)))


def ours(passed: Counts, size: int) -> Interval:
    """`bakeoff.stats.estimate`."""
    mean, squared, g = moments(passed, size)
    known = 4 * mean * (1 - mean) * g
    weight = known / (known + CAUTION)
    return wilson(mean, g ** (1 - weight) * seen(mean, squared, g * size) ** weight)


def or_by_clusters(interval: Interval, mean: Floats, squared: Floats, g: int) -> Interval:
    """Where no spread is seen the others have no answer: each cluster counts as one trial, as in `estimate`."""
    low, high = wilson(mean, np.full_like(mean, g))
    flat = squared < TINY
    return np.where(flat, low, interval[0]), np.where(flat, high, interval[1])


def wilson_z(passed: Counts, size: int) -> Interval:
    """Wilson's of Korn & Graubard's number."""
    mean, squared, g = moments(passed, size)
    return or_by_clusters(wilson(mean, seen(mean, squared, g * size)), mean, squared, g)


def wilson_t(passed: Counts, size: int) -> Interval:
    """The same with t (Dean & Pagano 2015)."""
    mean, squared, g = moments(passed, size)
    t = float(special.stdtrit(g - 1, 0.975))
    return or_by_clusters(wilson(mean, seen(mean, squared, g * size), t), mean, squared, g)


def clopper_pearson(passed: Counts, size: int) -> Interval:
    """Clopper's and Pearson's of Korn & Graubard's number, adjusted for the degrees of freedom as they do."""
    mean, squared, g = moments(passed, size)
    t = [float(special.stdtrit(df, 0.975)) for df in (g * size - 1, g - 1)]
    n = np.minimum(g * size, seen(mean, squared, g * size) * (t[0] / t[1]) ** 2)
    x = np.clip(mean * n, TINY, n - TINY)
    low, high = special.betaincinv(x, n - x + 1, 0.025), special.betaincinv(x + 1, n - x, 0.975)
    return or_by_clusters((low, high), mean, squared, g)


def logit(passed: Counts, size: int) -> Interval:
    """Mean ± t · SE of the log odds."""
    mean, squared, g = moments(passed, size)
    inside = np.clip(mean, TINY, 1 - TINY)
    half = special.stdtrit(g - 1, 0.975) * np.sqrt(squared) / (inside * (1 - inside))
    odds = special.logit(inside)
    return or_by_clusters((special.expit(odds - half), special.expit(odds + half)), mean, squared, g)


def beta_binomial(passed: Counts, size: int) -> Interval:
    """The posterior's, priors Beta(1/2, 1/2) of the rate and uniform of the correlation within clusters."""
    odds, correlations = np.linspace(-9, 9, 160), (np.arange(48) + 0.5) / 48
    rates = special.expit(odds)
    strength = 1 / correlations - 1
    a, b = rates[:, None] * strength, (1 - rates[:, None]) * strength
    k = np.arange(size + 1)[:, None, None]
    table = (special.betaln(a + k, b + size - k) - special.betaln(a, b)).reshape(size + 1, -1)
    prior = np.sqrt(rates * (1 - rates))  # Beta(1/2, 1/2), of the log odds
    low, high = np.empty(len(passed)), np.empty(len(passed))
    for start in range(0, len(passed), 500):
        rows = passed[start : start + 500]
        counts = np.stack([(rows == value).sum(1) for value in range(size + 1)], 1)
        logs = counts @ table
        likely = np.exp(logs - logs.max(1, keepdims=True)).reshape(len(rows), len(rates), -1).sum(2) * prior
        likely /= likely.sum(1, keepdims=True)
        below = np.cumsum(likely, 1) - likely / 2
        for row, one in enumerate(below):
            low[start + row], high[start + row] = special.expit(np.interp((0.025, 0.975), one, odds))
    mean = passed.mean(1) / size
    return np.where(mean == 0, 0, low), np.where(mean == 1, 1, high)


INTERVALS: dict[str, Callable[[Counts, int], Interval]] = {
    "Wilson, n\\* as above": ours,
    "Wilson, n̂": wilson_z,
    "Wilson, n̂, t for clusters − 1 (Dean & Pagano 2015)": wilson_t,
    "Clopper-Pearson, n̂, t (Korn & Graubard 1998)": clopper_pearson,
    "logit, t for clusters − 1 (R's survey)": logit,
    "beta-binomial posterior, priors Beta(½, ½) of the rate, uniform of the correlation": beta_binomial,
}


def drawn(rng: np.random.Generator, g: int, size: int, rate: float, spread: float, runs: int) -> Counts:
    """Passed trials by run and cluster, Beta-binomial."""
    a, b = max(rate * spread, 1e-9), max((1 - rate) * spread, 1e-9)
    return np.asarray(rng.binomial(size, rng.beta(a, b, (runs, g))))


def study(runs: int, seed: int = 1) -> Iterator[tuple[str, Floats, float]]:
    """By interval: its coverage of each design, in [0, 1], and its mean width as a multiple of ours."""
    rng = np.random.default_rng(seed)
    covered: dict[str, list[float]] = {name: [] for name in INTERVALS}
    widths: dict[str, list[float]] = {name: [] for name in INTERVALS}
    for (g, size), rate, spread in product(SHAPES, RATES, SPREADS):
        passed = drawn(rng, g, size, rate, spread, runs)
        for name, interval in INTERVALS.items():
            low, high = interval(passed, size)
            covered[name].append(float(np.mean((low <= rate) & (rate <= high))))
            widths[name].append(float(np.mean(high - low)))
    ruler = np.array(next(iter(widths.values())))
    for name in INTERVALS:
        yield name, np.array(covered[name]), float(np.mean(np.array(widths[name]) / ruler))


def main() -> None:
    """Run the study and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    options = parser.parse_args()
    print("| interval | least | mean | below 93 % | above 97 % | above 98 % | width |")
    print("| :-- | --: | --: | --: | --: | --: | --: |")
    for name, covered, width in study(options.runs):
        shares = " | ".join(f"{100 * share:.1f} %" for share in (covered.min(), covered.mean()))
        counts = " | ".join(
            str(int(n)) for n in ((covered < 0.93).sum(), (covered > 0.97).sum(), (covered > 0.98).sum())
        )
        print(f"| {name} | {shares} | {counts} | {width:.2f} |")


if __name__ == "__main__":
    main()
