"""What a person sees while a run goes on, always on stderr: `--json` owns stdout.

Display         `--quiet`: nothing
├── Dashboard   a terminal: one row an experiment, running containers with their memory, time left
└── Lines       no terminal (CI): a line a trial for small runs, a summary now and then for large ones
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bakeoff.errors import Interrupted
from bakeoff.record.base import VerdictName
from bakeoff.record.trial import TrialRecord
from bakeoff.text import escape, figures

REFRESH_HZ = 4
# More would push the experiments off a small screen.
SHOWN_CONTAINERS = 8
# Trials up to which every trial gets its own line.
LINE_A_TRIAL = 200
SUMMARY_SECONDS = 10.0
# There is no pace before this many trials are done.
FEW = 3
# The most that a running trial counts as done: one that takes long is not done.
NEARLY = 0.9
STYLES: dict[VerdictName, str] = {"passed": "green", "failed": "red", "infra_error": "yellow"}


class Display:
    """What the engine reports of a run as it goes on; called from many threads at once. This one shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def step(self, text: str) -> None:
        """A step before the first trial or after the last, such as an image that is built."""

    def planned(self, counts: Mapping[str, int]) -> None:
        """How many trials are to be run now, per experiment; before anything starts."""

    def started(self, trial_id: str) -> None:
        """An attempt of this trial was admitted."""

    def finished(self, record: TrialRecord) -> None:
        """The trial has its verdict."""

    def left_out(self, counts: Mapping[str, int]) -> None:
        """How many of the planned trials will not run after all, per experiment."""

    def memory(self, trial_id: str, used_bytes: int) -> None:
        """What the trial's container uses now."""

    def note(self, text: str) -> None:
        """Something the user should know while trials run; the text may be hostile."""


def display(*, quiet: bool = False, console: Console | None = None) -> Display:
    """The display that fits: silent when asked, a dashboard on a terminal, lines anywhere else."""
    if quiet:
        return Display()
    console = console or Console(stderr=True)
    return Dashboard(console) if console.is_terminal else Lines(console)


@dataclass
class _Tally:
    """One experiment's counts."""

    planned: int
    passed: int = 0
    failed: int = 0
    infra_error: int = 0

    @property
    def done(self) -> int:
        return self.passed + self.failed + self.infra_error


@dataclass
class _Running:
    since: float
    memory_bytes: int | None = None


@dataclass
class _Board:
    """The state behind both displays; its owner holds the lock while it reads or changes it."""

    clock: Callable[[], float] = time.monotonic
    tallies: dict[str, _Tally] = field(default_factory=dict)
    running: dict[str, _Running] = field(default_factory=dict)
    began: float = 0.0
    most_running: int = 0  # at once, so far
    took: float = 0.0  # seconds of all finished trials whose start was seen, and how many those are
    timed: int = 0

    def plan(self, counts: Mapping[str, int]) -> None:
        self.tallies = {experiment: _Tally(planned) for experiment, planned in counts.items()}
        self.began = self.clock()

    def leave_out(self, counts: Mapping[str, int]) -> None:
        for experiment, trials in counts.items():
            tally = self.tallies.setdefault(experiment, _Tally(planned=0))
            tally.planned = max(tally.done, tally.planned - trials)

    def start(self, trial_id: str) -> None:
        self.running[trial_id] = _Running(self.clock())
        self.most_running = max(self.most_running, len(self.running))

    def finish(self, record: TrialRecord) -> None:
        if ended := self.running.pop(record.trial_id, None):
            self.took += self.clock() - ended.since
            self.timed += 1
        tally = self.tallies.setdefault(record.experiment, _Tally(planned=0))
        setattr(tally, record.verdict, getattr(tally, record.verdict) + 1)

    def measure(self, trial_id: str, used_bytes: int) -> None:
        # a sample may arrive after the trial's end: it must not bring the container back
        if trial_id in self.running:
            self.running[trial_id].memory_bytes = used_bytes

    @property
    def planned(self) -> int:
        return sum(tally.planned for tally in self.tallies.values())

    @property
    def done(self) -> int:
        return sum(tally.done for tally in self.tallies.values())

    def seconds_left(self) -> float | None:
        """The rest at the pace so far, what runs counted as far as it has come; None while that is a guess.

        It is one until a few trials are done, and as many as run at once: the first to end are the shortest, and
        time has passed for all of them.
        """
        done, now = float(self.done), self.clock()
        if not done or done < min(max(self.most_running, FEW), self.planned):
            return None
        if self.took > 0:
            usual = self.took / self.timed
            done += sum(min((now - each.since) / usual, NEARLY) for each in self.running.values())
        return (now - self.began) / done * max(self.planned - done, 0.0)

    def summary(self) -> str:
        parts = [f"{self.done} of {self.planned} trials"]
        parts += [
            f"{experiment}: {tally.passed} passed, {tally.failed} failed, {tally.infra_error} infra"
            for experiment, tally in self.tallies.items()
        ]
        if (left := self.seconds_left()) and self.done < self.planned:
            parts.append(f"about {figures.seconds(left)} left")
        return escape.line("; ".join(parts), limit=1000)


