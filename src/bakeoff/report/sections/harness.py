"""What exactly was the harness? Everything that was the same for every candidate."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

from bakeoff.record.base import JsonDict
from bakeoff.record.configuration import Evaluator, Harness
from bakeoff.record.manifest import ObservedHarness
from bakeoff.report.data import ReportData
from bakeoff.report.document import Block, Code, Details, Heading, Items, Listing, Paragraph, Phrase, Table
from bakeoff.text import figures

STORES = ("memory_store", "memory", "store", "checkpointer")  # keys of `harness.config` that name one


def blocks(data: ReportData) -> Iterator[Block]:
    """The facts, the prompt and the tools as sent to the model, and the fingerprint."""
    manifest = data.manifest
    yield Heading("What exactly was the harness?")
    yield Paragraph(
        "Everything here was the same for every candidate. Compare two results only if they have the same "
        "fingerprint; if it differs, its parts show what changed."
    )
    yield Table(
        ("What", "Value"), [(name, value) for name, value in _facts(data).items() if value not in ("", None)]
    )
    if manifest.observed_harness:
        yield from _as_seen(manifest.observed_harness, data.prompt_varies)
    parts = sorted(manifest.fingerprint_parts.items())
    yield Table(("Part of the fingerprint", "Digest"), [(part, Code(digest)) for part, digest in parts])


def appendix(data: ReportData) -> Iterator[Block]:
    """The full tool schemas and the package list, which few readers need."""
    manifest = data.manifest
    yield Heading("Appendix: tool schemas and packages")
    if manifest.observed_harness and (tools := manifest.observed_harness.tools):
        schemas = json.dumps(tools, ensure_ascii=False, indent=1)
        yield Details(f"Tool schemas, as first sent to a model ({len(tools)})", [Listing(schemas, "json")])
    packages = manifest.image.packages
    listed = "\n".join(f"{name}=={version}" for name, version in sorted(packages.items()))
    yield Details(f"Packages in the image ({len(packages)})", [Listing(listed or "not recorded")])


def _facts(data: ReportData) -> dict[str, Phrase | None]:
    manifest = data.manifest
    config, image, dataset = manifest.config, manifest.image, manifest.dataset
    harness, limits = config.harness, config.harness.limits
    clusters = len(set(dataset.clusters.values()))
    return {
        "Name": config.name,
        "Entry point": _code(harness.entrypoint),
        "Command": _code(shlex.join(harness.command)),
        "Prompt": _prompt(data),
        "Tools": ", ".join(_tool_names(data)) or "none seen, none declared",
        "Middleware": "; ".join(
            f"{each.use} {figures.plain(each.with_)}".strip() for each in harness.middleware
        )
        or ("whatever the entry point's code adds" if harness.entrypoint else "none"),
        "Retry policy": f"a model call that the provider failed is retried {harness.retries.model_call} times",
        "Turn limit": f"{figures.number(limits.turns)} model calls",
        "Time limits": f"{figures.seconds(limits.seconds)} of working time, {_tool_limit(harness)}",
        "Context limit": f"{figures.number(limits.tokens)} tokens, input and output of a trial together"
        if limits.tokens
        else "none in the harness; each model's window applies",
        "Memory store": _store(harness.config),
        "Configuration": figures.plain(harness.config),
        "Source": _code(harness.source),
        "Requirements": figures.plain(harness.requirements),
        "npm packages": figures.plain(harness.npm) if harness.npm else None,
        "Evaluators": "; ".join(map(_evaluator, config.evaluators)),
        "Image": Code(f"{image.reference} {image.id}"),
        "Base image": Code(f"{image.base.reference} {image.base.digest} {image.base.kind}"),
        "Python": image.python,
        "Dataset": Code(f"{dataset.path} {dataset.digest}"),
        "Examples": f"{figures.count(dataset.rows, 'example')} in {figures.count(clusters, 'cluster')}, "
        f"each run {'up to ' if config.stop_early else ''}{figures.count(config.trials, 'time')} by each candidate",
        "Seed": str(config.seed),
        "Fingerprint": _code(manifest.fingerprint),
    }


def _code(value: Any) -> Code | None:
    return Code(str(value)) if value else None


def _tool_limit(harness: Harness) -> str:
    if harness.command:
        return "no limit for one tool call: the program decides"
    return f"{figures.seconds(harness.limits.tool_seconds)} for one tool call"


def _tool_names(data: ReportData) -> list[str]:
    seen = data.manifest.observed_harness.functions if data.manifest.observed_harness else []
    return [str(tool.get("name")) for tool in seen] or data.manifest.config.harness.tools


def _prompt(data: ReportData) -> str:
    """The prompt's length, and where to read it."""
    seen = data.manifest.observed_harness
    if seen is None:
        return "not recorded: no model call was made, or the run was not finished"
    if data.prompt_varies:
        return "differs between trials, for example because it contains part of the input; the first trial's is below"
    if seen.system_prompt:
        return f"{len(seen.system_prompt)} characters, in full below, as sent to the model"
    return "none: no system message was sent to the model"


def _store(config: JsonDict) -> str:
    given = {key: config[key] for key in STORES if config.get(key)}
    if given:
        return json.dumps(given, ensure_ascii=False)
    return "none: every trial starts in a fresh container with an empty /task and no memory of other trials"


def _evaluator(each: Evaluator) -> str:
    required = "reported only" if each.threshold is None else f"at least {each.threshold}"
    options = f" {json.dumps(each.options, ensure_ascii=False)}" if each.options else ""
    return f"{each.name}{options}: {required}"


def _as_seen(observed: ObservedHarness, prompt_varies: bool) -> Iterator[Block]:
    """The prompt and the tools that reached a model, whatever the source says."""
    if observed.system_prompt:
        title = "The system prompt of the first trial" if prompt_varies else "The system prompt"
        yield Details(f"{title}, as first sent to a model", [Listing(observed.system_prompt)])
    if not observed.tools:
        return
    described: list[Phrase] = []
    for schema in observed.functions:
        arguments = (schema.get("parameters") or {}).get("properties") or {}
        described.append(
            (
                Code(f"{schema.get('name')}({', '.join(map(str, arguments))})"),
                f" {' '.join(str(schema.get('description') or '').split())}",
            )
        )
    title = f"The tools, as first sent to a model ({len(observed.tools)}); their schemas are in the appendix"
    yield Details(title, [Items(described)])
