"""The whole comparison: which runs and candidates are compared, whether they are comparable, and the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bakeoff import stats
from bakeoff.compare import gates as gates_
from bakeoff.compare.changes import Change, changes
from bakeoff.compare.drift import drift
from bakeoff.compare.gates import GateResult
from bakeoff.compare.side import Side
from bakeoff.config.fitting import nearest
from bakeoff.config.schema import Gates
from bakeoff.errors import IncomparableRuns, InputError
from bakeoff.text import figures

EXIT_DONE, EXIT_GATE_FAILED, EXIT_INCONCLUSIVE = 0, 1, 3

Pair = tuple[str, str]  # a candidate of BASE and one of HEAD


@dataclass(frozen=True, slots=True)
class RunComparison:
    """The comparison of two runs."""

    base: Side
    head: Side
    changes: Sequence[Change]
    gates: Sequence[GateResult]  # where it is inconclusive, only that on infrastructure errors
    doubts: Sequence[str]  # why it is inconclusive; none: it is conclusive
    allowed: Sequence[str]  # doubts that --allow-inconclusive passed over
    drift: Sequence[str]  # differences of the harness that --allow-drift passed over
    notes: Sequence[str]

    @property
    def failed(self) -> list[GateResult]:
        """Gates that failed."""
        return [gate for gate in self.gates if gate.status == "failed"]

    @property
    def simulated(self) -> bool:
        """Whether any compared candidate is a simulation."""
        return any(
            self.base.manifest.candidate(c.base).simulated or self.head.manifest.candidate(c.head).simulated
            for c in self.changes
        )

    @property
    def exit_code(self) -> int:
        """0 done, 1 a gate failed, 3 inconclusive or a gate is unknown."""
        if self.failed:
            return EXIT_GATE_FAILED
        if self.doubts:
            return EXIT_INCONCLUSIVE
        return EXIT_INCONCLUSIVE if any(g.status == "unknown" for g in self.gates) else EXIT_DONE

    @property
    def sentence(self) -> str:
        """The result in one sentence, stamped with what a reader must know before believing it."""
        stamps = [
            *(["SIMULATED"] if self.simulated else []),
            *(["DRIFT ALLOWED"] if self.drift else []),
            *(["INCONCLUSIVE ALLOWED"] if self.allowed else []),
        ]
        return ": ".join([*stamps, self._result()])

    def _result(self) -> str:
        doubts = f"INCONCLUSIVE: {figures.some(self.doubts)}." if self.doubts else ""
        if self.failed:
            of = figures.count(len(self.gates), "gate")
            first = self.failed[0]
            failed = (
                f"GATE FAILED, {len(self.failed)} of {of}: {first.gate}, {first.candidate}: {first.because}"
            )
            return f"{failed} {doubts}".strip()
        if doubts:
            return doubts
        worse = [c.name for c in self.changes if c.conclusion < 0]
        better = [c.name for c in self.changes if c.conclusion > 0]
        said = [
            *([f"worse than noise explains: {', '.join(worse)}"] if worse else []),
            *([f"better than noise explains: {', '.join(better)}"] if better else []),
        ] or ["no change beyond noise", self._ruled_out()]
        words = "; ".join([*said, self._gates()])
        return f"{words[0].upper()}{words[1:]}."

    def _ruled_out(self) -> str:
        most = [c.failing.high for c in self.changes if c.failing is not None and c.failing.high is not None]
        if not most or max(most) >= 1:
            return "this sample is too small to rule out any drop"
        return f"a drop of more than {100 * max(0.0, *most):.1f} points on these very examples is ruled out (95 %)"

    def _gates(self) -> str:
        if not self.gates:
            return "no gate was checked"
        if unknown := [gate for gate in self.gates if gate.status == "unknown"]:
            verb = "is" if len(unknown) == 1 else "are"
            names = figures.some(list(dict.fromkeys(gate.gate for gate in unknown)))
            return f"{len(unknown)} of {figures.count(len(self.gates), 'gate')} {verb} unknown: {names}"
        return f"{figures.count(len(self.gates), 'gate')} passed"


def parse_pairs(base: Side, head: Side, given: Sequence[str], *, same_run: bool) -> list[Pair]:
    """Which candidates are compared: `A` or `A:B` as given, else every name that both runs have.

    Raises InputError for a name that its run does not have, and where nothing is left to compare.
    """
    ours, theirs = list(base.trials), list(head.trials)
    if not given:
        if same_run:
            raise InputError(
                "BASE and HEAD are the same run",
                key="--candidate",
                hint=f"Name two of its candidates, as `--candidate A:B`: {', '.join(ours)}.",
            )
        if not (both := [name for name in ours if name in theirs]):
            raise InputError(
                "the two runs have no candidate in common",
                key="--candidate",
                hint=f"Pair them, as `--candidate A:B`; BASE has {', '.join(ours) or 'none'}, HEAD has "
                f"{', '.join(theirs) or 'none'}.",
            )
        return [(name, name) for name in both]
    pairs = []
    for text in given:
        first, colon, second = text.partition(":")
        pair = (first, second if colon else first)
        for name, known, label in ((pair[0], ours, "BASE"), (pair[1], theirs, "HEAD")):
            if name not in known:
                meant = nearest(name, known)
                hint = f"Candidates of {label}: {', '.join(known) or 'none'}."
                raise InputError(
                    f"{label} has no candidate {name!r}",
                    key="--candidate",
                    hint=f"Did you mean {meant}? {hint}" if meant else hint,
                )
        if same_run and pair[0] == pair[1]:
            raise InputError(
                f"{text!r} compares a candidate with itself", key="--candidate", hint="Write A:B."
            )
        pairs.append(pair)
    return list(dict.fromkeys(pairs))


def compare_runs(
    base: Side,
    head: Side,
    pairs: Sequence[Pair],
    gates: Gates,
    *,
    allow_drift: bool = False,
    allow_inconclusive: bool = False,
) -> RunComparison:
    """Compare two runs.

    Raises IncomparableRuns (a refusal) when their harness differs and `allow_drift` is not given.
    """
    differences = drift(base.manifest, head.manifest)
    if differences and not allow_drift:
        raise IncomparableRuns(
            differences,
            hint="Run both with the same harness, or continue with --allow-drift; the report is stamped.",
        )
    changed = changes(base, head, pairs)
    sides = ((base, [first for first, _ in pairs]), (head, [second for _, second in pairs]))
    doubts = list(dict.fromkeys(doubt for side, names in sides for doubt in side.doubts(names)))
    allowed, doubts = (doubts, []) if allow_inconclusive else ([], doubts)
    # without a verdict there is nothing to compare, whatever is allowed
    doubts += [
        f"no example has a verdict of {c.name} in both BASE and HEAD"
        for c in changed
        if not c.tested.examples
    ]
    return RunComparison(
        base=base,
        head=head,
        changes=changed,
        gates=gates_.judge(gates, changed, head, doubtful=bool(doubts)),
        doubts=doubts,
        allowed=allowed,
        drift=differences,
        notes=[*base.warnings, *head.warnings, *_notes(base, head, changed), *_idle(gates, head)],
    )


def _idle(gates: Gates, head: Side) -> list[str]:
    asked = [text for text in gates.must_pass if not gates_.selected(text, head)]
    return [f"The gate must-pass {text} checks nothing: no example of HEAD matches it." for text in asked]


def _notes(base: Side, head: Side, changed: Sequence[Change]) -> list[str]:
    counted = {s.candidate: s.deaths for c in changed for s in (c.base_scores, c.head_scores) if s.deaths}
    notes = [stats.deaths_are_failures(each) for each in counted.values()]
    notes += [stats.depends_on_counting(c.difference) for c in changed if c.difference.depends]
    notes += [
        f"{c.name}: the model is {c.base_model} in BASE and {c.head_model} in HEAD."
        for c in changed
        if c.base == c.head and c.base_model != c.head_model
    ]
    for one, other in ((base, head), (head, base)):
        if alone := sorted(one.examples - other.examples):
            few = ", ".join(alone[:5]) + (", …" if len(alone) > 5 else "")
            notes.append(f"{figures.count(len(alone), 'example')} only in {one.label}, excluded: {few}.")
    for what, ours, theirs in (
        ("bakeoff", base.manifest.bakeoff_version, head.manifest.bakeoff_version),
        ("processor", base.manifest.host.cpu_model, head.manifest.host.cpu_model),
        ("concurrency", base.manifest.max_concurrency, head.manifest.max_concurrency),
    ):
        if ours != theirs:
            notes.append(f"The {what} differs ({ours} and {theirs}): read the change of latency with care.")
    notes += [note for side in (base, head) if (note := side.on_looks())]
    if head.manifest.started_at < base.manifest.started_at:
        notes.append("HEAD is older than BASE.")
    return notes
