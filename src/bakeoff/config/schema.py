"""harness.yaml -> Config: the schema of version 1, each field with one sentence on what it does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr

from bakeoff.config.fitting import Loc
from bakeoff.config.located import Located
from bakeoff.config.model_ref import ModelRef
from bakeoff.config.section import FormatError, KeyedAddress, Section, VariableName
from bakeoff.config.sizes import parse_size
from bakeoff.config.targets import Publish
from bakeoff.errors import InputError

UNCAPPED: Literal["uncapped"] = "uncapped"  # the level without a ceiling
Size = Annotated[int, BeforeValidator(parse_size)]  # written as 512MiB, kept in bytes


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Limits(Section):
    """What the production harness allows the agent."""

    turns: Annotated[int, Field(ge=1)] = 12  # model calls a trial may make
    seconds: Annotated[float, Field(gt=0)] = 120.0  # working time: queueing and back-off are not counted
    tool_seconds: Annotated[float, Field(gt=0)] = 30.0  # one tool call; past it the agent gets an error
    tokens: Annotated[int, Field(ge=1)] | None = None  # input + output tokens of a trial


class Retries(Section):
    """The production retry budget, spent in the gateway."""

    model_call: Annotated[int, Field(ge=0, le=20)] = 2  # extra tries of one model call


class MiddlewareSpec(Section):
    """One LangChain middleware: `{use: module:Class, with: {...}}`."""

    use: str
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")


class Harness(Section):
    """The constant: everything but the model."""

    entrypoint: str | None = None  # module:function, (model, context) -> Runnable
    command: list[str] = Field(default_factory=list)  # or any program: see bakeoff_runner.command
    prompt: str | None = None  # system prompt, when there is no entrypoint
    tools: list[str] = Field(default_factory=list)  # module:function
    middleware: list[MiddlewareSpec] = Field(default_factory=list)
    source: str = "."  # directory copied into the image, importable there by its own name
    # pip requirements of the harness, or a file that has them: requirements.txt, pyproject.toml, uv.lock
    requirements: Annotated[list[str], BeforeValidator(_one_or_more)] = Field(default_factory=list)
    npm: list[str] = Field(default_factory=list)  # npm packages of the harness: name, name@version
    base_image: str = "python:3.12-slim-bookworm"
    limits: Limits = Limits()
    retries: Retries = Retries()
    config: dict[str, Any] = Field(default_factory=dict)  # handed to build_agent, or the command, as it is
    traces: bool = (
        False  # its own OpenTelemetry spans are taken, and join the trial's trace where that is published
    )


class Reserve(Section):
    """The floor: guaranteed, or the trial is not admitted."""

    cpus: Annotated[float, Field(gt=0)] = 0.5
    memory: Size = 256 * 2**20  # bytes


class Resources(Section):
    """The ceiling of one container. Sizes in bytes after reading."""

    cpus: Annotated[float, Field(gt=0)] = 1.0
    memory: Size = 512 * 2**20
    reserve: Reserve = Reserve()
    pids: Annotated[int, Field(ge=8)] = 128
    disk: Size = 64 * 2**20
    network: Literal["none"] = "none"
    pin: bool = False  # each running trial gets cores of its own (cpuset), as many as `cpus`, rounded up


def _parse_level(value: object) -> object:
    """`1.5`, `1.5x`, `uncapped`: as a file or an option writes it."""
    if value == UNCAPPED:
        return value
    text = str(value).removesuffix("x")
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) or not 0 < float(text) < 1e6:
        hint = "Write a multiple of `resources`, such as 1.5, or `uncapped`."
        raise FormatError(f"{value!r} is not a level", hint)
    return float(text)


Level = Annotated[float | Literal["uncapped"], BeforeValidator(_parse_level)]

LEVELS: tuple[float | Literal["uncapped"], ...] = (1.0, 1.5, 2.0, 3.0, 5.0, UNCAPPED)
Scaled = Literal["memory", "cpus", "pids", "disk", "time"]
SCALED: tuple[Scaled, ...] = ("memory", "cpus")


class Sweep(Section):
    """What `bakeoff sweep` varies: multiples of `resources`, or boxes given in full. Other commands ignore it."""

    # Multiples of the base resources, from the smallest to the largest; `uncapped`: no ceiling
    levels: list[Level] = Field(default_factory=lambda: list(LEVELS))
    # What is multiplied; `time` is `harness.limits.seconds`, and is never uncapped
    scale: Annotated[list[Scaled], Field(min_length=1)] = Field(default_factory=lambda: list(SCALED))
    floor: Annotated[float, Field(gt=0)] = 1.0  # reserved for every trial, in multiples of memory and CPUs
    # In place of levels: boxes by name, from the smallest to the largest
    profiles: dict[str, Resources] = Field(default_factory=dict)
    margin: Annotated[float, Field(gt=0, lt=1)] = 0.05  # scores that differ by less count as equal
    max_infra: Annotated[float, Field(gt=0, lt=1)] = 0.02  # share of trials that the box may cost


class ModelSpec(Section):
    """A model, and how to reach it."""

    model: str  # provider:model, simulated:..., local:..., replay:...
    params: dict[str, Any] = Field(default_factory=dict)  # temperature, max_tokens, ...
    base_url: KeyedAddress | None = None  # an OpenAI-compatible server
    api_key_env: VariableName | None = (
        None  # environment variable of the key, where it is not the provider's own
    )

    @property
    def ref(self) -> ModelRef:
        return ModelRef(self.model, self.base_url)


class Candidate(ModelSpec):
    """A model under test."""

    name: str


class Rate(Section):
    """What a provider allows all its candidates together; what is not given is not limited here."""

    requests_per_minute: Annotated[int, Field(ge=1)] | None = None  # tries, those of retries too
    tokens_per_minute: Annotated[int, Field(ge=1)] | None = None  # input and output
    concurrent: Annotated[int, Field(ge=1)] | None = None  # calls at a time


class TokenPrice(Section):
    """US dollars per million tokens: wins over the bundled price list."""

    input: Annotated[float, Field(ge=0)]
    output: Annotated[float, Field(ge=0)]
    cached: Annotated[float, Field(ge=0)] | None = (
        None  # input read from the provider's cache; none: as input
    )


class Money(Section):
    """What a run may spend."""

    usd: Annotated[float, Field(gt=0)]  # no model call is admitted once so much is spent


class EvaluatorSpec(Section):
    """One evaluator. `kind` is a built-in's name, or `use` for a user's own."""

    kind: str
    name: str  # key in `scores`: the kind, or the function's name for `use`
    options: dict[str, Any] = Field(default_factory=dict)
    use: str | None = None  # module:function
    threshold: float | None = None  # none: reported, not required


class Infra(Section):
    """What to do about infrastructure errors."""

    attempts: Annotated[int, Field(ge=1, le=20)] = 3  # executions of one trial at most
    max_error_rate: Annotated[float, Field(ge=0, le=1)] = 0.02  # above it the run is inconclusive
    startup_seconds: Annotated[float, Field(gt=0)] = 120.0  # container start to the agent's first step


class Production(Section):
    """What the same harness gets in production, as far as it is known: the report names each difference.

    Nothing here changes a run, and nothing of it is in the fingerprint.
    """

    cpus: Annotated[float, Field(gt=0)] | None = None  # CPUs of one agent process
    memory: Size | None = None  # bytes at which it is killed
    pids: Annotated[int, Field(ge=1)] | None = None  # processes and threads
    disk: Size | None = None  # bytes it may write
    network: str | None = None  # `none`, or in words what it can reach
    turns: Annotated[int, Field(ge=1)] | None = None  # model calls of one conversation
    seconds: Annotated[float, Field(gt=0)] | None = None  # time limit of one conversation
    tool_seconds: Annotated[float, Field(gt=0)] | None = None  # time limit of one tool call
    tokens: Annotated[int, Field(ge=1)] | None = None  # input + output tokens of one conversation
    retries: Retries | None = None  # retry budget


class Change(Section):
    """What a decision would change in production: the report's change record."""

    replaces: str | None = None  # the model that production runs today
    owner: str | None = None  # who answers for the change
    rollback: str | None = None  # how it is undone
    notes: str | None = None  # anything an approver must know


