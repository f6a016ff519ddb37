"""What the tools really did, as the runner saw it."""

from __future__ import annotations

from dataclasses import dataclass

from bakeoff.attempt.protocol import ToolEnded, ToolStarted
from bakeoff.record.base import JsonDict

# Runs of tools that are kept of one attempt.
MOST_RUNS = 10_000
MOST_ERRNOS = 200


@dataclass(slots=True)
class ToolRun:
    """One run of a tool. `end` is None until it has ended."""

    call_id: str
    name: str
    args: JsonDict  # without what the framework injects, such as its state
    started: float  # seconds since the agent started
    end: ToolEnded | None = None


class ToolLog:
    """The runs of one attempt, in the order of their start."""

    def __init__(self) -> None:
        self.runs: list[ToolRun] = []
        self.errnos: list[int] = []  # what the system refused to tools, each once
        self._open: dict[str, list[ToolRun]] = {}

    def start(self, event: ToolStarted, started: float) -> ToolRun | None:
        """A tool starts. None: one too many."""
        if len(self.runs) >= MOST_RUNS:
            return None
        run = ToolRun(event.call_id, event.name, event.args, started)
        self.runs.append(run)
        self._open.setdefault(event.run, []).append(run)
        return run

    def end(self, event: ToolEnded) -> None:
        """A tool ended; of runs with the same name, the first that is open."""
        open_runs = self._open.get(event.run)
        if not open_runs:
            return
        open_runs.pop(0).end = event
        fresh = set(event.errnos).difference(self.errnos)
        self.errnos += sorted(fresh)[: MOST_ERRNOS - len(self.errnos)]

    @property
    def timeouts(self) -> int:
        return sum(run.end is not None and run.end.timed_out for run in self.runs)

    @property
    def errors(self) -> int:
        return sum(run.end is not None and run.end.error is not None for run in self.runs)
