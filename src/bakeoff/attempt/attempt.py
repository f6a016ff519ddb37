"""One attempt: a spec goes in, a container runs, a result with its evidence comes out. No judgement here."""

from __future__ import annotations

import base64
import hashlib
import json
import queue
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from bakeoff.backends.base import WORKDIR, Sandbox, SandboxEnd, SandboxError
from bakeoff.errors import BudgetSpent, ModelCallError, ModelErrorKind
from bakeoff.gateway.dialects.exchange import Exchange, read
from bakeoff.gateway.dialects.failures import Limit
from bakeoff.gateway.dialects.http import HttpReply, Refused
from bakeoff.gateway.dialects.transcript import Transcript
from bakeoff.gateway.types import CallContext, ChatBackend, ModelReply, ModelRequest
from bakeoff.record import messages as msgs
from bakeoff.record.base import JsonDict, Record
from bakeoff.record.evidence import ClockFacts, DockerFacts, Evidence, HarnessFacts, KernelFacts, ModelFault
from bakeoff.record.trial import AttemptResult, Message, ModelCall, ResourceLimits, ToolCall, TrialSpec, Usage
from bakeoff_runner import wire

REFUSED_SECONDS = (
    10.0  # for a program to end, once it is refused the model for good: some ask again for minutes
)
STOP_SECONDS = 10.0  # between asking the supervisor to stop and killing the container from outside
PAUSED_SECONDS = 30.0  # a container that somebody froze is waited for: `docker commit` takes seconds
MOST_TOOL_CALLS = 10_000  # that are kept of one attempt
MEMORY_SLACK = 4096  # the kernel rounds limits down to a page
# what reading a line may raise
NOT_THE_PROTOCOL = (ValueError, TypeError, KeyError, AttributeError, RecursionError)


Span = tuple[float, float]  # two moments of time.monotonic


class AttemptSpec(Record):
    """Everything an attempt needs, as plain values: it could run on another host."""

    trial: TrialSpec
    attempt: int
    harness: JsonDict  # what the runner needs: entrypoint, or prompt, tools and middleware; config
    model: JsonDict = Field(default_factory=dict)  # ModelCard
    limits: JsonDict  # turns, seconds, tool_seconds
    token_limit: int | None = None
    startup_seconds: float = 120.0
    resources: ResourceLimits
    inputs: JsonDict
    messages: list[JsonDict]
    files: dict[str, str] = Field(default_factory=dict)  # name below the workdir -> path on this host
    file_digests: dict[str, str] = Field(
        default_factory=dict
    )  # path -> SHA-256, in hex, of what it must hold
    reference: JsonDict = Field(default_factory=dict)  # for simulated models; stays on this side
    traceparent: str = ""  # W3C Trace Context: what the harness traces itself joins the trial's trace


