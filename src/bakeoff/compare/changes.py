"""What changed from one candidate in BASE to one in HEAD, on the examples that both ran."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bakeoff import stats
from bakeoff.compare.side import Side, Trial

Turn = Literal["newly failing", "newly passing", "same"]
# names in HEAD and in BASE, trials in BASE and in HEAD, clusters of the shared examples
_Kept = tuple[tuple[str, str], list[Trial], list[Trial], dict[str, str]]


@dataclass(frozen=True, slots=True)
class ExampleChange:
    """One example on both sides: trials passed, of trials that count in `score`."""

    example_id: str
    base: tuple[int, int]
    head: tuple[int, int]
    base_cause: str | None  # the most frequent cause of what did not pass
    head_cause: str | None

    @property
    def turn(self) -> Turn:
        """An example passes when more than half of its judged trials do; unjudged on a side, it is the same."""
        if not self.base[1] or not self.head[1]:
            return "same"
        before, after = (2 * passed > judged for passed, judged in (self.base, self.head))
        if before == after:
            return "same"
        return "newly passing" if after else "newly failing"


@dataclass(frozen=True, slots=True)
class Measure:
    """Mean of something measured in a trial (seconds, dollars) over the shared examples, on both sides."""

    rise: stats.Rise  # relative: 0.1 is 10 %
    p_adjusted: float  # two-sided, of no change; Holm's over all candidates

    @property
    def base(self) -> float:
        return self.rise.before

    @property
    def head(self) -> float:
        return self.rise.after

    @property
    def increase(self) -> float | None:
        """Relative; None where something came of nothing."""
        return self.rise.rise


@dataclass(frozen=True, slots=True)
class Change:
    """One candidate of BASE against one of HEAD. Scores, examples, causes and measures: of shared examples."""

    base: str
    head: str
    base_model: str
    head_model: str
    base_scores: stats.ScoreSet
    head_scores: stats.ScoreSet
    difference: stats.Sensitivity  # HEAD minus BASE, under every way to count infra errors
    failing: (
        stats.Rise | None
    )  # of the share of trials that fail, on these very examples: the fall of the score
    conclusion: int  # on these very examples, significantly: 1 better, -1 worse, 0 neither
    time_limits: stats.Rise | None  # of the share of judged trials that the time limit ended
    turn_limits: stats.Rise | None
    examples: Sequence[ExampleChange]
    causes: Mapping[str, tuple[int, int]]  # cause -> trials in BASE, in HEAD; where they differ
    cost: Measure | None  # dollars a judged trial; None where a price is unknown
    latency: Measure | None  # working seconds a judged trial
    base_infra_rate: float | None  # of all its trials
    head_infra_rate: float | None

    @property
    def name(self) -> str:
        """One name where both are the same."""
        return self.head if self.base == self.head else f"{self.base} → {self.head}"

    @property
    def tested(self) -> stats.Comparison:
        """The comparison for requests like these: infra errors excluded."""
        return self.difference.by[stats.Counting.SCORE]

    def turned(self, turn: Turn) -> list[ExampleChange]:
        """The examples that turned so, those that changed most first."""
        return sorted((e for e in self.examples if e.turn == turn), key=_by_change)


def _by_change(example: ExampleChange) -> tuple[float, str]:
    rates = [passed / judged if judged else 0.0 for passed, judged in (example.base, example.head)]
    return (-abs(rates[1] - rates[0]), example.example_id)


def changes(base: Side, head: Side, pairs: Sequence[tuple[str, str]]) -> list[Change]:
    """Each pair (a candidate of BASE, one of HEAD); p-values corrected over all pairs by Holm."""
    given: dict[stats.Outcome, None] = {}  # a candidate of two pairs counts once
    kept: list[_Kept] = []
    for first, second in pairs:
        shared = {t.example_id for t in base.trials.get(first, ())} & {
            t.example_id for t in head.trials.get(second, ())
        }
        olds = [t for t in base.trials.get(first, ()) if t.example_id in shared]
        news = [t for t in head.trials.get(second, ()) if t.example_id in shared]
        cluster_of = {e: head.cluster(e) or base.cluster(e) or e for e in shared}
        labels = (f"{second} in {head.label}", f"{first} in {base.label}")
        for label, own in zip(labels, (news, olds), strict=True):
            given |= dict.fromkeys(t.outcome(label, cluster_of[t.example_id]) for t in own)
        kept.append((labels, olds, news, cluster_of))
    outcomes = stats.count_deaths(list(given))
    counted = stats.sensitivities(outcomes, [labels for labels, *_ in kept])
    costs = _measures(kept, lambda trial: trial.cost_usd)
    latencies = _measures(kept, lambda trial: trial.working_seconds)
    sides = [
        [[o for o in outcomes if o.candidate == label and o.example_id in cluster_of] for label in labels]
        for labels, *_, cluster_of in kept
    ]
    failing = [stats.rise_of_share(_failed(before), _failed(after)) for after, before in sides]
    found = []
    for (first, second), (labels, olds, news, _), (
        after,
        before,
    ), sensitivity, fell, conclusion, cost, latency in zip(
        pairs, kept, sides, counted, failing, _conclusions(failing), costs, latencies, strict=True
    ):
        found.append(
            Change(
                base=first,
                head=second,
                base_model=base.manifest.candidate(first).model,
                head_model=head.manifest.candidate(second).model,
                base_scores=stats.score_set(labels[1], before),
                head_scores=stats.score_set(labels[0], after),
                difference=sensitivity,
                failing=fell,
                conclusion=conclusion,
                time_limits=_ended_by("model.time_limit", olds, news),
                turn_limits=_ended_by("model.turn_limit", olds, news),
                examples=_examples(before, after),
                causes=_causes(olds, news),
                cost=cost,
                latency=latency,
                base_infra_rate=base.infra_rate(first),
                head_infra_rate=head.infra_rate(second),
            )
        )
    return found


def _examples(olds: Sequence[stats.Outcome], news: Sequence[stats.Outcome]) -> list[ExampleChange]:
    sides = []
    for own in (olds, news):
        outcomes: dict[str, list[stats.Outcome]] = defaultdict(list)
        for outcome in own:
            outcomes[outcome.example_id].append(outcome)
        sides.append(outcomes)

    def counts(own: Sequence[stats.Outcome]) -> tuple[int, int]:
        values = [value for o in own if (value := o.counted(stats.Counting.SCORE)) is not None]
        return int(sum(values)), len(values)

    def cause(own: Sequence[stats.Outcome]) -> str | None:
        # a sorted list: equally frequent causes come in the same order every time
        found = Counter(sorted(o.cause for o in own if o.cause))
        return found.most_common(1)[0][0] if found else None

    before, after = sides
    return [
        ExampleChange(e, counts(before[e]), counts(after[e]), cause(before[e]), cause(after[e]))
        for e in sorted(before)
    ]


def _causes(olds: Sequence[Trial], news: Sequence[Trial]) -> dict[str, tuple[int, int]]:
    before, after = (Counter(t.cause for t in own if t.cause) for own in (olds, news))
    changed = {cause: (before[cause], after[cause]) for cause in {*before, *after}}
    return {
        cause: counts
        for cause, counts in sorted(changed.items(), key=lambda item: (item[1][0] - item[1][1], item[0]))
        if counts[0] != counts[1]
    }


def _failed(own: Sequence[stats.Outcome]) -> dict[str, list[float]]:
    """1 for a trial that fails, 0 for one that passes, by example."""
    return _by_example(
        (o.example_id, 1 - value) for o in own if (value := o.counted(stats.Counting.SCORE)) is not None
    )


def _by_example(values: Iterable[tuple[str, float]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for example_id, value in values:
        found[example_id].append(value)
    return found


def _conclusions(failing: Sequence[stats.Rise | None]) -> list[int]:
    """Which changed by more than noise, after Holm's correction over all pairs."""
    adjusted = stats.holm([1.0 if each is None else each.p_value for each in failing])
    return [
        0 if each is None or p >= stats.ALPHA or not each.rise else -1 if each.rise > 0 else 1
        for each, p in zip(failing, adjusted, strict=True)
    ]


def _ended_by(cause: str, olds: Sequence[Trial], news: Sequence[Trial]) -> stats.Rise | None:
    before, after = (
        _by_example((t.example_id, float(t.cause == cause)) for t in own if t.verdict != "infra_error")
        for own in (olds, news)
    )
    return stats.rise_of_share(before, after)


def _measures(kept: Sequence[_Kept], of: Callable[[Trial], float | None]) -> list[Measure | None]:
    """The measure of every pair, p-values corrected over all pairs by Holm."""
    rises = [_measured(olds, news, of) for _, olds, news, _ in kept]
    adjusted = iter(stats.holm([each.p_value for each in rises if each]))
    return [None if each is None else Measure(each, next(adjusted)) for each in rises]


def _measured(
    olds: Sequence[Trial], news: Sequence[Trial], of: Callable[[Trial], float | None]
) -> stats.Rise | None:
    """Over judged trials: an infra error ends an attempt early, and would look fast and cheap."""
    judged = [[(t.example_id, of(t)) for t in own if t.verdict != "infra_error"] for own in (olds, news)]
    if any(value is None for own in judged for _, value in own):
        return None
    before, after = (_by_example((e, value) for e, value in own if value is not None) for own in judged)
    return stats.rise_of_mean(before, after)
