"""Whose fault it was: `attribute` maps the evidence of one attempt, and its scores, to a verdict. No I/O.

`CAUSES` is the one table: every cause in the order in which it is asked, with its predicate, its sentence and what
follows from it. The first row that holds decides; when none holds it is `infra.unknown`.

Decisions that the table makes (DESIGN.md, section 5, is the contract):

- Kernel facts come first, even before a lost container or a silent Docker daemon: they say *why*.
- Only what the outside caused, proven from outside, is tried again: the provider, the daemon, the host, a kill by
  another process of the host. Whoever runs inside the sandbox could cause the rest. It gets no second attempt and
  counts as a failure in `as_deployed` (`inside`), and in `score` too where it hits one candidate more often than
  another by more than noise (`stats.count_deaths`). `infra.unknown` is among it: hostile input may be behind it.
- An answer may break an evaluator on purpose, and an evaluator may be broken for everyone: `infra.evaluator` counts
  nowhere, unless it hits one candidate more often. Then it is a failure in `score` and in `as_deployed`.
- A model call that failed for good decides also when the agent lived on and answered without it. An agent that got no
  model was not tested.
- What ended the harness after a reply of the model is the model's doing, since everything else is the same for every
  candidate: a framework's own limit is `model.turn_limit`, an exception `model.broke_harness`, a signal that neither
  the kernel's OOM killer nor the supervisor sent `model.killed_harness`, as is an exit without an answer. Before the
  first reply all of these are `infra.harness_crash`.
- A signal that a process gets for its own fault (SIGSEGV, SIGABRT, ...) is an exception in this sense, not a kill.
- A result of an unknown form is `infra.harness_crash` too, since the model did its part; and so is a wrong answer of a
  harness that got no reply of its model.
- `bad_request` is `infra.harness_crash`: the harness sent what this provider rejects. Never the model's.
- A kill from within decides before a broken protocol or a request that is too large: noise must not excuse it.
- A failed model call is forgotten when its conversation gets a reply after all: the harness tried again, and the agent
  was tested. So is a request that never left the sandbox, at the next reply. After a reply, a request without any
  conversation in it is not the program's: a tool's child sent it.
- A kernel that counts an OOM kill, but never saw the container at its own limit, killed for the host's memory or for a
  limit above the container: `infra.host_memory`, which is nobody's inside.
- A kernel that counts a refused process, but kept a peak below the container's pids limit, met a limit above the
  container: `infra.host_pids`. From Linux 6.11, cgroup v2 counts such refusals elsewhere. What is left is the harness's
  own word, which is proof of nothing: `infra.start_refused` is inside.
- `MemoryError` without an OOM kill is an exception like others: the kernel enforces the pinned limit by killing, so an
  allocation that merely failed was an absurd size or the host's own limit.
- ENOSPC is the harness's word. It counts only where the supervisor saw /task 90 % full, or out of inodes. Elsewhere it
  is an exception like others, and the trial shows the dispute: it was made up, or asked for more than the whole disk,
  or had another reason (inotify). A fill that is gone before the next sample, some milliseconds later, is not seen.
- A flood or a broken protocol counts only when no answer came of it: garbage beside a wrong answer must not excuse it.
- A judge model that is down is `infra.evaluator`, whatever its provider said: the `infra.provider_*` causes are about
  the candidate's own provider, and a judge's refused key must not stop the candidate.
- A harness that ended because a turn, token or time limit stopped it did not crash: the limit is the cause.
- A tool's time limit is a time limit too: on a contended host it excuses the wrong answer that followed. The tool must
  have run for half of it by the host's clock, since the harness's word alone proves nothing.
- A paused container is `infra.container_lost`, as a killed one: what fixes it is finding who did it. A pause that ends
  costs the agent nothing, since the trial's clock stops, so a time limit that is met all the same is the model's.
- A container whose supervisor never said its last word, and that nothing shows was taken from outside, is
  `infra.supervisor_lost`.
- An interrupt is `infra.interrupted`: the model did its part, and nobody was there to decide.
"""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from bakeoff.errors import ModelErrorKind
from bakeoff.record.evidence import AnswerFacts, Evidence, Verdict
from bakeoff.record.trial import TrialRecord

Aspect = Literal["trajectory", "answer"]  # what an evaluator judges: the way, or the result

