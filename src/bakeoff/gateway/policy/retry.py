"""The retries of one model call. They are spent here and nowhere else: the SDKs' own retries are switched off."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Generic, TypeVar

from bakeoff.errors import ModelCallError, ModelErrorKind
from bakeoff.gateway.faults import Fault, classify
from bakeoff.gateway.policy.deadline import within
from bakeoff.gateway.policy.waiting import Cancelled, wait
from bakeoff.text.redact import redact

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a failed call is tried again."""

    retries: int  # extra tries
    first_seconds: float = 0.5  # back-off doubles from here, plus up to as much jitter
    longest_seconds: float = 60.0  # of one back-off
    patience_seconds: float = 300.0  # a Retry-After longer than this ends the call at once
    reply_seconds: float = 150.0  # one try may take from its start, or from its last sign of life

    def pause(self, fault: Fault, tries: int) -> float | None:
        """Seconds until the next try; None when there is none."""
        if tries > self.retries or not fault.retryable:
            return None
        if asked := fault.retry_after_seconds:
            return asked if asked <= self.patience_seconds else None
        backoff = min(self.first_seconds * 2.0 ** (tries - 1), self.longest_seconds)
        return backoff + random.uniform(0, self.first_seconds)  # noqa: S311 - jitter


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """A call that succeeded."""

    value: T
    seconds: float  # the last try only
    queued_seconds: float  # everything before it: back-off, and the tries that failed
    attempts: int


def call(
    send: Callable[[], T],
    policy: RetryPolicy,
    *,
    cancelled: Callable[[], bool],
    secrets: tuple[str, ...],
    turn: Callable[[], AbstractContextManager[object]] = nullcontext,
    committed: Callable[[], bool] = lambda: False,
    alive: Callable[[], float] = lambda: 0.0,
) -> Outcome[T]:
    """Call `send` until it succeeds, fails for good, or the retries are spent.

    Args:
        send: one try.
        policy: how often, and at what pace.
        cancelled: the caller has gone; give up.
        secrets: kept out of errors.
        turn: entered around each try; may wait, and raise Cancelled. Its waiting is queued time.
        committed: part of a reply has been handed on, so that a second try would say it twice.
        alive: `time.monotonic` of the last piece of a streamed reply.

    Raises:
        ModelCallError: of the last failure, without `secrets`. The original exception is not chained, since it holds
            the request's headers.
    """
    started = time.monotonic()
    tries, fault = 0, Fault(ModelErrorKind.INTERNAL, "the call was given up")
    while True:
        try:
            with turn():
                tries, began = tries + 1, time.monotonic()
                value = within(policy.reply_seconds, send, alive=alive, cancelled=cancelled)
                return Outcome(value, time.monotonic() - began, began - started, tries)
        except ModelCallError:
            raise
        except Cancelled:
            break
        except Exception as error:  # noqa: BLE001 - the SDKs share no base class; classify() names them all
            fault = classify(error)
        pause = None if committed() else policy.pause(fault, tries)
        if pause is None or wait(pause, cancelled):
            break
    raise ModelCallError(
        fault.kind, redact(fault.text, secrets), status=fault.status, attempts=tries
    ) from None
