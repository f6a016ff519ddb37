"""What changed from one candidate in BASE to one in HEAD, on the examples that both ran."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
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

    base: float
    head: float
    test: stats.Comparison  # HEAD minus BASE, in the measure's unit

    @property
    def increase(self) -> float | None:
        """Relative: 0.1 is 10 % more. None where something came of nothing."""
        if self.base > 0:
            return self.head / self.base - 1
        return 0.0 if self.head == self.base else None


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
        """The comparison that decides: infra errors excluded."""
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
    found = []
    for (first, second), (labels, olds, news, cluster_of), sensitivity, cost, latency in zip(
        pairs, kept, counted, costs, latencies, strict=True
    ):
        after, before = (
            [o for o in outcomes if o.candidate == label and o.example_id in cluster_of] for label in labels
        )
        found.append(
            Change(
                base=first,
                head=second,
                base_model=base.manifest.candidate(first).model,
                head_model=head.manifest.candidate(second).model,
                base_scores=stats.score_set(labels[1], before),
                head_scores=stats.score_set(labels[0], after),
                difference=sensitivity,
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


def _measures(kept: Sequence[_Kept], of: Callable[[Trial], float | None]) -> list[Measure | None]:
    """The measure of every pair, p-values corrected over all pairs by Holm."""
    found = [_measure(*each, of) for each in kept]
    adjusted = iter(stats.holm([each.test.p_value or 0.0 for each in found if each]))
    return [each and replace(each, test=replace(each.test, p_adjusted=next(adjusted))) for each in found]


def _measure(
    labels: tuple[str, str],
    olds: Sequence[Trial],
    news: Sequence[Trial],
    cluster_of: Mapping[str, str],
    of: Callable[[Trial], float | None],
) -> Measure | None:
    """Over judged trials: an infra error ends an attempt early, and would look fast and cheap."""
    means = []
    for own in (olds, news):
        values: dict[str, list[float]] = defaultdict(list)
        for trial in own:
            if trial.verdict != "infra_error":
                if (value := of(trial)) is None:
                    return None
                values[trial.example_id].append(value)
        means.append({example: fmean(each) for example, each in values.items()})
    before, after = means
    shared = before.keys() & after.keys()
    if not shared:
        return None
    test = stats.compare_measures(*labels, after, before, cluster_of)
    return Measure(fmean(before[e] for e in shared), fmean(after[e] for e in shared), test)