# `resource_bound` names the CPU when the quota stopped the container for a quarter of the time in which it
# had something to run, throttled / (throttled + running), and for a second in all: a burst is no bound.
CPU_BOUND_SHARE = 0.25
CPU_BOUND_SECONDS = 1.0
# The quota, not the model, used up the time limit when half of the working time was spent throttled: without
# the quota the attempt would have had at least half of its limit left.
CPU_STARVED_SHARE = 0.5

# Without a count of how often the limit was met (cgroup v1), it was not where the peak stayed below this share of it.
# The kernel fills a limit to the last few pages before it kills.
AT_LIMIT_SHARE = 0.95

# A tool that ran into its time limit may have done so because of a pause that is at least this long.
PAUSE_SECONDS = 1.0

# A framework's own limit, by the name of the exception or of a class that it derives from: GraphRecursionError,
# ModelCallLimitExceededError, MaxTurnsExceeded, UsageLimitExceeded, AgentMaxStepsError, LlmCallsLimitExceededError, ...
# A rate limit is not one, nor Python's own RecursionError.
_LIMIT_NAME = re.compile(
    r"GraphRecursion"
    r"|(Turn|Step|Iteration|Call|Loop|Round|Cycle|Request|Usage|Execution|Recursion|Message)s?_?Limits?"
    r"|Limits?Exceeded|Max(imum)?_?\w*(Turn|Step|Iteration|Call|Loop|Round|Cycle|Run|Recursion)"
)
_NO_LIMIT_NAME = re.compile(r"Rate_?Limit|Context|Size|Memory|File|Time|^(builtins\.)?RecursionError$")

# Signals that a process gets for what it did itself.
_OWN_SIGNALS = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL})
# What the runner raises where the agent ended well and its result is of no form that is known.
WRONG_RESULT = "bakeoff_runner.harness.WrongResult"
# Exceptions that are a way to end a process.
_EXITS = frozenset({"builtins.SystemExit", "builtins.KeyboardInterrupt"})

_QUOTE = 200  # characters of agent-made text in a sentence


@dataclass(frozen=True, slots=True)
class Case:
    """What a rule sees: the evidence, whether it passed (None: not scored), what fell short."""

    evidence: Evidence
    passed: bool | None
    failing: frozenset[Aspect]


class Retry(Enum):
    """Whether an attempt with this cause is followed by another one, and when."""

    NEVER = ""
    AFTER_BACKOFF = "attempted again after a pause"
    WHEN_BACKEND_RETURNS = "attempted again when the backend answers"


@dataclass(frozen=True, slots=True)
class Cause:
    """One row: a cause code, when it holds, what to say, and what follows from it."""

    code: str
    meaning: str  # one line for reports and the README
    source: str  # whose evidence it is, for the README
    when: Callable[[Case], bool]
    reason: Callable[[Case], str]  # the fact that decided, in one sentence
    retry: Retry = Retry.NEVER
    inside: bool = False  # it arose inside the sandbox, or may have: a failure in `as_deployed`
    stops_candidate: bool = False  # every further trial of the candidate would end alike
    stops_run: bool = False  # so would every trial on this host, when it was found before the agent started

    @property
    def follows(self) -> list[str]:
        """What follows from it, in words."""
        return [
            words
            for words, holds in (
                ("a failure in `as_deployed`", self.inside),
                (self.retry.value, self.retry is not Retry.NEVER),
                ("stops the candidate", self.stops_candidate),
                ("stops the run", self.stops_run),
            )
            if holds
        ]


def _quote(text: str | None) -> str:
    """Agent-made text, bounded, on one line, without control characters."""
    flat = "".join(c if c.isprintable() else " " for c in (text or "")[: 4 * _QUOTE])
    flat = " ".join(flat.split())
    return flat if len(flat) <= _QUOTE else flat[: _QUOTE - 1] + "…"


def _detail(text: str | None) -> str:
    quoted = _quote(text)
    return f": {quoted}" if quoted else ""


# --- the facts that rules ask for --------------------------------------------------------------------


def _oom_killed(e: Evidence) -> bool:
    return (bool(e.kernel.oom_kills) or e.docker.oom_killed is True) and not _killed_for_the_host(e)


def _killed_for_the_host(e: Evidence) -> bool:
    """The container never was at its own limit: by the kernel's count, or by the peak that the kernel kept."""
    kernel = e.kernel
    if not kernel.oom_kills:
        return False
    if kernel.memory_limit_hits is not None:
        return kernel.memory_limit_hits == 0
    peak, limit = kernel.memory_peak_bytes, kernel.memory_limit_bytes
    if peak is None or limit is None or "memory_peak_bytes" in kernel.sampled:
        return False
    return peak < AT_LIMIT_SHARE * limit


