"""How two harnesses differ, in words: results are comparable only if everything but the model is equal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from typing import Any

from bakeoff.record import fingerprint
from bakeoff.record.manifest import Manifest
from bakeoff.text import figures

LISTED = 12  # differences named of one part
SHOWN = 80  # characters of a value
ABSENT = "nothing"


def drift(base: Manifest, head: Manifest) -> list[str]:
    """One phrase for each difference; none: the two are comparable. The text may quote the harness."""
    if base.fingerprint == head.fingerprint and base.fingerprint_parts:
        return []
    found: list[str] = []
    for label, manifest in (("BASE", base), ("HEAD", head)):
        if not manifest.fingerprint_parts:
            found.append(f"the fingerprint of {label} cannot be read")
    if found:
        return found
    before, after = base.fingerprint_parts, head.fingerprint_parts
    for part in sorted(before.keys() | after.keys()):
        if part not in before or part not in after:
            found.append(f"{part}: not recorded in {'BASE' if part not in before else 'HEAD'}")
        elif before[part] != after[part] and part != "image":
            plain = "its code differs" if part.startswith(fingerprint.EVALUATOR) else "differs"
            named = list(_WORDS.get(part, _unnamed)(base, head)) or [f"{part}: {plain}"]
            found += named[:LISTED]
            if (more := len(named) - LISTED) > 0:
                found.append(f"{part}: {more} more differences")
    # The image's key derives from other parts and from bakeoff's runner: it matters only if nothing else differs
    if before.get("image") != after.get("image") and not found:
        found.append(
            "image: built differently, by another recipe or runner of bakeoff "
            f"(bakeoff {base.bakeoff_version} and {head.bakeoff_version}, "
            f"Python {base.image.python} and {head.image.python})"
        )
    return found or ["the fingerprints differ"]


def _unnamed(base: Manifest, head: Manifest) -> Iterator[str]:
    return iter(())


def _brief(value: Any) -> str:
    if value is None:
        return ABSENT
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _keys(part: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Each key that differs, sizes in units."""
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _keys(f"{part}.{key}", old, new)
        elif old != new:
            show = figures.size if key in ("memory", "disk") or key.endswith("_bytes") else _brief
            yield f"{part}.{key}: {show(old)} → {show(new)}"


def _entry(base: Manifest, head: Manifest) -> Iterator[str]:
    before, after = base.config.harness, head.config.harness
    if before.prompt != after.prompt:
        yield _prompt(before.prompt or "", after.prompt or "")
    keys = {"entrypoint", "tools", "middleware", "command"}
    yield from _keys("harness", before.model_dump(include=keys), after.model_dump(include=keys))


def _prompt(before: str, after: str) -> str:
    pairs = zip_longest(before.splitlines(), after.splitlines())
    number, (old, new) = next(
        ((n, pair) for n, pair in enumerate(pairs, 1) if pair[0] != pair[1]), (1, (before, after))
    )
    return f"prompt: line {number}: {_brief(old)} → {_brief(new)}"


def _source(base: Manifest, head: Manifest) -> Iterator[str]:
    """The files of the harness; what was first sent to the model shows how they differ."""
    before, after = base.observed_harness, head.observed_harness
    yield "source: the harness's code differs"
    if before is None or after is None:
        return
    if before.system_prompt and after.system_prompt and before.system_prompt != after.system_prompt:
        yield _prompt(before.system_prompt, after.system_prompt)
    old, new = (
        {_brief(each.get("name", "unnamed")): each for each in side.functions} for side in (before, after)
    )
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            yield f"tools: {name} removed"
        elif name not in old:
            yield f"tools: {name} added"
        elif old[name] != new[name]:
            yield f"tools: {name} has another description or other parameters"


def _packages(base: Manifest, head: Manifest) -> Iterator[str]:
    before, after = base.image.packages, head.image.packages
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield f"package {name}: {before.get(name, ABSENT)} → {after.get(name, ABSENT)}"


def _base_image(base: Manifest, head: Manifest) -> Iterator[str]:
    before, after = (f"{each.reference} ({each.digest[:19]})" for each in (base.image.base, head.image.base))
    yield f"base image: {before} → {after}"


def _rows(base: Manifest, head: Manifest) -> Iterator[str]:
    before, after = base.dataset.row_digests, head.dataset.row_digests
    if not before or not after:
        return
    groups = {
        "changed": [e for e in before if e in after and before[e] != after[e]],
        "added": [e for e in after if e not in before],
        "removed": [e for e in before if e not in after],
    }
    for what, ids in groups.items():
        if ids:
            more = f" and {len(ids) - LISTED} more" if len(ids) > LISTED else ""
            yield f"dataset: {figures.count(len(ids), 'row')} {what}: {', '.join(ids[:LISTED])}{more}"


def _evaluators(base: Manifest, head: Manifest) -> Iterator[str]:
    before, after = (
        {each.name: each.model_dump() for each in side.config.evaluators} for side in (base, head)
    )
    yield from _keys("evaluators", before, after)


def _of(part: str, section: Callable[[Manifest], Any]) -> Callable[[Manifest, Manifest], Iterator[str]]:
    return lambda base, head: _keys(part, dict(section(base)), dict(section(head)))


# A part of the fingerprint -> its differences. A part without an entry is named by itself.
_WORDS: dict[str, Callable[[Manifest, Manifest], Iterator[str]]] = {
    "harness": _entry,
    "source": _source,
    "config": _of("config", lambda run: run.config.harness.config),
    "packages": _packages,
    "base_image": _base_image,
    "limits": _of("limits", lambda run: run.config.harness.limits),
    "retries": _of("retries", lambda run: run.config.harness.retries),
    "resources": _of("resources", lambda run: run.resources),
    "host": _of("host", lambda run: fingerprint.host_class(run.host)),
    fingerprint.SANDBOX: _of("sandbox", lambda run: run.host.sandbox),
    "dataset": _rows,
    "evaluators": _evaluators,
}
