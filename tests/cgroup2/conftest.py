"""What the guests have in common: a run on this machine's engine, and a disk with the images that it made."""

from pathlib import Path

import pytest

from tests.cgroup2 import guest
from tests.cgroup2.scene import faults, portable_base
from tests.docker.project import Outcome


@pytest.fixture(scope="session")
def native(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The faults on this machine's engine."""
    outcome = faults(tmp_path_factory.mktemp("here")).bake("--max-concurrency", "2")
    assert outcome.code == 0, outcome.stderr
    return outcome


@pytest.fixture(scope="session")
def home(native: Outcome) -> Path:
    """The guests' disk: `guest.disk`."""
    assert native.run is not None
    return guest.disk([portable_base(), native.run.manifest().image.reference])