def _disk_full(e: Evidence) -> bool:
    """The harness's own word counts where the kernel's facts allow it."""
    full = e.kernel.disk_full or e.kernel.inodes_full
    return full or (errno.ENOSPC in e.harness.error_errnos and e.kernel.disk_nearly_full)


def _pids_exhausted(e: Evidence) -> bool:
    uncounted = e.kernel.pids_refused is None and errno.EAGAIN in e.harness.error_errnos
    return (bool(e.kernel.pids_refused) or uncounted) and not _refused_above(e)


def _refused_above(e: Evidence) -> bool:
    """The kernel counted a refusal, and the container never had as many processes as its own limit allows."""
    kernel = e.kernel
    if not kernel.pids_refused or kernel.pids_limit is None or "pids_peak" in kernel.sampled:
        return False
    return kernel.pids_peak is not None and kernel.pids_peak < kernel.pids_limit


def _start_refused(e: Evidence) -> bool:
    """The harness's word alone, so it is no proof that the outside caused it."""
    return e.kernel.pids_refused == 0 and errno.EAGAIN in e.harness.error_errnos


def _cpu_throttled(e: Evidence) -> bool:
    throttled = e.kernel.throttled_seconds or 0.0
    return _out_of_time(e) and throttled > 0 and throttled >= CPU_STARVED_SHARE * e.clock.working_seconds


def _out_of_time(e: Evidence) -> bool:
    """Ended by the clock alone: the other limits do not depend on how fast the host is."""
    return e.time_limit_hit and not (e.turn_limit_hit or e.token_limit_hit)


def _cut_short(c: Case) -> bool:
    """By the trial's time limit; or by a tool's, and then answered wrongly without the tool's result."""
    return _out_of_time(c.evidence) or (c.passed is False and c.evidence.harness.tool_timeouts > 0)


def _tool_lost_to_a_pause(c: Case) -> bool:
    """The trial's clock stops in a pause, but the one that stops a tool runs in the container."""
    paused = c.evidence.docker.paused_seconds or 0.0
    return c.passed is False and c.evidence.harness.tool_timeouts > 0 and paused >= PAUSE_SECONDS


def _fault(*kinds: ModelErrorKind) -> Callable[[Case], bool]:
    return lambda c: c.evidence.model_fault is not None and c.evidence.model_fault.kind in kinds


def _own_failure(c: Case) -> bool:
    return c.evidence.internal_error is not None or _fault(ModelErrorKind.INTERNAL)(c)


def _last(e: Evidence) -> AnswerFacts:
    """The model's last message; blank if it never spoke."""
    return e.answer or AnswerFacts()


def _answered(c: Case) -> bool:
    """There is an answer to judge. The model's last words before the harness died are not one."""
    e = c.evidence
    return e.answer is not None and (e.harness.reached == "answered" or c.passed is False)


def _unanswered(e: Evidence) -> bool:
    return e.harness.reached != "answered"


def _stopped_on_purpose(e: Evidence) -> bool:
    """A limit of bakeoff, or the model's last message, ended the harness: no crash, however it died."""
    if e.turn_limit_hit or e.token_limit_hit or e.time_limit_hit or e.startup_timeout:
        return True
    if e.model_fault is not None and e.model_fault.kind in (
        ModelErrorKind.CONTEXT_OVERFLOW,
        ModelErrorKind.LENGTH,
        ModelErrorKind.REFUSAL,
        ModelErrorKind.INVALID_TOOL_CALL,
    ):
        return True
    return (_last(e).invalid_tool_call or _last(e).truncated) and e.harness.signal is None


def _ended_early(e: Evidence) -> bool:
    """The harness itself ended, without an answer and not on purpose."""
    harness = e.harness
    ended = harness.error_type is not None or harness.signal is not None or harness.exit_code is not None
    return ended and _unanswered(e) and not _stopped_on_purpose(e)


def _framework_limit(e: Evidence) -> bool:
    """The exception that ended the harness is a framework's own limit on turns, steps or calls."""
    if e.harness.error_type is None or not _unanswered(e) or e.replies == 0:
        return False
    names = (name.rpartition(".")[2] for name in (e.harness.error_type, *e.harness.error_bases))
    return any(_LIMIT_NAME.search(name) and not _NO_LIMIT_NAME.search(name) for name in names)


