"""What is to be run and what came of it: examples, trial specifications, results, and the lines of trials.jsonl.

Units are in the names (`_seconds`, `_bytes`, `_usd`). `None` means "not known", never zero.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from bakeoff.record.base import JsonDict, Record, VerdictName
from bakeoff.record.evidence import Evidence, ModelFault, Sampled

# The profile of a run that names none. Nothing on disk mentions it.
DEFAULT_PROFILE = "default"


def experiment_name(candidate: str, profile: str) -> str:
    """All trials of one candidate under one profile: `candidate`, or `candidate@profile`."""
    return candidate if profile == DEFAULT_PROFILE else f"{candidate}@{profile}"


def trial_id(candidate: str, profile: str, example_id: str, repetition: int) -> str:
    """`experiment/example/repetition`."""
    return f"{experiment_name(candidate, profile)}/{example_id}/{repetition}"


class Example(Record):
    """One row of the dataset."""

    id: str
    inputs: JsonDict
    messages: list[JsonDict]  # OpenAI-style, made from `inputs`
    outputs: JsonDict = Field(default_factory=dict)  # reference; never enters the container
    files: dict[str, str] = Field(default_factory=dict)  # name below /task -> absolute path on the host
    metadata: JsonDict = Field(default_factory=dict)
    line: int = 0  # 1-based line in the dataset file

    @property
    def cluster(self) -> str:
        """The unit that standard errors are clustered by: `metadata.cluster`, else the example itself."""
        return str(self.metadata.get("cluster") or self.id)


class TrialSpec(Record):
    """One unit of scoring: candidate x profile x example x repetition."""

    trial_id: str  # see `trial_id`
    candidate: str
    profile: str = DEFAULT_PROFILE
    example_id: str
    repetition: int  # 1-based
    seed: int  # derived from the run's seed and the trial's id


class ResourceLimits(Record):
    """Limits of one container, requested or read back. `None` in a read-back: could not be read."""

    cpus: float | None
    memory_bytes: int | None
    pids: int | None
    disk_bytes: int | None
    network: str | None


class Profile(Record):
    """A named set of limits for a trial's sandbox: its ceilings, and the floor that admission reserves for it.

    A ceiling of None means that the resource is uncapped.
    """

    name: str = DEFAULT_PROFILE
    limits: ResourceLimits
    reserved_cpus: float
    reserved_memory_bytes: int
    pin: bool = False  # each running sandbox gets its own cores, `limits.cpus` rounded up
    # Working time of a trial; None: the harness's own limit
    seconds: float | None = Field(default=None, exclude_if=lambda seconds: seconds is None)


class Usage(Record):
    """Totals over the model calls of one attempt, or of all attempts. Cost is None when any call's price is unknown."""

    model_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0

    def __add__(self, other: Usage) -> Usage:
        unknown = self.cost_usd is None or other.cost_usd is None
        return Usage(
            model_calls=self.model_calls + other.model_calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost_usd=None if unknown else (self.cost_usd or 0.0) + (other.cost_usd or 0.0),
        )


class Message(Record):
    """One message of an attempt, and what the gateway knows of it.

    The list of an attempt has each message once, in the order in which the gateway first saw it, of all its
    conversations: what a harness drops from its state, or summarises, is still there.
    """

    openai: JsonDict  # in the shape of OpenAI's Chat Completions
    conversation: int = 0  # 0: the one that gave the answer; others: sub-agents', summaries, guards
    # Index of the model call whose reply it is. None: not the model's. So an `assistant` message without it is history
    # that the example or the harness brought along, and its calls do not count
    model_call: int | None = None
    calls: list[int] = Field(
        default_factory=list
    )  # positions in `AttemptResult.tool_calls` of what it asks for
    answers: int | None = None  # of a `tool` message: the position of the call that it answers


class ToolCall(Record):
    """One tool call: what the model asked for, as the gateway saw it, and what came of it, as the runner saw it.

    `outcome` is `ran`, or why it did not: `rejected` (the harness answered it without running the tool: bad arguments,
    a person's or a middleware's refusal), `unknown_tool` (the model was offered no such tool), `malformed` (arguments
    that do not parse), `not_run` (nobody answered it), `answer` (the tool is the form of a structured answer), `unseen`
    (it was answered, in a harness whose tools the runner cannot watch).
    """

    call_id: str  # as the model wrote it: not unique, may be empty
    name: str  # as the model wrote it: a tool of this name need not exist
    args: JsonDict | None  # None: they do not parse to an object, or are too large to keep
    raw_args: str | None = None  # the text that does not parse, or how the large ones begin
    model_call: int | None = (
        None  # index of the model call that asked for it. None: the harness called the tool
    )
    conversation: int = 0  # 0: the one that gave the answer; others: sub-agents'
    outcome: Literal["ran", "rejected", "unknown_tool", "malformed", "not_run", "answer", "unseen"] = "ran"
    started: float | None = None  # seconds since the agent started. None: it did not run, or nobody saw it
    seconds: float | None = None
    error: str | None = None
    result: str | None = None  # text, bounded
    timed_out: bool = False


