"""harness.yaml as a run resolved it: sizes in bytes, defaults filled in, secrets masked.

`config.schema` says what each key means, and has the defaults. A default here is for a key that older versions did not
write. A key that only the schema has stops every run at its start, so that the two cannot drift apart.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from bakeoff.record.base import JsonDict, Record


class Limits(Record):
    turns: int
    seconds: float
    tool_seconds: float
    tokens: int | None


class Retries(Record):
    model_call: int


class Middleware(Record):
    model_config = ConfigDict(serialize_by_alias=True)

    use: str
    with_: JsonDict = Field(alias="with")


class Harness(Record):
    entrypoint: str | None
    command: list[str] = Field(default_factory=list)
    prompt: str | None
    tools: list[str]
    middleware: list[Middleware]
    source: str
    requirements: list[str]
    npm: list[str] = Field(default_factory=list)
    base_image: str
    limits: Limits
    retries: Retries
    config: JsonDict
    traces: bool = False


class Reserve(Record):
    cpus: float
    memory: int


class Resources(Record):
    cpus: float
    memory: int
    reserve: Reserve
    pids: int
    disk: int
    network: str
    pin: bool = False


class Evaluator(Record):
    kind: str
    name: str
    options: JsonDict
    use: str | None
    threshold: float | None


class Infra(Record):
    attempts: int
    max_error_rate: float
    startup_seconds: float


class Sweep(Record):
    levels: list[float | str]  # where profiles are given in full, these name nothing
    scale: list[str]
    floor: float
    profiles: dict[str, Resources] = Field(default_factory=dict)
    margin: float
    max_infra: float


class Production(Record):
    cpus: float | None = None
    memory: int | None = None
    pids: int | None = None
    disk: int | None = None
    network: str | None = None
    turns: int | None = None
    seconds: float | None = None
    tool_seconds: float | None = None
    tokens: int | None = None
    retries: Retries | None = None


class Change(Record):
    replaces: str | None = None
    owner: str | None = None
    rollback: str | None = None
    notes: str | None = None


class Configuration(Record):
    """The whole file. What no reader looks into, or who uses it checks as harness.yaml's, is plain JSON."""

    version: int
    name: str
    harness: Harness
    resources: Resources
    candidates: list[JsonDict]  # for readers: `Manifest.candidates`
    dataset: str
    trials: int
    evaluators: list[Evaluator]
    infra: Infra
    seed: int
    rate: JsonDict = Field(default_factory=dict)
    prices: JsonDict = Field(default_factory=dict)
    budget: JsonDict | None = None
    key_command: JsonDict = Field(default_factory=dict)
    max_concurrency: int | Literal["auto"]
    gates: JsonDict = Field(default_factory=dict)
    sweep: Sweep | None = None
    production: Production | None = None
    change: Change | None = None
    publish: dict[str, JsonDict | None] = Field(default_factory=dict)  # by target