def _killed_from_within(e: Evidence) -> bool:
    """After a reply of the model, something in the sandbox ended the harness: a signal, its closed line, an exit."""
    harness = e.harness
    if e.replies == 0 or not _ended_early(e):
        return False
    if (
        harness.signal in _OWN_SIGNALS
    ):  # also where its channel closed first: a crash takes a moment to be reaped
        return False
    if harness.stopped_for is not None:
        return harness.stopped_for == "channel_closed"
    return harness.error_type is None or harness.error_type in _EXITS


def _killed_by_signal(e: Evidence) -> bool:
    """Such a kill decides before what the sandbox sent: noise must not excuse it."""
    return e.harness.signal is not None and _killed_from_within(e)


def _garbled(e: Evidence) -> bool:
    """What the harness sent was not the protocol, and no answer came of it."""
    return bool(e.protocol_errors) and _unanswered(e) and not _killed_by_signal(e)


def _broke(e: Evidence) -> bool:
    """After a reply of the model, the harness failed while it acted on it."""
    # The supervisor ended it, so another cause applies. A crash may close the channel before it is reaped.
    ours = e.harness.stopped_for is not None and e.harness.signal not in _OWN_SIGNALS
    others = _killed_from_within(e) or _framework_limit(e) or e.harness.error_type == WRONG_RESULT
    return e.replies > 0 and _ended_early(e) and not ours and not others


def _without_a_model(e: Evidence) -> bool:
    """The harness ended well, without one reply of the model: what it answered is not the model's."""
    own = e.answer is None or e.answer.source == "harness"
    return e.harness.reached == "answered" and e.replies == 0 and e.model_fault is None and own


def _crashed(c: Case) -> bool:
    e = c.evidence
    if _fault(ModelErrorKind.BAD_REQUEST)(c) or _without_a_model(e):
        return True
    return _ended_early(e) and not (_killed_from_within(e) or _framework_limit(e) or _broke(e))


# --- the sentences that need more than a constant -----------------------------------------------------


def _fault_says(what: str) -> Callable[[Case], str]:
    def sentence(c: Case) -> str:
        fault = c.evidence.model_fault
        status = f" (HTTP {fault.status})" if fault and fault.status else ""
        return f"{what}{status}{_detail(fault.message if fault else None)}"

    return sentence


def _docker_says(what: str) -> Callable[[Case], str]:
    return lambda c: f"{what}{_detail(c.evidence.docker.error)}"


def _oom_says(c: Case) -> str:
    kills, limit = c.evidence.kernel.oom_kills, c.evidence.kernel.memory_limit_bytes
    count = f"{kills} process{'es' if kills > 1 else ''}" if kills else "a process"
    at = f" at the limit of {limit / 2**20:.0f} MiB" if limit else ""
    return f"The kernel killed {count} in the container for memory{at}."


def _disk_says(c: Case) -> str:
    if c.evidence.kernel.disk_full:
        return "/task had no room left."
    if c.evidence.kernel.inodes_full:
        return "/task had no inode left for another file."
    return "The harness met ENOSPC, and /task was nearly full."


def _pids_say(c: Case) -> str:
    if refused := c.evidence.kernel.pids_refused:
        return f"The pids limit refused {refused} new processes or threads."
    return "A process or thread was refused, and the kernel's count of refusals could not be read."


def _startup_says(c: Case) -> str:
    if c.evidence.startup_timeout:
        return "The agent did not start within startup_seconds."
    return _docker_says("Docker could not start the container")(c)


def _unknown_says(c: Case) -> str:
    e = c.evidence
    if e.internal_error is not None:
        return f"bakeoff itself failed{_detail(e.internal_error)}"
    if _own_failure(c):
        return _fault_says("bakeoff's gateway itself failed")(c)
    return "No rule explains this evidence."


def _crash_says(c: Case) -> str:
    if _fault(ModelErrorKind.BAD_REQUEST)(c):
        return _fault_says("The provider rejects what the harness sent")(c)
    if _without_a_model(c.evidence):
        return "The harness ended without one reply of the model."
    return _end_says(c)


def _end_says(c: Case) -> str:
    """How the harness ended."""
    harness = c.evidence.harness
    after = " after the model had replied" if c.evidence.replies else ""
    if harness.error_type is not None:
        return f"The harness raised {_quote(harness.error_type)}{after}{_detail(harness.error_message)}"
    if harness.stopped_for == "channel_closed":
        return f"The harness's line to the host was closed{after}, and it could neither ask nor answer."
    if harness.signal is not None:
        number = harness.signal
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        uncounted = c.evidence.kernel.oom_kills is None
        tail = ", and the kernel's OOM count could not be read" if uncounted else ""
        return f"The harness was killed by {name}{after}{tail}."
    return f"The harness exited with code {harness.exit_code}{after} and gave no answer."