class Gates(Section):
    """What `bakeoff compare` asks of the newer run; a missing gate is not asked. Shares: 0.02 is 2 %.

    A gate passes if it is shown that the bound holds; `unknown` is neither passed nor failed (docs/ci.md).
    """

    # largest fall of a score, in shares of all trials
    max_drop: Annotated[float, Field(ge=0, le=1)] | None = None
    # largest share of trials ending as infra errors
    max_infra: Annotated[float, Field(ge=0, le=1)] | None = None
    # largest rise of the share of trials that the time limit (`model.time_limit`) or the turn limit ended
    max_time_limit: Annotated[float, Field(ge=0, le=1)] | None = None
    max_turn_limit: Annotated[float, Field(ge=0, le=1)] | None = None
    max_cost_increase: Annotated[float, Field(ge=0)] | None = None  # largest rise of a trial's mean cost
    max_latency_increase: Annotated[float, Field(ge=0)] | None = None  # largest rise of its mean working time
    # `suite=benchmark,severity<=0`: no trial of these may fail
    must_pass: list[str] = Field(default_factory=list)
    # the chance that a gate fails in any of so many comparisons, if nothing changes, is at most 5 %
    nights: Annotated[int, Field(ge=1)] = 1


class Config(Section):
    """The whole of harness.yaml, resolved."""

    version: Literal[1] = 1
    name: str
    harness: Harness
    resources: Resources = Resources()
    candidates: list[Candidate]
    dataset: str
    trials: Annotated[int, Field(ge=1)] = 1
    evaluators: list[EvaluatorSpec]
    infra: Infra = Infra()
    seed: int = 0
    rate: dict[str, Rate] = Field(default_factory=dict)  # by provider, or by host:port of a `base_url`
    prices: dict[str, TokenPrice] = Field(default_factory=dict)  # by model, as `candidates` writes it
    budget: Money | None = None
    # environment variable -> command that prints its value; run when neither environment nor .env has it
    key_command: dict[str, Annotated[list[str], Field(min_length=1)]] = Field(default_factory=dict)
    max_concurrency: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    gates: Gates = Gates()
    sweep: Sweep | None = None  # None also in every command but `bakeoff sweep`
    production: Production | None = None  # for the report alone: what to compare the limits with
    change: Change | None = None  # for the report alone: its change record
    publish: Publish = Publish()

    # not a key of the file: where it was read from
    file: Path = Field(default=Path("harness.yaml"), exclude=True)
    root: Path = Field(default=Path(), exclude=True)  # its absolute directory; paths are relative to it
    _source: Located | None = PrivateAttr(default=None)
    _listed: list[str] = PrivateAttr(default_factory=list)  # the file's candidates; options can drop some

    def read_from(self, file: Path, source: Located) -> Config:
        """This configuration, which was read from `source`, the file that the user gave as `file`."""
        config = self.model_copy(update={"file": file, "root": file.resolve().parent})
        config._source = source
        config._listed = [candidate.name for candidate in config.candidates]
        return config

    def line(self, key: Loc | str) -> int | None:
        """The 1-based line of a key in the file; None for a configuration that was not read from one."""
        return self._source.line(key) if self._source else None

    def error(self, key: Loc | str, problem: str, hint: str | None) -> InputError:
        """The error about a key, with its line; see `Located.error`."""
        return (self._source or Located(str(self.file))).error(key, problem, hint)

    def candidate_error(self, name: str, problem: str, hint: str) -> InputError:
        """The error about the model of a candidate, at its place in the file."""
        listed = self._listed or [candidate.name for candidate in self.candidates]
        return self.error(("candidates", listed.index(name), "model"), problem, hint)
