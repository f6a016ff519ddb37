"""Every fault of the campaign: one entry each, with what is done for real and the one right verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bakeoff.record.trial import TrialRecord
from tests.docker.project import call

JsonDict = dict[str, Any]


# --- how a fault is injected: the type says in which kind of run (see scenes.py) --------------------


@dataclass(frozen=True)
class Tool:
    """The agent's own tool does it, inside the container: a reference trajectory of calls to `faulty_agent`."""

    calls: tuple[JsonDict, ...]
    hasty: bool = False  # in a run with a time limit of few seconds


@dataclass(frozen=True)
class Simulated:
    """A simulated model that errs in this way (`bakeoff.gateway.simulated.ERRORS`)."""

    error: str


@dataclass(frozen=True)
class Http:
    """The real OpenAI client talks to a real server, which does this (`provider.BEHAVIOURS`)."""

    behaviour: str


@dataclass(frozen=True)
class Scoring:
    """The user's evaluator, or the judge's server, fails at the row of this fault's name."""


@dataclass(frozen=True)
class Outside:
    """Somebody else's `docker <verb>` hits the running container at a random moment; `undo` follows `after` seconds."""

    verb: str
    undo: str = ""
    after: float = 0.0


@dataclass(frozen=True)
class Update:
    """Somebody else's `docker update <option>` changes the container between its creation and its start."""

    option: tuple[str, ...]


@dataclass(frozen=True)
class NoImage:
    """Somebody else's `docker rmi` removes the image while the run goes on."""


@dataclass(frozen=True)
class Restart:
    """The Docker daemon is ended by this signal in mid-run and started again (a daemon of the campaign's own)."""

    signal: str


@dataclass(frozen=True)
class SmallDisk:
    """The run directory lies on a file system that fills up."""


@dataclass(frozen=True)
class Neighbour:
    """A container with a higher weight burns every core while the agent makes these calls."""

    calls: tuple[JsonDict, ...]


@dataclass(frozen=True)
class Survive:
    """The run is ended, or its directory damaged, in this way (`survival.HARMS`); then it is resumed."""

    harm: str
    short: bool = False  # part of the short form in `make test`


How = (
    Survive | Tool | Simulated | Http | Scoring | Outside | Update | NoImage | Restart | SmallDisk | Neighbour
)


def tool(*calls: JsonDict, hasty: bool = False) -> Tool:
    return Tool(calls, hasty)


@dataclass(frozen=True)
class Fault:
    """One entry. `right` has the causes that are right, "" for a pass; more than one only where both are true."""

    number: (
        int  # in the list of issue 3; 0: not in it: a fault found later, or a control, where nothing is wrong
    )
    name: str
    how: How
    right: tuple[str, ...]
    also: Callable[[TrialRecord], str] | None = None  # what else must hold of the trial: what is wrong, or ""


# --- what else must hold ----------------------------------------------------------------------------


def was_oom(trial: TrialRecord) -> str:
    docker, observed = trial.attempts[-1].evidence.docker, trial.resources.observed.oom_kills or 0
    if docker.exit_code == 137:  # the kernel took PID 1 too, and its last count: Docker is the witness
        observed = observed or int(docker.oom_killed or False)
    return "" if observed and trial.resource_bound == ["memory"] else f"{observed} OOM kills on record"


def was_forged(trial: TrialRecord) -> str:
    return "" if trial.attempts[-1].evidence.protocol_errors else "the forgery is not on record"


def was_prompt(trial: TrialRecord) -> str:
    """Nobody waited until the time limit (300 s)."""
    return "" if trial.seconds.wall < 150 else f"it took {trial.seconds.wall:.0f} s"


def was_disputed(trial: TrialRecord) -> str:
    """The answer is on record as one that the model never gave."""
    return "" if trial.attempts[-1].evidence.disputed else "the answer is not disputed"


def was_broken_off(trial: TrialRecord) -> str:
    """The line is on record, and nobody waited for its reply."""
    return was_forged(trial) or was_prompt(trial)


