"""What an attempt needs, as one plain value that could be sent to another process or another host."""

from __future__ import annotations

from pydantic import Field

from bakeoff.gateway.types import ModelCard
from bakeoff.record.base import JsonDict, Record
from bakeoff.record.trial import ResourceLimits, TrialSpec


class Middleware(Record):
    """One middleware of the harness: `module:Class`, and what it is made with."""

    use: str
    with_: JsonDict = Field(default_factory=dict, alias="with")


class HarnessSpec(Record):
    """What the runner needs to build the harness: an entrypoint, a command, or a prompt with tools and middleware."""

    entrypoint: str | None = None
    command: list[str] = Field(default_factory=list)
    prompt: str | None = None
    tools: list[str] = Field(default_factory=list)
    middleware: list[Middleware] = Field(default_factory=list)
    config: JsonDict = Field(default_factory=dict)
    traces: bool = False  # whether the harness's own spans are kept


class AttemptLimits(Record):
    """What the production harness allows the agent, and how long its start may take."""

    turns: int  # model calls
    seconds: float  # working time
    tool_seconds: float  # one tool call
    tokens: int | None = None  # input and output, of all model calls
    startup_seconds: float = 120.0


class AttemptSpec(Record):
    """Everything an attempt needs. The contents of files are fetched by their digest."""

    trial: TrialSpec
    attempt: int  # 1-based
    harness: HarnessSpec
    model: ModelCard
    limits: AttemptLimits
    resources: ResourceLimits
    inputs: JsonDict
    messages: list[JsonDict]  # OpenAI-style
    files: dict[str, str] = Field(
        default_factory=dict
    )  # name below the workdir -> SHA-256 of the content, in hex
    reference: JsonDict = Field(default_factory=dict)  # for simulated models; the sandbox never sees it
    traceparent: str = ""  # W3C Trace Context: what the harness traces joins the trial's trace
