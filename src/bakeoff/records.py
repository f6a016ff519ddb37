"""The typed values that travel between the rooms: specs, evidence, results, and the lines of trials.jsonl.

Everything here is plain data: it serialises to JSON and back, holds no handle and takes no decision.
Units are in the names (`_seconds`, `_bytes`, `_usd`). `None` means "not known", never zero.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bakeoff.errors import ModelErrorKind

VerdictName = Literal["passed", "failed", "infra_error"]
JsonDict = dict[str, Any]


class Record(BaseModel):
    """Base of every record: immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# --- what is to be run ------------------------------------------------------------------------------


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
    """One unit of scoring: candidate x example x repetition."""

    trial_id: str  # candidate/example/repetition
    candidate: str
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


# --- evidence: facts, no judgement ------------------------------------------------------------------


class KernelFacts(Record):
    """What the kernel counted for the container's cgroup."""

    source: Literal["host", "container", "none"] = "none"  # who read the files
    cgroup_version: int | None = None
    memory_peak_bytes: int | None = None
    memory_limit_bytes: int | None = None
    oom_kills: int | None = None
    cpu_seconds: float | None = None
    throttled_seconds: float | None = None
    waited_seconds: float | None = None  # threads ready to run without a CPU, throttling included; sampled
    startup_cpu_seconds: float | None = None  # of these three, what went before the agent started
    startup_throttled_seconds: float | None = None
    startup_waited_seconds: float | None = None
    pids_peak: int | None = None
    pids_refused: int | None = None  # forks refused by the pids limit
    disk_peak_bytes: int | None = None  # of /task, sampled
    disk_full: bool = False  # /task was seen with no room left, or the harness met ENOSPC


class DockerFacts(Record):
    """What the Docker daemon said."""

    container_id: str | None = None
    exit_code: int | None = None
    oom_killed: bool | None = None
    failed_step: Literal["image", "create", "attach", "start", "run", "inspect"] | None = None
    error: str | None = None
    # `lost`: the container was killed or removed by somebody else; `unavailable`: the daemon did not answer
    error_kind: Literal["image", "start", "lost", "unavailable"] | None = None
    paused_seconds: float | None = None  # frozen by somebody else; none of it is the agent's time


class HarnessFacts(Record):
    """How the harness (the supervised child) ended."""

    reached: Literal["nothing", "supervisor", "loaded", "started", "answered"] = "nothing"
    exit_code: int | None = None
    signal: int | None = None
    error_type: str | None = None  # qualified class name of the exception that ended it
    error_message: str | None = None
    error_errnos: list[int] = Field(default_factory=list)  # errno of every OSError in the exception's chain
    tool_timeouts: int = 0
    tool_errors: int = 0
    startup_seconds: float | None = None


class ModelFault(Record):
    """The model call that failed for good, if one did."""

    kind: ModelErrorKind
    message: str
    status: int | None = None
    attempts: int = 1


class AnswerFacts(Record):
    """Facts about the last message of the trajectory, from the gateway's own record of it."""

    text: str = ""
    invalid_tool_call: bool = (
        False  # the last model message asked for a tool with arguments that do not parse
    )
    refusal: bool = False
    truncated: bool = False  # finish reason: length


class ClockFacts(Record):
    """Seconds. `working` = since the agent started, less `queued`."""

    wall_seconds: float = 0.0
    working_seconds: float = 0.0
    model_seconds: float = 0.0
    queued_seconds: float = 0.0


class HostFacts(Record):
    """What the host looked like while the attempt ran: the worst of the samples, but the mean for steal."""

    cpu_percent_max: float | None = None
    steal_percent_mean: float | None = None
    memory_available_min_bytes: int | None = None
    swap_used_max_bytes: int | None = None
    load_max: float | None = None  # one-minute load average
    contended: bool = (
        False  # it got less than its reserved floor though it was ready to run: see host_watch.py
    )


class Evidence(Record):
    """All facts about one attempt. `verdict.attribute` reads this and nothing else but the scores."""

    docker: DockerFacts = DockerFacts()
    kernel: KernelFacts = KernelFacts()
    harness: HarnessFacts = HarnessFacts()
    clock: ClockFacts = ClockFacts()
    host: HostFacts = HostFacts()
    answer: AnswerFacts | None = None  # None: there was none
    model_fault: ModelFault | None = None
    turn_limit_hit: bool = False
    time_limit_hit: bool = False
    token_limit_hit: bool = False
    startup_timeout: bool = False
    limits_mismatch: list[str] = Field(default_factory=list)  # "memory: asked 512 MiB, effective 1 GiB"
    protocol_errors: list[str] = Field(default_factory=list)
    output_overflow: bool = False  # a line, the log or the total output went over its bound
    evaluator_error: str | None = None
    internal_error: str | None = None  # bakeoff's own exception: becomes infra.unknown, loudly


class Verdict(Record):
    """The judgement of one attempt or trial."""

    verdict: VerdictName
    cause: str | None = None  # null when passed
    because: str = ""  # one sentence for a human: the fact that decided


# --- results ----------------------------------------------------------------------------------------


class Usage(Record):
    """Totals over the model calls of one attempt. Cost is None when any call's price is unknown."""

    model_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0


class ToolCall(Record):
    """One tool call as the runner saw it happen."""

    call_id: str
    name: str
    args: JsonDict
    started: float  # seconds since the agent started
    seconds: float | None = None
    error: str | None = None
    result: str | None = None  # text, bounded
    timed_out: bool = False


class ToolTotals(Record):
    """Tool calls of one attempt, as the runner saw them happen. Failed and repeated ones were wasted."""

    calls: int = 0
    failed: int = 0  # ended with an error, or were stopped at the tool's time limit
    repeated: int = 0  # the same tool, arguments and result as an earlier call: nothing new was learnt


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
    messages: list[JsonDict] = Field(default_factory=list)  # OpenAI-style, the whole conversation
    model_calls: list[ModelCall] = Field(default_factory=list)
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
    """The clock of a trial's last attempt, and what it waited for admission."""

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
    # None: written by a version that did not record them; the second also where the agent never started
    started_at: datetime | None = None
    agent_started_at: datetime | None = None  # from here the seconds of model and tool calls count
    finished_at: datetime | None = None


class TrialRecord(Record):
    """One line of trials.jsonl."""

    trial_id: str
    candidate: str
    model: str
    example_id: str
    repetition: int
    verdict: VerdictName
    cause: str | None
    scores: dict[str, float]
    output: str
    usage: Usage
    tools: ToolTotals | None = None  # None: written by a version that did not count them
    seconds: Seconds
    resources: ResourceRecord
    resource_bound: list[str]  # limits the trial ran into: memory, disk, pids, cpu
    attempts: list[AttemptRecord]
    started_at: datetime
    finished_at: datetime


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
    resources: ResourceLimits
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
