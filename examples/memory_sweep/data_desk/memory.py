"""How much memory this container may still take, as a library that chooses its way by it would ask.

Sources: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
"""

from __future__ import annotations

from pathlib import Path

UNLIMITED = 2**62  # version 1 writes "no limit" as the largest page-aligned long


def free(root: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc")) -> int:
    """Bytes below the cgroup's limit, or of the host where that has less or there is no limit."""
    available = _table(proc / "meminfo")["MemAvailable:"] * 1024
    if (root / "memory.max").exists():
        limit, used = root / "memory.max", _table(root / "memory.stat")
    else:
        limit, used = root / "memory" / "memory.limit_in_bytes", _table(root / "memory" / "memory.stat")
    text = limit.read_text().strip() if limit.exists() else "max"
    if text == "max" or int(text) >= UNLIMITED:
        return available
    # What the kernel cannot give back: processes' own pages (version 1 calls them rss) and files in tmpfs
    held = used.get("anon", used.get("rss", 0)) + used.get("shmem", 0)
    return max(0, min(int(text) - held, available))


def _table(file: Path) -> dict[str, int]:
    """A file of `key value` lines; nothing where there is no such file."""
    lines = file.read_text().splitlines() if file.exists() else []
    return {words[0]: int(words[1]) for words in map(str.split, lines) if len(words) >= 2}