class Lines(Display):
    """Plain lines, for a log file or a CI job."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._board = _Board(clock)
        self._clock = clock
        self._lock = threading.RLock()
        self._said = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if self._board.planned:
                self._say(self._board.summary())

    def planned(self, counts: Mapping[str, int]) -> None:
        with self._lock:
            self._board.plan(counts)
            self._said = self._clock()
            self._say(f"{self._board.planned} trials, {len(counts)} candidates")

    def started(self, trial_id: str) -> None:
        with self._lock:
            self._board.start(trial_id)

    def finished(self, record: TrialRecord) -> None:
        """One line for the trial, or, in a large run, a summary when the last one is old enough."""
        with self._lock:
            self._board.finish(record)
            if self._board.planned <= LINE_A_TRIAL:
                verdict = f"{record.verdict} {record.cause}" if record.cause else record.verdict
                place = f"[{self._board.done}/{self._board.planned}]"
                self._say(f"{place} {record.trial_id}: {verdict}, {figures.seconds(record.seconds.working)}")
            elif self._clock() - self._said >= SUMMARY_SECONDS:
                self._said = self._clock()
                self._say(self._board.summary())

    def left_out(self, counts: Mapping[str, int]) -> None:
        with self._lock:
            self._board.leave_out(counts)

    def step(self, text: str) -> None:
        with self._lock:
            self._say(text)

    def note(self, text: str) -> None:
        self.step(f"note: {text}")

    def _say(self, text: str) -> None:
        _print(self._console, text)


class Dashboard(Display):
    """A table that is redrawn in place, at most four times a second."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._board = _Board(clock)
        self._clock = clock
        self._lock = threading.RLock()
        # rich's own thread redraws at this pace; events only change the board, however many there are
        self._live = Live(
            console=console, refresh_per_second=REFRESH_HZ, get_renderable=self.render, redirect_stdout=False
        )

    def __enter__(self) -> Self:
        with _terminal():
            self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _terminal():
            self._live.stop()

    def planned(self, counts: Mapping[str, int]) -> None:
        with self._lock:
            self._board.plan(counts)

    def started(self, trial_id: str) -> None:
        with self._lock:
            self._board.start(trial_id)

    def finished(self, record: TrialRecord) -> None:
        with self._lock:
            self._board.finish(record)

    def memory(self, trial_id: str, used_bytes: int) -> None:
        with self._lock:
            self._board.measure(trial_id, used_bytes)

    def left_out(self, counts: Mapping[str, int]) -> None:
        with self._lock:
            self._board.leave_out(counts)

    def step(self, text: str) -> None:
        _print(self._console, text)

    def note(self, text: str) -> None:
        _print(self._console, f"note: {text}", style="yellow")

    def render(self) -> RenderableType:
        """The whole picture, now."""
        with self._lock:
            parts: list[RenderableType] = [self._experiments()]
            if self._board.running:
                parts.append(self._containers())
            left = self._board.seconds_left()
            elapsed = (
                figures.seconds(self._clock() - self._board.began) if self._board.planned else "starting"
            )
            rest = f"about {figures.seconds(left)} left" if left is not None else ""
            parts.append(Text("   ".join(part for part in (elapsed, rest) if part), style="dim"))
        return Group(*parts)

    def _experiments(self) -> Table:
        table = Table(box=None, pad_edge=False)
        table.add_column("candidate")
        table.add_column("", width=24)
        for heading, style in (
            ("done", ""),
            *((name.replace("_error", ""), STYLES[name]) for name in STYLES),
        ):
            table.add_column(heading, justify="right", style=style)
        for experiment, tally in self._board.tallies.items():
            table.add_row(
                Text(escape.line(experiment, limit=40)),
                ProgressBar(total=max(tally.planned, 1), completed=tally.done, width=24),
                f"{tally.done}/{tally.planned}",
                *(str(getattr(tally, name)) for name in STYLES),
            )
        return table

    def _containers(self) -> Table:
        running = self._board.running
        table = Table(box=None, pad_edge=False, title=f"{len(running)} running", title_justify="left")
        table.add_column("trial", header_style="dim")
        table.add_column("memory", justify="right", header_style="dim")
        table.add_column("time", justify="right", header_style="dim")
        now = self._clock()
        for trial_id, container in list(running.items())[:SHOWN_CONTAINERS]:
            age = figures.seconds(now - container.since)
            table.add_row(Text(escape.line(trial_id, limit=60)), figures.size(container.memory_bytes), age)
        return table


def _print(console: Console, text: str, style: str = "") -> None:
    with _terminal():
        console.print(Text(escape.line(text, limit=1000), style=style), soft_wrap=True)


@contextmanager
def _terminal() -> Iterator[None]:
    """A terminal that has gone stops the run, as its SIGHUP would, where that does not arrive."""
    try:
        yield
    except OSError as error:
        raise Interrupted(f"the terminal has gone ({error.strerror or error})") from error
