"""Docker tests share one project maker and one short fault campaign, and each leaves nothing behind."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
from campaign import inject
from faults import FAULTS, Neighbour
from project import Project
from scenes import SCENES, Scene


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


@pytest.fixture(scope="session")
def short_campaign(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scene]:
    """Every fault once, by kind of run. The kinds run side by side, but for the one that burns every core."""

    def play(kind: type) -> Scene:
        mine = [fault for fault in FAULTS if isinstance(fault.how, kind)]
        return inject(kind, mine, 1, tmp_path_factory.mktemp(SCENES[kind].__name__))

    with ThreadPoolExecutor(3) as pool:
        scenes = list(pool.map(play, [kind for kind in SCENES if kind is not Neighbour]))
    return {scene.name: scene for scene in [*scenes, play(Neighbour)]}
