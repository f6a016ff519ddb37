"""The model calls of one attempt: limits, the pool that makes them, the replies, and what went wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any

from bakeoff.attempt.clock import Clock
from bakeoff.attempt.conversation import Conversation
from bakeoff.attempt.holdings import HEAVY_BYTES, ROOM_BYTES
from bakeoff.attempt.inbox import Timer
from bakeoff.attempt.protocol import NOT_THE_PROTOCOL, BadCall, CallTooLarge, HttpAsked, ModelAsked
from bakeoff.attempt.spec import AttemptSpec
from bakeoff.errors import BudgetSpent, ModelCallError, ModelErrorKind
from bakeoff.gateway.dialects.exchange import Exchange, read
from bakeoff.gateway.dialects.failures import Limit
from bakeoff.gateway.dialects.http import HttpReply, Refused
from bakeoff.gateway.types import FORMS, CallContext, ChatBackend, ModelReply, ModelRequest
from bakeoff.record import messages as msgs
from bakeoff.record.base import JsonDict
from bakeoff.record.evidence import ModelFault
from bakeoff.record.trial import ModelCall, Usage
from bakeoff_runner import wire


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a streamed reply: a serialised AIMessageChunk."""

    ident: str
    chunk: JsonDict


@dataclass(frozen=True, slots=True)
class Replied:
    """A model call ended."""

    ident: str
    index: int
    request: ModelRequest
    outcome: ModelReply | ModelCallError


@dataclass(frozen=True, slots=True)
class OutOfMoney:
    """The run's budget is spent: the trial is not run now."""


# Faults of requests that did not reach the gateway, with no attempts.
OWN_FAULTS = (ModelErrorKind.TOO_LARGE, ModelErrorKind.BAD_REQUEST)

# Between looks at whether there is room for a request.
ROOM_LOOK_SECONDS = 0.05

GatewayEvent = Piece | Replied | OutOfMoney
OnCall = Callable[[ModelCall, ModelRequest], None]


@dataclass(frozen=True, slots=True)
class Line:
    """The way to the harness and back: `send` writes to the sandbox, `post` puts an event into the inbox."""

    send: Callable[[bytes], None]
    post: Callable[[GatewayEvent], None]
    timer: Timer

    def send_error(self, ident: str, code: int, kind: str, message: str) -> None:
        """The error reply to a call of a harness in LangChain."""
        error = {"code": code, "message": message, "data": {"kind": kind}}
        self.send(wire.encode({"id": ident, "error": error}))

    def send_http(self, ident: str, reply: HttpReply) -> None:
        """The reply to a call of a program."""
        self.send(wire.encode({"id": ident, "result": reply.record()}))


