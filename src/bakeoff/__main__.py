"""The `bakeoff` command, and `python -m bakeoff`."""

from __future__ import annotations

import sys

from bakeoff.errors import Interrupted
from bakeoff.run import interrupts


def main() -> None:
    """Signals first: one that arrives while the modules load ends the command as a later one does."""
    interrupts.raised()
    try:
        from bakeoff.cli import main

        main()
    except KeyboardInterrupt:
        sys.exit(Interrupted.exit_code)


if __name__ == "__main__":
    main()
