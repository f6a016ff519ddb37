"""The decision of a run as a sentence: the first one in every report."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from bakeoff.stats.excess import Excess
from bakeoff.stats.intervals import equivalent_clusters
from bakeoff.stats.paired import Comparison, Sensitivity, sensitivities
from bakeoff.stats.scores import Counting, Outcome, ScoreSet, score_set
from bakeoff.stats.sequential import Looks, sensitivities_at
from bakeoff.text import figures

NAMED = 5  # candidates in one sentence
SEVERAL = 3  # candidates, of which the best is partly the luckiest: see docs/statistics.md
ENOUGH_KINDS = 20  # clusters; of these, 12 % would miss a kind as rare as `RARE`
RARE = 0.10  # share of requests


@dataclass(frozen=True, slots=True)
class Decision:
    """Who wins, and with what uncertainty."""

    sentence: str  # names are as the user wrote them: escape before printing
    caveats: tuple[str, ...]
    winner: str | None  # significantly better than every other candidate, in `score` and in `as_deployed`
    leader: str | None  # the highest score, significant or not
    rivals: tuple[str, ...]  # candidates that the leader is not significantly better than
    scores: tuple[ScoreSet, ...]  # best first; those without a score last
    comparisons: tuple[Comparison, ...]  # with infrastructure errors excluded
    sensitivities: tuple[Sensitivity, ...]  # the same pairs under every way to count infrastructure errors

    def better_than(self, candidate: str) -> list[str]:
        """Who is significantly better than it, in `score` and in `as_deployed`."""
        return [pair.better for pair in self.sensitivities if pair.better and pair.worse == candidate]


def decide(
    outcomes: Sequence[Outcome], candidates: Sequence[str] | None = None, looks: Looks | None = None
) -> Decision:
    """Rank the candidates, compare every pair and put the result in words.

    Args:
        outcomes: those of all candidates.
        candidates: all names, including candidates without an outcome; None: the names in `outcomes`.
        looks: of a run that may stop early. A candidate that was dropped comes after all others: another one was
            significantly better. So the last one left is the winner, over some perhaps by way of another.
    """
    names = list(candidates) if candidates is not None else sorted({o.candidate for o in outcomes})
    dropped = looks.dropped if looks else {}
    sets = sorted((score_set(name, outcomes) for name in names), key=_best_first)
    sets.sort(key=lambda s: s.candidate in dropped)
    ranked = [s.candidate for s in sets if s.score is not None]
    pairs = list(combinations(ranked, 2))
    counted = sensitivities_at(outcomes, pairs, looks) if looks else sensitivities(outcomes, pairs)
    comparisons = tuple(pair.by[Counting.SCORE] for pair in counted)
    by_name = {s.candidate: s for s in sets}
    clusters = list({o.example_id: o.cluster for o in outcomes}.values())
    leader = ranked[0] if ranked else None
    against = [c for c in comparisons if c.first == leader]
    ours = [pair for pair in counted if pair.first == leader and pair.second not in dropped]
    rivals = tuple(pair.second for pair in ours if pair.better != leader)
    winner = leader if against and not rivals else None
    return Decision(
        sentence=_sentence(ranked, against, rivals, by_name, dropped),
        caveats=(*_on_looks(looks), *_caveats(sets, counted, clusters)),
        winner=winner,
        leader=leader,
        rivals=rivals,
        scores=tuple(sets),
        comparisons=comparisons,
        sensitivities=counted,
    )


def _best_first(s: ScoreSet) -> tuple[float, str]:
    return (-s.score.mean if s.score else math.inf, s.candidate)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(difference: float) -> str:
    return f"{100 * difference:.1f} points"


def _mean(s: ScoreSet) -> float | None:
    return s.score.mean if s.score else None


def _rated(s: ScoreSet) -> str:
    return f"{s.candidate} ({_percent(s.score.mean)})" if s.score else s.candidate


def _sentence(
    ranked: Sequence[str],
    against: Sequence[Comparison],
    rivals: Sequence[str],
    by_name: Mapping[str, ScoreSet],
    dropped: Collection[str],
) -> str:
    if not ranked:
        return "No trial was completed, so there is nothing to say about any candidate."
    leader = by_name[ranked[0]]
    if not against:
        score = leader.score
        interval = f", 95 % interval {_percent(score.low)} to {_percent(score.high)}" if score else ""
        return f"{_rated(leader)}{interval}, has no other candidate to compare with."
    for_what = ["the looks"] if against[0].look is not None else []
    for_what += ["the number of comparisons"] if len(against) > 1 else []
    corrected = f", corrected for {' and '.join(for_what)}" if for_what else ""
    if overtaken := [c for c in against if c.conclusion < 0 and c.second not in dropped]:
        by_most = min(overtaken, key=lambda c: c.difference or 0.0)
        better = by_name[by_most.second]
        return (
            f"No winner: {_rated(leader)} has the highest score, but {_rated(better)} is better on the examples that "
            f"both completed: {_lead(by_most.reversed(), corrected)}. Their scores are of different examples."
        )
    if not rivals:
        direct = [c for c in against if c.conclusion > 0] or against
        closest = min(direct, key=lambda c: c.difference or 0.0)
        least_sure = max(direct, key=lambda c: c.p_adjusted or 0.0)
        named = [closest] if least_sure.p_adjusted == closest.p_adjusted else [closest, least_sure]
        lost = [c.second for c in against if c not in direct]
        return (
            f"{_rated(leader)} is better than {_listed([_rated(by_name[c.second]) for c in against])}: "
            f"{' and '.join(_lead(c, corrected) for c in named)}"
            f"{f'; {_listed(lost)} lost to another candidate' if lost else ''}."
        )
    level = any(_mean(by_name[name]) == _mean(leader) for name in rivals)
    ahead = [] if level else ["leads"]
    if beaten := [_rated(by_name[c.second]) for c in against if c.second not in rivals]:
        ahead.append(f"is better than {_listed(beaten)}")
    return (
        f"No distinguishable winner at this sample size: {_rated(leader)} "
        f"{' and '.join(ahead)}{', but ' if ahead else ''}cannot be distinguished from "
        f"{_listed([_rated(by_name[name]) for name in rivals])}; "
        f"{would_show([c for c in against if c.second in rivals])}."
    )


def would_show(comparisons: Sequence[Comparison]) -> str:
    """What this sample would show in each of these comparisons, as the end of a sentence.

    Two differences where examples are in clusters: a candidate may fail single examples, or a whole kind of request.
    """
    single = _largest([c.minimum_detectable_effect for c in comparisons])
    if single is None:
        return "this sample is too small to show any difference"
    if not any(c.grouped for c in comparisons):
        return f"this sample would show a difference of {_points(single)} in four runs of five"
    whole = _largest([c.detectable_in_clusters for c in comparisons])
    return (
        f"in four runs of five this sample would show a difference of {_points(single)} if single examples change, and "
        f"{'none' if whole is None else f'one of {_points(whole)}'} if whole clusters change"
    )


def _largest(effects: Sequence[float | None]) -> float | None:
    """None: one of them is not possible."""
    known = [effect for effect in effects if effect is not None and effect <= 1]
    return max(known) if len(known) == len(effects) else None


def _lead(c: Comparison, corrected: str) -> str:
    p = figures.p_words(c.p_adjusted or 0.0)
    return f"{_points(c.difference or 0.0)} ahead of {c.second}{_interval(c, corrected)} ({p}{corrected})"


def _interval(c: Comparison, corrected: str) -> str:
    if c.low is None or c.high is None:
        return ""
    uncorrected = "uncorrected " if corrected and c.look is None else ""
    kind = f"{uncorrected}95 % interval" if c.look is None else "95 % repeated interval"
    return f", {kind} {100 * c.low:.1f} to {100 * c.high:.1f}"


def _listed(names: Sequence[str]) -> str:
    if len(names) > NAMED + 1:
        names = [*names[:NAMED], f"{len(names) - NAMED} others"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _on_looks(looks: Looks | None) -> Iterable[str]:
    if looks and 0 < looks.taken < len(looks.repetitions):
        yield (
            f"This is what look {looks.taken} of {len(looks.repetitions)} showed. The lead is overstated on "
            "average when a run stops early."
        )
    elif looks and looks.dropped:
        yield "Candidates were dropped early. By how much they lose is overstated on average."


def _caveats(
    sets: Sequence[ScoreSet], counted: Sequence[Sensitivity], clusters: Sequence[str]
) -> Iterable[str]:
    yield from (depends_on_counting(pair) for pair in counted if pair.depends)
    yield from (_selected(pair) for pair in counted if pair.outside_bounds)
    for s in sets:
        if s.score is None:
            why = f"none of its {s.trials} trials was completed" if s.trials else "it has no trial yet"
            yield f"{s.candidate} has no score: {why}."
    yield from _lucky(sets, counted)
    yield from rare_kinds(clusters)


def _selected(pair: Sensitivity) -> str:
    left_out, worst, best = (
        100 * (pair.by[way].difference or 0.0)
        for way in (Counting.SCORE, Counting.WORST_CASE, Counting.BEST_CASE)
    )
    return (
        f"{pair.first} minus {pair.second} is {left_out:+.1f} points without infrastructure errors, but between "
        f"{worst:+.1f} and {best:+.1f} whatever verdicts these had had. So the examples that are left out "
        "differ from the others: read the other three scores."
    )


def _lucky(sets: Sequence[ScoreSet], counted: Sequence[Sensitivity]) -> Iterable[str]:
    """The winner's curse: what is chosen for its high number is on average lower than that number."""
    ranked = [s.candidate for s in sets if s.score is not None]
    against = [pair for pair in counted if pair.first == ranked[0]] if ranked else []
    if len(ranked) >= SEVERAL and not all(pair.better == pair.first for pair in against):
        yield (
            f"{ranked[0]} has the highest of {len(ranked)} scores, in part by luck: the score of a leader is on "
            "average too high, and its interval holds its true score in fewer than 95 of 100 runs."
        )
    for c in (pair.by[Counting.SCORE] for pair in against):
        lead, found = c.difference or 0.0, c.minimum_detectable_effect
        if c.conclusion == 1 and found is not None and lead < found:
            yield (
                f"The lead of {c.first} over {c.second}, {_points(lead)}, is smaller than what this sample finds in "
                f"four runs of five ({_points(found)}). A lead that is found nevertheless came out large: on average "
                "it is overstated."
            )


