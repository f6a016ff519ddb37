"""Rate limits: what goes in at once, what waits, for how long, and whose time that is."""

import threading
import time
from typing import Any

import pytest

from bakeoff import gateway
from bakeoff.config.schema import Candidate, Config, Harness, Rate
from bakeoff.errors import ModelCallError
from bakeoff.gateway.policy.context import RunContext
from bakeoff.gateway.policy.rate import WINDOW_SECONDS, Limiter
from bakeoff.gateway.policy.waiting import Cancelled
from bakeoff.gateway.types import CallContext, ModelRequest

ASK = ModelRequest([{"type": "human", "data": {"content": "1 + 2?"}}])


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def goes(limiter: Limiter, tokens: int = 0, used: int | None = None) -> bool:
    """Whether a call is let in at once."""
    try:
        with limiter.turn(tokens, lambda: True, lambda: used):
            return True
    except Cancelled:
        return False


def test_without_limits_nobody_waits() -> None:
    limiter = Limiter()
    assert all(goes(limiter, 10**9) for _ in range(1000))


def test_no_sixty_seconds_hold_more_requests_than_the_limit() -> None:
    clock = Clock()
    limiter = Limiter(Rate(requests_per_minute=3), clock)
    let_in = []
    for _ in range(600):
        if goes(limiter):
            let_in.append(clock.now)
        clock.now += 0.5
    assert len(let_in) == 15
    for when in let_in:
        assert sum(when <= other < when + WINDOW_SECONDS for other in let_in) <= 3


def test_tokens_are_counted_as_they_were_not_as_they_were_guessed() -> None:
    clock = Clock()
    limiter = Limiter(Rate(tokens_per_minute=100), clock)
    assert goes(limiter, 60, used=20)
    assert goes(limiter, 60, used=90)  # 20 + 60 fit; in truth it is now 110
    assert not goes(limiter, 1)
    clock.now += WINDOW_SECONDS
    assert goes(limiter, 1)


def test_a_call_larger_than_the_limit_goes_alone() -> None:
    clock = Clock()
    limiter = Limiter(Rate(tokens_per_minute=100), clock)
    assert goes(limiter, 1)
    assert not goes(limiter, 1000)
    clock.now += WINDOW_SECONDS
    assert goes(limiter, 1000)


def test_who_came_first_goes_first() -> None:
    limiter, order = Limiter(Rate(concurrent=1)), []
    arrived = threading.Event()

    def ask(number: int) -> None:
        with limiter.turn(0, lambda: False):
            order.append(number)

    with limiter.turn(0, lambda: False):
        threads = []
        for number in range(5):
            thread = threading.Thread(target=ask, args=(number,))
            thread.start()
            threads.append(thread)
            while len(limiter._queue) <= number:
                arrived.wait(0.001)
    for thread in threads:
        thread.join(60)
    assert order == [0, 1, 2, 3, 4]


def test_one_that_gives_up_holds_up_nobody() -> None:
    limiter, gone = Limiter(Rate(concurrent=1)), threading.Event()
    errors: list[type[Exception]] = []

    def impatient() -> None:
        try:
            with limiter.turn(0, gone.is_set):
                pass
        except Cancelled:
            errors.append(Cancelled)

    with limiter.turn(0, lambda: False):
        thread = threading.Thread(target=impatient)
        thread.start()
        gone.set()
        thread.join(60)
    assert errors == [Cancelled]
    assert goes(limiter)


def test_a_call_that_raises_gives_its_place_back() -> None:
    limiter = Limiter(Rate(concurrent=1))
    with pytest.raises(ZeroDivisionError), limiter.turn(0, lambda: False):
        raise ZeroDivisionError
    assert goes(limiter)


# --- candidates of one provider ---------------------------------------------------------------------


def shared(**rate: Any) -> RunContext:
    candidates = [Candidate(name=name, model="simulated:skill=1,latency=0.2") for name in ("a", "b")]
    config = Config(
        name="x", harness=Harness(prompt="x"), candidates=candidates, dataset="d", evaluators=[],
        rate={"simulated": Rate(**rate)},
    )  # fmt: skip
    return RunContext.of(config, {})


@pytest.mark.slow
def test_candidates_of_a_provider_share_its_limit_and_waiting_is_queued_time() -> None:
    common = shared(concurrent=1)
    replies, took = [], []
    together = threading.Barrier(4)

    def ask(name: str) -> None:
        who = Candidate(name=name, model="simulated:skill=1,latency=0.2")
        backend = gateway.open_backend(who, run=common)
        together.wait(60)
        asked = time.monotonic()
        replies.append(backend.complete(ASK, CallContext(f"{name}/e/1", "e", 1, 0, {"answer": "3"})))
        took.append(time.monotonic() - asked)

    began = time.monotonic()
    threads = [threading.Thread(target=ask, args=(name,)) for name in ("a", "b", "a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert time.monotonic() - began >= 0.8
    waited = sorted(reply.queued_seconds for reply in replies)
    assert waited[0] < waited[3]
    assert waited[3] >= 0.4
    assert all(reply.seconds >= 0.19 for reply in replies)
    # no moment is counted as both
    assert sum(reply.seconds + reply.queued_seconds for reply in replies) <= sum(took)


def test_the_end_of_the_attempt_ends_the_queueing() -> None:
    backend = gateway.open_backend(
        Candidate(name="a", model="simulated:skill=1"), run=shared(requests_per_minute=1)
    )
    call = CallContext("a/e/1", "e", 1, 0, {"answer": "3"})
    backend.complete(ASK, call)
    with pytest.raises(ModelCallError):
        backend.complete(ASK, CallContext("a/e/1", "e", 1, 1, {}, cancelled=lambda: True))
