"""Which trial runs next. In a run that may stop early, a batch ends at each look, and the next one waits for it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from bakeoff.record.trial import TrialSpec

# Between two questions whether the run was stopped, while the last trials of a batch run.
WAIT_SECONDS = 0.1


class Looking(Protocol):
    """What decides between two batches."""

    @property
    def due(self) -> bool:
        """Whether another look is planned, and no look has ended the run."""

    def before_next(self, trial: TrialSpec) -> bool:
        """Whether the trial belongs to a batch before the next look."""

    def goes_on(self, trial: TrialSpec) -> bool:
        """Whether no look has left the trial out."""

    def take(self) -> None:
        """Look at the trials so far, and write down what is decided."""


class Batches:
    """Hands trials to the slots; one of them takes the look when a batch is complete. Safe for threads.

    Args:
        trials: those that have no verdict yet, in the order of their admission.
        looking: None: there is one batch, and no look.
    """

    def __init__(self, trials: Sequence[TrialSpec], looking: Looking | None = None) -> None:
        self._looking = looking
        self._later = deque(trials)
        self._waiting: deque[TrialSpec] = deque()
        self._running = 0
        self._changed = threading.Condition()
        self._open()

    @property
    def left(self) -> bool:
        """Whether anything is left to do: a trial to run, or a look to take."""
        with self._changed:
            return bool(self._waiting or self._later or (self._looking and self._looking.due))

    def take(self, stopped: Callable[[], bool], spent: Callable[[], bool]) -> TrialSpec | None:
        """The next trial; None: this slot is done. Give it to `done` or `give_back`.

        Waits for the other slots while a batch ends. The look that follows is taken here. A look costs nothing, so a
        spent budget does not prevent it.
        """
        with self._changed:
            while not stopped():
                if self._waiting:
                    if spent():
                        return None
                    self._running += 1
                    return self._waiting.popleft()
                if self._looking is None or not self._looking.due:
                    return None
                if self._running:
                    if not self._later:  # whoever runs the last trial takes the last look
                        return None
                    self._changed.wait(WAIT_SECONDS)
                else:
                    self._looking.take()
                    self._open()
        return None

    def done(self) -> None:
        """A trial that was taken has its verdict."""
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def give_back(self, trial: TrialSpec) -> None:
        """A trial that was taken has no verdict, and will run again."""
        with self._changed:
            self._waiting.append(trial)
        self.done()

    def _open(self) -> None:
        """Open the next batch."""
        looking = self._looking
        if looking is None:
            self._waiting, self._later = self._later, deque()
            return
        rest = [trial for trial in self._later if looking.goes_on(trial)]
        self._waiting = deque(trial for trial in rest if looking.before_next(trial))
        self._later = deque(trial for trial in rest if not looking.before_next(trial))
