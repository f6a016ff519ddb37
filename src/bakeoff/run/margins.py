"""Which gates of harness.yaml a run of it will leave unknown: said before the first trial, while it costs nothing."""

from __future__ import annotations

from pathlib import Path

from bakeoff import stats
from bakeoff.config.schema import Config
from bakeoff.errors import BakeoffError
from bakeoff.record import store


def unanswerable(config: Config, examples: int, runs: Path) -> list[str]:
    """One sentence for each such gate, with what would do.

    Args:
        examples: how many are run.
        runs: where the baseline is kept, which knows how much trials of an example vary.
    """
    sample = stats.Sample(examples, config.trials, len(config.candidates), _noise(runs))
    return stats.unanswerable(config.gates, sample)


def _noise(runs: Path) -> float | None:
    """Of the baseline; None: there is none, or it cannot be read, which is for `compare` to say."""
    try:
        if store.baseline(runs) is None:
            return None
        trials = store.RunDirectory.resolve(store.BASELINE, runs).trials()
        return stats.noise_of((each.experiment, each.example_id, each.verdict) for each in trials)
    except (BakeoffError, OSError):
        return None