def rare_kinds(clusters: Sequence[str]) -> Iterable[str]:
    """What few clusters cannot show; nothing if there are enough.

    Args:
        clusters: of each example.
    """
    count = len(set(clusters))
    if not 0 < equivalent_clusters(clusters) < ENOUGH_KINDS:
        return
    if count < ENOUGH_KINDS:
        kinds = figures.count(count, "cluster" if count < len(clusters) else "example")
        missed = 100 * (1 - RARE) ** count
        yield (
            f"A kind of request on which a candidate fails may not be among these {kinds}: one that makes up "
            f"{100 * RARE:.0f} % of requests is missed with a probability of {missed:.0f} %."
        )
    if count < len(clusters):
        yield (
            "With so few clusters, or clusters of such different sizes, the interval of a difference holds the truth "
            "in fewer than 95 of 100 runs (as few as 80) if the candidates differ on whole clusters."
        )


def depends_on_counting(pair: Sensitivity) -> str:
    """The sentence about a pair whose conclusion depends on how infrastructure errors are counted."""
    ways = {
        Counting.SCORE: "excluded",
        Counting.AS_DEPLOYED: "counted as deployed",
        Counting.WORST_CASE: f"counted against {pair.first} and for {pair.second}",
        Counting.BEST_CASE: f"counted for {pair.first} and against {pair.second}",
    }
    said: dict[int, list[str]] = {}
    for way, comparison in pair.by.items():
        said.setdefault(comparison.conclusion, []).append(ways[way])
    words = {1: f"{pair.first} is better", -1: f"{pair.second} is better", 0: "they cannot be distinguished"}
    parts = [f"{words[conclusion]} when they are {_listed(each)}" for conclusion, each in said.items()]
    return f"How infrastructure errors are counted decides between {pair.first} and {pair.second}: {'; '.join(parts)}."


def deaths_are_failures(excess: Excess) -> str:
    """The sentence about a candidate whose trials that died inside, or broke an evaluator, count as failures."""
    did = excess.words("died inside their container or broke an evaluator")
    return f"{did}: more than noise, so these count as failures in score and as_deployed."
