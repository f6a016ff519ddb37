"""What exactly was the harness? Everything that was the same for every candidate."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from bakeoff.record.base import JsonDict
from bakeoff.report.data import ReportData
from bakeoff.report.document import Block, Code, Details, Heading, Items, Listing, Paragraph, Phrase, Table
from bakeoff.text import figures

STORES = ("memory_store", "memory", "store", "checkpointer")  # keys of `harness.config` that name one


def blocks(data: ReportData) -> Iterator[Block]:
    """The facts, the prompt and the tools as the model saw them, the fingerprint, the packages."""
    manifest = data.manifest
    yield Heading("What exactly was the harness?")
    yield Paragraph(
        "Everything here was the same for every candidate. Two results may be compared only where the "
        "fingerprint is the same; where it is not, its parts say what differs."
    )
    yield Table(
        ("What", "Value"), [(name, value) for name, value in _facts(data).items() if value not in ("", None)]
    )
    yield from _as_seen(manifest.observed_harness)
    parts = sorted(manifest.fingerprint_parts.items())
    yield Table(("Part of the fingerprint", "Digest"), [(part, Code(digest)) for part, digest in parts])
    packages: Mapping[str, str] = manifest.image.get("packages") or {}
    listed = "\n".join(f"{name}=={version}" for name, version in sorted(packages.items()))
    yield Details(f"Packages in the image ({len(packages)})", [Listing(listed or "not recorded")])


def _facts(data: ReportData) -> dict[str, Phrase | None]:
    manifest = data.manifest
    config, image, dataset = manifest.config, manifest.image, manifest.dataset
    harness: JsonDict = config.get("harness") or {}
    limits: JsonDict = harness.get("limits") or {}
    base: JsonDict = image.get("base") or {}
    retries = (harness.get("retries") or {}).get("model_call")
    clusters = len(set((dataset.get("clusters") or {}).values()))
    return {
        "Name": figures.plain(config.get("name")),
        "Entry point": _code(harness.get("entrypoint")),
        "Command": _code(shlex.join(harness.get("command") or ()) or None),
        "Prompt": _prompt(data),
        "Tools": ", ".join(_tool_names(data)) or "none seen, none declared",
        "Middleware": "; ".join(
            f"{each.get('use')} {figures.plain(each.get('with'))}".strip()
            for each in harness.get("middleware") or ()
        )
        or ("whatever the entry point's own code adds" if harness.get("entrypoint") else "none"),
        "Retry policy": f"a model call that the provider failed is tried {retries} more times"
        if retries is not None
        else figures.UNKNOWN,
        "Turn limit": f"{figures.number(limits.get('turns'))} model calls",
        "Time limits": f"{figures.seconds(limits.get('seconds'))} of working time, "
        + _tool_limit(harness, limits),
        "Context limit": f"{figures.number(limits['tokens'])} tokens, input and output of a trial together"
        if limits.get("tokens")
        else "none of the harness; each model's own window",
        "Memory store": _store(harness.get("config") or {}),
        "Configuration": figures.plain(harness.get("config")),
        "Source": _code(harness.get("source")),
        "Requirements": figures.plain(harness.get("requirements")),
        "npm packages": figures.plain(harness["npm"]) if harness.get("npm") else None,
        "Evaluators": "; ".join(_evaluator(each) for each in config.get("evaluators") or ()),
        "Image": _code(f"{image.get('reference', '')} {image.get('id', '')}".strip()),
        "Base image": _code(
            " ".join(str(base[key]) for key in ("reference", "digest", "kind") if base.get(key))
        ),
        "Python": figures.plain(image.get("python")),
        "Dataset": _code(f"{dataset.get('path') or figures.UNKNOWN} {dataset.get('digest') or ''}".strip()),
        "Examples": f"{figures.count(dataset.get('rows'), 'example')} in {figures.count(clusters, 'cluster')}, "
        f"each run {figures.count(config.get('trials'), 'time')} by each candidate",
        "Seed": figures.plain(config.get("seed")),
        "Fingerprint": _code(manifest.fingerprint),
    }


def _code(value: Any) -> Code | None:
    return Code(str(value)) if value else None


def _tools(data: ReportData) -> list[JsonDict]:
    """The schemas first sent to a model, whether or not OpenAI's envelope is around them."""
    seen = data.manifest.observed_harness.get("tools")
    listed = [tool for tool in seen if isinstance(tool, dict)] if isinstance(seen, list) else []
    return [tool["function"] if isinstance(tool.get("function"), dict) else tool for tool in listed]


def _tool_limit(harness: JsonDict, limits: JsonDict) -> str:
    if harness.get("command"):
        return "one tool call as long as the program lets it run"
    return f"{figures.seconds(limits.get('tool_seconds'))} for one tool call"


def _tool_names(data: ReportData) -> list[str]:
    declared = (data.manifest.config.get("harness") or {}).get("tools") or []
    return [str(tool.get("name")) for tool in _tools(data)] or [str(tool) for tool in declared]


def _prompt(data: ReportData) -> str:
    """Where the prompt is to be found, and how long it is."""
    seen = data.manifest.observed_harness.get("system_prompt")
    if isinstance(seen, str) and seen:
        return f"{len(seen)} characters, in full below, as the model got it"
    if data.manifest.observed_harness:
        return "none: the model got no system message"
    return "not recorded: no model call was made, or the run was not finished"


def _store(config: JsonDict) -> str:
    given = {key: config[key] for key in STORES if config.get(key)}
    if given:
        return json.dumps(given, ensure_ascii=False)
    return "none: every trial starts in a fresh container with an empty /task and remembers no other"


def _evaluator(each: JsonDict) -> str:
    threshold = each.get("threshold")
    required = "reported only" if threshold is None else f"at least {threshold}"
    options = f" {json.dumps(each['options'], ensure_ascii=False)}" if each.get("options") else ""
    return f"{each.get('name')}{options}: {required}"


def _as_seen(observed: JsonDict) -> Iterator[Block]:
    """The prompt and the tools that really reached a model, whatever the source says."""
    prompt = observed.get("system_prompt")
    if isinstance(prompt, str) and prompt:
        yield Details("The system prompt, as first sent to a model", [Listing(prompt)])
    tools = observed.get("tools")
    if isinstance(tools, list) and tools:
        described: list[Phrase] = []
        for tool in tools:
            schema = tool.get("function", tool) if isinstance(tool, dict) else {}
            arguments = (schema.get("parameters") or {}).get("properties") or {}
            described.append(
                (
                    Code(f"{schema.get('name')}({', '.join(map(str, arguments))})"),
                    f" {' '.join(str(schema.get('description') or '').split())}",
                )
            )
        schemas = json.dumps(tools, ensure_ascii=False, indent=1)
        yield Details(
            f"The tools, as first sent to a model ({len(tools)})",
            [Items(described), Listing(schemas, "json")],
        )
