"""The `bakeoff` command, and `python -m bakeoff`."""

from __future__ import annotations

from bakeoff.run import interrupts


def main() -> None:
    """Signals first: one that arrives while the modules load ends the command as a later one does."""
    interrupts.at_once()
    from bakeoff import cli

    interrupts.raised()
    cli.main()


if __name__ == "__main__":
    main()