def was_given_back(trial: TrialRecord) -> str:
    """The pause is on record, and none of it is the agent's: it alone was longer than the time limit."""
    evidence = trial.attempts[-1].evidence
    paused, worked = evidence.docker.paused_seconds or 0.0, evidence.clock.working_seconds
    return "" if paused > OUTSIDE_SECONDS > worked else f"paused {paused:.1f} s, worked {worked:.1f} s"


def waited_free_of_charge(trial: TrialRecord) -> str:
    """The queueing alone was longer than the time limit, and none of it is the agent's."""
    clock = trial.attempts[-1].evidence.clock
    fine = clock.queued_seconds > 5.0 > clock.working_seconds
    return "" if fine else f"queued {clock.queued_seconds:.1f} s, worked {clock.working_seconds:.1f} s"


def was_retried(trial: TrialRecord) -> str:
    """The retry budget (2) was spent."""
    fault = trial.attempts[-1].evidence.model_fault
    return "" if fault is not None and fault.attempts == 3 else f"not retried as budgeted: {fault}"


def was_run_once(trial: TrialRecord) -> str:
    """The answer is scored again; the agent is not run again."""
    runs = len(trial.attempts)
    return "" if runs == 1 else f"the agent was run {runs} times"


def was_unharmed(trial: TrialRecord) -> str:
    """It met no limit."""
    bound = trial.resource_bound
    return f"bound by {bound}" if bound else ""


OUTSIDE_SECONDS = 12.0  # time limit of the trials that are hit from outside
PASSED = ("",)
WHOLE = ("whole",)  # nothing lost, nothing twice, nothing left, one clear error where there was one
MALFORMED_CALL = tool(
    call("ask_wrongly", "never", method="model/generate", params={"messages": [], "tools": 5})
)
MALFORMED_HTTP = tool(call("ask_wrongly", "never", method="model/http", params={"path": "/v1/messages"}))
HELD = call("hog_child", "held", mib=20)

