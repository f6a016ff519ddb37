"""What is to be run: read, selected and planned; nothing started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bakeoff import datasets, gateway
from bakeoff.config import loading
from bakeoff.config.overrides import Overrides
from bakeoff.config.schema import Config
from bakeoff.datasets import Dataset
from bakeoff.record import manifest
from bakeoff.record.store import RunDirectory
from bakeoff.record.trial import Profile, TrialSpec
from bakeoff.run import plan


@dataclass(frozen=True)
class Task:
    """One run's plan.

    Attributes:
        dataset: the selected examples, with the digest of the whole.
        trials: all of them, in the order of their admission; those that a stopped run has finished too.
        looks: repetitions of each example at each look; none where the run may not stop early.
        resumed: the stopped run that goes on.
    """

    config: Config
    dataset: Dataset
    profiles: list[Profile]
    trials: list[TrialSpec]
    overrides: Overrides
    resumed: RunDirectory | None = None
    looks: tuple[int, ...] = ()

    @cached_property
    def environ(self) -> Mapping[str, str]:
        """Where the models' keys are looked up. Read once, since a `key_command` may ask its user.

        Raises:
            InputError: .env or a `key_command` is at fault.
        """
        return gateway.environment(self.config)


def read(
    path: Path,
    overrides: Overrides,
    *,
    pinned: manifest.Dataset | None = None,
    resumed: RunDirectory | None = None,
) -> Task:
    """Read harness.yaml and its dataset and make the plan.

    Args:
        path: of harness.yaml.
        overrides: the command line's changes.
        pinned: `dataset` of the manifest of a run that goes on.
        resumed: that run.

    Raises:
        InputError: the first thing wrong with either.
    """
    config = loading.load(path, overrides)
    plan.check_looks(config, by_option=bool(overrides.stop_early))
    selected = datasets.load(config, pinned=pinned)
    selected = datasets.select(selected, overrides.examples, overrides.suites)
    trials = plan.trials(config, selected.examples)
    return Task(config, selected, plan.profiles(config), trials, overrides, resumed, plan.looks(config))
