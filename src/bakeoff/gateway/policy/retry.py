"""The retry budget of one model call, spent here and nowhere else: the SDKs' own retries are switched off."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Generic, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from bakeoff.errors import ModelCallError, ModelErrorKind
from bakeoff.gateway.faults import Fault, classify
from bakeoff.gateway.policy.deadline import within
from bakeoff.gateway.policy.waiting import Cancelled, wait
from bakeoff.text.redact import redact

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Budget:
    """How a failed call is tried again."""

    retries: int  # extra tries
    first_seconds: float = 0.5  # back-off doubles from here, plus up to as much jitter
    longest_seconds: float = 60.0  # of one back-off
    patience_seconds: float = 300.0  # a Retry-After longer than this ends the call at once
    reply_seconds: float = 150.0  # one try may take from its start, or from its last sign of life


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """A call that succeeded."""

    value: T
    seconds: float  # the last try only
    queued_seconds: float  # everything before it: back-off, and the tries that failed
    attempts: int


class _Faulty(Exception):  # noqa: N818 - carries a Fault through tenacity
    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(fault.text)


def call(
    send: Callable[[], T],
    budget: Budget,
    *,
    cancelled: Callable[[], bool],
    secrets: tuple[str, ...],
    turn: Callable[[], AbstractContextManager[object]] = nullcontext,
    committed: Callable[[], bool] = lambda: False,
    alive: Callable[[], float] = lambda: 0.0,
) -> Outcome[T]:
    """Call `send` until it succeeds, fails for good, or the budget is spent.

    Args:
        send: one try.
        budget: how often, and at what pace.
        cancelled: the caller has gone; give up between tries.
        secrets: kept out of errors.
        turn: entered around each try; may wait, and raise Cancelled. Its waiting is queued time.
        committed: part of a reply has been handed on, so that a second try would say it twice.
        alive: `time.monotonic` of the last piece of a streamed reply.

    Raises:
        ModelCallError: of the last failure, without `secrets`. The original exception is not chained, for it
            holds the request's headers.
    """
    started = time.monotonic()
    tries, last_began, last_fault = 0, started, None
    backoff = wait_exponential(budget.first_seconds, max=budget.longest_seconds) + wait_random(
        0, budget.first_seconds
    )

    def once() -> T:
        nonlocal tries, last_began, last_fault
        with turn():
            tries, last_began = tries + 1, time.monotonic()
            try:
                return within(budget.reply_seconds, send, alive=alive, cancelled=cancelled)
            except (ModelCallError, Cancelled):
                raise
            except Exception as error:  # noqa: BLE001 - the SDKs share no base class; classify() names them all
                last_fault = classify(error)
                raise _Faulty(last_fault) from None

    def pause(state: RetryCallState) -> float:
        asked = last_fault.retry_after_seconds if last_fault else None
        return backoff(state) if asked is None else asked

    def worth_another(error: BaseException) -> bool:
        if not isinstance(error, _Faulty) or not error.fault.retryable or committed():
            return False
        return (error.fault.retry_after_seconds or 0) <= budget.patience_seconds

    def sleep(seconds: float) -> None:
        if wait(seconds, cancelled):
            raise Cancelled

    retrying = Retrying(
        stop=stop_after_attempt(budget.retries + 1),
        retry=retry_if_exception(worth_another),
        wait=pause,
        sleep=sleep,
        reraise=True,
    )
    try:
        value = retrying(once)
    except (_Faulty, Cancelled):
        fault = last_fault or Fault(ModelErrorKind.INTERNAL, "the call was given up")
        raise ModelCallError(
            fault.kind, redact(fault.text, secrets), status=fault.status, attempts=tries
        ) from None
    ended = time.monotonic()
    return Outcome(value, ended - last_began, last_began - started, tries)
