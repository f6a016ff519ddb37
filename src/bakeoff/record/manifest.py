"""manifest.json: the record of a run as a whole.

The keys on disk are a contract. `{}` there says that a part was not recorded; here it is None.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, WrapSerializer, model_validator

from bakeoff.config.schema import Infra
from bakeoff.record.base import JsonDict, Record
from bakeoff.record.trial import DEFAULT_PROFILE, Profile, ResourceLimits, experiment_name

T = TypeVar("T")


def _or_empty(value: Any, handler: SerializerFunctionWrapHandler) -> Any:
    return {} if value is None else handler(value)


OrEmpty = Annotated[T | None, BeforeValidator(lambda value: value or None), WrapSerializer(_or_empty)]


class ImageBase(Record):
    """What the harness's image was made from."""

    kind: str  # pulled, present, or built: made here, since no registry answered
    reference: str
    digest: str


class Image(Record):
    """An image that can run the harness, and what is in it."""

    id: str  # sha256:...
    reference: str
    key: str = ""  # digest of all that went in: equal keys, equal harness
    source_digest: str = ""
    python: str
    base: ImageBase
    packages: dict[str, str]  # name -> version: Python's, and npm's as `npm:name`
    notes: tuple[str, ...] = Field(default=(), exclude=True)  # for the manifest's own notes


class Host(Record):
    """The machine that ran the sandboxes."""

    cpu_model: str | None = None
    cores: int | None = None
    memory_bytes: int | None = None
    kernel: str | None = None
    os: str | None = None
    architecture: str | None = None
    cgroup_version: int | None = None
    cgroup_driver: str | None = None
    docker_version: str | None = None
    docker_api_version: str | None = None
    storage_driver: str | None = None
    runtime: str | None = None
    security_options: list[str] = Field(default_factory=list)


class HostWorst(Record):
    """The worst moments of the host while trials ran, of the samples taken once a second."""

    cpu_percent_max: float
    load_max: float  # one-minute load average
    memory_available_min_bytes: int
    samples: int
    steal_percent_max: float
    swap_used_max_bytes: int

    def worse(self, other: HostWorst | None) -> HostWorst:
        """The worst of two stretches of one run."""
        if other is None:
            return self
        return HostWorst(
            cpu_percent_max=max(self.cpu_percent_max, other.cpu_percent_max),
            load_max=max(self.load_max, other.load_max),
            memory_available_min_bytes=min(self.memory_available_min_bytes, other.memory_available_min_bytes),
            samples=self.samples + other.samples,
            steal_percent_max=max(self.steal_percent_max, other.steal_percent_max),
            swap_used_max_bytes=max(self.swap_used_max_bytes, other.swap_used_max_bytes),
        )


class ObservedHarness(Record):
    """What the first harness asked of its model, whatever its source says."""

    system_prompt: str
    tools: list[Any] = Field(default_factory=list)  # schemas, with or without OpenAI's envelope; hostile
    params: JsonDict = Field(default_factory=dict)

    @property
    def functions(self) -> list[JsonDict]:
        """The tools' own schemas, OpenAI's envelope removed."""
        tools = [tool for tool in self.tools if isinstance(tool, dict)]
        return [tool["function"] if isinstance(tool.get("function"), dict) else tool for tool in tools]


class NotRun(Record):
    """Trials that were left out because the budget was spent."""

    trials: int
    reason: str


def _only_default(profiles: list[Profile]) -> bool:
    return [profile.name for profile in profiles] == [DEFAULT_PROFILE]


class Manifest(Record):
    """Everything needed to read the numbers, and to make them again."""

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
    image: Image
    host: Host
    max_concurrency: int
    trials_planned: int
    command: list[str] = Field(default_factory=list)  # how to reproduce
    # What the command line changed: a resumed run applies it again.
    overrides: JsonDict = Field(default_factory=dict)
    host_worst: OrEmpty[HostWorst] = None  # None: the host was not sampled
    observed_harness: OrEmpty[ObservedHarness] = None  # None: no harness asked anything
    not_run: OrEmpty[NotRun] = None
    notes: list[str] = Field(default_factory=list)  # warnings that bear on the numbers

    @property
    def max_error_rate(self) -> float:
        """`infra.max_error_rate`; the schema's default where an older manifest lacks it."""
        return Infra.model_validate(self.config.get("infra") or {}, extra="ignore").max_error_rate

    @property
    def experiments(self) -> dict[str, JsonDict]:
        """The candidate of each experiment, by the experiment's name, in the order of harness.yaml."""
        return {
            experiment_name(str(row.get("name")), profile.name): row
            for row in self.candidates
            for profile in self.profiles
        }

    @model_validator(mode="before")
    @classmethod
    def _default_profile(cls, data: Any) -> Any:
        """A manifest with one profile says it by `resources` and `config.resources` alone."""
        if not isinstance(data, dict) or data.get("profiles") or not isinstance(data.get("config"), dict):
            return data
        given = data["config"].get("resources") or {}
        reserve = given.get("reserve") or {}
        profile = {
            "limits": data.get("resources"),
            "reserved_cpus": reserve.get("cpus", 0.0),
            "reserved_memory_bytes": reserve.get("memory", 0),
            "pin": given.get("pin", False),
        }
        return {**data, "profiles": [profile]}
