"""The comparison of a run with the baseline, and which run becomes the next baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bakeoff.compare import gates as gates_
from bakeoff.compare.comparison import (
    EXIT_DONE,
    EXIT_INCONCLUSIVE,
    RunComparison,
    compare_runs,
    parse_pairs,
)
from bakeoff.compare.side import Side, read
from bakeoff.config.schema import Gates
from bakeoff.errors import InputError
from bakeoff.record import store

LISTED = 5  # trials or examples


@dataclass(frozen=True, slots=True)
class Request:
    """What to compare, and how. Two runs are named as the user writes them: a path, an id, `latest`, `baseline`."""

    base: str
    head: str
    out: Path  # the directory of runs
    pairs: Sequence[str] = ()  # `A` or `A:B`; none: every candidate that both runs have
    gates: Mapping[str, Any] = field(default_factory=dict)  # fields of `Gates` that replace those of HEAD
    allow_drift: bool = False
    allow_inconclusive: bool = False
    set_baseline: bool = False


@dataclass(frozen=True, slots=True)
class First:
    """There was no baseline to compare with. A conclusive run becomes the first one."""

    run_id: str
    sentence: str
    conclusive: bool
    baseline: str | None

    @property
    def exit_code(self) -> int:
        return EXIT_DONE if self.conclusive else EXIT_INCONCLUSIVE


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison, and what became of the baseline."""

    comparison: RunComparison
    notes: list[str]

    @property
    def exit_code(self) -> int:
        return self.comparison.exit_code


def compare(request: Request) -> First | Compared:
    """Compare two runs; with `set_baseline`, a good HEAD becomes the baseline.

    Raises:
        InputError: a run, a candidate or a gate is unknown, or nothing can be compared.
        IncomparableRuns: the harness differs and `allow_drift` is not set.
    """
    head = store.RunDirectory.resolve(request.head, request.out)
    if request.set_baseline and head.path.resolve().parent != request.out.resolve():
        raise InputError(
            f"HEAD is not in {request.out}, where the baseline is kept",
            file=str(head.path),
            key="--set-baseline",
            hint=f"Write --out {head.path.resolve().parent}.",
        )
    first = request.base == store.BASELINE and request.set_baseline and store.baseline(request.out) is None
    base = head if first else store.RunDirectory.resolve(request.base, request.out)
    newer = read(head, "HEAD")
    gates = _gates(newer, request.gates)
    if first:
        return _first(newer, head.run_id, request.out)
    older = read(base, "BASE")
    pairs = parse_pairs(older, newer, request.pairs, same_run=base.path.resolve() == head.path.resolve())
    compared = compare_runs(
        older,
        newer,
        pairs,
        gates,
        allow_drift=request.allow_drift,
        allow_inconclusive=request.allow_inconclusive,
    )
    advanced = request.set_baseline and compared.exit_code == EXIT_DONE
    return Compared(compared, [_advance(compared, head.run_id, request.out)] if advanced else [])


def _gates(head: Side, asked: Mapping[str, Any]) -> Gates:
    """HEAD's gates, with options in their place."""
    try:
        own = Gates.model_validate(head.manifest.config.gates)
    except ValidationError as error:
        raise InputError(
            f"the gates in HEAD's manifest are invalid: {error.errors()[0]['msg']}",
            key="gates",
            hint="Give the gates as options.",
        ) from error
    for text in asked.get("must_pass", ()):
        if not gates_.selected(text, head):
            raise InputError(
                f"no example of HEAD matches {text!r}",
                key="--must-pass",
                hint="A gate without examples stops nothing.",
            )
    return own.model_copy(update=dict(asked))


def _first(head: Side, run_id: str, out: Path) -> First:
    if doubts := head.doubts(list(head.trials)):
        return First(run_id, f"INCONCLUSIVE, so there is no baseline: {'; '.join(doubts)}.", False, None)
    store.set_baseline(out, run_id)
    return First(run_id, f"There was no baseline. It is now {run_id}.", True, store.baseline(out))


def _advance(compared: RunComparison, run_id: str, out: Path) -> str:
    """Make HEAD the baseline, unless that would shrink it: what is not run cannot regress."""
    base, head = compared.base, compared.head
    lost = [*sorted(base.trials.keys() - head.trials.keys()), *sorted(base.examples - head.examples)]
    if lost and not compared.drift:
        return f"The baseline stays {base.manifest.run_id}: HEAD did not run {', '.join(lost[:LISTED])}."
    store.set_baseline(out, run_id)
    return f"The baseline is now {run_id}."