def _turns_say(c: Case) -> str:
    if c.evidence.turn_limit_hit:
        return "The agent used up its turns."
    error, text = c.evidence.harness.error_type, c.evidence.harness.error_message
    return f"The framework stopped the agent at a limit of its own: {_quote(error)}{_detail(text)}"


def _interrupt_says(c: Case) -> str:
    return f"The harness waits for a person's decision{_detail(c.evidence.harness.interrupt)}"


def _overflow_says(c: Case) -> str:
    if _fault(ModelErrorKind.TOO_LARGE)(c):
        return _fault_says("A request to the model was too large to be handed on")(c)
    if c.evidence.budget is not None:
        return f"What the sandbox sent went over the host's bound on {_quote(c.evidence.budget)}."
    return "The harness sent more than the bound on its output."


def _time_says(why: str) -> Callable[[Case], str]:
    def sentence(c: Case) -> str:
        e = c.evidence
        if e.startup_timeout:
            return f"The agent did not start in time {why}."
        throttled = e.kernel.throttled_seconds
        held = f" (throttled for {throttled:.1f} s)" if throttled else ""
        return f"The time limit ended it after {e.clock.working_seconds:.1f} s of working time{held}{why}."

    return sentence


def _lost_says(c: Case) -> str:
    if c.evidence.docker.error_kind == "lost":
        return _docker_says("The container was taken from outside")(c)
    paused = c.evidence.docker.paused_seconds or 0.0
    return f"A tool ran into its time limit while the container was paused from outside for {paused:.1f} s."


def _contention_says(c: Case) -> str:
    if _out_of_time(c.evidence) or c.evidence.startup_timeout:
        return _time_says(" while the host was contended")(c)
    return "A tool ran into its time limit while the host was contended, and the answer lacks its result."


def _say(sentence: str) -> Callable[[Case], str]:
    return lambda _: sentence


_K = ModelErrorKind

