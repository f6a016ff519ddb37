"""What bakeoff has left on this machine and has not used for a while: its own images, and its caches of packages."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from docker import DockerClient

from bakeoff.backends.docker.connection import DAEMON_GONE
from bakeoff.backends.docker.images import prune
from bakeoff.backends.docker.images.base_image import STAND_IN_RECIPE
from bakeoff.config.cache import cache_dir

# A run that was stopped, and a branch left for a moment, still find their images and wheels.
KEPT_FOR = timedelta(days=7)
# Directories of the cache whose entries can be fetched or made again, and take space.
CACHES = ("wheels", "built-wheels", "npm")


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing to remove. `size`: bytes, at least. `remove` says whether it is gone."""

    name: str
    size: int
    idle: timedelta  # since it was used
    remove: Callable[[], bool]


def leftovers(client: DockerClient | None, now: datetime | None = None) -> list[Leftover]:
    """What was not used for `KEPT_FOR`. Nothing that bakeoff did not make is among it.

    Args:
        client: the engine; None: no engine answers, so only the caches are looked at.
        now: the time.
    """
    now = now or datetime.now(UTC)
    return [*_images(client, now), *_caches(now)]


def _images(client: DockerClient | None, now: datetime) -> list[Leftover]:
    if client is None:
        return []
    try:
        old = prune.unused(client, now - KEPT_FOR)
    except DAEMON_GONE:
        return []
    return [
        Leftover(f"image {one.name}", one.size, now - one.last_used, partial(prune.remove, client, one))
        for one in old
    ]


def _caches(now: datetime) -> list[Leftover]:
    entries = [entry for name in CACHES for entry in _entries(cache_dir() / name)]
    found = [_directory(entry, now) for entry in entries]
    old = [each for each in found if each.idle > KEPT_FOR]
    # No set-up takes these again
    recipes = (entry for entry in _entries(cache_dir() / "stand-ins") if entry.name != STAND_IN_RECIPE)
    return [*old, *(_directory(entry, now) for entry in recipes)]


def _entries(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _directory(path: Path, now: datetime) -> Leftover:
    files = [each for each in path.rglob("*") if each.is_file() and not each.is_symlink()]
    size = sum(each.stat().st_size for each in files)
    used = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return Leftover(str(path), size, now - used, partial(_delete, path))


def _delete(path: Path) -> bool:
    # Out of the way first: a set-up that finds it half removed would take it for whole.
    doomed = path.with_name(f".{path.name}.{time.monotonic_ns()}")
    try:
        path.rename(doomed)
    except OSError:
        return False
    shutil.rmtree(doomed, ignore_errors=True)
    return True
