"""What the tools really did, as the runner saw it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from bakeoff.attempt.protocol import ToolEnded, ToolStarted
from bakeoff.record.base import JsonDict

# Runs of tools that are kept of one attempt.
MOST_RUNS = 5_000
# What the start or the end of a run takes in memory beside its text: here, and in the record.
EVENT_BYTES = 2**10
MOST_ERRNOS = 200
# Characters that are kept of arguments too large to keep whole.
MAX_RAW_ARGS = 16 * 2**10
# A tool that was stopped at its time limit took this much of it by the host's clock too, which may be late to hear of
# its start. The harness's word alone would excuse a wrong answer on a busy host.
LEAST_SHARE = 0.5


@dataclass(slots=True)
class ToolRun:
    """One run of a tool. `end` is None until it has ended."""

    call_id: str
    name: str
    args: JsonDict | None  # without what the framework injects, such as its state. None: too large to keep
    started: float  # seconds since the agent started
    end: ToolEnded | None = None
    ended: float | None = None
    raw_args: str | None = None  # how arguments begin that are too large to keep

    def cut(self) -> None:
        """Keep the beginning of its arguments only."""
        self.args, self.raw_args = None, json.dumps(self.args, ensure_ascii=False)[:MAX_RAW_ARGS]


class ToolLog:
    """The runs of one attempt, in the order of their start. `limit`: seconds that each may take."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
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

    def end(self, event: ToolEnded, ended: float) -> None:
        """A tool ended; of runs with the same name, the first that is open."""
        open_runs = self._open.get(event.run)
        if not open_runs:
            return
        run = open_runs.pop(0)
        run.end, run.ended = event, ended
        fresh = set(event.errnos).difference(self.errnos)
        self.errnos += sorted(fresh)[: MOST_ERRNOS - len(self.errnos)]

    @property
    def timeouts(self) -> int:
        return sum(self._stopped(run) and self._lasted(run) for run in self.runs)

    @property
    def doubtful_timeouts(self) -> int:
        """Those that only the harness's word stopped at their time limit: by the host's clock they ended sooner."""
        return sum(self._stopped(run) and not self._lasted(run) for run in self.runs)

    def _stopped(self, run: ToolRun) -> bool:
        return run.end is not None and run.end.timed_out

    def _lasted(self, run: ToolRun) -> bool:
        return run.ended is not None and run.ended - run.started >= LEAST_SHARE * self.limit

    @property
    def errors(self) -> int:
        return sum(run.end is not None and run.end.error is not None for run in self.runs)
