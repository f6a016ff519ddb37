"""The engine matrix: every check of `checks.CHECKS` on every engine of `engines.ENGINES`, for real; prints a table.

Exits 1 when a check does not hold.

python -m tests.hosts.campaign [--only NAME...] [--checks CHECK...]
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

from bakeoff.backends.docker.connection import connect
from bakeoff.backends.docker.images import base_image
from bakeoff.config.schema import Harness
from bakeoff.errors import UnfitEnvironment
from tests.docker.engines import load
from tests.hosts.checks import CHECKS, Found, Site, check
from tests.hosts.engines import ENGINES, Engine, described, running


def main() -> int:
    """Choose, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only engines whose name begins so")
    parser.add_argument("--checks", nargs="+", choices=CHECKS, default=CHECKS, help="only these checks")
    options = parser.parse_args()
    engines = [engine for engine in ENGINES if engine.name.startswith(tuple(options.only or ("",)))]
    if not engines:
        parser.error(f"no such engine; there are {', '.join(engine.name for engine in ENGINES)}")
    console, began = Console(width=None if sys.stdout.isatty() else 200), time.monotonic()
    names, reference = base_names(), {}
    rows: dict[str, Found] = {}
    for engine in engines:
        started = time.monotonic()
        version, found = visit(engine, names, reference, options.checks)
        rows[f"{engine.name} ({version})"] = found
        bad = {name: why for name, why in found.items() if why}
        console.print(f"{engine.name}: {version}, {time.monotonic() - started:.0f} s", highlight=False)
        for name, why in bad.items():
            console.print(f"  {name}: {why}", highlight=False, markup=False)
    console.print(table(rows, options.checks))
    wrong = sum(bool(why) for found in rows.values() for why in found.values())
    console.print(f"{wrong} wrong, {(time.monotonic() - began) / 60:.1f} min")
    return 1 if wrong else 0


def base_names() -> list[str]:
    """The names of the base image on this machine's engine."""
    client = connect()
    base = base_image.ensure(client, Harness.model_fields["base_image"].default, print)
    names = client.api.inspect_image(base.image_id)["RepoTags"]  # type: ignore[no-untyped-call]
    client.close()
    return list(names)


def visit(
    engine: Engine, base: list[str], reference: dict[str, object], checks: Collection[str]
) -> tuple[str, Found]:
    """What one engine is, and what each check found there."""
    try:
        with running(engine) as site, tempfile.TemporaryDirectory(prefix="bakeoff-hosts-") as scratch:
            client = site.client()
            version = described(client)
            client.close()
            load(site.host, *base)
            return version, check(Site(site, Path(scratch), reference), checks)
    except UnfitEnvironment as error:
        return "not running", dict.fromkeys(checks, str(error)[:300])


def table(rows: dict[str, Found], checks: Collection[str]) -> Table:
    """Engines by checks."""
    shown = Table(title="bakeoff on every engine")
    for heading in ("engine", *checks):
        shown.add_column(heading)
    for name, found in rows.items():
        shown.add_row(name, *("ok" if found.get(check) == "" else "NO" for check in checks))
    return shown


if __name__ == "__main__":
    sys.exit(main())
