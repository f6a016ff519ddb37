"""Whose time it is, as properties over any history of an attempt."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.attempt.clock import PAUSED_SECONDS, REFUSED_SECONDS, STOP_SECONDS, Clock, covered

moments = st.integers(0, 40)


def test_time_in_two_spans_is_counted_once_and_only_between_the_moments() -> None:
    spans = [(5.0, 8.0), (1.0, 3.0), (2.0, 4.0), (9.0, 20.0)]
    assert covered(spans, 0.0, 10.0) == 3.0 + 3.0 + 1.0
    assert covered(spans, 2.5, 6.0) == 1.5 + 1.0
    assert covered(spans, 4.0, 5.0) == 0.0
    assert covered([], 0.0, 10.0) == 0.0


@given(st.lists(st.tuples(moments, moments).map(sorted).map(tuple), max_size=6), moments, moments)
def test_coverage_is_what_counting_the_seconds_gives(spans: list[Any], begin: int, end: int) -> None:
    counted = sum(any(a <= second < b for a, b in spans) for second in range(begin, end))
    assert covered(spans, begin, end) == counted


@dataclass
class History:
    """Drives a clock through steps, as the loop of an attempt does, and keeps a plain account beside it."""

    clock: Clock
    now: float = 0.0
    asked: dict[str, float] = field(default_factory=dict)
    expired: bool = False  # a deadline of the agent's passed
    calls: int = 0

    def pass_time(self, seconds: float) -> None:
        deadline = self.clock.deadline(self.now)
        self.now += seconds
        if deadline is not None and deadline <= self.now and self.clock.frozen is None:
            self.expired = True

    def step(self, kind: str, seconds: float) -> None:
        clock = self.clock
        if kind == "freeze":
            clock.freeze(self.now)
        elif kind == "thaw":
            clock.thaw(self.now)
        elif kind == "ask":
            self.calls += 1
            self.asked[str(self.calls)] = self.now
            clock.asked(str(self.calls), self.now)
        elif self.asked and kind in ("reply", "fail", "begin"):
            call = next(iter(self.asked))
            if kind == "begin":
                clock.reply_begins(call, self.now)
                return
            asked = self.asked.pop(call)
            if kind == "fail":
                clock.failed(call, self.now)
            else:
                clock.replied(call, queued=self.now - asked)
        else:
            self.pass_time(seconds)


steps = st.lists(
    st.tuples(
        st.sampled_from(["freeze", "thaw", "ask", "reply", "fail", "begin", "wait", "wait"]),
        st.floats(0.0, 50.0),
    ),
    max_size=40,
)


def driven(history: list[tuple[str, float]], limit: float = 1e9) -> History:
    clock = Clock(began=0.0, limit=limit, startup_limit=10.0)
    clock.started = 0.0
    driver = History(clock)
    for kind, seconds in history:
        driver.step(kind, seconds)
    return driver


@given(steps)
def test_working_time_is_never_negative_nor_more_than_elapsed(history: list[tuple[str, float]]) -> None:
    driver = driven(history)
    assert 0.0 <= driver.clock.working(driver.now) <= driver.now + 1e-6


@given(steps)
def test_time_that_only_queues_or_is_frozen_never_causes_a_time_limit(
    history: list[tuple[str, float]],
) -> None:
    """Every wait happens while a call queues or the sandbox is frozen, so even a tiny limit is not reached."""
    clock = Clock(began=0.0, limit=1e-3, startup_limit=10.0)
    clock.started = 0.0
    driver = History(clock)
    driver.step("ask", 0.0)  # it is never answered, and stays the oldest
    waiting = driver.asked.pop("1")
    for kind, seconds in history:
        if kind != "begin":
            driver.step(kind, seconds)
    assert not driver.expired
    assert clock.working(driver.now) < 1e-9  # floating-point sums of the spans
    assert not clock.out_of_time(driver.now)
    clock.replied("1", queued=driver.now - waiting)
    assert not clock.out_of_time(driver.now)


@given(steps, st.floats(0.1, 100.0))
def test_a_deadline_is_met_exactly_when_the_working_time_reaches_the_limit(
    history: list[tuple[str, float]], limit: float
) -> None:
    driver = driven(history, limit)
    clock = driver.clock
    clock.thaw(driver.now)
    for call in list(driver.asked):
        clock.failed(call, driver.now)
    deadline = clock.deadline(driver.now)
    assert deadline is not None
    assert abs(clock.working(max(deadline, driver.now)) - max(limit, clock.working(driver.now))) < 1e-6


@given(st.floats(0.0, 100.0), st.floats(0.0, 100.0), st.floats(0.0, 100.0))
def test_a_replayed_call_counts_what_it_took_when_it_was_recorded_and_never_what_it_queued(
    recorded: float, other: float, between: float
) -> None:
    clock = Clock(began=0.0, limit=1e9, startup_limit=10.0)
    clock.started = 0.0
    clock.asked("a", 0.0)
    clock.asked("b", 0.0)  # together with the first: the longer one counts
    clock.replied("a", 0.0, recorded)
    clock.replied("b", 0.0, other)
    assert clock.working(between) == pytest.approx(between + max(recorded, other))
    clock.asked("c", between)  # after them: it counts too
    clock.replied("c", 0.0, recorded)
    assert clock.working(between) == pytest.approx(between + max(recorded, other) + recorded)


def test_each_stage_of_an_attempt_has_its_deadline() -> None:
    clock = Clock(began=100.0, limit=60.0, startup_limit=10.0)
    assert clock.deadline(100.0) == 110.0
    clock.freeze(104.0)
    assert clock.deadline(105.0) == 104.0 + PAUSED_SECONDS
    clock.thaw(106.0)
    assert clock.deadline(106.0) == 112.0  # the pause is given back
    clock.started = 108.0
    assert clock.deadline(108.0) == 168.0
    clock.asked("a", 110.0)
    assert clock.deadline(120.0) is None  # it may all be queueing
    clock.reply_begins("a", 120.0)
    assert clock.deadline(120.0) == 180.0  # a stream that never ends does not hold the trial
    clock.replied("a", queued=4.0)
    assert clock.deadline(130.0) == 172.0
    clock.refuse(131.0)
    assert clock.deadline(131.0) == 131.0 + REFUSED_SECONDS
    clock.finished = 133.0
    assert clock.deadline(140.0) == 133.0 + STOP_SECONDS
    clock.stopping = 150.0
    assert clock.deadline(150.0) == 150.0 + STOP_SECONDS