class Attempt:
    """The state of one running attempt. Its own thread calls `run`; `stop` may be called from any."""

    def __init__(
        self,
        spec: AttemptSpec,
        container: Sandbox,
        backend: ChatBackend,
        calls: ThreadPoolExecutor,
        on_memory: Callable[[int], None] = lambda _: None,
        on_call: Callable[[ModelCall, ModelRequest], None] = lambda *_: None,
    ) -> None:
        self.spec, self.container, self.backend, self.calls = spec, container, backend, calls
        self.on_memory, self.on_call = on_memory, on_call
        self.inbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.token = secrets.token_hex(16)  # the supervisor's
        self.harness_token = secrets.token_hex(16)  # on every line of the harness; both die with the attempt
        self.over = threading.Event()
        self.began = time.monotonic()
        self.started: float | None = None  # when the agent started
        self.agent_started_at: datetime | None = None  # the same, on the calendar
        self.finished: float | None = None
        self.model_calls: list[ModelCall] = []
        self.queue_spans: list[Span] = []
        self.pause_spans: list[Span] = []  # in which somebody outside had frozen the container
        self.paused_at: float | None = None  # since when it is frozen, while it is
        self.held: str | None = None  # how somebody outside holds it to the end: paused, stopped
        self.out: dict[
            str, float | None
        ] = {}  # calls that are out, and since when a streamed reply is coming
        self.calls_made = 0
        self.call_ids: set[str] = set()  # of calls that were made: a line sent twice is not a second call
        self.unwaited = 0.0  # model time that a replay did not wait for, and that counts all the same
        self.unwaited_now = 0.0  # the same, of the calls that are out together
        self.tools: dict[str, ToolCall] = {}
        self.tool_errnos: list[int] = []
        self.spans: list[JsonDict] = []  # the harness's own, as they were exported
        self.span_bytes = 0
        self.conversation: list[JsonDict] = []  # LangChain messages, as far as they are known
        self.transcript = Transcript()  # the same, where the harness is a program
        self.exchanges: dict[str, Exchange] = {}  # a program's requests that are out, by call
        self.refused: float | None = None  # when a program first asked for more than its limits allow
        self.structured: str | None = None
        self.log = bytearray()
        self.kernel = KernelFacts()
        self.read_back: JsonDict = {}
        self.facts: dict[str, Any] = {}  # fields of Evidence, gathered as they come
        self.harness: dict[str, Any] = {"reached": "nothing"}
        self.first_request: ModelRequest | None = None
        self.exit_reported = False  # the supervisor said its last word
        self.terminated = False  # and that it was told to end from outside
        self.ended_by_us = False
        self.cancelled = False

    # --- the story of an attempt

    def run(self) -> AttemptResult:
        """Start the container, serve it until it ends, and gather the evidence. Raises nothing."""
        started_at = datetime.now(UTC)
        end = SandboxEnd(DockerFacts())
        try:
            self.container.start(self.pause)
            reader = threading.Thread(target=self._read, name="reader", daemon=True)
            reader.start()
            self.container.send(self._opening())
            self._serve()
            self.over.set()
            end = self.container.end()
            reader.join(STOP_SECONDS)
            end = replace(end, facts=self._lost(end.facts))
        except SandboxError as error:
            end = SandboxEnd(error.facts)
        except Exception as error:  # noqa: BLE001 - bakeoff's own failure is evidence too: infra.unknown, loudly
            self.facts["internal_error"] = f"{type(error).__name__}: {error}"
        finally:
            self.over.set()
            self.container.close()
        return self._result(started_at, end)

    def _lost(self, facts: DockerFacts) -> DockerFacts:
        """Taken from outside: told to end, frozen, or gone without its supervisor's last word, not by our hand."""
        if facts.error_kind is not None or facts.oom_killed:
            return facts
        if self.held:
            text = f"it was {self.held} by somebody outside, and not resumed"
        elif self.ended_by_us:
            return facts
        elif self.terminated and self.harness["reached"] != "answered":
            text = "it was told to end (SIGTERM) by somebody outside"
        elif not self.exit_reported:
            text = f"it exited with code {facts.exit_code} before its supervisor reported"
        else:
            return facts
        return facts.model_copy(update={"failed_step": "run", "error_kind": "lost", "error": text})

    def stop(self) -> None:
        """Cancel: no verdict will come of it (the user's Ctrl-C, no money left)."""
        self.inbox.put(("cancel", None))

    def pause(self, frozen: bool, at: float) -> None:
        """Somebody outside froze the container, or let it go on, at this moment of `time.monotonic`."""
        self.inbox.put(("pause", (frozen, at)))

    def _content(self, path: str) -> bytes:
        content = Path(path).read_bytes()
        if hashlib.sha256(content).hexdigest() != self.spec.file_digests[path]:
            raise ValueError(
                f"{path} has changed since the run read it: trials would not have the same inputs"
            )
        return content

    def _opening(self) -> bytes:
        spec = self.spec
        start = {
            "token": self.token,
            "workdir": WORKDIR,
            "log_bytes": wire.MAX_LOG,
            "output_bytes": wire.MAX_OUTPUT,
        }
        task = {
            "token": self.harness_token,
            "workdir": WORKDIR,
            "files": {
                name: base64.b64encode(self._content(path)).decode() for name, path in spec.files.items()
            },
            "limits": spec.limits,
            "harness": spec.harness,
            "model": spec.model,
            "inputs": spec.inputs,
            "messages": spec.messages,
            "traceparent": spec.traceparent,
        }
        return wire.notification("supervisor/start", start) + wire.encode(
            {"id": wire.RUN_ID, "method": "harness/run", "params": task}
        )

    def _read(self) -> None:
        """The reader thread: frames to whole lines, bounded."""
        buffer = bytearray()
        for stream, data in self.container.frames():
            if stream == "stderr":
                self.log += data[: wire.MAX_LOG - len(self.log)]
                continue
            buffer += data
            while (end := buffer.find(b"\n")) >= 0:
                self.inbox.put(("line", bytes(buffer[:end])))
                del buffer[: end + 1]
            if (
                len(buffer) > wire.MAX_LINE + 1024
            ):  # the supervisor keeps lines shorter: this is not the supervisor
                self.inbox.put(("flood", None))
                return
        self.inbox.put(("eof", None))

    def _serve(self) -> None:
        """The loop: one event at a time until the streams close."""
        killed_at: float | None = None
        while True:
            try:
                kind, value = self.inbox.get(timeout=self._patience(killed_at))
            except queue.Empty:
                if killed_at is None:
                    self._expire()
                    killed_at = time.monotonic()
                    continue
                # it did not end as asked: no event tells of a SIGSTOP, or of a pause where there is no stream of them
                if self.finished is None:
                    self.held = self.held or self.container.held()
                self._kill()
                killed_at = time.monotonic()
                continue
            if kind == "eof":
                return
            if kind == "line":
                self._line(value)
            elif kind == "reply":
                self._reply(*value)
            elif kind == "chunk":
                self._coming(value["id"])
                self.container.send(wire.notification("model/chunk", value))
            elif kind == "piece":
                self._piece(*value)
            elif kind == "pause":
                self._pause(*value)
            elif kind == "flood":
                self.facts["output_overflow"] = True
                self._kill()
                return
            elif kind == "cancel":
                self.cancelled = True
                self._ask_to_stop()
                killed_at = killed_at or time.monotonic()

    def _patience(self, killed_at: float | None) -> float | None:
        """Seconds until something must be done; None while a model call is out, since its queueing is not yet known.

        It is known once each reply that is out has begun: nothing begun is tried again, and a stream that never ends
        must not hold the trial.
        """
        now = time.monotonic()
        if killed_at is not None:
            return max(0.0, killed_at + STOP_SECONDS - now)
        if self.finished is not None:  # it has answered; what is left is its exit
            return max(0.0, self.finished + STOP_SECONDS - now)
        if self.paused_at is not None:  # no clock of the agent's runs
            return max(0.0, self.paused_at + PAUSED_SECONDS - now)
        if self.started is None:
            return max(0.0, self.began + self.spec.startup_seconds + self._paused(self.began, now) - now)
        limit: float = self.spec.limits["seconds"]
        if self.out:
            begun = [since for since in self.out.values() if since is not None]
            last = max(begun, default=now)
            whole = len(begun) == len(self.out)
            return max(0.0, last + limit + self._paused(last, now) - now) if whole else None
        left = limit - self._working(now)
        if self.refused is not None:
            left = min(left, self.refused + REFUSED_SECONDS - now)
        return max(0.0, left)

    def _expire(self) -> None:
        if self.finished is None and self.paused_at is not None:
            self.held = "paused"
        elif self.finished is None and self.refused is None:
            self.facts["time_limit_hit" if self.started is not None else "startup_timeout"] = True
        self._ask_to_stop()

    def _pause(self, frozen: bool, at: float) -> None:
        if frozen:
            self.paused_at = self.paused_at or at
        elif self.paused_at is not None:
            self.pause_spans.append((self.paused_at, at))
            self.paused_at = None

    def _kill(self) -> None:
        self.ended_by_us = True
        self.container.kill()

    def _ask_to_stop(self) -> None:
        self.container.send(wire.notification("supervisor/stop", {}))

    # --- lines from the container: hostile until shown otherwise

    def _line(self, line: bytes) -> None:
        try:
            message = json.loads(line)
            if not isinstance(message, dict):
                raise TypeError("not an object")
            self._dispatch(message)
        except NOT_THE_PROTOCOL as error:
            self._protest(f"{type(error).__name__}: {error}: {line[:80]!r}")

    def _protest(self, text: str) -> None:
        errors: list[str] = self.facts.setdefault("protocol_errors", [])
        if len(errors) < 20:
            errors.append(text[:300])

    def _dispatch(self, message: JsonDict) -> None:
        method, params = message.get("method"), message.get("params")
        if isinstance(method, str) and method.startswith("supervisor/"):
            if not isinstance(params, dict) or not _same(params.get("token"), self.token):
                self._protest(f"forged {method}")
                return
            self._supervisor(method, params)
        elif not _same(message.get("token"), self.harness_token):
            self._protest(f"not of this attempt: {str(method)[:40]!r}")
        elif method is None and message.get("id") == wire.RUN_ID:
            self._answered(message)
        elif method in ("model/generate", "model/http"):
            self._called(method, message.get("id"), params or {})
        elif method == "model/too_large":
            what = f"{int((params or {})['bytes'])} bytes, more than a line of {wire.MAX_LINE} can hold"
            fault = ModelFault(kind=ModelErrorKind.TOO_LARGE, message=what, attempts=0)
            self.facts["model_fault"] = fault
        elif method in ("harness/loaded", "harness/started"):
            if self.started is None:  # once: later ones would set the clock back, or deny what came after
                self._stage(method)
        elif method in ("tool/start", "tool/end"):
            self._tool(method, params or {})
        elif method == "trace/export":
            self._spans(params or {})
        else:
            self._protest(f"unknown method {str(method)[:40]!r}")

    def _stage(self, method: str) -> None:
        self.harness["reached"] = method.removeprefix("harness/")
        if method == "harness/started":
            self.started = time.monotonic()
            self.agent_started_at = datetime.now(UTC)
            self.harness["startup_seconds"] = self.started - self.began
            self.container.send(wire.notification("supervisor/started", {}))

    def _supervisor(self, method: str, params: JsonDict) -> None:
        if method == "supervisor/sample":
            self.on_memory(params["memory_bytes"])
            return
        self._read_kernel(params["kernel"])
        if method == "supervisor/ready":
            if self.harness["reached"] == "nothing":
                self.harness["reached"] = "supervisor"
            if self.facts["limits_mismatch"]:
                self._ask_to_stop()  # whatever it measured would be a measurement of something else
        else:
            self.exit_reported = True
            self.harness["exit_code"], self.harness["signal"] = params["exit_code"], params["signal"]
            self.terminated = params["terminated"]
            if params["overflow"]:
                self.facts["output_overflow"] = True

    def _read_kernel(self, kernel: JsonDict) -> None:
        self.read_back = kernel
        self.facts["limits_mismatch"] = mismatches(self.spec.resources, kernel)
        known = {k: v for k, v in kernel.items() if k in KernelFacts.model_fields}
        self.kernel = KernelFacts(source="container", **known)

    def _tool(self, method: str, params: JsonDict) -> None:
        call_id = str(params["call_id"])[:200]
        if method == "tool/start":
            if len(self.tools) >= MOST_TOOL_CALLS:
                raise ValueError(f"more than {MOST_TOOL_CALLS} tool calls")
            args = dict(msgs.shallow(params["args"]))
            started = time.monotonic() - (self.started or self.began)
            self.tools[call_id] = ToolCall(
                call_id=call_id, name=str(params["name"])[:200], args=args, started=started
            )
        elif call_id in self.tools:
            number = params["errno"]
            if isinstance(number, int) and number not in self.tool_errnos and len(self.tool_errnos) < 200:
                self.tool_errnos.append(number)
            result, error = params["result"], params["error"]
            self.tools[call_id] = self.tools[call_id].model_copy(
                update={
                    "seconds": float(params["seconds"]),
                    "result": None if result is None else str(result)[: wire.MAX_RESULT_TEXT],
                    "error": None if error is None else str(error)[: wire.MAX_RESULT_TEXT],
                    "timed_out": params["timed_out"] is True,
                }
            )

    def _spans(self, params: JsonDict) -> None:
        """The harness's own spans, unread: what is over the bound is left out, and costs the trial nothing."""
        export = {key: str(params[key]) for key in ("content_type", "encoding", "body")}
        self.span_bytes += sum(len(value) for value in export.values())
        if self.spec.harness.get("traces") and self.span_bytes <= wire.MAX_SPANS:
            self.spans.append(export)

    def _answered(self, message: JsonDict) -> None:
        if self.finished is not None:
            self._protest("a second answer")
            return
        if "error" in message:
            data = message["error"]["data"]
            self.harness["error_type"] = str(data["type"])[:200]
            self.harness["error_message"] = str(message["error"]["message"])[:2000]
            self.harness["error_errnos"] = [e for e in data["errnos"] if isinstance(e, int)][:20]
        else:
            msgs.shallow(message["result"])
            if not self.spec.harness.get("command"):  # a program's messages are known from its traffic
                self.conversation = msgs.checked(message["result"]["messages"])
            answer = message["result"].get("answer")
            self.structured = answer if isinstance(answer, str) else None
            self.harness["reached"] = "answered"
        self.finished = time.monotonic()

    # --- model calls

    def _called(self, method: str, ident: Any, params: JsonDict) -> None:
        """A call, or a line that was meant as one: that one is answered too, or its sender waits for the time limit."""
        if not self._is_new(ident):
            return
        try:
            msgs.shallow(params)
            (self._model_call if method == "model/generate" else self._http_call)(ident, params)
        except NOT_THE_PROTOCOL as error:
            what = f"{type(error).__name__}: {error}"[:300]
            self._protest(f"not a {method}: {what}")
            self._reply_error(ident, wire.INVALID_PARAMS, "invalid_params", what)

    def _model_call(self, ident: str, params: JsonDict) -> None:
        if limit := self._limit_reached():
            self._reply_error(ident, wire.LIMIT_REACHED, limit, f"limits.{limit} is used up")
            return
        request = model_request(params)
        self.conversation = request.messages
        self._start_call(
            ident, request, lambda chunk: self.inbox.put(("chunk", {"id": ident, "chunk": chunk}))
        )

    def _http_call(self, ident: str, params: JsonDict) -> None:
        """A program's request, in the words of its provider's API."""
        try:
            name = f"{self.spec.trial.seed:x}-{len(self.call_ids)}"
            asked = read(str(params["method"]), str(params["path"]), params["body"], name, int(time.time()))
        except Refused as refused:
            fault = ModelFault(kind=ModelErrorKind.BAD_REQUEST, message=str(refused)[:2000], attempts=0)
            self.facts["model_fault"] = fault
            asked = refused.reply
        if isinstance(asked, HttpReply):
            self._reply_http(ident, asked)
        elif limit := self._limit_reached():
            self.refused = self.refused or time.monotonic()
            self._reply_http(ident, asked.failed(Limit.REACHED, f"limits.{limit} is used up"))
        else:
            self.transcript.asked(msgs.checked(asked.request.messages))
            self.conversation = self.transcript.messages
            self.exchanges[ident] = asked
            self._start_call(ident, asked.request, lambda chunk: self.inbox.put(("piece", (ident, chunk))))

    def _piece(self, ident: str, chunk: JsonDict) -> None:
        self._coming(ident)
        exchange = self.exchanges.get(ident)
        if exchange is not None and (events := exchange.piece(chunk)):
            self.container.send(wire.notification("model/chunk", {"id": ident, "chunk": {"body": events}}))

    def _coming(self, ident: str) -> None:
        """A piece of a streamed reply is there; of a call that was given up it says nothing."""
        if ident in self.out:
            self.out[ident] = self.out[ident] or time.monotonic()

    def _is_new(self, ident: Any) -> bool:
        if isinstance(ident, str) and ident not in self.call_ids:
            return True
        what = "a second call with the" if isinstance(ident, str) else "a call with the unusable"
        self._protest(f"{what} id {str(ident)[:40]!r}")
        return False

    def _start_call(self, ident: str, request: ModelRequest, on_chunk: Callable[[JsonDict], None]) -> None:
        self.first_request = self.first_request or request
        trial = self.spec.trial
        context = CallContext(
            trial_id=trial.trial_id,
            example_id=trial.example_id,
            seed=trial.seed,
            index=self.calls_made,
            reference=self.spec.reference,
            cancelled=self.over.is_set,
            attempt=self.spec.attempt,
            on_chunk=on_chunk,
        )
        self.calls_made += 1
        self.call_ids.add(ident)
        self.out[ident] = None
        self.calls.submit(self._complete, ident, request, context, time.monotonic())

    def _limit_reached(self) -> str | None:
        if self.calls_made >= self.spec.limits["turns"]:
            self.facts["turn_limit_hit"] = True
            return "turns"
        spent = sum((c.input_tokens or 0) + (c.output_tokens or 0) for c in self.model_calls)
        if self.spec.token_limit is not None and spent >= self.spec.token_limit:
            self.facts["token_limit_hit"] = True
            return "tokens"
        return None

    def _complete(self, ident: str, request: ModelRequest, context: CallContext, asked: float) -> None:
        """In a thread of the pool: the call itself. The wait for that thread is queueing too."""
        sent = time.monotonic()
        outcome: ModelReply | ModelCallError
        try:
            outcome = self.backend.complete(request, context)
        except ModelCallError as error:
            outcome = error
        except BudgetSpent:
            self.stop()  # nobody's fault: the trial is not run, and may be when there is more money
            return
        except Exception as error:  # noqa: BLE001 - the gateway promised ModelCallError; its own fault is on record as such
            outcome = ModelCallError(ModelErrorKind.INTERNAL, f"{type(error).__name__}: {error}"[:2000])
        if isinstance(outcome, ModelReply) and msgs.too_deep(outcome.message):
            what = f"the reply is nested deeper than {msgs.DEEPEST} levels"
            outcome = ModelCallError(ModelErrorKind.BAD_RESPONSE, what, attempts=outcome.attempts)
        if isinstance(outcome, ModelReply):
            outcome = replace(outcome, queued_seconds=outcome.queued_seconds + sent - asked)
        self.inbox.put(("reply", (ident, context.index, asked, request, outcome)))

    def _reply(
        self, ident: str, index: int, sent: float, request: ModelRequest, outcome: ModelReply | ModelCallError
    ) -> None:
        del self.out[ident]
        exchange = self.exchanges.pop(ident, None)
        self._count_unwaited(outcome)
        started = sent - (self.started or self.began)
        if isinstance(outcome, ModelCallError):
            fault = ModelFault(
                kind=outcome.kind, message=outcome.message, status=outcome.status, attempts=outcome.attempts
            )
            self.facts["model_fault"] = fault
            waited = time.monotonic() - sent
            self.queue_spans.append(
                (sent, sent + waited)
            )  # a call that never succeeded is no time of the agent's
            failed = ModelCall(
                index=index,
                started=started,
                seconds=0.0,
                queued_seconds=waited,
                attempts=outcome.attempts,
                error=fault,
            )
            self.model_calls.append(failed)
            if exchange is not None:
                self._reply_http(ident, exchange.failed(outcome.kind, outcome.message))
            else:
                self._reply_error(ident, wire.MODEL_ERROR, outcome.kind, outcome.message)
            self.on_call(failed, request)
            return
        self.queue_spans.append((sent, sent + outcome.queued_seconds))
        made = ModelCall(
            index=index,
            started=started,
            seconds=outcome.seconds,
            queued_seconds=outcome.queued_seconds,
            attempts=outcome.attempts,
            input_tokens=outcome.input_tokens,
            output_tokens=outcome.output_tokens,
            cached_tokens=outcome.cached_tokens,
            reasoning_tokens=outcome.reasoning_tokens,
            first_token_seconds=outcome.first_token_seconds,
            cost_usd=outcome.cost_usd,
            finish_reason=outcome.finish_reason,
            message=outcome.message,
        )
        self.model_calls.append(made)
        # a reply that came too late is not handed on: whether the agent could still answer would be a race with its end
        late = self.started is not None and self._working(time.monotonic()) >= self.spec.limits["seconds"]
        if exchange is not None:
            self.transcript.answered(outcome.message)
            if not late:
                self._reply_http(ident, exchange.answered(outcome))
        else:
            self.conversation = [*request.messages, outcome.message]
            # a streamed reply is there already, piece by piece
            message = None if request.stream else outcome.message
            if not late:
                self.container.send(wire.encode({"id": ident, "result": {"message": message}}))
        self.on_call(made, request)  # after the reply: the record is no part of the agent's time

    def _count_unwaited(self, outcome: ModelReply | ModelCallError) -> None:
        """A replay answers at once, yet the time limit must end what it ended in the recording.

        Of calls that were out together the longest counts, of calls one after the other each.
        """
        if isinstance(outcome, ModelReply):
            self.unwaited_now = max(self.unwaited_now, outcome.replayed_seconds)
        if not self.out:
            self.unwaited, self.unwaited_now = self.unwaited + self.unwaited_now, 0.0

    def _reply_http(self, ident: str, reply: HttpReply) -> None:
        self.container.send(wire.encode({"id": ident, "result": reply.record()}))

    def _reply_error(self, ident: str, code: int, kind: str, message: str) -> None:
        error = {"code": code, "message": message, "data": {"kind": kind}}
        self.container.send(wire.encode({"id": ident, "error": error}))

    # --- clocks and the result

    def _queued(self) -> float:
        """Seconds in which at least one call was waiting."""
        return covered(self.queue_spans, float("-inf"), float("inf"))

    def _pauses(self, now: float) -> list[Span]:
        return self.pause_spans if self.paused_at is None else [*self.pause_spans, (self.paused_at, now)]

    def _paused(self, since: float, now: float) -> float:
        return covered(self._pauses(now), since, now)

    def _working(self, now: float) -> float:
        if self.started is None:
            return 0.0
        not_its_own = covered([*self.queue_spans, *self._pauses(now)], self.started, now)
        return max(0.0, now - self.started - not_its_own + self.unwaited)

    def _result(self, started_at: datetime, sandbox: SandboxEnd) -> AttemptResult:
        end = self.finished or time.monotonic()
        working = self._working(end)
        if working > self.spec.limits["seconds"] and "time_limit_hit" not in self.facts:
            self.facts["time_limit_hit"] = True
        paused = self._paused(self.began, time.monotonic())
        tools = list(self.tools.values())
        self.harness["tool_timeouts"] = sum(tool.timed_out for tool in tools)
        self.harness["tool_errors"] = sum(tool.error is not None for tool in tools)
        self.harness["error_errnos"] = [*self.harness.get("error_errnos", []), *self.tool_errnos]
        evidence = Evidence(
            docker=sandbox.facts.model_copy(update={"paused_seconds": paused}),
            kernel=self.kernel,
            harness=HarnessFacts(**self.harness),
            clock=ClockFacts(
                wall_seconds=time.monotonic() - self.began,
                working_seconds=working,
                model_seconds=sum(call.seconds for call in self.model_calls),
                queued_seconds=self._queued(),
            ),
            answer=msgs.answer_facts(self.conversation, self.structured),
            **self.facts,
        )
        calls = self.model_calls
        costs = [call.cost_usd for call in calls if call.error is None]
        return AttemptResult(
            attempt=self.spec.attempt,
            evidence=evidence,
            requested=self.spec.resources,
            effective=effective(self.read_back, sandbox.network),
            messages=[Message(openai=message) for message in msgs.to_openai(self.conversation)],
            model_calls=calls,
            tool_calls=tools,
            usage=Usage(
                model_calls=len(calls),
                input_tokens=sum(call.input_tokens or 0 for call in calls),
                output_tokens=sum(call.output_tokens or 0 for call in calls),
                cost_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
            ),
            started_at=started_at,
            agent_started_at=self.agent_started_at,
            finished_at=datetime.now(UTC),
            spans=self.spans,
            log=self.log.decode("utf-8", "replace"),
        )


