"""The engine matrix: every check of `checks.CHECKS` on every engine of `engines.ENGINES`, for real; prints a table.

Exits 1 when a check does not hold.

python -m tests.hosts.campaign [--only NAME...] [--checks CHECK...] [--write PAGE]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Collection
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bakeoff.errors import UnfitEnvironment
from tests.docker.engines import base_names, load
from tests.hosts import page
from tests.hosts.checks import CHECKS, Site, check, refusal
from tests.hosts.engines import ENGINES, Engine, described, running
from tests.hosts.page import Row


def main() -> int:
    """Choose, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only engines whose name begins so")
    parser.add_argument("--checks", nargs="+", choices=CHECKS, default=CHECKS, help="only these checks")
    parser.add_argument(
        "--write", type=Path, metavar="PAGE", help="write the table of a whole run into this page"
    )
    options = parser.parse_args()
    engines = [engine for engine in ENGINES if engine.name.startswith(tuple(options.only or ("",)))]
    if not engines:
        parser.error(f"no such engine; there are {', '.join(engine.name for engine in ENGINES)}")
    if options.write and (len(engines) < len(ENGINES) or options.checks is not CHECKS):
        parser.error("--write takes a whole run: no --only and no --checks")
    console, began = Console(width=None if sys.stdout.isatty() else 200), time.monotonic()
    names, reference = base_names(), {}
    rows: list[Row] = []
    for engine in engines:
        started = time.monotonic()
        row = visit(engine, names, reference, options.checks)
        rows.append(row)
        spent = f"{time.monotonic() - started:.0f} s"
        console.print(f"{row.name}: {row.version}, {spent} {row.remark}", highlight=False, markup=False)
        for name, why in row.complaints().items():
            console.print(f"  {name}: {why}", highlight=False, markup=False)
    minutes = (time.monotonic() - began) / 60
    console.print(table(rows, options.checks))
    wrong = sum(len(row.complaints()) for row in rows)
    console.print(f"{wrong} wrong, {minutes:.1f} min")
    if options.write:
        page.write(options.write, rows, options.checks, minutes)
    return 1 if wrong else 0


def visit(engine: Engine, base: list[str], reference: dict[str, object], checks: Collection[str]) -> Row:
    """What one engine is, and what each check found there."""
    if engine.absent:
        return Row(engine.name, instead="not run", remark=engine.absent, in_guest=engine.in_guest)
    version = ""
    try:
        with running(engine) as made, tempfile.TemporaryDirectory(prefix="bakeoff-hosts-") as scratch:
            client = made.client()
            version = described(client)
            client.close()
            load(made.socket, *base)
            site = Site(made, Path(scratch), reference)
            if not engine.refuses:
                return Row(engine.name, version, check(site, checks))
            said, wrong = refusal(site, engine.refuses)
            if not wrong:
                return Row(engine.name, version, instead="refused", remark=said)
    except UnfitEnvironment as error:
        wrong = str(error)[:300]
    return Row(engine.name, version or "does not start", dict.fromkeys(checks, wrong))


def table(rows: list[Row], checks: Collection[str]) -> Table:
    """Engines by checks."""
    shown = Table(title="bakeoff on every engine")
    for heading in ("engine", *checks):
        shown.add_column(heading)
    for row in rows:
        shown.add_row(f"{row.name} ({row.version})", *row.cells(checks))
    return shown


if __name__ == "__main__":
    sys.exit(main())
