"""Docker tests share one project maker, and each leaves nothing behind."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from project import Project


def containers() -> set[str]:
    """Ids of all containers that carry bakeoff's label, running or not."""
    listed = subprocess.run(
        ["docker", "ps", "-aq", "--filter", "label=bakeoff"], capture_output=True, text=True, check=True
    )
    return set(listed.stdout.split())


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A fresh project; afterwards no container of bakeoff's may be left that was not there before."""
    before = containers()
    yield Project(tmp_path)
    assert containers() <= before
