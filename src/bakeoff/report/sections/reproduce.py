"""How to reproduce the numbers, every digest, and what this report does not show."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from bakeoff.report.data import ReportData
from bakeoff.report.document import Block, Code, Heading, Items, Listing, Paragraph, Table
from bakeoff.text import figures


def blocks(data: ReportData) -> Iterator[Block]:
    """The command, the digests, the files; then what the report does not cover."""
    manifest = data.manifest
    yield Heading("How to reproduce")
    yield Paragraph(
        f"With bakeoff {manifest.bakeoff_version}, the same harness file and dataset, and seed "
        f"{manifest.config.seed}; everything random derives from the seed and each "
        "trial's id, so order and concurrency change nothing. Real models may still answer differently from "
        "day to day."
    )
    yield Listing(shlex.join(manifest.command) or f"bakeoff run {shlex.quote(manifest.harness_file)}", "sh")
    image = manifest.image
    digests = {
        "Fingerprint": manifest.fingerprint,
        "Image": image.id,
        "Image key": image.key,
        "Base image": image.base.digest,
        "Harness source": image.source_digest,
        "Dataset": manifest.dataset.digest,
    }
    yield Table(("Digest", "Value"), [(name, Code(str(value))) for name, value in digests.items() if value])
    yield Paragraph(
        (
            "Every fact is in the run directory: manifest.json, trials.jsonl, trajectories/, attempts/. To make this "
            "report again: ",
            Code(f"bakeoff report {shlex.quote(data.run_dir)}"),
            ".",
        )
    )
    yield Heading("What this report does not show")
    items = [
        "Whether the examples are like your users' requests: it measures these examples only.",
        "Other resources: another memory or CPU limit can move scores by more than the models differ.",
        "Another harness: the same models may rank differently with another prompt or other tools.",
    ]
    if older := sum(row.uncounted for row in data.candidates):
        items.append(
            f"What {figures.count(older, 'trial')} used before the last attempt: an older version did not record it."
        )
    if any(row.total_cost_usd is None for row in data.candidates):
        items.append(
            f"The cost where it reads {figures.UNKNOWN}: the price of at least one call is not known."
        )
    if data.simulated:
        items.append("Anything about a real model, where a candidate is simulated.")
    yield Items(items)
