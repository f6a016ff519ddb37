"""The looks of a run that may stop early: the plan, what a look decides, and its record in the manifest.

python -m bakeoff.run.looks RUN_DIRECTORY    # what the next look would decide, as JSON
"""

from __future__ import annotations

import subprocess
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bakeoff import stats
from bakeoff.errors import UnfitEnvironment
from bakeoff.record.manifest import Look, Manifest, PairAtLook, StopEarly
from bakeoff.record.store import RunDirectory
from bakeoff.record.trial import TrialSpec, experiment_name
from bakeoff.run.progress import Display
from bakeoff.stats import sequential
from bakeoff.stats.detectable import ALPHA


def plan(repetitions: Sequence[int], candidates: int) -> StopEarly | None:
    """What the manifest says before the first trial; None where there are no looks."""
    if not repetitions:
        return None
    pairs = candidates * (candidates - 1) // 2
    times = stats.Looks(tuple(repetitions), pairs).times
    return StopEarly(
        alpha=ALPHA,
        pairs=pairs,
        repetitions=list(repetitions),
        critical=list(sequential.critical_values(times, ALPHA / pairs)),
        boundaries=list(sequential.boundaries(times, ALPHA / pairs)),
        futile_below=sequential.FUTILE_BELOW,
        futile_from=sequential.FUTILE_FROM,
    )


def judge(run: RunDirectory) -> Look:
    """What the next look at a run decides, whose trials before that look are complete.

    Nothing is decided about a candidate with more infrastructure errors than `infra.max_error_rate`: numbers that may
    not decide at the end of a run may not end it either.
    """
    from bakeoff.report import data

    manifest = run.manifest()
    before = manifest.stop_early
    if before is None:
        raise ValueError(f"{run.path} has no plan to stop early")
    outcomes = stats.count_deaths([data.outcome(trial, manifest.dataset.clusters) for trial in run.trials()])
    ran = Counter(o.candidate for o in outcomes)
    lost = Counter(o.candidate for o in outcomes if not o.completed)
    doubtful = [name for name in ran if lost[name] > manifest.config.infra.max_error_rate * ran[name]]
    names = list(manifest.experiments)
    found = stats.look(outcomes, names, data.looks(before), doubtful)
    number = len(before.looks) + 1
    inside = [name for name in names if name not in before.dropped]
    going_on = [name for name in inside if name not in found.dropped]
    last = number == len(before.repetitions)
    ends = last or found.futile or len(going_on) < 2
    return Look(
        taken_at=datetime.now(UTC),
        pairs=[_pair(*each) for each in zip(found.pairs, found.conditional_power, strict=True)],
        dropped=list(found.dropped),
        futile=found.futile,
        ends_run=ends,
        not_run=_left(manifest, number) * (len(inside) if ends else len(found.dropped)),
    )


def _pair(pair: stats.Sensitivity, power: float | None) -> PairAtLook:
    score, as_deployed = pair.by[stats.Counting.SCORE], pair.by[stats.Counting.AS_DEPLOYED]
    return PairAtLook(
        first=pair.first,
        second=pair.second,
        difference=score.difference,
        p_value=score.p_value,
        boundary=score.boundary,
        p_as_deployed=as_deployed.p_value,
        boundary_as_deployed=as_deployed.boundary,
        better=pair.better,
        conditional_power=power,
    )


def _left(manifest: Manifest, look: int) -> int:
    """Trials of one candidate after this look."""
    repetitions = manifest.stop_early.repetitions if manifest.stop_early else [0]
    return manifest.dataset.rows * (repetitions[-1] - repetitions[look - 1])


def judge_apart(run: RunDirectory) -> Look:
    """`judge` in a process of its own: what it loads (scipy) does not stay beside the containers.

    Raises:
        UnfitEnvironment: it failed. The look is taken again on resume.
    """
    command = (sys.executable, "-P", "-m", "bakeoff.run.looks", str(run.path))
    # A session of its own: Ctrl-C reaches the run, which ends after the look
    done = subprocess.run(command, capture_output=True, text=True, check=False, start_new_session=True)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UnfitEnvironment(
            f"a look at the results failed: {said[:500]}",
            hint=f"finished trials are safe; go on with `bakeoff run --resume {run.run_id}`",
        )
    return Look.model_validate_json(done.stdout)


class Looks:
    """The looks at one run; see `batches.Looking`.

    Args:
        run: its manifest has the plan, and keeps what is decided.
        plan: that plan, with the looks that were taken.
        display: says what a look decided.
        judge: decides.
    """

    def __init__(
        self,
        run: RunDirectory,
        plan: StopEarly,
        display: Display,
        judge: Callable[[RunDirectory], Look] = judge_apart,
    ) -> None:
        self._run, self._plan, self._display, self._judge = run, plan, display, judge

    @property
    def due(self) -> bool:
        return not self._plan.ended

    def before_next(self, trial: TrialSpec) -> bool:
        return bisect_left(self._plan.repetitions, trial.repetition) <= len(self._plan.looks)

    def goes_on(self, trial: TrialSpec) -> bool:
        return not self._plan.ended and _name(trial) not in self._plan.dropped

    def take(self) -> None:
        look, before = self._judge(self._run), self._plan.dropped
        self._plan = self._plan.model_copy(update={"looks": [*self._plan.looks, look]})
        manifest = self._run.update_manifest(stop_early=self._plan.model_dump())
        inside = [name for name in manifest.experiments if name not in before]
        if ended := inside if look.ends_run else look.dropped:
            self._display.left_out(dict.fromkeys(ended, look.not_run // len(ended)))
        number, planned = len(self._plan.looks), len(self._plan.repetitions)
        self._display.note(f"look {number} of {planned}: {_words(look)}")


def _name(trial: TrialSpec) -> str:
    return experiment_name(trial.candidate, trial.profile)


def _words(look: Look) -> str:
    """What a look decided, in short."""
    parts = [f"{', '.join(look.dropped)} dropped"] if look.dropped else []
    if look.futile:
        parts.append("what is left is unlikely to be distinguished")
    if look.not_run:
        parts.append(f"{look.not_run} trials need not run")
    return "; ".join(parts) or "nothing is decided"


if __name__ == "__main__":
    sys.stdout.write(judge(RunDirectory(Path(sys.argv[1]))).model_dump_json())
