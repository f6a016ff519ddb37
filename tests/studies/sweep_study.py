"""Do the statistics of a sweep keep their promises? Synthetic sweeps whose true rates are known.

    python -m tests.studies.sweep_study [--runs 300] [--design NAME] [--table NAME]

Prints the tables of docs/statistics.md, section Sweeps. No container and no model: trials are drawn.

A sweep is about its own tasks, so the truth of a run is that of the tasks drawn for it: a task that passes under one
profile and fails under another is a difference, not noise. Chances lie apart as in `stats_study`; `all or nothing`
means that a task nearly always or nearly never passes (98 and 2 %).
"""

from __future__ import annotations

import argparse
import random
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from bakeoff import stats
from bakeoff.stats.sweep.contrasts import difference
from bakeoff.stats.sweep.equivalence import equivalence
from bakeoff.stats.sweep.strata import Values, inference_of
from tests.studies.stats_study import ALIKE, REDRAWN

TOGETHER = 3  # tasks of a cluster that turns
TURNED = 0.3  # share of clusters that never pass under the other profile, or of redrawn tasks
EVEN = 0.2  # share of every task's passes that are lost

Chances = list[float]


@dataclass(frozen=True, slots=True)
class Design:
    """Shape of a sweep and how its tasks' chances lie."""

    tasks: int
    repetitions: int
    rate: float
    spread: str = "wide"  # "alike": one chance; "all or nothing": 98 and 2 %

    @property
    def name(self) -> str:
        kind = "" if self.spread == "wide" else f", {self.spread}"
        return f"{self.tasks} x {self.repetitions}, rate {self.rate}{kind}"


SHAPES = ((6, 2), (6, 5), (12, 3), (40, 2), (40, 5), (89, 3), (89, 5))
DESIGNS = (
    *(Design(*shape, rate) for shape in SHAPES for rate in (0.5, 0.8, 0.95)),
    *(Design(*shape, 0.9, "alike") for shape in SHAPES),
    *(Design(*shape, 0.6, "all or nothing") for shape in SHAPES),
)
ONCE = tuple(Design(tasks, 1, rate) for tasks in (12, 40, 89) for rate in (0.5, 0.8))
SWEEPS = tuple(Design(tasks, repetitions, 0.6) for tasks, repetitions in ((12, 3), (40, 3), (89, 5)))


def chances(design: Design, rng: random.Random) -> Chances:
    """The chance of a pass of each task."""
    if design.spread == "alike":
        return [design.rate] * design.tasks
    if design.spread == "all or nothing":
        return [0.98 if rng.random() < design.rate else 0.02 for _ in range(design.tasks)]
    a, b = design.rate * ALIKE, (1 - design.rate) * ALIKE
    return [rng.betavariate(a, b) for _ in range(design.tasks)]


def redrawn(base: Chances, design: Design, rng: random.Random) -> Chances:
    """Some tasks become easier and others harder."""
    fresh = chances(design, rng)
    return [new if rng.random() < REDRAWN else old for old, new in zip(base, fresh, strict=True)]