@dataclass
class ModelCalls:
    """Brokers between the harness and the model, and keeps what was said.

    Only `_complete` and `_has_room` run in other threads.

    Args:
        spec: of the attempt.
        model: the candidate.
        pool: where calls are made.
        line: to the harness and back.
        clock: of the attempt; it learns when calls go out and how they end.
        on_call: takes each call and its request once the call has ended.
        room: whether the attempt may hold so many bytes of requests and replies, asked in other threads.
    """

    spec: AttemptSpec
    model: ChatBackend
    pool: Executor
    line: Line
    clock: Clock
    on_call: OnCall
    room: Callable[[int], bool] = lambda _: True
    calls: list[ModelCall] = field(default_factory=list)  # in the order in which they ended
    conversation: Conversation = field(default_factory=Conversation)
    first_request: ModelRequest | None = None
    made: int = 0
    replies: int = 0  # handed to the harness
    fault: ModelFault | None = None
    turn_limit_hit: bool = False
    token_limit_hit: bool = False
    over: bool = False  # the attempt has ended: calls that are out give up
    _conversations: dict[int, int] = field(default_factory=dict)  # model call -> its conversation
    _fault_in: int | None = None  # the conversation of the call that met `fault`
    _weights: dict[str, int] = field(default_factory=dict)  # of the requests that are out, in bytes
    # What large requests and replies take while the gateway works on them, in the order in which they began
    _forms: dict[str, int] = field(default_factory=dict)
    # Guards `_forms`, and who is in `_weights`
    _forms_lock: threading.Lock = field(default_factory=threading.Lock)
    _ids: set[str] = field(default_factory=set)  # a line that is sent twice is not a second call
    _exchanges: dict[str, Exchange] = field(default_factory=dict)  # a program's open requests

    # --- from the harness

    @property
    def out_bytes(self) -> int:
        """What the requests take that have no reply yet."""
        return sum(self._weights.values())

    @property
    def form_bytes(self) -> int:
        """What the requests and replies take that are large, beside `out_bytes`."""
        with self._forms_lock:
            return sum(self._forms.values())

    def forms_of(self, ident: str) -> int:
        """Bytes of a large request and its reply in all their forms; 0: they are small."""
        with self._forms_lock:
            return self._forms.get(ident, 0)

    def ask(self, event: ModelAsked | HttpAsked | BadCall, weight: int = 0) -> str | None:
        """A call of this many bytes, or a line that was meant as one. Returns what is wrong with it, or None."""
        if event.ident in self._ids:
            return f"a second call with the id {event.ident[:40]!r}"
        if self.clock.finished is not None:
            return "a model call after the answer"
        self._ids.add(event.ident)
        before, self._weights[event.ident] = self.made, weight
        problem = self._ask(event)
        if self.made == before:
            del self._weights[event.ident]
        return problem

    def _ask(self, event: ModelAsked | HttpAsked | BadCall) -> str | None:
        match event:
            case ModelAsked(ident, request):
                if limit := self._limit_reached():
                    self.line.send_error(ident, wire.LIMIT_REACHED, limit, f"limits.{limit} is used up")
                else:
                    self._start(ident, request)
                return None
            case HttpAsked():
                return self._ask_over_http(event)
            case BadCall(ident, problem):
                return self._refuse(ident, problem)

    def too_large(self, event: CallTooLarge) -> None:
        what = f"{event.size} bytes, more than a line of {wire.MAX_LINE} can hold"
        self.fault = ModelFault(kind=ModelErrorKind.TOO_LARGE, message=what, attempts=0)

    def _refuse(self, ident: str, problem: str) -> str:
        self.line.send_error(ident, wire.INVALID_PARAMS, "invalid_params", problem)
        return problem

    def _ask_over_http(self, event: HttpAsked) -> str | None:
        name = f"{self.spec.trial.seed:x}-{len(self._ids) - 1}"
        try:
            asked = read(event.method, event.path, event.body, name, int(time.time()))
            if isinstance(asked, Exchange):
                msgs.checked(asked.request.messages)
        except Refused as refused:
            # After a reply, a body without a conversation is no request of the program: a tool's child sent it.
            if self.replies == 0 or _has_conversation(event.body):
                message = str(refused)[:2000]
                self.fault = ModelFault(kind=ModelErrorKind.BAD_REQUEST, message=message, attempts=0)
            asked = refused.reply
        except NOT_THE_PROTOCOL as error:
            return self._refuse(event.ident, f"not a model/http: {type(error).__name__}: {error}"[:300])
        if isinstance(asked, HttpReply):
            self.line.send_http(event.ident, asked)
        elif limit := self._limit_reached():
            self.clock.refuse(self.line.timer.now())
            self.line.send_http(event.ident, asked.failed(Limit.REACHED, f"limits.{limit} is used up"))
        else:
            self._exchanges[event.ident] = asked
            self._start(event.ident, asked.request)
        return None

    def _limit_reached(self) -> str | None:
        if self.made >= self.spec.limits.turns:
            self.turn_limit_hit = True
            return "turns"
        spent = sum((call.input_tokens or 0) + (call.output_tokens or 0) for call in self.calls)
        if self.spec.limits.tokens is not None and spent >= self.spec.limits.tokens:
            self.token_limit_hit = True
            return "tokens"
        return None

    def _start(self, ident: str, request: ModelRequest) -> None:
        self.first_request = self.first_request or request
        self._conversations[self.made] = self.conversation.asked(self.made, request)
        trial = self.spec.trial
        context = CallContext(
            trial_id=trial.trial_id,
            example_id=trial.example_id,
            seed=trial.seed,
            index=self.made,
            reference=self.spec.reference,
            cancelled=lambda: self.over,
            attempt=self.spec.attempt,
            on_chunk=lambda chunk: self.line.post(Piece(ident, chunk)),
            room=lambda wanted: self._has_room(ident, wanted),
        )
        self.made += 1
        now = self.line.timer.now()
        self.clock.asked(ident, now)
        self.pool.submit(self._complete, ident, request, context, now)

    # --- in a thread of the pool

    def _has_room(self, ident: str, wanted: int) -> bool:
        """Whether so many bytes of a request or reply fit; they then count as held.

        If several large ones of one attempt together need more than the room, the first goes on and the others wait.
        """
        with self._forms_lock:
            forms = self._forms
            if ident not in self._weights:  # the call is over, and this thread is about to end
                return True
            others = sum(forms.values()) - forms.get(ident, 0)
            first = next(iter(forms), ident) == ident
            fits = (first or others + wanted <= ROOM_BYTES) and self.room(others + wanted)
            if fits:
                forms[ident] = wanted
            return fits

    def _await_room(self, ident: str) -> None:
        """Wait until there is room for every form of a large request."""
        weight = self._weights.get(ident, 0)
        while weight > HEAVY_BYTES and not self._has_room(ident, FORMS * weight) and not self.over:
            time.sleep(ROOM_LOOK_SECONDS)

    def _complete(self, ident: str, request: ModelRequest, context: CallContext, asked: float) -> None:
        """The call itself. The wait for this thread, and for room, is queueing too."""
        self._await_room(ident)
        waited = self.line.timer.now() - asked
        outcome: ModelReply | ModelCallError
        try:
            outcome = self.model.complete(request, context)
            if msgs.too_deep(outcome.message):
                what = f"the reply is nested deeper than {msgs.DEEPEST} levels"
                outcome = ModelCallError(ModelErrorKind.BAD_RESPONSE, what, attempts=outcome.attempts)
            else:
                outcome = replace(outcome, queued_seconds=outcome.queued_seconds + waited)
        except ModelCallError as error:
            outcome = error.with_traceback(None)  # its frames hold the request
        except BudgetSpent:
            self.line.post(OutOfMoney())
            return
        except Exception as error:  # noqa: BLE001 - the gateway promised ModelCallError: its own fault is on record as such
            outcome = ModelCallError(ModelErrorKind.INTERNAL, f"{type(error).__name__}: {error}"[:2000])
        self.line.post(Replied(ident, context.index, request, outcome))

    # --- to the harness

    def piece(self, event: Piece) -> None:
        """Hand on a piece of a streamed reply."""
        self.clock.reply_begins(event.ident, self.line.timer.now())
        chunk = event.chunk
        if (exchange := self._exchanges.get(event.ident)) is not None:
            chunk = {"body": exchange.piece(event.chunk)}
            if not chunk["body"]:
                return
        self.line.send(wire.notification("model/chunk", {"id": event.ident, "chunk": chunk}))

    def reply(self, event: Replied) -> None:
        """Hand on a reply or an error, and put the call on record."""
        exchange = self._exchanges.pop(event.ident, None)
        with self._forms_lock:
            self._weights.pop(event.ident, None)
            self._forms.pop(event.ident, None)
        started = self.clock.since_start(self.clock.asked_at(event.ident))
        if isinstance(event.outcome, ModelReply):
            call = self._succeeded(event, event.outcome, exchange, started)
        else:
            call = self._failed(event, event.outcome, exchange, started)
        self.calls.append(call)
        self.on_call(call, event.request)  # after the reply: the record is no part of the agent's time

    def _failed(
        self, event: Replied, error: ModelCallError, exchange: Exchange | None, started: float
    ) -> ModelCall:
        self.fault = fault = ModelFault(
            kind=error.kind, message=error.message, status=error.status, attempts=error.attempts
        )
        self._fault_in = self._conversations[event.index]
        waited = self.clock.failed(event.ident, self.line.timer.now())
        if exchange is not None:
            self.line.send_http(event.ident, exchange.failed(error.kind, error.message))
        else:
            self.line.send_error(event.ident, wire.MODEL_ERROR, error.kind, error.message)
        return ModelCall(
            index=event.index,
            started=started,
            seconds=0.0,
            queued_seconds=waited,
            attempts=error.attempts,
            error=fault,
        )

    def _succeeded(
        self, event: Replied, reply: ModelReply, exchange: Exchange | None, started: float
    ) -> ModelCall:
        self.clock.replied(event.ident, reply.queued_seconds, reply.replayed_seconds)
        self.conversation.replied(event.index, reply.recorded)
        # A reply that comes too late is not handed on: whether the agent could still answer would be a race.
        if self.clock.finished is None and not self.clock.out_of_time(self.line.timer.now()):
            self._hand_on(event, reply, exchange)
        return ModelCall(
            index=event.index,
            started=started,
            seconds=reply.seconds,
            queued_seconds=reply.queued_seconds,
            attempts=reply.attempts,
            input_tokens=reply.input_tokens,
            output_tokens=reply.output_tokens,
            cached_tokens=reply.cached_tokens,
            reasoning_tokens=reply.reasoning_tokens,
            first_token_seconds=reply.first_token_seconds,
            cost_usd=reply.cost_usd,
            finish_reason=reply.finish_reason,
            message=reply.recorded,
        )

    def _hand_on(self, event: Replied, reply: ModelReply, exchange: Exchange | None) -> None:
        self.replies += 1
        # The agent went on and got its model: the same conversation did, or the request never left the sandbox.
        own = self.fault is not None and self.fault.kind in OWN_FAULTS and self.fault.attempts == 0
        if own or self._fault_in == self._conversations[event.index]:
            self.fault = None
        if exchange is not None:
            self.line.send_http(event.ident, exchange.answered(reply))
            return
        # A streamed reply is there already, piece by piece.
        message = None if event.request.stream else reply.message
        self.line.send(wire.encode({"id": event.ident, "result": {"message": message}}))

    # --- the record

    def end(self) -> None:
        """The attempt has ended: calls that are out give up, and nothing here keeps the attempt alive."""
        self.over = True
        self.room = lambda _: True

    def usage(self) -> Usage:
        costs = [call.cost_usd for call in self.calls if call.error is None]
        return Usage(
            model_calls=len(self.calls),
            input_tokens=sum(call.input_tokens or 0 for call in self.calls),
            output_tokens=sum(call.output_tokens or 0 for call in self.calls),
            cost_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
        )


def _has_conversation(body: Any) -> bool:
    said = (body.get("messages") or body.get("input")) if isinstance(body, dict) else None
    return isinstance(said, str) or (isinstance(said, list) and any(isinstance(each, dict) for each in said))
