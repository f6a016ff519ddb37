"""Evidence: the facts about one attempt, and the verdict on it.

Plain data: it serialises to JSON and back, holds no handle and takes no decision. Units are in the names (`_seconds`,
`_bytes`, `_usd`). `None` means "not known", never zero.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bakeoff.errors import ModelErrorKind
from bakeoff.record.base import Record, VerdictName

# From this share of /task on, the harness is believed that no space was left: the disk is sampled, and the file may be
# gone before the next sample.
NEARLY_FULL = 0.9
Sampled = Literal["memory_peak_bytes", "pids_peak"]


class KernelFacts(Record):
    """What the kernel counted for the container's cgroup."""

    source: Literal["host", "container", "none"] = "none"  # who read the files
    cgroup_version: int | None = None
    memory_peak_bytes: int | None = None
    memory_limit_bytes: int | None = None
    oom_kills: int | None = None  # of any cause: the limit, an ancestor's limit, the host's memory
    # How often an allocation failed at the container's own limit. None: not known
    memory_limit_hits: int | None = None
    cpu_seconds: float | None = None
    throttled_seconds: float | None = None
    # ready to run while none of its threads ran, throttling included; sampled
    waited_seconds: float | None = None
    startup_cpu_seconds: float | None = None  # of these three, what went before the agent started
    startup_throttled_seconds: float | None = None
    startup_waited_seconds: float | None = None
    pids_peak: int | None = None
    pids_limit: int | None = None
    # Refused forks. On cgroup v1, and on v2 before Linux 6.11, those by a limit above the container too
    pids_refused: int | None = None
    disk_peak_bytes: int | None = None  # of /task, sampled
    disk_limit_bytes: int | None = None
    disk_full: bool = False  # /task was seen with no room left
    inodes_full: bool = False  # /task was seen with no room for another file
    # Peaks that the kernel does not keep: the highest of the supervisor's samples, which may read low
    sampled: list[Sampled] = Field(default_factory=list)

    @property
    def disk_nearly_full(self) -> bool:
        """Whether /task was seen so full that an ENOSPC is plausible."""
        peak, limit = self.disk_peak_bytes or 0, self.disk_limit_bytes or 0
        return self.disk_full or self.inodes_full or peak >= NEARLY_FULL * limit > 0


class DockerFacts(Record):
    """What the Docker daemon said."""

    container_id: str | None = None
    exit_code: int | None = None
    oom_killed: bool | None = None
    failed_step: Literal["image", "create", "attach", "start", "run", "inspect"] | None = None
    error: str | None = None
    # `lost`: the container was killed or removed from outside; `unavailable`: the daemon did not answer
    error_kind: Literal["image", "start", "lost", "unavailable"] | None = None
    paused_seconds: float | None = None  # frozen from outside; none of it is the agent's time
    # What another process of the host did to it, by the backend's events or its state: nothing inside can write these
    taken: Literal["killed", "terminated", "removed", "paused", "stopped"] | None = None


class HarnessFacts(Record):
    """How the harness (the supervised child) ended."""

    reached: Literal["nothing", "supervisor", "loaded", "started", "answered"] = "nothing"
    exit_code: int | None = None
    signal: int | None = None
    error_type: str | None = None  # qualified class name of the exception that ended it
    error_message: str | None = None
    error_bases: list[str] = Field(default_factory=list)  # qualified base classes of it, nearest first
    error_traceback: str | None = None  # its end, bounded
    # What the system refused to it and to its tools: see bakeoff_runner/failure.py
    error_errnos: list[int] = Field(default_factory=list)
    # Why the supervisor itself killed the harness. None: it did not, so a `signal` came from somewhere else
    stopped_for: (
        Literal["host_asked", "host_gone", "channel_closed", "overflow", "startup", "terminated"] | None
    ) = None
    interrupt: str | None = (
        None  # what the harness waits for a person to decide. None: it was not interrupted
    )
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
    """What the user got, and facts about the model's last message from the gateway's record of it."""

    text: str = ""
    # Who wrote the text: the model; a tool that returns directly; the model's structured output; a file that the
    # program left; or the harness, when no reply of the model has this text
    source: Literal["model", "tool", "structured", "file", "harness"] = "model"
    # The last model message asked for a tool with arguments that do not parse
    invalid_tool_call: bool = False
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
        False  # it got less than its reserved floor though it was ready to run: see run/host_monitor.py
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
    replies: int = 0  # of the model, handed to the harness before it ended
    turn_limit_hit: bool = False
    time_limit_hit: bool = False
    token_limit_hit: bool = False
    startup_timeout: bool = False
    limits_mismatch: list[str] = Field(default_factory=list)  # "memory: asked 512 MiB, effective 1 GiB"
    protocol_errors: list[str] = Field(default_factory=list)
    output_overflow: bool = False  # a line, the log or the total output went over its bound
    # The host's bound that the attempt went over: "lines", "bytes", "values in a line", ... Past it, it was ended
    budget: str | None = None
    # Where what the harness process claims and what the gateway saw disagree, a sentence each
    disputed: list[str] = Field(default_factory=list)
    evaluator_error: str | None = None
    internal_error: str | None = None  # bakeoff's own exception: becomes infra.unknown, loudly


class Verdict(Record):
    """The judgement of one attempt or trial."""

    verdict: VerdictName
    cause: str | None = None  # null when passed
    because: str = ""  # one sentence for a human: the fact that decided