def turned(base: Chances, design: Design, rng: random.Random) -> Chances:
    """Whole clusters never pass."""
    clusters = [rng.random() < TURNED for _ in range(-(-design.tasks // TOGETHER))]
    return [0.0 if clusters[i // TOGETHER] else chance for i, chance in enumerate(base)]


def evenly(base: Chances, design: Design, rng: random.Random) -> Chances:
    """Every task passes a little less often."""
    return [chance * (1 - EVEN) for chance in base]


def drawn(profiles: Sequence[Chances], repetitions: int, rng: random.Random, cluster: int = 1) -> Values:
    """One sweep without infrastructure errors: a trial of each profile in every block."""
    by_task = {
        f"{task}": [[float(rng.random() < chance) for chance in own] for _ in range(repetitions)]
        for task, own in enumerate(zip(*profiles, strict=True))
    }
    cluster_of = {task: f"{int(task) // cluster}" for task in by_task}
    return Values(by_task, cluster_of, inference_of(by_task.values()))


@dataclass
class Counts:
    """How often something held, of how many runs it could."""

    held: dict[str, int] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, held: bool) -> None:
        self.held[name] = self.held.get(name, 0) + held
        self.runs[name] = self.runs.get(name, 0) + 1

    def share(self, name: str) -> float | None:
        """None: it was never asked."""
        return self.held[name] / self.runs[name] if self.runs.get(name) else None


def differences(design: Design, runs: int, seed: int = 1) -> Counts:
    """One planned difference of two profiles, and the interaction of two candidates with them.

    `equal` and `interaction` count false positives; `redrawn`, `turned` and `even` how often the 95 % interval held
    the truth; `near` how often two profiles that differ by just the margin were said to be equivalent.
    """
    rng = random.Random(zlib.crc32(f"{design.name} {seed}".encode()))
    counts = Counts()
    ways: dict[str, Callable[[Chances, Design, random.Random], Chances]] = {
        "redrawn": redrawn,
        "turned": turned,
        "even": evenly,
    }
    for _ in range(runs):
        base, other = chances(design, rng), chances(design, rng)
        same = drawn([base, base, other, other], design.repetitions, rng)
        found = difference(same, 0, 1)
        counts.add("equal", found is not None and found.p_value < stats.ALPHA)
        interaction = same.weighted({0: 1.0, 1: -1.0, 2: -1.0, 3: 1.0})
        counts.add("interaction", interaction is not None and interaction.p_value < stats.ALPHA)
        for name, way in ways.items():
            changed = way(base, design, rng)
            truth = fmean(changed) - fmean(base)
            found = difference(drawn([base, changed], design.repetitions, rng), 0, 1)
            if found is None:
                continue
            low, high = found.interval()
            counts.add(name, low - 1e-9 <= truth <= high + 1e-9)
            if truth and name != "redrawn":
                verdict = equivalence("low", "high", found, abs(truth)).verdict
                counts.add(f"near {name}", verdict == "equivalent")
    return counts


def once(design: Design, runs: int, seed: int = 1) -> Counts:
    """One repetition: tasks are a sample, and the truth is that of all tasks like them."""
    rng = random.Random(zlib.crc32(f"once {design.name} {seed}".encode()))
    counts = Counts()
    for _ in range(runs):
        base = chances(design, rng)
        found = difference(drawn([base, redrawn(base, design, rng)], 1, rng), 0, 1)
        counts.add("equal", found is not None and found.p_value < stats.ALPHA)
        counts.add("redrawn", found is not None and found.interval()[0] <= 0 <= found.interval()[1])
        for name, share, way in (("turned", TURNED, _some), ("even", EVEN, evenly)):
            found = difference(drawn([base, way(base, design, rng)], 1, rng), 0, 1)
            truth = -share * design.rate
            counts.add(name, found is not None and found.interval()[0] <= truth <= found.interval()[1])
    return counts


def _some(base: Chances, design: Design, rng: random.Random) -> Chances:
    """Some tasks, each for itself, never pass."""
    return [0.0 if rng.random() < TURNED else chance for chance in base]


LEVELS = ("1", "2", "3", "4", "5", "6")
FLAT = (0.02,) * 6
STEEP = (0.058, 0.04, 0.021, 0.012, 0.008, 0.005)


@dataclass(frozen=True, slots=True)
class Truth:
    """The chances behind one sweep: by level and task."""

    killed: Sequence[Chances]
    passes: Sequence[Chances]  # of a trial that completes

    def deployed(self, level: int) -> float:
        return fmean((1 - k) * p for k, p in zip(self.killed[level], self.passes[level], strict=True))


def truth_of(design: Design, infra: Sequence[float], lift: float, hits: str, rng: random.Random) -> Truth:
    """`hits`: "any" kills trials of every task alike, "heavy" mostly those of few, "hard" those that are hard too, and
    "some" only those of every sixth task.

    `lift` is the share of what fails under the lowest profile that passes under the highest.
    """
    base = chances(design, rng)
    heavy = [1.0] * design.tasks if hits == "any" else [rng.gammavariate(0.3, 1 / 0.3) for _ in base]
    if hits == "some":
        heavy = [float(task % 6 == 0) for task in range(design.tasks)]
    if hits == "hard":
        heavy = [h * (1 - p) for h, p in zip(heavy, base, strict=True)]
    scale = fmean(heavy)
    steps = len(infra) - 1
    return Truth(
        [[min(0.97, rate * h / scale) for h in heavy] for rate in infra],
        [[p + lift * level / steps * (1 - p) for p in base] for level in range(len(infra))],
    )


def outcomes(truth: Truth, repetitions: int, rng: random.Random) -> list[stats.Outcome]:
    """One sweep's outcomes."""
    made = []
    for level, (killed, passes) in enumerate(zip(truth.killed, truth.passes, strict=True)):
        for task, (kill, chance) in enumerate(zip(killed, passes, strict=True)):
            for repetition in range(repetitions):
                dead = rng.random() < kill
                verdict = "infra_error" if dead else "passed" if rng.random() < chance else "failed"
                made.append(
                    stats.Outcome(
                        LEVELS[level],
                        f"{task}",
                        f"{task}",
                        repetition,
                        verdict,  # type: ignore[arg-type]
                        "infra.oom_killed" if dead else None,
                        dead,
                    )
                )
    return made


def sweeps(design: Design, hits: str, runs: int, seed: int = 1) -> Counts:
    """Six levels: nothing differs; infrastructure errors fall from 5.8 to 0.5 %; and the score rises as well.

    False positives: of the `trend` where nothing differs, of any difference as deployed there (`sequence`), of any
    level as `below` 2 % where all have 2 %, and of ceiling against floor on `clean` tasks where errors alone fall.
    Coverage where both move: of the floor's `score`, of the difference as `deployed`, and of its two parts. Power:
    `trend found`.
    """
    rng = random.Random(zlib.crc32(f"sweep {design.name} {hits} {seed}".encode()))
    counts = Counts()
    for _ in range(runs):
        truth = truth_of(design, FLAT, 0.0, hits, rng)
        found = stats.study(outcomes(truth, design.repetitions, rng), LEVELS)
        counts.add("trend", found.trend is not None and found.trend.p_value < stats.ALPHA)
        counts.add("sequence", any(each.shown for each in found.deployed))
        if fmean(truth.killed[-1]) > FLAT[-1] - 1e-9:  # not where the heaviest task is at its bound
            counts.add("below", found.smallest is not None)
        truth = truth_of(design, STEEP, 0.0, hits, rng)
        found = stats.study(outcomes(truth, design.repetitions, rng), LEVELS)
        counts.add("trend found", found.trend is not None and found.trend.falls)
        counts.add("clean", found.clean[0].shown)
        truth = truth_of(design, STEEP, 0.2, hits, rng)
        _coverage(stats.study(outcomes(truth, design.repetitions, rng), LEVELS), truth, counts)
    return counts


def _coverage(found: stats.SweepStudy, truth: Truth, counts: Counts) -> None:
    score = found.levels[0].as_deployed
    counts.add("score", score is not None and score.low <= truth.deployed(0) <= score.high)
    gained = truth.deployed(5) - truth.deployed(0)
    counts.add("deployed", _within(gained, found.deployed[0].lower, found.deployed[0].upper))
    if found.decomposition is not None:
        errors, behaviour = _parts(truth)
        for name, part, true in (
            ("errors", found.decomposition.errors, errors),
            ("behaviour", found.decomposition.behaviour, behaviour),
        ):
            counts.add(name, _within(true, part.lower, part.upper))


def _within(value: float, low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and low - 1e-9 <= value <= high + 1e-9


def _parts(truth: Truth) -> tuple[float, float]:
    """Kitagawa's parts of the true difference."""
    ends = zip(truth.killed[0], truth.passes[0], truth.killed[-1], truth.passes[-1], strict=True)
    parts = [
        ((s_low + s_high) / 2 * (k_low - k_high), (2 - k_low - k_high) / 2 * (s_high - s_low))
        for k_low, s_low, k_high, s_high in ends
    ]
    return fmean(each[0] for each in parts), fmean(each[1] for each in parts)


KNEE_INFRA = (0.08, 0.03, 0.004, 0.002, 0.001)
KNEE_GAIN = (0.0, 0.0, 0.0, 0.06, 0.12)  # of the score of completed trials
KNEE_MARGIN = 0.05
# Nothing to recommend: the second level has just too many errors, the third just measures another thing
EDGE_INFRA = (0.08, 0.02, 0.001, 0.001, 0.001)
EDGE_GAIN = (0.0, 0.0, KNEE_MARGIN, KNEE_MARGIN, KNEE_MARGIN)


def recommended(
    repetitions: int,
    infra: Sequence[float],
    gain: Sequence[float],
    right: str | None,
    runs: int,
    seed: int = 1,
) -> Counts:
    """40 tasks at five levels. Every sixth task is killed at times, mostly at the lowest levels.

    Args:
        right: the level to recommend; None: none is.
    """
    rng = random.Random(zlib.crc32(f"recommended {repetitions} {right} {seed}".encode()))
    design = Design(40, repetitions, 0.7)
    counts = Counts()
    for _ in range(runs):
        flat = truth_of(design, infra, 0.0, "some", rng)
        light = [p for p, killed in zip(flat.passes[0], flat.killed[0], strict=True) if not killed]
        room = 1 - fmean(light)
        passes = [[p + each / room * (1 - p) for p in flat.passes[0]] for each in gain]
        truth = Truth(flat.killed, passes)
        said = stats.study(outcomes(truth, repetitions, rng), LEVELS[:5], margin=KNEE_MARGIN).recommendation
        counts.add("right", right is not None and said.experiment == right)
        counts.add("wrong", said.experiment not in (None, right))
        counts.add("cannot say", said.verdict == "cannot say")
        counts.add("none", said.verdict == "none")
    return counts


def knee(repetitions: int, runs: int) -> Counts:
    """The third level is right: the score rises from the fourth on."""
    return recommended(repetitions, KNEE_INFRA, KNEE_GAIN, "3", runs)


def edge(repetitions: int, runs: int) -> Counts:
    """No level is right, and all are as near to it as can be."""
    return recommended(repetitions, EDGE_INFRA, EDGE_GAIN, None, runs)


def promised(design: Design, margin: float, runs: int, seed: int = 1) -> tuple[int, Counts]:
    """The repetitions that `repetitions_for` states for a margin, and how often they show equal profiles equivalent."""
    rng = random.Random(zlib.crc32(f"promised {design.name} {margin} {seed}".encode()))
    counts = Counts()
    needed = 0
    for _ in range(runs):
        base = chances(design, rng)
        needed = stats.repetitions_for(margin, base)
        found = difference(drawn([base, base], needed, rng), 0, 1)
        counts.add("found", equivalence("a", "b", found, margin).verdict == "equivalent")
    return needed, counts


def _cell(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def row(name: str, counts: Counts, columns: Sequence[str]) -> str:
    """A row of a table in Markdown."""
    return f"| {name} | {' | '.join(_cell(counts.share(column)) for column in columns)} |"


DIFFERENCE_COLUMNS = (
    "equal", "interaction", "redrawn", "turned", "even", "near turned", "near even",
)  # fmt: skip
SWEEP_COLUMNS = (
    "trend", "sequence", "below", "clean", "score", "deployed", "errors", "behaviour", "trend found",
)  # fmt: skip


def _header(first: str, columns: Sequence[str]) -> str:
    return f"| {first} | {' | '.join(columns)} |\n| :-- |{' --: |' * len(columns)}"


def main() -> None:
    """Run the study and print its tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--design", default="", help="only designs whose name contains this")
    parser.add_argument(
        "--table", default="", help="only this one: differences, once, sweeps, knee or promised"
    )
    options = parser.parse_args()
    runs, seed = options.runs, options.seed

    def wanted(table: str) -> bool:
        return options.table in ("", table)

    def chosen(designs: Sequence[Design]) -> list[Design]:
        return [design for design in designs if options.design in design.name]

    shape = "tasks x repetitions"
    if wanted("differences"):
        print(_header(shape, DIFFERENCE_COLUMNS))
        for design in chosen(DESIGNS):
            print(row(design.name, differences(design, runs, seed), DIFFERENCE_COLUMNS), flush=True)
    if wanted("once"):
        columns = ("equal", "redrawn", "turned", "even")
        print("\n" + _header(shape, columns))
        for design in chosen(ONCE):
            print(row(design.name, once(design, runs, seed), columns), flush=True)
    if wanted("sweeps"):
        print("\n" + _header(f"{shape}, kills hit", SWEEP_COLUMNS))
        for design in chosen(SWEEPS):
            for hits in ("any", "heavy", "hard"):
                found = sweeps(design, hits, max(1, runs // 4), seed)
                print(row(f"{design.name}, {hits}", found, SWEEP_COLUMNS), flush=True)
    if wanted("knee"):
        columns = ("right", "wrong", "cannot say", "none")
        print("\n" + _header("repetitions of 40 tasks", columns))
        for name, way in (("the third is right", knee), ("none is right", edge)):
            for repetitions in (5, 15, 30):
                found = way(repetitions, max(1, runs // 15))
                print(row(f"{repetitions}, {name}", found, columns), flush=True)
    if wanted("promised"):
        print("\n| tasks, rate | margin | repetitions | found |\n| :-- | --: | --: | --: |")
        for design in (Design(40, 0, 0.8), Design(89, 0, 0.6), Design(12, 0, 0.5)):
            for margin in (0.05, 0.1):
                needed, found = promised(design, margin, runs, seed)
                print(
                    f"| {design.tasks}, rate {design.rate} | {100 * margin:.0f} points | {needed} | "
                    f"{_cell(found.share('found'))} |",
                    flush=True,
                )


if __name__ == "__main__":
    sys.exit(main())
