"""Where bakeoff keeps what it can make again."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from bakeoff.errors import UnfitEnvironment


def cache_dir() -> Path:
    """`$XDG_CACHE_HOME/bakeoff`, else `~/.cache/bakeoff`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bakeoff"


def mark_used(home: Path) -> None:
    """Note that a directory of the cache is in use: `bakeoff setup --prune` goes by its time."""
    with suppress(OSError):  # of a cache that cannot be written
        os.utime(home)


def require_cache() -> None:
    """Make the cache's directory, where there is none.

    Raises:
        UnfitEnvironment: it cannot be made.
    """
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnfitEnvironment(
            f"the cache {cache_dir()} cannot be made: {error.strerror or error}",
            hint="set XDG_CACHE_HOME to a directory that can be written",
        ) from error
