"""What all spans of a candidate share: run, model, the box as asked for and as it was, and what was used."""

from __future__ import annotations

import json
from collections.abc import Sequence

from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from bakeoff.publish.otlp.values import Attributes, pairs
from bakeoff.publish.source import Source
from bakeoff.record.base import JsonDict
from bakeoff.record.trial import ResourceLimits

PROJECT = "openinference.project.name"  # by which Phoenix groups traces; others ignore it


def resource(
    source: Source,
    candidate: str,
    effective: Sequence[tuple[ResourceLimits, int]],
    environment: Attributes,
) -> Resource:
    """A candidate's resource.

    Args:
        source: the run.
        candidate: its name.
        effective: the limits that were read back in its trials, with how many trials had them, most frequent first.
        environment: OTEL_RESOURCE_ATTRIBUTES; it may name another project.
    """
    attributes = _attributes(source, candidate, effective)
    return Resource(attributes=pairs({PROJECT: attributes["service.name"], **environment, **attributes}))


def _attributes(source: Source, candidate: str, effective: Sequence[tuple[ResourceLimits, int]]) -> JsonDict:
    manifest, row = source.manifest, source.manifest.candidate(candidate)
    numbers = next(each for each in source.candidates if each.name == candidate)
    image, host = manifest.image, manifest.host
    name = source.harness
    given: JsonDict = {
        "service.name": name,
        "service.instance.id": f"{source.run_id}/{candidate}",
        "host.arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(str(host.architecture)),
        "host.cpu.model.name": host.cpu_model,
        "os.description": host.os,
        "container.image.id": image.id,
        "container.image.name": image.reference,
        "container.runtime.name": host.runtime,
        "bakeoff.run_id": source.run_id,
        "bakeoff.version": manifest.bakeoff_version,
        "bakeoff.harness": name,
        "bakeoff.candidate": candidate,
        "bakeoff.model": row.model,
        "bakeoff.params": json.dumps(row.params, sort_keys=True),
        "bakeoff.simulated": row.simulated,
        "bakeoff.inconclusive": source.report.inconclusive,
        "bakeoff.fingerprint": manifest.fingerprint,
        "bakeoff.dataset.digest": manifest.dataset.digest,
        "bakeoff.image.key": image.key,
        "bakeoff.image.python": image.python,
        "bakeoff.image.base.reference": image.base.reference,
        "bakeoff.image.base.digest": image.base.digest,
        "bakeoff.image.base.kind": image.base.kind,
        "bakeoff.host.cores": host.cores,
        "bakeoff.host.memory_bytes": host.memory_bytes,
        "bakeoff.host.kernel": host.kernel,
        "bakeoff.host.cgroup_version": host.cgroup_version,
        "bakeoff.host.docker_version": host.docker_version,
        "bakeoff.host.storage_driver": host.storage_driver,
        "bakeoff.max_concurrency": manifest.max_concurrency,
        "bakeoff.resources.observed.oom_kills": numbers.oom_kills,
        "bakeoff.resources.effective.distinct": len(effective),
    }
    given |= {f"bakeoff.resources.requested.{key}": value for key, value in manifest.resources}
    if effective:
        given |= {f"bakeoff.resources.effective.{key}": value for key, value in effective[0][0]}
    for key in ("memory_peak_bytes", "cpu_seconds", "throttled_seconds", "pids_peak", "disk_bytes"):
        spread = getattr(numbers, key)
        if spread is not None:
            for figure in ("mean", "p50", "p95", "max"):
                given[f"bakeoff.resources.observed.{key}.{figure}"] = float(getattr(spread, figure))
    return given
