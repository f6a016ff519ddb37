"""A run's engine on the fake backend: a task, models, a scorer and a display that tests can script."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bakeoff.backends.base import Sandbox, SandboxSpec
from bakeoff.backends.fake import FakeBackend, FakeHarness, FakeSandbox, ManualTimer, Script, ai, one_question
from bakeoff.config.overrides import Overrides
from bakeoff.config.schema import Config
from bakeoff.datasets import Dataset
from bakeoff.errors import EvaluatorError
from bakeoff.gateway.types import CallContext, ModelCard, ModelReply, ModelRequest
from bakeoff.record.manifest import Look
from bakeoff.record.store import RunDirectory
from bakeoff.record.trial import Example, Profile, TrialRecord
from bakeoff.run import looks, plan
from bakeoff.run.engine import Engine
from bakeoff.run.host_monitor import HostMonitor
from bakeoff.run.ledger import Ledger
from bakeoff.run.looks import Looks
from bakeoff.run.models import Models
from bakeoff.run.progress import Display
from bakeoff.run.task import Task
from bakeoff.scoring import ScoreSheet
from tests.fakes.synthetic import manifest

MIB = 2**20

Scripted = Callable[[FakeHarness], Script]


class Model:
    """A model with one reply, or one error."""

    def __init__(self, reply: str | Exception = "right", cost_usd: float | None = 0.01) -> None:
        self.reply, self.cost_usd = reply, cost_usd
        self.asked: list[CallContext] = []

    def complete(self, request: ModelRequest, call: CallContext) -> ModelReply:
        self.asked.append(call)
        if isinstance(self.reply, Exception):
            raise self.reply
        return ModelReply(ai(self.reply), 0.0, cost_usd=self.cost_usd)

    def card(self) -> ModelCard:
        return ModelCard("m", "fake-chat")

    def close(self) -> None: ...


class Scorer:
    """The answer `right` passes. Fails the first `failures` times it is asked about each example."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.asked: list[str] = []

    def score(self, example: Example, outputs: Any) -> ScoreSheet:
        self.asked.append(example.id)
        if self.asked.count(example.id) <= self.failures:
            raise EvaluatorError("exact", "it fell over")
        passed = outputs.answer == "right"
        failing = () if passed else ("exact",)
        return ScoreSheet(
            {"exact": float(passed)}, {}, failing, frozenset() if passed else frozenset({"answer"})
        )


class Watched(Display):
    """Lets a test act on what it sees."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.on_started: Callable[[str], object] = lambda _: None
        self.on_finished: Callable[[TrialRecord], object] = lambda _: None

    def started(self, trial_id: str) -> None:
        self.on_started(trial_id)

    def finished(self, record: TrialRecord) -> None:
        self.on_finished(record)

    def note(self, text: str) -> None:
        self.notes.append(text)


def config(**changes: Any) -> Config:
    fields: dict[str, Any] = {
        "name": "bench",
        "file": Path("harness.yaml"),
        "harness": {"entrypoint": "shop:build", "source": "shop"},
        "resources": {
            "cpus": 1.0,
            "memory": 256 * MIB,
            "pids": 64,
            "disk": 16 * MIB,
            "reserve": {"cpus": 1.0, "memory": 128 * MIB},
        },
        "candidates": [{"name": "m", "model": "simulated:skill=1"}],
        "dataset": "rows.jsonl",
        "trials": 1,
        "evaluators": [],
        "infra": {"attempts": 3},
        "max_concurrency": "auto",
        "seed": 1,
    }
    return Config(**{**fields, **changes})


class Bench:
    """One engine, what it is made of, and what it left on disk.

    Args:
        root: an empty directory.
        scripts: of the sandboxes, in the order in which they are opened; the last one for ever.
        examples: how many.
        make: makes the sandboxes instead.
        judge: takes the looks of a run that may stop early.
    """

    def __init__(
        self,
        root: Path,
        *scripts: Scripted,
        examples: int = 1,
        slots: int = 2,
        models: dict[str, Model] | None = None,
        scorer: Scorer | None = None,
        make: Callable[[SandboxSpec], Sandbox] | None = None,
        profiles: list[Profile] | None = None,
        judge: Callable[[RunDirectory], Look] = looks.judge,
        **changes: Any,
    ) -> None:
        self.scripts = list(scripts) or [one_question]
        self.sandboxes: list[FakeSandbox] = []
        self.most_open = 0  # at once
        self._lock = threading.Lock()
        self.models = models or {"m": Model()}
        candidates = [{"name": name, "model": "simulated:skill=1"} for name in self.models]
        self.config = config(candidates=candidates, **changes)
        rows = [
            Example(id=f"e{n}", inputs={}, messages=[{"role": "user", "content": f"question {n}"}])
            for n in range(examples)
        ]
        dataset = Dataset("d", rows, {row.id: row.id for row in rows}, {}, places={})
        self.profiles = profiles or plan.profiles(self.config)
        after = plan.looks(self.config)
        self.task = Task(
            self.config, dataset, self.profiles, plan.trials(self.config, rows), Overrides(), looks=after
        )
        self.backend = FakeBackend(make or self.sandbox)
        self.display = Watched()
        self.scorer = scorer or Scorer()
        early = looks.plan(after, len(self.models))
        start = manifest(
            tuple(self.models),
            examples,
            self.config.trials,
            state="running",
            finished_at=None,
            stop_early=early and early.model_dump(),
        )
        self.directory = RunDirectory.create(root, start)
        self.spending = Models({}).spending
        self._root, self._slots, self._judge = root, slots, judge
        self.engine = self.made()

    def sandbox(self, spec: SandboxSpec) -> FakeSandbox:
        with self._lock:
            script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
            self.sandboxes.append(FakeSandbox(ManualTimer(), script, limits=spec.limits))
            self.most_open = max(self.most_open, sum(not each.closed for each in self.sandboxes))
            return self.sandboxes[-1]

    def made(self) -> Engine:
        finished = {record.trial_id for record in self.directory.trials()}
        early = self.directory.manifest().stop_early
        self.ledger = Ledger("fake", self.directory.run_id, self.backend.capacity(), self._root)
        return Engine(
            task=self.task,
            trials=[trial for trial in self.task.trials if trial.trial_id not in finished],
            backend=self.backend,
            image=self.backend.prepare(self.config, print),
            models=Models(self.models, self.spending),
            scorer=self.scorer,  # type: ignore[arg-type]
            directory=self.directory,
            ledger=self.ledger,
            slots=self._slots,
            monitor=HostMonitor(local=False),
            display=self.display,
            looking=Looks(self.directory, early, self.display, self._judge) if early else None,
        )

    def run(self) -> bool:
        with self.ledger:
            return self.engine.run()

    def records(self) -> dict[str, TrialRecord]:
        return {record.trial_id: record for record in self.directory.trials()}

    def causes(self) -> list[str | None]:
        """Of the attempts of the only trial."""
        [record] = self.directory.trials()
        return [attempt.cause for attempt in record.attempts]