class ToolTotals(Record):
    """Tool calls of one attempt. Failed, repeated, rejected and unknown ones were wasted."""

    calls: int = 0
    failed: int = 0  # ended with an error, or were stopped at the tool's time limit
    repeated: int = 0  # the same tool, arguments and result as an earlier call: nothing new was learnt
    rejected: int = 0  # of `failed`: answered without running the tool, or with arguments that do not parse
    unknown: int = 0  # of `failed`: of a tool that does not exist


class ModelCall(Record):
    """One model call as the gateway saw it."""

    index: int
    started: float  # seconds since the agent started
    seconds: float  # time with the provider, the last try only
    queued_seconds: float = 0.0  # queue, rate limit and back-off
    attempts: int = 1
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None  # of the output tokens
    first_token_seconds: float | None = None  # None: not streamed
    cost_usd: float | None = None
    finish_reason: str | None = None
    error: ModelFault | None = None
    message: JsonDict | None = None  # LangChain's serialised AIMessage


class AttemptResult(Record):
    """One execution of a trial in one fresh container: what went in is in the spec, what came out is here."""

    attempt: int  # 1-based
    evidence: Evidence
    requested: ResourceLimits
    effective: ResourceLimits
    messages: list[Message] = Field(default_factory=list)
    model_calls: list[ModelCall] = Field(default_factory=list)
    # In the order in which the model asked for them, of all conversations; then those that the harness's code made
    tool_calls: list[ToolCall] = Field(default_factory=list)
    usage: Usage = Usage()
    started_at: datetime
    agent_started_at: datetime | None = None  # None: it never did
    finished_at: datetime
    spans: list[JsonDict] = Field(
        default_factory=list
    )  # the harness's own, stored beside the trial: see store.py
    log: str = ""  # the harness's stderr, bounded; stored beside the trial, not in its line


class Seconds(Record):
    """The clocks of all attempts of a trial, added up."""

    working: float
    wall: float
    model: float
    queued: float


class Observed(Record):
    """Measured use of the last attempt's container."""

    memory_peak_bytes: int | None = None
    cpu_seconds: float | None = None
    throttled_seconds: float | None = None
    oom_kills: int | None = None
    pids_peak: int | None = None
    disk_bytes: int | None = None
    sampled: list[Sampled] = Field(default_factory=list)  # peaks that may read low: see `KernelFacts`


class ResourceRecord(Record):
    """The full resource configuration of a trial."""

    requested: ResourceLimits
    effective: ResourceLimits
    observed: Observed


class AttemptRecord(Record):
    """One attempt in trials.jsonl: its verdict and every fact behind it."""

    verdict: VerdictName
    cause: str | None
    because: str = ""
    evidence: Evidence
    # None: written by a version that recorded the last attempt's alone, as the trial's
    usage: Usage | None = None
    # None: written by a version that did not record them; the second also where the agent never started
    started_at: datetime | None = None
    agent_started_at: datetime | None = None  # from here the seconds of model and tool calls count
    finished_at: datetime | None = None


class TrialRecord(Record):
    """One line of trials.jsonl."""

    trial_id: str
    candidate: str
    profile: str = Field(default=DEFAULT_PROFILE, exclude_if=lambda name: name == DEFAULT_PROFILE)
    model: str
    example_id: str
    repetition: int
    verdict: VerdictName
    cause: str | None
    scores: dict[str, float]
    output: str
    usage: Usage  # of all attempts, as `seconds`; what follows is the last attempt's
    tools: ToolTotals | None = None  # None: written by a version that did not count them
    seconds: Seconds
    resources: ResourceRecord
    resource_bound: list[str]  # limits the trial ran into: memory, disk, pids, cpu
    attempts: list[AttemptRecord]
    started_at: datetime
    finished_at: datetime

    @property
    def experiment(self) -> str:
        """Its experiment's name; reports, comparisons and publishers group by it."""
        return experiment_name(self.candidate, self.profile)
