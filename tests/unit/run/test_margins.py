"""A gate that a dataset cannot answer is named before the first trial."""

from pathlib import Path

import pytest

from bakeoff.backends.fake import FakeBackend
from bakeoff.config.overrides import Overrides
from bakeoff.config.schema import Gates
from bakeoff.datasets import Dataset
from bakeoff.record import store
from bakeoff.record.trial import Example
from bakeoff.run import margins, plan
from bakeoff.run import run as runs
from bakeoff.run.progress import Display
from bakeoff.run.task import Task
from tests.fakes import synthetic
from tests.unit.run.bench import config

ASKED = config().model_copy(update={"gates": Gates(max_drop=0.15), "trials": 2})


class Noted(Exception):
    """The run has come to its first act."""


def test_a_run_says_so_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []

    class Listening(Display):
        def note(self, text: str) -> None:
            notes.append(text)

    def opened(*_: object) -> None:
        raise Noted

    monkeypatch.setattr(runs, "prepare", lambda *_: runs.Prepared(*[None] * 5))  # type: ignore[arg-type]
    monkeypatch.setattr(runs.models, "opened", opened)
    examples = [Example(id=str(n), inputs={}, messages=[]) for n in range(12)]
    rows = Dataset("d", examples, {}, {}, places={})
    task = Task(ASKED, rows, plan.profiles(ASKED), [], Overrides())
    with pytest.raises(Noted):
        runs.execute(task, FakeBackend(), Listening(), tmp_path)
    [note] = notes
    assert note.startswith(
        "max_drop: 0.15 mostly stays unknown (exit code 3) where nothing changes: 12 examples x 2"
    )


def test_a_baseline_knows_how_much_trials_vary(tmp_path: Path) -> None:
    assert len(margins.unanswerable(ASKED, 36, tmp_path)) == 1
    steady = synthetic.trials(skills=(1.0, 1.0))
    store.set_baseline(tmp_path, synthetic.run_directory(tmp_path, steady).run_id)
    assert margins.unanswerable(ASKED, 36, tmp_path) == [], "every trial of it passed"
    store.set_baseline(tmp_path, "gone")
    assert len(margins.unanswerable(ASKED, 36, tmp_path)) == 1, "compare is who says what is wrong with it"