def covered(spans: Sequence[Span], begin: float, end: float) -> float:
    """Seconds from `begin` to `end` that lie in at least one span: the union of the spans, not their sum."""
    total, reached = 0.0, begin
    for start, stop in sorted(spans):
        total += max(0.0, min(stop, end) - max(start, reached))
        reached = max(reached, stop)
    return total


def model_request(params: JsonDict) -> ModelRequest:
    """What a `model/generate` line asks for.

    Raises:
        ValueError, TypeError, KeyError: it is no request; were it handed on, the gateway would fail for it.
    """
    tools, stop, others = params["tools"], params["stop"], params["params"]
    if tools is not None and not _list_of(dict, tools):
        raise TypeError("`tools` is not a list of objects")
    if stop is not None and not _list_of(str, stop):
        raise TypeError("`stop` is not a list of strings")
    if not isinstance(others, dict):
        raise TypeError("`params` is not an object")
    return ModelRequest(
        messages=msgs.checked(params["messages"]),
        tools=tools,
        tool_choice=params["tool_choice"],
        stop=stop,
        params=dict(others),
        stream=params.get("stream") is True,
        bind=dict(params.get("bind") or {}),
        structured=None if params.get("structured") is None else dict(params["structured"]),
    )


def _list_of(kind: type, value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _same(claimed: Any, token: str) -> bool:
    return secrets.compare_digest(str(claimed).encode("utf-8", "replace"), token.encode())


def effective(kernel: JsonDict, network: str | None) -> ResourceLimits:
    """The limits as the kernel holds them; the network as Docker does. `None`: could not be read."""
    return ResourceLimits(
        cpus=kernel.get("cpus_limit"),
        memory_bytes=kernel.get("memory_limit_bytes"),
        pids=kernel.get("pids_limit"),
        disk_bytes=kernel.get("disk_limit_bytes"),
        network=network,
    )


def mismatches(requested: ResourceLimits, kernel: JsonDict) -> list[str]:
    """What the kernel enforces that is not what was asked for, a sentence each.

    A page of slack for sizes (the kernel rounds), a hundredth for the CPU quota; swap must be none.
    """
    checks = (
        ("memory", requested.memory_bytes, kernel.get("memory_limit_bytes"), MEMORY_SLACK),
        ("cpus", requested.cpus, kernel.get("cpus_limit"), 0.01),
        ("pids", requested.pids, kernel.get("pids_limit"), 0),
        ("disk", requested.disk_bytes, kernel.get("disk_limit_bytes"), MEMORY_SLACK),
    )
    found = [
        f"{name}: asked {asked}, effective {'no limit' if got is None else got}"
        for name, asked, got, slack in checks
        if asked is not None and (got is None or abs(got - asked) > slack)
    ]
    swap = kernel.get("swap_limit_bytes")
    if swap != 0:  # an engine that cannot limit it drops the limit with no more than a warning
        found.append(f"swap: asked none, effective {'not known' if swap is None else swap}")
    return found
