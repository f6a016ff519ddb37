"""Docker tests share one project maker, and each leaves nothing behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.project import Project


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have what takes long: with pytest-xdist no process is left with one at the end."""
    slow = {item.path for item in items if {"docker", "slow"} <= {mark.name for mark in item.iter_markers()}}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A fresh project; afterwards none of its runs may have left a container."""
    made = Project(tmp_path)
    yield made
    assert made.containers("-a") == []
