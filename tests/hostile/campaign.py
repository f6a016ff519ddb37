"""The hostile campaign: every deed of `deeds.DEEDS` in a real run of its own, beside honest neighbours; prints a table.

Exits 1 when a deed gained, harmed or was blamed on the outside.

python -m tests.hostile.campaign [--times 1] [--only NAME...]
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
    options = parser.parse_args()
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
