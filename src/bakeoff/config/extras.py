"""What an extra of this package installs: bakeoff is on no package index, so a hint names the packages themselves."""

from __future__ import annotations

from importlib.metadata import requires

from packaging.requirements import Requirement


def install_command(extra: str) -> str:
    """The command that installs what an extra brings, from the metadata of the installed bakeoff."""
    wanted = [Requirement(line) for line in requires("bakeoff") or []]
    named = [
        f"'{one.name}{one.specifier}'"
        for one in wanted
        if one.marker is not None
        and one.marker.evaluate({"extra": extra})
        and not one.marker.evaluate({"extra": ""})
    ]
    return f"pip install {' '.join(named)}"