CAUSES: tuple[Cause, ...] = (
    # --- the pinned limits, by the kernel's own count
    Cause(
        "infra.oom_killed",
        "the kernel killed a process in the container for memory",
        "kernel: the cgroup's `oom_kill` count; Docker: `OOMKilled`",
        lambda c: _oom_killed(c.evidence),
        _oom_says,
        inside=True,
    ),
    Cause(
        "infra.disk_full",
        "the one writable place, /task, was full",
        "kernel: room and inodes left on /task, sampled; runner: ENOSPC, where the kernel saw it 90 % full",
        lambda c: _disk_full(c.evidence),
        _disk_says,
        inside=True,
    ),
    Cause(
        "infra.pids_exhausted",
        "the pids limit refused a new process or thread",
        "kernel: refusals in `pids.events`; runner: a refused start where that cannot be read",
        lambda c: _pids_exhausted(c.evidence),
        _pids_say,
        inside=True,
    ),
    # --- the box
    Cause(
        "infra.host_memory",
        "the kernel killed a process for the host's memory, not at the container's own limit",
        "kernel: `oom_kill` counted, and the container never was at its own limit",
        lambda c: _killed_for_the_host(c.evidence),
        _say("The kernel killed a process for the memory of the host, or for a limit above the container."),
        retry=Retry.AFTER_BACKOFF,
    ),
    Cause(
        "infra.host_pids",
        "a pids limit above the container refused a new process or thread",
        "kernel: refusals in `pids.events`, while the container's own peak stayed below its limit",
        lambda c: _refused_above(c.evidence),
        _say("A pids limit above the container refused a new process or thread."),
        retry=Retry.AFTER_BACKOFF,
    ),
    Cause(
        "infra.start_refused",
        "a new process or thread was refused, and not by the container's pids limit",
        "runner: EAGAIN where one is started; kernel: no refusal in `pids.events`",
        lambda c: _start_refused(c.evidence),
        _say(
            "The harness could not start a process or thread, and the container's own limit refused none: "
            "a limit of the host or of the user did."
        ),
        inside=True,
    ),
    Cause(
        "infra.limits_not_enforced",
        "the effective limits are not the requested ones",
        "kernel: cgroup and mount read back before the agent starts",
        lambda c: bool(c.evidence.limits_mismatch),
        lambda c: f"The limits are not what was asked for{_detail('; '.join(c.evidence.limits_mismatch))}",
        stops_run=True,
    ),
    Cause(
        "infra.image",
        "the image is missing or broken",
        "Docker: create or start names the image",
        lambda c: c.evidence.docker.error_kind == "image" or c.evidence.docker.failed_step == "image",
        _docker_says("The image could not be used"),
    ),
    Cause(
        "infra.docker_unavailable",
        "the Docker daemon did not answer",
        "Docker: no answer on its socket, or to three kills in a row",
        lambda c: c.evidence.docker.error_kind == "unavailable",
        _docker_says("The Docker daemon did not answer"),
        retry=Retry.WHEN_BACKEND_RETURNS,
    ),
    Cause(
        "infra.container_start",
        "the container or the harness in it did not start",
        "Docker: create or start failed; clock: no agent within `startup_seconds`",
        lambda c: (
            c.evidence.docker.error_kind == "start"
            or (c.evidence.docker.error_kind is None and c.evidence.docker.failed_step in ("create", "start"))
            or (
                c.evidence.startup_timeout
                and not c.evidence.host.contended
                and c.evidence.docker.error_kind != "lost"
            )
        ),
        _startup_says,
        retry=Retry.AFTER_BACKOFF,
    ),
    Cause(
        "infra.container_lost",
        "the container was killed, removed, paused or stopped from outside",
        "Docker: its events, its state, PID 1 ended by SIGKILL; supervisor: a SIGTERM from outside",
        lambda c: c.evidence.docker.error_kind == "lost" or _tool_lost_to_a_pause(c),
        _lost_says,
        retry=Retry.AFTER_BACKOFF,
    ),
    Cause(
        "infra.supervisor_lost",
        "the container ended before its supervisor reported, and nothing shows that it was taken from outside",
        "Docker: exit code; supervisor: no last word",
        lambda c: c.evidence.docker.failed_step == "run" and c.evidence.docker.error_kind is None,
        _docker_says("The container ended by itself"),
        inside=True,
    ),
    # --- the provider
    Cause(
        "infra.provider_auth",
        "the provider refused the key, the account or the model's name",
        "gateway: the provider's error, or HTTP 401 to 405 without one",
        _fault(_K.AUTH),
        _fault_says("The provider refused the key, the account or the model's name"),
        stops_candidate=True,
    ),
    Cause(
        "infra.provider_unsupported",
        "the provider never serves this model what the harness asks for: tools, a parameter, a `max_tokens`",
        "gateway: the provider's error",
        _fault(_K.UNSUPPORTED),
        _fault_says("The provider does not support what the harness asks of this model"),
        stops_candidate=True,
    ),
    Cause(
        "infra.provider_rate_limited",
        "the provider's rate limit outlasted the retry budget",
        "gateway: the provider's error, or HTTP 429, on every try",
        _fault(_K.RATE_LIMITED),
        _fault_says("Rate-limited until the retry budget was spent"),
        retry=Retry.AFTER_BACKOFF,
    ),
    Cause(
        "infra.provider_unavailable",
        "the provider could not be reached, failed, or broke its reply off",
        "gateway: HTTP 5xx, an error in the reply, a finish reason, a stream cut short, lost connections, on every try",
        _fault(_K.UNAVAILABLE),
        _fault_says("The provider was unavailable"),
        retry=Retry.AFTER_BACKOFF,
    ),
    Cause(
        "infra.provider_timeout",
        "the provider did not answer in time",
        "gateway: no answer within its time limit on every try",
        _fault(_K.TIMEOUT),
        _fault_says("The provider did not answer in time"),
        retry=Retry.AFTER_BACKOFF,
    ),
    Cause(
        "infra.not_on_tape",
        "a replayed candidate was asked what its recording does not have",
        "gateway: the cassette",
        _fault(_K.NOT_ON_TAPE),
        _fault_says("The recording has no answer"),
    ),
    Cause(
        "infra.provider_bad_response",
        "the provider's response could not be understood",
        "gateway: not JSON, no message in it, a finish reason that is not known, or past a bound, on every try",
        _fault(_K.BAD_RESPONSE),
        _fault_says("The provider's response could not be understood"),
        retry=Retry.AFTER_BACKOFF,
    ),
    # --- bakeoff itself, loudly; this row also takes what no row explains
    Cause(
        "infra.unknown",
        "bakeoff failed, or no rule explains it",
        "bakeoff: its own exception; or none of these rows",
        _own_failure,
        _unknown_says,
        inside=True,
    ),
    # --- the harness and the line to it
    Cause(
        "infra.output_limit",
        "what the sandbox sent went over a bound: bytes, lines, values, one request to the model",
        "supervisor and host: what they counted",
        lambda c: (
            (_fault(_K.TOO_LARGE)(c) and not _killed_by_signal(c.evidence))
            or (c.evidence.output_overflow and _unanswered(c.evidence))
        ),
        _overflow_says,
        inside=True,
    ),
    Cause(
        "infra.protocol",
        "what the runner sent was not the protocol",
        "host: lines that are not of this attempt or not the protocol",
        lambda c: _garbled(c.evidence),
        lambda c: f"The protocol was broken{_detail(c.evidence.protocol_errors[0])}",
        inside=True,
    ),
    Cause(
        "infra.interrupted",
        "the harness waits for a person to decide, and nobody is there",
        "runner: the interrupt in the harness's result",
        lambda c: c.evidence.harness.interrupt is not None and _unanswered(c.evidence),
        _interrupt_says,
        inside=True,
    ),
    Cause(
        "infra.harness_crash",
        "the harness failed before the model replied, sent what the provider rejects, or ended without an answer of it",
        "supervisor: exit code and signal; runner: exception; gateway: HTTP 400, no replies",
        _crashed,
        _crash_says,
        inside=True,
    ),
    Cause(
        "infra.evaluator",
        "an evaluator failed or gave no number in [0, 1]",
        "scorer: exception or a value that is no score, on every try",
        lambda c: c.passed is None and c.evidence.evaluator_error is not None,
        lambda c: f"An evaluator failed{_detail(c.evidence.evaluator_error)}",
    ),
    # --- the clock, where the model is not to blame
    Cause(
        "infra.host_contention",
        "the time ran out while the host was too busy to give what it had promised",
        "host: CPU waited for or stolen while the clock ran out",
        lambda c: c.evidence.host.contended and (_cut_short(c) or c.evidence.startup_timeout),
        _contention_says,
        retry=Retry.AFTER_BACKOFF,
    ),
    Cause(
        "infra.cpu_throttled",
        "the time ran out, at least half of it throttled by the pinned CPU quota",
        "kernel: throttled seconds against working seconds",
        lambda c: _cpu_throttled(c.evidence),
        _time_says(", most of it spent waiting for the CPU quota"),
        inside=True,
    ),
    # --- the model
    Cause(
        "model.killed_harness",
        "after a reply of the model, the harness was killed or stopped from within its sandbox",
        "supervisor: how the harness ended, and that it did not end it; kernel: no OOM kill; gateway: replies",
        lambda c: _killed_from_within(c.evidence),
        _end_says,
    ),
    Cause(
        "model.context_overflow",
        "the conversation outgrew the model's context window",
        "gateway: the provider's own refusal of the length",
        _fault(_K.CONTEXT_OVERFLOW),
        _fault_says("The conversation outgrew the context window"),
    ),
    Cause(
        "model.turn_limit",
        "the agent used up its turns",
        "gateway: model calls made; runner: a framework's own limit, raised as an exception",
        lambda c: c.evidence.turn_limit_hit or _framework_limit(c.evidence),
        _turns_say,
    ),
    Cause(
        "model.token_limit",
        "the token budget was used up, or the last message was cut at its length limit",
        "gateway: tokens spent; finish reason `length`, or the provider's error that says the same",
        lambda c: c.evidence.token_limit_hit or _fault(_K.LENGTH)(c) or _last(c.evidence).truncated,
        lambda c: (
            "The token budget of the trial was used up."
            if c.evidence.token_limit_hit
            else "The last message was cut at the model's length limit."
        ),
    ),
    Cause(
        "model.time_limit",
        "the agent's own working time ran out",
        "clock: working seconds, without queueing, back-off and pauses",
        lambda c: c.evidence.time_limit_hit,
        _time_says(""),
    ),
    Cause(
        "model.broke_harness",
        "the harness raised an exception, or crashed, while it acted on a reply of the model",
        "runner: the exception; supervisor: exit code and signal; gateway: replies",
        lambda c: _broke(c.evidence),
        _end_says,
    ),
    Cause(
        "model.refusal",
        "the model, or its provider's filter, refused to answer",
        "gateway: finish reason or refusal of the last message",
        lambda c: _fault(_K.REFUSAL)(c) or (_answered(c) and _last(c.evidence).refusal),
        lambda c: _fault_says("The provider refused")(c) if _fault(_K.REFUSAL)(c) else "The model refused.",
    ),
    Cause(
        "model.invalid_tool_call",
        "ended by a tool call that cannot be read",
        "gateway: the last message's arguments or finish reason; the provider's error about them",
        lambda c: _fault(_K.INVALID_TOOL_CALL)(c) or _last(c.evidence).invalid_tool_call,
        lambda c: (
            _fault_says("The provider could not read the model's tool call")(c)
            if _fault(_K.INVALID_TOOL_CALL)(c)
            else "The last message asked for a tool with arguments that do not parse."
        ),
    ),
    Cause(
        "model.empty_answer",
        "the model answered nothing",
        "gateway: the last message's text",
        lambda c: _answered(c) and not _last(c.evidence).text.strip(),
        _say("The final answer is empty."),
    ),
    Cause(
        "model.wrong_trajectory",
        "the answer stands, the tool calls are not what was required",
        "evaluators of the trajectory alone below their thresholds",
        lambda c: _answered(c) and c.passed is False and c.failing == {"trajectory"},
        _say("Only evaluators of the trajectory are below their threshold."),
    ),
    Cause(
        "model.wrong_answer",
        "an answer was given and it is below a threshold",
        "evaluators below their thresholds",
        lambda c: _answered(c) and c.passed is False,
        _say("The answer is below a required threshold."),
    ),
)

