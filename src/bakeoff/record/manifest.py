"""manifest.json: the record of a run as a whole."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bakeoff.record.base import JsonDict
from bakeoff.record.trial import DEFAULT_PROFILE, Profile, ResourceLimits


def _only_default(profiles: list[Profile]) -> bool:
    return [profile.name for profile in profiles] == [DEFAULT_PROFILE]


class Manifest(BaseModel):
    """manifest.json: everything needed to read the numbers, and to make them again."""

    model_config = ConfigDict(extra="forbid")

    format: int = 1
    run_id: str
    bakeoff_version: str
    state: Literal["running", "finished", "interrupted"]
    started_at: datetime
    finished_at: datetime | None = None
    harness_file: str  # path as given, for the "how to reproduce" section
    config: JsonDict  # resolved harness.yaml, no secrets
    candidates: list[JsonDict]  # name, model, params, simulated: bool
    # path, digest, rows, example_ids; by example_id: clusters, suites, severities, and of all rows row_digests;
    # langsmith: the version it was read from there (langsmith.reference.Origin)
    dataset: JsonDict
    fingerprint: str
    fingerprint_parts: dict[str, str]
    resources: ResourceLimits  # of the first profile
    profiles: list[Profile] = Field(default_factory=list, exclude_if=_only_default)
    image: JsonDict  # id, reference, base {kind, reference, digest}, python, packages {name: version}
    host: JsonDict  # host.facts: cpu_model, cores, memory_bytes, kernel, cgroup_version, docker_version, ...
    max_concurrency: int
    trials_planned: int
    command: list[str] = Field(default_factory=list)  # how to reproduce
    overrides: JsonDict = Field(
        default_factory=dict
    )  # what the command line changed: a resumed run applies it again
    host_worst: JsonDict = Field(
        default_factory=dict
    )  # worst moments of the host during the run; see host_watch.py
    observed_harness: JsonDict = Field(
        default_factory=dict
    )  # system_prompt, tools, params: as first sent to a model
    not_run: JsonDict = Field(
        default_factory=dict
    )  # trials (how many), reason: when money, not the user, ended it
    notes: list[str] = Field(default_factory=list)  # warnings that bear on the numbers

    @model_validator(mode="after")
    def _default_profile(self) -> Self:
        """A manifest with one profile says it by `resources` and `config.resources` alone."""
        if not self.profiles:
            given = self.config.get("resources") or {}
            reserve = given.get("reserve") or {}
            self.profiles = [
                Profile(
                    limits=self.resources,
                    reserved_cpus=reserve.get("cpus", 0.0),
                    reserved_memory_bytes=reserve.get("memory", 0),
                    pin=given.get("pin", False),
                )
            ]
        return self
