"""What a plan will cost in time and money, by what an earlier run of the same name measured."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from bakeoff.errors import InputError
from bakeoff.record.store import MANIFEST, RunDirectory
from bakeoff.run.task import Task


@dataclass(frozen=True, slots=True)
class Forecast:
    """`run_id`: the earlier run. None: of some candidate the price, or the time, is not known."""

    run_id: str
    usd: float | None
    seconds: float | None  # for as many trials at once as are admitted


def forecast(task: Task, out: Path, slots: int) -> Forecast | None:
    """The sum, over the plan's trials, of their candidate's means in the latest run of this name. None: there is none.

    Args:
        out: where runs are.
        slots: trials at once.
    """
    for entry in sorted(out.glob(f"*/{MANIFEST}"), reverse=True):
        try:
            run = RunDirectory.open(entry.parent)
            if run.manifest().config.name == task.config.name and (found := _of(task, run, slots)):
                return found
        except InputError:
            continue  # it is damaged: an older one may do
    return None


def _of(task: Task, run: RunDirectory, slots: int) -> Forecast | None:
    costs: defaultdict[str, list[float | None]] = defaultdict(list)
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    for trial in run.trials():
        costs[trial.candidate].append(trial.usage.cost_usd)
        seconds[trial.candidate].append(trial.seconds.wall)
    if not seconds:
        return None
    planned = Counter(trial.candidate for trial in task.trials)
    price = {
        name: fmean(v for v in each if v is not None) for name, each in costs.items() if None not in each
    }
    known = planned.keys() <= seconds.keys()
    return Forecast(
        run_id=run.run_id,
        usd=sum(count * price[name] for name, count in planned.items())
        if planned.keys() <= price.keys()
        else None,
        seconds=sum(count * fmean(seconds[name]) for name, count in planned.items()) / max(1, slots)
        if known
        else None,
    )
