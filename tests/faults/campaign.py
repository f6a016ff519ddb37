"""The fault campaign: every fault of `faults.FAULTS`, for real, into real runs; prints the confusion table.

Exits 1 when a verdict is wrong, a trial lost, a container left, or the orchestrator's memory out of bounds.

python tests/faults/campaign.py [--times 10] [--only NAME...]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.faults.faults import FAULTS, Fault, Http, Restart, Scoring, SmallDisk, Survive
from tests.faults.scenes import SCENES, Scene, play

# The orchestrator's peak, at most. LangChain's OpenAI client is loaded into it only where a run calls one.
MEMORY_MIB = 120
MEMORY_WITH_CLIENT_MIB = 240


def main() -> int:
    """Choose, play, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--times", type=int, default=10, help="injections of each fault (10)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these faults, or these kinds of run")
    options = parser.parse_args()
    faults = chosen(options.only or ())
    if not faults:
        parser.error(f"no such fault; there are {', '.join(fault.name for fault in FAULTS)}")
    console, began = Console(width=None if sys.stdout.isatty() else 160), time.monotonic()
    scenes = []
    for kind in SCENES:
        mine = [fault for fault in faults if isinstance(fault.how, kind)]
        if not mine:
            continue
        console.print(
            f"{SCENES[kind].__name__}: {len(mine)} faults, {options.times} times each …", highlight=False
        )
        with tempfile.TemporaryDirectory(prefix="bakeoff-faults-", ignore_cleanup_errors=True) as scratch:
            scenes.append(inject(kind, mine, options.times, Path(scratch)))
        console.print(f"  {scenes[-1].seconds:.0f} s", highlight=False)
    console.print(table(faults, scenes))
    complaints = [
        f"{scene.name}: {problem}" for scene in scenes for problem in scene.problems + beyond(scene)
    ]
    for complaint in complaints:
        console.print(complaint, style="red", highlight=False, markup=False)
    wrong = [seen for scene in scenes for seen in scene.seen if seen.wrong]
    injected = sum(len(scene.seen) for scene in scenes)
    minutes = (time.monotonic() - began) / 60
    console.print(
        f"{injected} injections, {len(wrong)} wrong, {len(complaints)} complaints, {minutes:.1f} min"
    )
    return 1 if wrong or complaints else 0


def chosen(names: Sequence[str]) -> list[Fault]:
    """The faults that are named, or whose kind of run is; all where none is named."""
    return [
        fault for fault in FAULTS if not names or {fault.name, SCENES[type(fault.how)].__name__} & set(names)
    ]


def inject(kind: type, faults: Sequence[Fault], times: int, scratch: Path) -> Scene:
    """Play one scene in the directory `scratch`; what cannot be injected here is said, and is a complaint."""
    if kind in (Restart, SmallDisk, Survive) and (os.geteuid() != 0 or shutil.which("dockerd") is None):
        return Scene(SCENES[kind].__name__, skipped="not injected: it needs root and dockerd")
    return play(kind, faults, times, scratch)


def beyond(scene: Scene) -> list[str]:
    """What a run must never do, whatever is injected."""
    with_client = any(isinstance(seen.fault.how, Http | Scoring) for seen in scene.seen)
    bound = MEMORY_WITH_CLIENT_MIB if with_client else MEMORY_MIB
    peak = scene.peak_bytes / 2**20
    return [
        *([scene.skipped] if scene.skipped else []),
        *([f"{scene.lost} trials lost"] if scene.lost else []),
        *([f"{scene.left} containers left"] if scene.left else []),
        *([f"the orchestrator's memory peaked at {peak:.0f} MiB, more than {bound}"] if peak > bound else []),
    ]


def table(faults: Sequence[Fault], scenes: Sequence[Scene]) -> Table:
    """The confusion table. Lost, left and peak are those of the runs that the fault was injected into."""
    shown = Table(title="injected faults and the verdicts given")
    for heading in ("#", "fault", "times", "given", "right", "", "lost", "left", "peak MiB"):
        shown.add_column(heading, justify="left" if heading in ("fault", "given", "right", "") else "right")
    for scene in scenes:
        for fault in (fault for fault in faults if SCENES[type(fault.how)].__name__ == scene.name):
            seen = [one for one in scene.seen if one.fault is fault]
            given = Counter(
                (one.given or "passed") + (f" ({one.wrong})" if one.wrong else "") for one in seen
            )
            fine = bool(seen) and not any(one.wrong for one in seen)
            shown.add_row(
                str(fault.number or ""),
                fault.name,
                str(len(seen)),
                ", ".join(f"{count} {what}" for what, count in given.most_common()),
                " or ".join(cause or "passed" for cause in fault.right),
                "right" if fine else "WRONG",
                str(scene.lost),
                str(scene.left),
                f"{scene.peak_bytes / 2**20:.0f}",
                style="" if fine else "bold red",
            )
    return shown


if __name__ == "__main__":
    sys.exit(main())