_BY_CODE = {cause.code: cause for cause in CAUSES}
_UNKNOWN = _BY_CODE["infra.unknown"]

INSIDE_CAUSES: frozenset[str] = frozenset(cause.code for cause in CAUSES if cause.inside)
"""Infra causes that arose inside the sandbox, or may have: failures in `as_deployed`."""


def died_inside(trial: TrialRecord) -> bool:
    """Whether any of its attempts ended by what arose inside the sandbox."""
    return any(attempt.cause in INSIDE_CAUSES for attempt in trial.attempts)


def unscored(trial: TrialRecord) -> bool:
    """Whether there is an answer that the evaluators could not score: what the model wrote may have broken one."""
    return trial.cause == "infra.evaluator"


def own_doing(trial: TrialRecord) -> bool:
    """Whether its candidate may have caused that it counts nowhere: then `stats.count_deaths` asks how often."""
    return died_inside(trial) or unscored(trial)


def attribute(evidence: Evidence, passed: bool | None, failing: Collection[Aspect] = ()) -> Verdict:
    """Judge one attempt.

    Args:
        evidence: every fact about the attempt.
        passed: whether every evaluator with a threshold reached it; None when it was not scored.
        failing: what the evaluators below their threshold judge (`ScoreSheet.failing_kinds`). `trajectory`
            alone makes a failure `model.wrong_trajectory`; anything else is `model.wrong_answer`.

    Returns:
        `passed` whenever `passed` is true, whatever the attempt survived; else the first row of `CAUSES` that
        holds; else `infra.unknown`. Never raises.
    """
    if passed:
        return Verdict(verdict="passed", because="Every required evaluator reached its threshold.")
    case = Case(evidence, passed, frozenset(failing))
    cause = next((row for row in CAUSES if row.when(case)), _UNKNOWN)
    return Verdict(
        verdict="failed" if cause.code.startswith("model.") else "infra_error",
        cause=cause.code,
        because=cause.reason(case),
    )


def resource_bound(evidence: Evidence) -> list[str]:
    """The pinned limits that the attempt met, whether it passed or not: memory, disk, pids, cpu."""
    throttled, ran = evidence.kernel.throttled_seconds or 0.0, evidence.kernel.cpu_seconds or 0.0
    bound = {
        "memory": _oom_killed(evidence),
        "disk": _disk_full(evidence),
        "pids": _pids_exhausted(evidence),
        "cpu": throttled >= CPU_BOUND_SECONDS and throttled >= CPU_BOUND_SHARE * (throttled + ran),
    }
    return [limit for limit, met in bound.items() if met]


def follows(cause: str) -> Cause:
    """The row of a cause, with what follows from it. An unknown code has the row of `infra.unknown`."""
    return _BY_CODE.get(cause, _UNKNOWN)


def describe(cause: str) -> str:
    """One line on what a cause means, for reports; a code of another version is said to be unknown."""
    row = _BY_CODE.get(cause)
    return row.meaning if row else "a cause this version of bakeoff does not know"
