"""One attempt: a spec goes in, a sandbox runs, a result with its evidence comes out. It judges nothing."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from bakeoff.attempt import protocol
from bakeoff.attempt.clock import STOP_SECONDS, Clock
from bakeoff.attempt.conversation import MAX_KEPT
from bakeoff.attempt.evidence import EvidenceBuilder
from bakeoff.attempt.holdings import HEAVY_BYTES, VALUE_BYTES, Holding, Holdings
from bakeoff.attempt.inbox import Inbox, Timer, WallTimer
from bakeoff.attempt.model_calls import Line, ModelCalls, OnCall, OutOfMoney, Piece, Replied
from bakeoff.attempt.protocol import LINE_OVERHEAD, Lines, OverBudget, Protocol, count_values
from bakeoff.attempt.spans import SpanSink
from bakeoff.attempt.spec import AttemptSpec
from bakeoff.attempt.tool_log import EVENT_BYTES, ToolLog
from bakeoff.backends.base import WORKDIR, Sandbox, SandboxEnd, SandboxError
from bakeoff.gateway.types import ChatBackend, ModelRequest
from bakeoff.record.evidence import DockerFacts, Evidence
from bakeoff.record.limits import effective, mismatches
from bakeoff.record.trial import AttemptResult, ResourceLimits, Usage
from bakeoff_runner import wire

# Kills that the backend does not answer, and kills in all, after which a sandbox is given up.
MOST_UNANSWERED_KILLS = 3
MOST_KILLS = 6
# Bytes of what is kept of one attempt until its trial is written down, as `Holdings` counts them.
MAX_HELD = 2 * MAX_KEPT
# What waiting for room is called among the open calls of the clock: none of it is the agent's time.
ROOM = "room"


# --- what the loop waits for, besides what the gateway says


@dataclass(frozen=True, slots=True)
class Received:
    """A line from the sandbox. `weight`: bytes that it takes when it is read."""

    line: bytes
    values: int
    weight: int


@dataclass(frozen=True, slots=True)
class Waits:
    """The reader waits for room, since all attempts together hold too much; or it goes on."""

    waits: bool
    at: float


@dataclass(frozen=True, slots=True)
class Frozen:
    """The sandbox was frozen from outside, or goes on."""

    frozen: bool
    at: float


@dataclass(frozen=True, slots=True)
class StreamsClosed:
    """The sandbox writes nothing more. `error`: reading failed."""

    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """The user stopped the run."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """Nothing happened in time."""


Inbound = Received | Waits | Frozen | StreamsClosed | Cancel | OverBudget | Piece | Replied | OutOfMoney


@dataclass(frozen=True, slots=True)
class Watchers:
    """Who learns of an attempt as it goes on: of memory in use (bytes), and of each model call that has ended."""

    on_memory: Callable[[int], None] = lambda _: None
    on_call: OnCall = lambda *_: None


class Attempt:
    """One running attempt. Its own thread calls `run`; `stop` may be called from any.

    Args:
        spec: what to do.
        sandbox: where; it is created and not started, and closed at the end.
        model: the candidate.
        pool: where model calls are made.
        fetch: the content of a file by its SHA-256, in hex.
        watchers: who learns of it as it goes on.
        timer: the clock, and how it passes.
        holding: what it may hold in memory beside the other attempts of this process.
    """

    def __init__(
        self,
        spec: AttemptSpec,
        sandbox: Sandbox,
        model: ChatBackend,
        pool: Executor,
        fetch: Callable[[str], bytes],
        watchers: Watchers | None = None,
        timer: Timer | None = None,
        holding: Holding | None = None,
    ) -> None:
        self.cancelled = False
        self._spec, self._sandbox, self._fetch = spec, sandbox, fetch
        self._watchers = watchers or Watchers()
        self._timer = timer or WallTimer()
        self._inbox: Inbox[Inbound] = Inbox(self._timer)
        self._holding, self._lines = holding or Holdings().join(), Lines()
        # Bytes that stay until the end: of everything, and of what the harness reported
        self._kept = self._retained = 0
        self._program = bool(spec.harness.command)
        self._protocol = Protocol(program=self._program)
        self._clock = Clock(self._timer.now(), spec.limits.seconds, spec.limits.startup_seconds)
        line = Line(sandbox.send, self._inbox.put, self._timer)
        self._calls = ModelCalls(
            spec, model, pool, line, self._clock, self._watchers.on_call, self._room_for_forms
        )
        self._tools = ToolLog(spec.limits.tool_seconds)
        self._spans = SpanSink(wanted=spec.harness.traces)
        self._evidence = EvidenceBuilder()
        self._agent_started_at: datetime | None = None
        self._log = bytearray()
        self._kills = self._unanswered_kills = 0

    @property
    def first_request(self) -> ModelRequest | None:
        """What the harness first asked of its model."""
        return self._calls.first_request

    def stop(self) -> None:
        """Cancel: no verdict will come of it (the user's Ctrl-C)."""
        self._inbox.put(Cancel())

    # --- the story of an attempt

    def run(self) -> AttemptResult:
        """Start the sandbox, serve it until it ends, and gather the evidence. Raises nothing."""
        started_at = datetime.now(UTC)
        reader = threading.Thread(target=self._read, name="reader", daemon=True)
        end = SandboxEnd(DockerFacts())
        try:
            self._sandbox.start(self._frozen)
            reader.start()
            self._sandbox.send(self._opening())
            self._serve()
            if self._evidence.unreachable is None:
                end = self._sandbox.end()
        except SandboxError as error:
            end = SandboxEnd(error.facts)
        except Exception as error:  # noqa: BLE001 - bakeoff's own failure is evidence too: infra.unknown, loudly
            self._evidence.internal_error = f"{type(error).__name__}: {error}"[:2000]
        self._calls.end()
        self._inbox.close()
        with suppress(Exception):  # what there is to know of the sandbox is known
            self._sandbox.close()
        if reader.is_alive():
            reader.join(STOP_SECONDS)
        try:
            with self._holding.working(self._kept):
                return self._result(started_at, end)
        except Exception as error:  # noqa: BLE001
            return self._failed_result(started_at, f"{type(error).__name__}: {error}"[:2000])

    def _serve(self) -> None:
        """The loop: one event at a time, until the streams close or the sandbox is given up."""
        while self._evidence.budget is None and self._evidence.unreachable is None:
            match self._next():
                case Waits(True, at):
                    self._clock.asked(ROOM, at)
                case Waits(False, at):
                    self._clock.failed(ROOM, at)
                case Frozen(True, at):
                    self._clock.freeze(at)
                case Frozen(False, at):
                    self._clock.thaw(at)
                case Deadline():
                    self._expire()
                case Cancel() | OutOfMoney():
                    self.cancelled = True
                    self._ask_to_stop()
                case StreamsClosed(error):
                    if error is not None:
                        raise error
                    return
                case Received() | Replied() | Piece() | OverBudget() as event:
                    self._take(event)
                    del event  # it may have megabytes, and the next may be long in coming

    def _take(self, event: Received | OverBudget | Replied | Piece) -> None:
        """What the sandbox or the gateway says."""
        match event:
            case Received():
                with self._holding.working(event.weight):
                    self._handle(self._protocol.parse(event.line, event.values), event.weight)
            case Replied():
                with self._holding.working(self._calls.forms_of(event.ident)):
                    self._calls.reply(event)
                self._count()
            case Piece():
                self._calls.piece(event)
            case OverBudget(budget):
                self._over_budget(budget)

    def _next(self) -> Inbound | Deadline:
        found = self._inbox.get(self._clock.deadline(self._timer.now()))
        return Deadline() if found is None else found[1]

    # --- from the sandbox

    def _read(self) -> None:
        """The reader thread: frames to lines."""
        try:
            for frame in self._sandbox.frames():
                if frame.stream == "stderr":
                    self._log += frame.data[: wire.MAX_LOG - len(self._log)]
                    continue
                self._await_room(len(frame.data))
                for line in self._lines.feed(frame.data):
                    values = count_values(line)
                    weight = len(line) + values * VALUE_BYTES
                    self._await_room(weight)
                    self._inbox.put(Received(line, values, weight), len(line) + LINE_OVERHEAD)
                    del line  # for the same reason as `event` in `_serve`
                if self._lines.over is not None:
                    self._inbox.put(OverBudget(self._lines.over))
                    return
        except Exception as error:  # noqa: BLE001 - the loop raises it
            self._inbox.put(StreamsClosed(error))
        else:
            self._inbox.put(StreamsClosed())

    def _await_room(self, more: int) -> None:
        """Wait until it may hold `more` bytes, unless it is about to end: its last words are few."""
        clock, wanted = self._clock, self._held + self._calls.form_bytes + more
        if self._holding.fits(wanted) or clock.finished is not None or self._ending:
            return
        self._inbox.put(Waits(True, self._timer.now()))
        self._holding.wait(wanted, lambda: self._ending)
        self._inbox.put(Waits(False, self._timer.now()))

    @property
    def _ending(self) -> bool:
        """Whether it was told to stop, or is over."""
        return self._clock.stopping is not None or self._inbox.lossy

    @property
    def _held(self) -> int:
        """Bytes, without what large requests and replies take while the gateway works on them."""
        return self._kept + self._inbox.waiting + self._lines.partial

    def _room_for_forms(self, wanted: int) -> bool:
        return self._holding.fits(self._held + wanted)

    def _count(self) -> None:
        """Count what is kept, after it has changed."""
        calls = self._calls
        self._kept = calls.conversation.held + calls.out_bytes + self._retained + len(self._log)
        self._holding.holds(self._held + calls.form_bytes)
        if calls.conversation.kept > MAX_KEPT:
            self._over_budget("messages")
        elif self._kept > MAX_HELD:
            self._over_budget("memory")

    def _frozen(self, frozen: bool, at: float) -> None:
        self._inbox.put(Frozen(frozen, at))

    def _handle(self, event: protocol.Event, weight: int) -> None:
        evidence = self._evidence
        match event:
            case protocol.Sample(memory_bytes):
                self._watchers.on_memory(memory_bytes)
            case protocol.Ready() | protocol.Exited():
                self._supervisor(event)
            case protocol.Loaded() | protocol.Started():
                self._stage(event)
            case protocol.ModelAsked() | protocol.HttpAsked() | protocol.BadCall():
                # With the wrong limits it is being stopped: no call is made, and none is paid for.
                denied = evidence.mismatches and self._clock.started is None
                if not denied and (problem := self._calls.ask(event, weight)):
                    evidence.violation(problem)
            case protocol.CallTooLarge():
                self._calls.too_large(event)
            case protocol.ToolStarted() | protocol.ToolEnded():
                self._tool(event, weight)
                self._retained += min(weight, HEAVY_BYTES) + EVENT_BYTES
            case protocol.SpansExported():
                self._spans.take(event)
                self._retained += weight
            case protocol.Answered() | protocol.Failed():
                self._ends(event)
                self._retained += weight
            case protocol.Violation(problem):
                evidence.violation(problem)
            case OverBudget(budget):
                self._over_budget(budget)
        self._count()

    def _supervisor(self, event: protocol.Ready | protocol.Exited) -> None:
        evidence = self._evidence
        evidence.kernel = event.kernel
        found = mismatches(self._spec.resources, event.kernel.limits)
        if isinstance(event, protocol.Exited):
            evidence.exited = event
            if not evidence.mismatches:  # `docker update` does this, and systemd where it resets a limit
                found = [f"{each}, changed from outside while it ran" for each in found]
        elif evidence.reached == "nothing":
            evidence.reached = "supervisor"
        evidence.mismatches = found
        if evidence.mismatches and evidence.exited is None:
            self._ask_to_stop()  # whatever it measured would be a measurement of something else

    def _stage(self, event: protocol.Loaded | protocol.Started) -> None:
        # A second one would set the clock back, or deny what came after; with the wrong limits nothing is to start.
        if self._clock.started is not None or self._evidence.mismatches:
            return
        self._evidence.reached = "loaded"
        if isinstance(event, protocol.Started):
            now = self._timer.now()
            self._evidence.reached = "started"
            self._evidence.startup_seconds = now - self._clock.began
            self._clock.started, self._agent_started_at = now, datetime.now(UTC)
            self._sandbox.send(wire.notification("supervisor/started", {}))

    def _tool(self, event: protocol.ToolStarted | protocol.ToolEnded, weight: int) -> None:
        moment = self._clock.since_start(self._timer.now())
        if isinstance(event, protocol.ToolEnded):
            self._tools.end(event, moment)
            return
        run = self._tools.start(event, moment)
        if run is None:
            self._over_budget("tool calls")
        elif not self._calls.conversation.ran(run) and weight > HEAVY_BYTES:
            run.cut()

    def _ends(self, event: protocol.Answered | protocol.Failed) -> None:
        if self._clock.finished is not None:
            self._evidence.violation("a second answer")
            return
        self._clock.finished = self._timer.now()
        if isinstance(event, protocol.Failed):
            self._evidence.failed = event
        else:
            self._evidence.answered = event
            if event.interrupt is None:  # else it waits for a person: there is no answer to judge
                self._evidence.reached = "answered"
            self._calls.conversation.finish(event.messages)

    # --- to an end

    def _expire(self) -> None:
        """A deadline has passed: ask it to stop; or, where it was asked and did not, kill it."""
        evidence, clock = self._evidence, self._clock
        if clock.stopping is not None:
            # No event says so of a SIGSTOP, nor of a pause where the backend has no events. A backend that did not
            # answer a kill is not asked again: each question to a daemon that hangs takes a minute.
            if clock.finished is None and not self._unanswered_kills:
                evidence.held = evidence.held or self._sandbox.held()
            self._kill()
            clock.stopping = self._timer.now()
            return
        if clock.finished is None and clock.frozen is not None:
            evidence.held = "paused"
        elif clock.finished is None and clock.refused is None:
            if clock.started is None:
                evidence.startup_timeout = True
            else:
                evidence.time_limit_hit = True
        self._ask_to_stop()

    def _ask_to_stop(self) -> None:
        self._sandbox.send(wire.notification("supervisor/stop", {}))
        if self._clock.stopping is None:
            self._clock.stopping = self._timer.now()

    def _over_budget(self, budget: str) -> None:
        self._evidence.budget = self._evidence.budget or budget
        self._kill()

    def _kill(self) -> None:
        """Kill it. An engine may answer only when all of its output has been read, so the reader waits no more."""
        evidence = self._evidence
        evidence.killed = True
        self._kills += 1
        self._inbox.lose()
        self._unanswered_kills = 0 if self._sandbox.kill() else self._unanswered_kills + 1
        if self._unanswered_kills >= MOST_UNANSWERED_KILLS:
            evidence.unreachable = f"the backend did not answer {self._unanswered_kills} kills in a row"
        elif self._kills >= MOST_KILLS:
            evidence.unreachable = f"it was killed {self._kills} times and its streams stay open"

    # --- values

    def _opening(self) -> bytes:
        """The first lines: what the supervisor and the harness need."""
        spec = self._spec
        start = {
            "token": self._protocol.supervisor_token,
            "workdir": WORKDIR,
            "log_bytes": wire.MAX_LOG,
            "output_bytes": wire.MAX_OUTPUT,
        }
        task = {
            "token": self._protocol.harness_token,
            "trial_id": spec.trial.trial_id,  # the thread of a checkpointer
            "workdir": WORKDIR,
            "files": {name: self._content(name, digest) for name, digest in spec.files.items()},
            "limits": spec.limits.model_dump(include={"turns", "seconds", "tool_seconds"}),
            "harness": spec.harness.model_dump(by_alias=True),
            "model": asdict(spec.model),
            "inputs": spec.inputs,
            "messages": spec.messages,
            "traceparent": spec.traceparent,
        }
        return wire.notification("supervisor/start", start) + wire.encode(
            {"id": wire.RUN_ID, "method": "harness/run", "params": task}
        )

    def _content(self, name: str, digest: str) -> str:
        content = self._fetch(digest)
        if hashlib.sha256(content).hexdigest() != digest:
            problem = "has changed since the run read it: trials would not have the same inputs"
            raise ValueError(f"{name} {problem}")
        return base64.b64encode(content).decode()

    def _result(self, started_at: datetime, end: SandboxEnd) -> AttemptResult:
        spec, evidence = self._spec, self._evidence
        answered = evidence.answered
        messages, tool_calls = self._calls.conversation.record(
            answered.messages if answered else [],
            answered.structured if answered else None,
            self._tools.runs,
            watched=bool(self._tools.runs) and not self._program,
        )
        return AttemptResult(
            attempt=spec.attempt,
            evidence=evidence.build(
                end, self._clock, self._calls, self._tools, self._timer.now(), program=self._program
            ),
            requested=spec.resources,
            effective=effective(evidence.kernel.limits, end.network),
            messages=messages,
            model_calls=self._calls.calls,
            tool_calls=tool_calls,
            usage=self._calls.usage(),
            started_at=started_at,
            agent_started_at=self._agent_started_at,
            finished_at=datetime.now(UTC),
            spans=self._spans.exports,
            log=self._log.decode("utf-8", "replace"),
        )

    def _failed_result(self, started_at: datetime, error: str) -> AttemptResult:
        """What is left where the record itself cannot be made."""
        unread = ResourceLimits(cpus=None, memory_bytes=None, pids=None, disk_bytes=None, network=None)
        return AttemptResult(
            attempt=self._spec.attempt,
            evidence=Evidence(internal_error=error),
            requested=self._spec.resources,
            effective=unread,
            usage=Usage(cost_usd=None),
            started_at=started_at,
            finished_at=datetime.now(UTC),
        )
