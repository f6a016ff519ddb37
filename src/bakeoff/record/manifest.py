"""manifest.json: the record of a run as a whole.

The keys on disk are a contract. `{}` there says that a part was not recorded; here it is None.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, PlainSerializer, SerializerFunctionWrapHandler, WrapSerializer

from bakeoff.record.base import JsonDict, Record
from bakeoff.record.configuration import Configuration
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
    # What it gives every sandbox besides the limits. Empty: written by a version that did not record it
    sandbox: JsonDict = Field(default_factory=dict)


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


class Candidate(Record):
    """What varies. `simulated`: it makes no call to any model."""

    name: str
    model: str
    params: JsonDict = Field(default_factory=dict)
    simulated: bool = False


class Origin(Record):
    """The version of a LangSmith dataset that was read, so that it can be read again."""

    endpoint: str  # the API's address
    dataset_id: str  # UUID
    name: str  # when it was read
    as_of: str  # the version's time, ISO 8601
    url: str  # where a reader finds it


class Dataset(Record):
    """The examples that were selected; `digest` and `row_digests` are of the whole."""

    path: str
    langsmith: Origin | None = Field(default=None, exclude_if=lambda origin: origin is None)
    digest: str
    rows: int
    example_ids: list[str] = Field(default_factory=list)
    # by example
    clusters: dict[str, str] = Field(default_factory=dict)
    suites: JsonDict = Field(default_factory=dict)
    severities: JsonDict = Field(default_factory=dict)
    row_digests: dict[str, str] = Field(default_factory=dict)


class Overrides(Record):
    """What the command line changed, as `config.overrides.Overrides`: a resumed run applies it again."""

    candidates: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    trials: int | None = None
    memory: str | None = None
    cpus: float | None = None
    seed: int | None = None
    max_concurrency: int | None = None
    sweep: JsonDict | None = None


class NotRun(Record):
    """Trials that were left out because the budget was spent."""

    trials: int
    reason: str


def _only_default(profiles: list[Profile]) -> bool:
    return [profile.name for profile in profiles] == [DEFAULT_PROFILE]


def _default_profile(known: dict[str, Any]) -> list[Profile]:
    """A manifest with one profile says it by `resources` and `config.resources` alone."""
    config: Configuration = known["config"]
    reserve = config.resources.reserve
    return [
        Profile(
            limits=known["resources"],
            reserved_cpus=reserve.cpus,
            reserved_memory_bytes=reserve.memory,
            pin=config.resources.pin,
        )
    ]


class Manifest(Record):
    """Everything needed to read the numbers, and to make them again."""

    format: int = 1
    run_id: str
    bakeoff_version: str
    state: Literal["running", "finished", "interrupted"]
    started_at: datetime
    finished_at: datetime | None = None
    harness_file: str  # path as given, for the "how to reproduce" section
    config: Configuration
    candidates: list[Candidate]
    dataset: Dataset
    fingerprint: str
    fingerprint_parts: dict[str, str]
    resources: ResourceLimits  # of the first profile
    profiles: list[Profile] = Field(default_factory=_default_profile, exclude_if=_only_default)
    image: Image
    host: Host
    max_concurrency: int
    trials_planned: int
    command: list[str] = Field(default_factory=list)  # how to reproduce
    overrides: Annotated[
        Overrides, PlainSerializer(lambda given: given.model_dump(exclude_defaults=True))
    ] = Overrides()
    host_worst: OrEmpty[HostWorst] = None  # None: the host was not sampled
    observed_harness: OrEmpty[ObservedHarness] = None  # None: no harness asked anything
    not_run: OrEmpty[NotRun] = None
    notes: list[str] = Field(default_factory=list)  # warnings that bear on the numbers

    @property
    def experiments(self) -> dict[str, Candidate]:
        """The candidate of each experiment, by the experiment's name, in the order of harness.yaml."""
        return {
            experiment_name(candidate.name, profile.name): candidate
            for candidate in self.candidates
            for profile in self.profiles
        }

    def profile(self, experiment: str) -> Profile:
        """The profile of an experiment; of one that is not planned here, the first."""
        named = {
            experiment_name(candidate.name, profile.name): profile
            for candidate in self.candidates
            for profile in self.profiles
        }
        return named.get(experiment, self.profiles[0])

    def candidate(self, experiment: str) -> Candidate:
        """The candidate of an experiment; of one that is not planned here, nothing but the name is known."""
        return self.experiments.get(experiment) or Candidate(name=experiment, model="")
