"""The harness image on a real engine: what the user has is what is in it, and old images do not pile up."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import DockerClient

from bakeoff.backends.base import Image
from bakeoff.backends.docker.connection import connect
from bakeoff.backends.docker.images import image, prune
from bakeoff.config import loading
from tests.unit.backends.docker.images import wheel_factory

pytestmark = pytest.mark.docker

# A command needs no framework, so its image is small and quick to build.
HARNESS = """version: 1
name: images-test
harness:
  command: [python3, main.py]
  requirements: [./lib]
candidates: [{name: a, model: "simulated:skill=1"}]
dataset: rows.jsonl
evaluators: [{final_answer: {match: contains}, threshold: 1.0}]
"""
# What the container is asked for: the files below /opt/harness with their modes, and what its Python sees.
LOOK = """
import json, os, site, sys
import lib
found = {}
for directory, below, files in os.walk("/opt/harness"):
    for name in [*below, *files]:
        path = os.path.join(directory, name)
        found[os.path.relpath(path, "/opt/harness")] = os.stat(path)
print(json.dumps({
    "files": sorted(name for name in found if "__pycache__" not in name),
    "executable": sorted(name for name, stat in found.items() if stat.st_mode & 0o111 and not stat.st_mode & 0o40000),
    "oldest": min(stat.st_mtime for stat in found.values()),
    "state": lib.STATE,
    "path": [one for one in sys.path if one in ("/opt/harness", *site.getsitepackages())],
}))
"""


@pytest.fixture
def client() -> Iterator[DockerClient]:
    client = connect()
    yield client
    for item in client.api.images(prune.HARNESS) + client.api.images(prune.DEPENDENCIES):
        if item["Id"] in made:
            client.api.remove_image(item["Id"], force=True)
    made.clear()
    client.close()


made: set[str] = set()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "Bestellungen für Zoë"
    wheel_factory.project(root / "lib")
    (root / "harness.yaml").write_text(HARNESS)
    (root / "rows.jsonl").write_text("the answers")
    (root / "main.py").write_text("print(1)")
    return root


def ensure(client: DockerClient, project: Path) -> tuple[Image, list[str]]:
    said: list[str] = []
    built = image.ensure(
        client, loading.load(project / "harness.yaml"), client.info()["Architecture"], said.append
    )
    made.add(built.id)
    dependencies = client.api.inspect_image(built.id)["Config"]["Labels"][prune.LABEL_DEPENDENCIES]
    made.add(client.api.inspect_image(dependencies)["Id"])
    return built, said


def test_what_the_user_has_is_what_is_in_the_image(client: DockerClient, project: Path) -> None:
    for name in (
        ".prompts/system.md",
        "runs/shop.py",
        "build/a.txt",
        "tests/b.py",
        "an order ü.json",
        ".env",
        "run.sh",
    ):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("x = 1")
    (project / "run.sh").chmod(0o700)
    (project / "inbox").mkdir()
    shared = project.parent / "shared"
    shared.mkdir()
    (shared / "orders.json").write_text("{}")
    (project / "data").symlink_to(os.path.relpath(shared, project))
    built, said = ensure(client, project)
    found = json.loads(
        client.containers.run(built.id, ["python", "-I", "-c", LOOK], remove=True, network_mode="none")
    )
    files = set(found["files"])
    assert files >= {
        ".prompts/system.md",
        "runs/shop.py",
        "build/a.txt",
        "tests/b.py",
        "an order ü.json",
        "inbox",
    }
    assert "data/orders.json" in files
    assert not files & {".env", "rows.jsonl"}
    assert found["executable"] == ["run.sh"]
    assert found["oldest"] > 315_532_800, "zip archives cannot hold an older file"
    assert found["path"][0] == "/opt/harness", "the project's own modules win over installed ones"
    assert any(".env (may hold keys" in line and "rows.jsonl (has the answers)" in line for line in said)
    assert any("a link out of the project is followed: data ->" in line for line in said)


def test_a_fixed_library_makes_another_image_and_nothing_else_does(
    client: DockerClient, project: Path
) -> None:
    first, _ = ensure(client, project)
    assert ensure(client, project) == (first, [])
    machine = client.info()["Architecture"]
    assert image.find(client, loading.load(project / "harness.yaml"), machine) == first
    (project / "lib/lib.py").write_text("STATE = 2\n")
    assert image.find(client, loading.load(project / "harness.yaml"), machine) is None
    second, _ = ensure(client, project)
    assert second.key != first.key
    assert second.packages != first.packages
    said_by_lib = client.containers.run(
        second.id, ["python", "-c", "import lib; print(lib.STATE)"], remove=True, network_mode="none"
    )
    assert said_by_lib.strip() == b"2"


def test_old_images_of_a_project_are_removed_but_not_one_in_use(
    client: DockerClient, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "KEPT", 2)
    used, _ = ensure(client, project)
    container = client.containers.create(used.id, ["true"], labels={"bakeoff": "test"})
    try:
        built, removals = [used], []
        for number in range(4):
            (project / "main.py").write_text(f"print('edit {number}')")
            following, said = ensure(client, project)
            built.append(following)
            removals += [line for line in said if "older images" in line]
        there = {item["Id"] for item in client.api.images(prune.HARNESS)}
        assert [one.id in there for one in built] == [True, False, False, True, True]
        assert len(removals) == 2
    finally:
        container.remove()
