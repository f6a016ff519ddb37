"""The trials of a sweep in blocks: one task and repetition, run next to each other under every profile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bakeoff.stats.scores import Counting, Outcome
from bakeoff.stats.sweep.strata import Inference, Values

Block = tuple[Outcome, ...]  # one outcome of each experiment, in their order


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks that have an outcome of every experiment, by task. `complete` leaves out what cannot be counted."""

    experiments: tuple[str, ...]
    by_task: Mapping[str, Sequence[Block]]
    cluster_of: Mapping[str, str]

    @property
    def count(self) -> int:
        return sum(map(len, self.by_task.values()))

    def of(self, tasks: Iterable[str]) -> Blocks:
        """Only these tasks."""
        kept = set(tasks)
        return Blocks(self.experiments, {t: b for t, b in self.by_task.items() if t in kept}, self.cluster_of)

    def complete(self) -> Blocks:
        """Without the blocks in which a trial counts nowhere as deployed, for example after a provider's error.

        What hit one profile from outside says nothing about it, so the block is left out under every profile.
        """
        kept = {task: [b for b in blocks if all(map(_counts, b))] for task, blocks in self.by_task.items()}
        return Blocks(self.experiments, {t: b for t, b in kept.items() if b}, self.cluster_of)

    def clean(self) -> list[str]:
        """The tasks of which no trial was killed under any profile."""
        return [t for t, blocks in self.by_task.items() if not any(killed(o) for b in blocks for o in b)]

    def values(self, value: Callable[[Outcome], float], inference: Inference) -> Values:
        """Each trial's value."""
        by_task = {t: [[value(o) for o in block] for block in blocks] for t, blocks in self.by_task.items()}
        return Values(by_task, self.cluster_of, inference)


def collect(outcomes: Iterable[Outcome], experiments: Sequence[str]) -> Blocks:
    """The blocks of these experiments; one without a trial of each of them (an interrupted run) is left out."""
    found: dict[str, dict[int, dict[str, Outcome]]] = defaultdict(lambda: defaultdict(dict))
    cluster_of = {}
    wanted = set(experiments)
    for o in outcomes:
        if o.candidate in wanted:
            found[o.example_id][o.repetition][o.candidate] = o
            cluster_of[o.example_id] = o.cluster
    by_task = {
        task: [
            tuple(block[name] for name in experiments)
            for _, block in sorted(repetitions.items())
            if len(block) == len(wanted)
        ]
        for task, repetitions in sorted(found.items())
    }
    return Blocks(tuple(experiments), {t: blocks for t, blocks in by_task.items() if blocks}, cluster_of)


def deployed(o: Outcome) -> float:
    """1 if it passed, 0 if it failed or died inside its container. Only for outcomes of `Blocks.complete`."""
    return o.counted(Counting.AS_DEPLOYED) or 0.0


def killed(o: Outcome) -> bool:
    """Whether an attempt of it died inside its container, or it is counted as if it had."""
    return o.died_inside or o.excess is not None


def _counts(o: Outcome) -> bool:
    return o.counted(Counting.AS_DEPLOYED) is not None
