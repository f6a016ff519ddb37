"""Whose time it is: the agent's working time, and when something must be done. Pure: every method takes `now`.

`now` is in seconds of a monotonic clock. Working time is the time since the agent started, less what it waited for:
model calls that queued, were rate-limited or backed off, and pauses of the sandbox. A replayed call does not take the
time that it took when it was recorded. That time is added, so that a limit ends what it ended in the recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

# Grace period once a limit has been reported to a program: some keep asking for minutes.
REFUSED_SECONDS = 10.0
# From asking the supervisor to stop until the sandbox is killed, and between further kills.
STOP_SECONDS = 10.0
# How long a sandbox that was frozen from outside is waited for: `docker commit` takes seconds.
PAUSED_SECONDS = 30.0

Span = tuple[float, float]


@dataclass
class OpenCall:
    """A model call that has no reply yet. `begun`: when the first piece of a streamed reply came."""

    asked: float
    begun: float | None = None


@dataclass
class Clock:
    """The clocks of one attempt, which began at `began`.

    Args:
        began: now.
        limit: seconds of working time.
        startup_limit: seconds from `began` until the agent starts.
    """

    began: float
    limit: float
    startup_limit: float
    started: float | None = None
    finished: float | None = None  # the harness has answered
    frozen: float | None = None  # since when the sandbox is frozen
    stopping: float | None = None  # when it was last asked to stop, or killed
    refused: float | None = None  # when a program first asked for more than a limit allows
    replayed: float = 0.0  # model time that replays did not wait for
    _replayed_now: float = 0.0  # the same, of the calls that are out together
    _out: dict[str, OpenCall] = field(default_factory=dict)
    _queued: list[Span] = field(default_factory=list)
    _frozen: list[Span] = field(default_factory=list)

    # --- what happens

    def freeze(self, now: float) -> None:
        if self.frozen is None:
            self.frozen = now

    def thaw(self, now: float) -> None:
        if self.frozen is not None:
            self._frozen.append((self.frozen, max(now, self.frozen)))
            self.frozen = None

    def refuse(self, now: float) -> None:
        """A program asked for more than a limit allows."""
        if self.refused is None:
            self.refused = now

    def asked(self, call: str, now: float) -> None:
        """A model call goes out."""
        self._out[call] = OpenCall(now)

    def asked_at(self, call: str) -> float:
        """When a call that is out was asked for."""
        return self._out[call].asked

    def reply_begins(self, call: str, now: float) -> None:
        """A piece of a streamed reply is here. Of a call that was given up it means nothing."""
        open_call = self._out.get(call)
        if open_call is not None and open_call.begun is None:
            open_call.begun = now

    def replied(self, call: str, queued: float, replayed: float = 0.0) -> None:
        """A call ended with a reply, after `queued` seconds of waiting.

        Of replayed calls that were out together the longest counts, of calls one after the other each.
        """
        open_call = self._out.pop(call)
        self._queued.append((open_call.asked, open_call.asked + max(0.0, queued)))
        self._replayed_now = max(self._replayed_now, replayed)
        self._count_replayed()

    def failed(self, call: str, now: float) -> float:
        """A call failed for good: none of it was the agent's time. Returns how long it took."""
        open_call = self._out.pop(call)
        self._queued.append((open_call.asked, now))
        self._count_replayed()
        return now - open_call.asked

    def _count_replayed(self) -> None:
        if not self._out:
            self.replayed, self._replayed_now = self.replayed + self._replayed_now, 0.0

    # --- what time it is

    def since_start(self, moment: float) -> float:
        """Seconds since the agent started, or since the attempt began if it has not."""
        return moment - (self.began if self.started is None else self.started)

    def working(self, now: float) -> float:
        """Seconds of the agent's own time; 0 before it started."""
        if self.started is None:
            return 0.0
        # How much of an open call is queueing is not known yet: until its reply begins, all of it is taken as such.
        waiting = [(call.asked, now if call.begun is None else call.begun) for call in self._out.values()]
        idle = covered([*self._queued, *self._pauses(now), *waiting], self.started, now)
        return max(0.0, now - self.started - idle) + self.replayed

    def paused(self, since: float, now: float) -> float:
        """Seconds in which the sandbox was frozen."""
        return covered(self._pauses(now), since, now)

    def queued(self) -> float:
        """Seconds in which at least one model call waited."""
        return covered(self._queued, float("-inf"), float("inf"))

    def out_of_time(self, now: float) -> bool:
        return self.started is not None and self.working(now) >= self.limit

    def deadline(self, now: float) -> float | None:
        """When something must be done. None: while a model call is out, since how much of it is queueing is not known.

        It is known once each reply that is out has begun: a reply that has begun is not tried again, and a stream that
        never ends must not hold the trial.
        """
        if self.stopping is not None:
            return self.stopping + STOP_SECONDS
        if self.finished is not None:  # what is left is its exit
            return self.finished + STOP_SECONDS
        if self.frozen is not None:
            return self.frozen + PAUSED_SECONDS
        if self.started is None:
            return self.began + self.startup_limit + self.paused(self.began, now)
        return self._time_limit(now)

    def _time_limit(self, now: float) -> float | None:
        begun = [call.begun for call in self._out.values() if call.begun is not None]
        if len(begun) < len(self._out):
            return None
        if begun:
            return max(begun) + self.limit + self.paused(max(begun), now)
        end = now + self.limit - self.working(now)
        return end if self.refused is None else min(end, self.refused + REFUSED_SECONDS)

    def _pauses(self, now: float) -> list[Span]:
        return self._frozen if self.frozen is None else [*self._frozen, (self.frozen, now)]


def covered(spans: Sequence[Span], begin: float, end: float) -> float:
    """Seconds from `begin` to `end` that lie in at least one span: the union of the spans, not their sum."""
    total, reached = 0.0, begin
    for start, stop in sorted(spans):
        total += max(0.0, min(stop, end) - max(start, reached))
        reached = max(reached, stop)
    return total
