"""Docker tests share one project maker, and each leaves nothing behind."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from project import Project


def containers() -> set[str]:
    """Ids of all containers that carry bakeoff's label, running or not, of whatever run."""
    command = ["docker", "ps", "-aq", "--filter", "label=bakeoff"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A fresh project; afterwards none of its runs may have left a container."""
    made = Project(tmp_path)
    yield made
    assert made.containers("-a") == []
