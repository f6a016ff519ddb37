"""Gathers the facts of one attempt as they come, each with its type, and makes them evidence. It judges nothing."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import Literal, get_args

from bakeoff.attempt.clock import Clock
from bakeoff.attempt.model_calls import ModelCalls
from bakeoff.attempt.protocol import Answered, Exited, Failed
from bakeoff.attempt.tool_log import ToolLog
from bakeoff.backends.base import SandboxEnd
from bakeoff.record.evidence import AnswerFacts, ClockFacts, DockerFacts, Evidence, HarnessFacts, KernelFacts
from bakeoff.record.limits import KernelReport
from bakeoff.text import figures

Reached = Literal["nothing", "supervisor", "loaded", "started", "answered"]
Held = Literal["paused", "stopped"]

MOST_PROTOCOL_ERRORS = 20
MAX_PROTOCOL_ERROR = 300
STOPPED_FOR: frozenset[str] = frozenset(
    get_args(get_args(HarnessFacts.model_fields["stopped_for"].annotation)[0])
)


@dataclass
class EvidenceBuilder:
    """What an attempt learns about its sandbox and its harness, besides what its other parts hold."""

    reached: Reached = "nothing"
    kernel: KernelReport = field(default_factory=KernelReport)
    mismatches: list[str] = field(default_factory=list)
    startup_seconds: float | None = None
    exited: Exited | None = None  # the supervisor's last word
    failed: Failed | None = None
    answered: Answered | None = None
    protocol_errors: list[str] = field(default_factory=list)
    budget: str | None = None
    time_limit_hit: bool = False
    startup_timeout: bool = False
    held: Held | None = None  # how it was held from outside, to the end
    killed: bool = False  # we killed it, or gave it up
    unreachable: str | None = None  # it can be neither ended nor killed
    internal_error: str | None = None

    def violation(self, problem: str) -> None:
        if len(self.protocol_errors) < MOST_PROTOCOL_ERRORS:
            self.protocol_errors.append(problem[:MAX_PROTOCOL_ERROR])

    def build(
        self, end: SandboxEnd, clock: Clock, calls: ModelCalls, tools: ToolLog, now: float, *, program: bool
    ) -> Evidence:
        """All facts. The parameters are the other parts of the attempt, and the moment."""
        working = clock.working(now if clock.finished is None else clock.finished)
        paused = clock.paused(clock.began, now)
        answer, harness = self._answer(calls, program=program), self._harness(tools)
        return Evidence(
            docker=self._sandbox(end.facts).model_copy(update={"paused_seconds": paused}),
            kernel=self.kernel.facts,
            harness=harness,
            clock=ClockFacts(
                wall_seconds=now - clock.began,
                working_seconds=working,
                model_seconds=sum(call.seconds for call in calls.calls),
                queued_seconds=clock.queued(),
            ),
            answer=answer,
            model_fault=calls.fault,
            replies=calls.replies,
            turn_limit_hit=calls.turn_limit_hit,
            token_limit_hit=calls.token_limit_hit,
            time_limit_hit=self.time_limit_hit or working > clock.limit,
            startup_timeout=self.startup_timeout,
            limits_mismatch=self.mismatches,
            protocol_errors=self.protocol_errors,
            output_overflow=self.budget is not None or (self.exited is not None and self.exited.overflow),
            budget=self.budget,
            disputed=[
                *_disputed_disk(harness, self.kernel.facts),
                *_disputed_timeouts(tools),
                *self._disputed_answer(answer, tools),
            ],
            internal_error=self.internal_error,
        )

    def _answer(self, calls: ModelCalls, *, program: bool) -> AnswerFacts | None:
        answered = self.answered or Answered([], None, None)
        return calls.conversation.answer(answered.messages, answered.structured, program=program)

    def _harness(self, tools: ToolLog) -> HarnessFacts:
        exited, failed = self.exited, self.failed
        stopped_for = exited.stopped_for if exited and exited.stopped_for in STOPPED_FOR else None
        return HarnessFacts.model_validate(
            {
                "reached": self.reached,
                "exit_code": exited.exit_code if exited else None,
                "signal": exited.signal if exited else None,
                "error_type": failed.error_type if failed else None,
                "error_message": failed.message if failed else None,
                "error_bases": failed.bases if failed else [],
                "error_traceback": failed.traceback if failed else None,
                "error_errnos": [*(failed.errnos if failed else []), *tools.errnos],
                "stopped_for": stopped_for,
                "interrupt": self.answered.interrupt if self.answered else None,
                "tool_timeouts": tools.timeouts,
                "tool_errors": tools.errors,
                "startup_seconds": self.startup_seconds,
            }
        )

    def _sandbox(self, facts: DockerFacts) -> DockerFacts:
        """The backend's facts, and whether another process of the host took the sandbox.

        PID 1 cannot be sent a SIGKILL from inside its namespace, nor a SIGSTOP (pid_namespaces(7)). So an exit by
        SIGKILL that is neither ours nor the kernel's for memory came from outside.
        """
        if facts.error_kind is not None or facts.oom_killed or self.internal_error is not None:
            return facts
        if self.unreachable is not None:
            problem = {"failed_step": "run", "error_kind": "unavailable", "error": self.unreachable}
            return facts.model_copy(update=problem)
        taken, text = facts.taken, f"it was {facts.taken} by another process of the host"
        if self.held is not None:
            taken, text = self.held, f"it was {self.held} by another process of the host, and not resumed"
        elif self.killed:
            return facts
        elif self.exited is not None and self.exited.terminated:
            taken, text = "terminated", "another process of the host asked it to end (SIGTERM)"
        elif self.exited is None and facts.exit_code == 137:
            taken = taken or "killed"
            text = "another process of the host killed it: it exited with code 137 before its supervisor reported"
        elif self.exited is None:
            text = f"it exited with code {facts.exit_code} before its supervisor reported"
            return facts.model_copy(update={"failed_step": "run", "error": text})
        if taken is None or (self.reached == "answered" and self.held is None and self.exited is not None):
            return facts
        lost = {"failed_step": "run", "error_kind": "lost", "error": text, "taken": taken}
        return facts.model_copy(update=lost)

    def _disputed_answer(self, answer: AnswerFacts | None, tools: ToolLog) -> list[str]:
        """Where the answer is not what the gateway and the runner saw."""
        if self.reached != "answered" or answer is None or not answer.text:
            return []
        if answer.source == "harness":
            return ["the answer is not a reply of the model: the harness made it"]
        results = (run.end.result for run in tools.runs if run.end is not None and run.end.result is not None)
        if answer.source == "tool" and not any(
            answer.text.startswith(result) or result.startswith(answer.text) for result in results
        ):
            return ["the answer is a tool's result, which no tool is known to have returned"]
        return []


def _disputed_disk(harness: HarnessFacts, kernel: KernelFacts) -> list[str]:
    """Where the harness met a full disk that the kernel did not see."""
    if errno.ENOSPC not in harness.error_errnos or kernel.disk_nearly_full:
        return []
    seen = f"{figures.size(kernel.disk_peak_bytes)} of {figures.size(kernel.disk_limit_bytes)}"
    return [
        f"the harness says that no space was left (ENOSPC); the kernel saw at most {seen} of /task in use"
    ]


def _disputed_timeouts(tools: ToolLog) -> list[str]:
    """Where the harness stopped tools at a time limit that by the host's clock they were far from."""
    if not tools.doubtful_timeouts:
        return []
    said = f"stopped {figures.count(tools.doubtful_timeouts, 'tool call')} at the limit of {tools.limit:g} s"
    return [f"the harness says that it {said}; by the host's clock it took less than half of that"]