FAULTS: tuple[Fault, ...] = (
    # memory
    Fault(1, "harness-oom", tool(call("hog", mib=600)), ("infra.oom_killed",), was_oom),
    Fault(2, "child-oom", tool(call("hog_child", "held", mib=600)), ("infra.oom_killed",), was_oom),
    Fault(3, "child-oom-recovered", tool(call("hog_child_then_less", "held", mib=600)), PASSED, was_oom),
    # disk, processes
    Fault(4, "disk-full", tool(call("fill_disk", "never")), ("infra.disk_full",)),
    Fault(4, "disk-full-raised", tool(call("fill_disk_and_raise")), ("infra.disk_full",)),
    Fault(5, "pids", tool(call("spawn_threads", "never refused")), ("infra.pids_exhausted",)),
    Fault(5, "fork-bomb", tool(call("fork_bomb", "never")), ("infra.pids_exhausted",)),
    # the harness itself
    Fault(6, "exit-7", tool(call("leave", code=7)), ("model.killed_harness",)),
    Fault(6, "exit-0", tool(call("leave", code=0)), ("model.killed_harness",)),
    Fault(0, "sigkill", tool(call("end_by", signal_number=9)), ("model.killed_harness",)),
    Fault(0, "sigabrt", tool(call("end_by", signal_number=6)), ("model.broke_harness",)),
    Fault(0, "raises", tool(call("raise_what", name="KeyError")), ("model.broke_harness",)),
    Fault(0, "raises-exit", tool(call("raise_what", name="SystemExit")), ("model.killed_harness",)),
    Fault(0, "framework-limit", tool(call("go_round")), ("model.turn_limit",)),
    Fault(0, "interrupt", tool(call("ask_a_person")), ("infra.interrupted",)),
    Fault(7, "segfault", tool(call("segfault")), ("model.broke_harness",)),
    Fault(7, "kills-supervisor", tool(call("kill_supervisor", "never")), ("model.wrong_answer",)),
    # the container, from outside
    Fault(8, "docker-kill", Outside("kill"), ("infra.container_lost",)),
    Fault(8, "docker-stop", Outside("stop"), ("infra.container_lost",)),
    Fault(9, "docker-rm", Outside("rm -f"), ("infra.container_lost",)),
    Fault(0, "docker-pause", Outside("pause"), ("infra.container_lost",)),
    Fault(0, "sigstop", Outside("kill --signal STOP"), ("infra.container_lost",)),
    Fault(0, "docker-pause-unpause", Outside("pause", "unpause", 13.0), PASSED, was_given_back),
    Fault(10, "daemon-stopped", Restart("TERM"), ("infra.docker_unavailable", "infra.container_lost")),
    Fault(10, "daemon-killed", Restart("KILL"), ("infra.docker_unavailable", "infra.container_lost")),
    Fault(11, "image-removed", NoImage(), ("infra.image",)),
    Fault(12, "more-memory", Update(("--memory=300m", "--memory-swap=300m")), ("infra.limits_not_enforced",)),
    Fault(12, "more-cpu", Update(("--cpus=2",)), ("infra.limits_not_enforced",)),
    Fault(12, "fewer-pids", Update(("--pids-limit=60",)), ("infra.limits_not_enforced",)),
    # the provider
    Fault(13, "429", Http("429"), ("infra.provider_rate_limited",), was_retried),
    Fault(13, "429-retry-after", Http("429-retry-after"), ("infra.provider_rate_limited",), was_retried),
    Fault(13, "429-then-fine", Http("429-then-fine"), PASSED, waited_free_of_charge),
    Fault(13, "429-then-wrong", Http("429-then-wrong"), ("model.wrong_answer",)),
    Fault(14, "500", Http("500"), ("infra.provider_unavailable",), was_retried),
    Fault(14, "503", Http("503"), ("infra.provider_unavailable",), was_retried),
    Fault(14, "503-then-fine", Http("503-then-fine"), PASSED),
    Fault(15, "hang", Http("hang"), ("infra.provider_timeout",), was_retried),
    Fault(15, "drip", Http("drip"), ("infra.provider_timeout",), was_retried),
    Fault(16, "reset", Http("reset"), ("infra.provider_unavailable",), was_retried),
    Fault(16, "reset-then-fine", Http("reset-then-fine"), PASSED),
    Fault(17, "401", Http("401"), ("infra.provider_auth",)),
    Fault(18, "not-json", Http("not-json"), ("infra.provider_bad_response",), was_retried),
    Fault(18, "no-choices", Http("no-choices"), ("infra.provider_bad_response",), was_retried),
    Fault(18, "no-message", Http("no-message"), ("infra.provider_bad_response",), was_retried),
    Fault(0, "finish-error", Http("finish-error"), ("infra.provider_unavailable",), was_retried),
    Fault(0, "finish-abort", Http("finish-abort"), ("infra.provider_unavailable",), was_retried),
    Fault(0, "finish-no-resource", Http("finish-no-resource"), ("infra.provider_unavailable",), was_retried),
    Fault(0, "finish-unknown", Http("finish-unknown"), ("infra.provider_bad_response",), was_retried),
    Fault(0, "finish-error-then-fine", Http("finish-error-then-fine"), PASSED),
    Fault(0, "null-choices", Http("null-choices"), ("infra.provider_bad_response",), was_retried),
    Fault(0, "429-in-200", Http("429-in-200"), ("infra.provider_rate_limited",), was_retried),
    Fault(0, "credits-in-200", Http("credits-in-200"), ("infra.provider_auth",)),
    Fault(0, "no-money-429", Http("no-money-429"), ("infra.provider_auth",)),
    Fault(0, "unknown-model-400", Http("unknown-model-400"), ("infra.provider_auth",)),
    Fault(0, "no-tools-404", Http("no-tools-404"), ("infra.provider_unsupported",)),
    Fault(0, "max-tokens-400", Http("max-tokens-400"), ("infra.provider_unsupported",)),
    Fault(0, "page-403", Http("page-403"), ("infra.provider_unavailable",), was_retried),
    Fault(0, "redirect", Http("redirect"), ("infra.provider_bad_response",), was_retried),
    Fault(0, "bomb", Http("bomb"), ("infra.provider_bad_response",), was_retried),
    Fault(0, "endless", Http("endless"), ("infra.provider_bad_response",), was_retried),
    Fault(0, "nan-usage", Http("nan-usage"), ("infra.provider_bad_response",), was_retried),
    Fault(
        0, "429-as-detail-in-200", Http("429-as-detail-in-200"), ("infra.provider_rate_limited",), was_retried
    ),
    Fault(0, "503-with-limits", Http("503-with-limits"), ("infra.provider_unavailable",), was_retried),
    Fault(0, "stream-cut", Http("stream-cut"), ("infra.provider_unavailable",)),
    Fault(0, "stream-finish-error", Http("stream-finish-error"), ("infra.provider_unavailable",)),
    Fault(0, "stream-overloaded", Http("stream-overloaded"), ("infra.provider_unavailable",)),
    Fault(0, "stream-429", Http("stream-429"), ("infra.provider_rate_limited",), was_retried),
    Fault(0, "stream-no-money", Http("stream-no-money"), ("infra.provider_auth",)),
    Fault(0, "stream-flagged", Http("stream-flagged"), ("model.refusal",)),
    # the stream counts as whole: what is left to blame is that the reference has no `listen`
    Fault(0, "stream-stop-twice", Http("stream-stop-twice"), ("model.wrong_trajectory",)),
    Fault(0, "cached-beyond", Http("cached-beyond"), PASSED),
    Fault(0, "no-usage", Http("no-usage"), PASSED),
    Fault(0, "odd-usage", Http("odd-usage"), PASSED),
    # the scoring
    Fault(19, "evaluator-raises", Scoring(), ("infra.evaluator",), was_run_once),
    Fault(19, "evaluator-nan", Scoring(), ("infra.evaluator",), was_run_once),
    Fault(20, "judge-down", Scoring(), ("infra.evaluator",), was_run_once),
    # a hostile agent
    Fault(21, "flood", tool(call("shout", "shouted", mib=1024)), PASSED),
    Fault(22, "forged-right", tool(call("forge", "reached: []")), PASSED, was_forged),
    Fault(22, "forged-wrong", tool(call("forge", "never")), ("model.wrong_answer",), was_forged),
    Fault(
        22, "malformed-message", tool(call("speak_to_a_critic", "never")), ("infra.protocol",), was_broken_off
    ),
    Fault(22, "malformed-call", MALFORMED_CALL, ("infra.protocol",), was_broken_off),
    Fault(22, "malformed-http", MALFORMED_HTTP, ("infra.protocol",), was_broken_off),
    Fault(22, "request-10-mb", tool(call("return_much", mib=10)), ("infra.output_limit",), was_prompt),
    Fault(22, "closes-its-line", tool(call("close_all", "never")), ("model.killed_harness",), was_prompt),
    # The calls are the gateway's, whatever the answer claims; that the harness made the answer up is on record
    Fault(22, "answer-nan", tool(call("answer_oddly", kind="nan")), PASSED, was_disputed),
    Fault(22, "answer-deep", tool(call("answer_oddly", kind="deep")), ("infra.protocol",)),
    Fault(22, "answer-no-object", tool(call("answer_oddly", kind="metadata")), ("infra.protocol",)),
    Fault(22, "line-10-mb", tool(call("long_line", "sent", mib=10)), PASSED),
    Fault(22, "line-10-mb-wrong", tool(call("long_line", "never", mib=10)), ("model.wrong_answer",)),
    Fault(22, "line-100-mb", tool(call("long_line", "sent", mib=100)), ("infra.output_limit",)),
    # the host
    Fault(23, "noisy-neighbour", Neighbour((call("work", "worked", seconds=7),)), ("infra.host_contention",)),
    Fault(23, "slow-all-the-same", Neighbour((call("wait", "waited", seconds=12),)), ("model.time_limit",)),
    Fault(24, "run-disk-full", SmallDisk(), ("exit 4",)),
    # the run directory: whatever ends the run, `--resume` makes it whole
    Fault(0, "signal-at-start", Survive("signal-at-start"), WHOLE),
    Fault(0, "signal-preparing", Survive("signal-preparing"), WHOLE),
    Fault(0, "signal-proving", Survive("signal-proving"), WHOLE),
    Fault(0, "signal-rehearsing", Survive("signal-rehearsing"), WHOLE),
    Fault(0, "signal-running", Survive("signal-running", short=True), WHOLE),
    Fault(0, "signal-scoring", Survive("signal-scoring"), WHOLE),
    Fault(0, "signal-reporting", Survive("signal-reporting", short=True), WHOLE),
    Fault(0, "signal-publishing", Survive("signal-publishing"), WHOLE),
    Fault(0, "terminal-lost", Survive("terminal-lost", short=True), WHOLE),
    Fault(0, "made-read-only", Survive("made-read-only", short=True), WHOLE),
    Fault(0, "two-runs", Survive("two-runs"), WHOLE),
    Fault(0, "two-resumes", Survive("two-resumes"), WHOLE),
    Fault(0, "few-open-files", Survive("few-open-files"), WHOLE),
    Fault(0, "line-torn", Survive("line-torn"), WHOLE),
    Fault(0, "line-doubled", Survive("line-doubled"), WHOLE),
    Fault(0, "line-damaged", Survive("line-damaged", short=True), WHOLE),
    Fault(0, "nul-tail", Survive("nul-tail"), WHOLE),
    # the model's own failures: none may be excused
    Fault(25, "endless-loop", tool(*[call("wait", seconds=0)] * 8), ("model.turn_limit",)),
    Fault(25, "slow", tool(*[call("wait", "waited", seconds=1.7)] * 5, hasty=True), ("model.time_limit",)),
    Fault(25, "slow-tool", tool(call("wait", "waited", seconds=30), hasty=True), ("model.wrong_answer",)),
    Fault(25, "skip", Simulated("skip"), ("model.wrong_trajectory",)),
    Fault(25, "wrong-argument", Simulated("wrong_argument"), ("model.wrong_answer",)),
    Fault(25, "wrong-answer", Simulated("wrong_answer"), ("model.wrong_answer",)),
    Fault(25, "unknown-tool", Simulated("unknown_tool"), ("model.wrong_answer",)),
    Fault(25, "malformed", Simulated("malformed"), ("model.invalid_tool_call",)),
    Fault(25, "stuck", Simulated("loop"), ("model.turn_limit",)),
    Fault(25, "refusal", Simulated("refuse"), ("model.refusal",)),
    Fault(25, "empty", Simulated("nothing"), ("model.empty_answer",)),
    Fault(25, "http-bad-arguments", Http("bad-arguments"), ("model.invalid_tool_call",)),
    Fault(25, "http-refusal", Http("refusal"), ("model.refusal",)),
    Fault(25, "http-content-filter", Http("content-filter"), ("model.refusal",)),
    Fault(25, "http-never-ends", Http("babble"), ("model.time_limit",)),
    Fault(25, "http-moderation-403", Http("moderation-403"), ("model.refusal",)),
    Fault(25, "http-sensitive", Http("sensitive"), ("model.refusal",)),
    Fault(25, "http-tool-use-failed", Http("tool-use-failed-400"), ("model.invalid_tool_call",)),
    Fault(25, "http-list-arguments", Http("list-arguments"), ("model.invalid_tool_call",)),
    Fault(25, "http-unfinished-400", Http("unfinished-400"), ("model.token_limit",)),
    Fault(25, "http-empty", Http("empty"), ("model.empty_answer",)),
    Fault(25, "http-cut", Http("cut"), ("model.token_limit",)),
    Fault(25, "http-wrong", Http("wrong"), ("model.wrong_answer",)),
    Fault(25, "context-overflow", Http("context-overflow"), ("model.context_overflow",)),
    # controls: nothing is wrong with these
    Fault(0, "fine", tool(HELD), PASSED, was_unharmed),
    Fault(0, "http-fine", Http("fine"), PASSED, was_unharmed),
    Fault(0, "scored-fine", Scoring(), PASSED, was_unharmed),
)
