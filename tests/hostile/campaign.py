"""The hostile campaign: every deed of `deeds.DEEDS` in a real run of its own, beside honest neighbours; prints a table.

Exits 1 when a deed gained, harmed or was blamed on the outside.

python -m tests.hostile.campaign [--times 1] [--only NAME...]
python -m tests.hostile.campaign --crowd 64      # what the deeds of `CROWD` cost the host when so many go on at once
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bakeoff.stats import Counting
from tests.hostile.deeds import DEEDS
from tests.hostile.scene import Scene, play

# Deeds that make the orchestrator hold or read much.
CROWD = (
    "flood-log", "deep-arguments", "200000-messages", "many-tool-messages", "50-mb-answer", "big-messages",
    "many-lines", "provider-huge", "provider-many-calls", "provider-big-answer", "provider-deep",
)  # fmt: skip


def main() -> int:
    """Choose, play, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--times",
        type=int,
        default=1,
        help="rows that a model knows, and rows that it does not, at least (1)",
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these deeds")
    parser.add_argument(
        "--crowd",
        type=int,
        metavar="N",
        help="instead: one run of so many at once of the deeds that send much",
    )
    options = parser.parse_args()
    if options.crowd:
        return crowd(options.crowd)
    deeds = [deed for deed in DEEDS if not options.only or deed.name in options.only]
    if not deeds:
        parser.error(f"no such deed; there are {', '.join(deed.name for deed in DEEDS)}")
    console, began, scenes = Console(width=None if sys.stdout.isatty() else 180), time.monotonic(), []
    for deed in deeds:
        with tempfile.TemporaryDirectory(prefix="bakeoff-hostile-", ignore_cleanup_errors=True) as scratch:
            scenes.append(play([deed], max(options.times, deed.rows), Path(scratch) / "project"))
        problems = [*scenes[-1].problems, *scenes[-1].seen[0].problems]
        console.print(f"{deed.name}: {'; '.join(problems) or 'contained'}", highlight=False, markup=False)
    console.print(table(scenes))
    contained = sum(scene.contained for scene in scenes)
    minutes = (time.monotonic() - began) / 60
    console.print(f"{contained} of {len(scenes)} contained, {minutes:.1f} min")
    return 0 if contained == len(scenes) else 1


def crowd(at_once: int) -> int:
    """One run in which so many hostile attempts go on at once, beside a neighbour: what it costs, and who noticed."""
    deeds = [deed for deed in DEEDS if deed.name in CROWD]
    with tempfile.TemporaryDirectory(prefix="bakeoff-hostile-", ignore_cleanup_errors=True) as scratch:
        scene = play(deeds, -(-at_once // len(deeds)), Path(scratch) / "project", at_once)
    console = Console(width=None if sys.stdout.isatty() else 180)
    console.print(table([scene]))
    console.print(
        f"{at_once} at once: {'; '.join(scene.problems) or 'contained'}", highlight=False, markup=False
    )
    return 1 if scene.problems else 0


def table(scenes: Sequence[Scene]) -> Table:
    """A row for each deed. Scores are the deed's / its honest twin's; what it cost is of its whole run."""
    shown = Table(title="hostile deeds")
    for heading in ("deed", "score", "as_deployed", "blamed", "peak MiB", "CPU s", "disk MiB", ""):
        shown.add_column(heading, justify="right" if heading in ("peak MiB", "CPU s", "disk MiB") else "left")
    for scene in scenes:
        for seen in scene.seen:
            rates = ("-", "-")
            if seen.scores is not None:
                rates = tuple(  # type: ignore[assignment]
                    " / ".join("-" if (e := s.by[way]) is None else f"{e.mean:.0%}" for s in seen.scores)
                    for way in (Counting.SCORE, Counting.AS_DEPLOYED)
                )
            shown.add_row(
                seen.deed.name,
                *rates,
                ", ".join(f"{count} {cause}" for cause, count in seen.blamed.most_common()),
                f"{scene.outcome.peak_bytes / 2**20:.0f}",
                f"{scene.outcome.cpu_seconds:.1f}",
                f"{scene.disk_bytes / 2**20:.1f}",
                "contained" if scene.contained else "NOT CONTAINED",
                style="" if scene.contained else "bold red",
            )
    return shown


if __name__ == "__main__":
    sys.exit(main())
