"""`bakeoff setup --prune`: what is old and bakeoff's own goes, and nothing else."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import ImageNotFound
from typer.testing import CliRunner

from bakeoff.backends.docker import connection
from bakeoff.backends.docker.images import npm
from bakeoff.backends.docker.images.base_image import STAND_IN_RECIPE
from bakeoff.cli import app
from bakeoff.provision import prune
from bakeoff.provision.prune import leftovers

NOW = datetime.now(UTC)
OLD = f"{NOW - timedelta(days=28, hours=1):%Y-%m-%dT%H:%M:%S}.123456789Z"
NEW = f"{NOW - timedelta(days=1):%Y-%m-%dT%H:%M:%S}.123456789+02:00"
PROJECT = {"bakeoff.project": "p"}


class Engine:
    """Images by id: names, labels, when last tagged."""

    def __init__(
        self, *images: tuple[str, list[str], dict[str, str], str], used: tuple[str, ...] = ()
    ) -> None:
        self.all = {ident: (names, labels, tagged) for ident, names, labels, tagged in images}
        self.used, self.removed = used, list[str]()
        self.api = SimpleNamespace(
            containers=lambda **_: [{"ImageID": ident} for ident in self.used],
            images=self.images,
            inspect_image=self.inspect,
            remove_image=self.remove,
        )

    def df(self) -> dict[str, Any]:
        return {"Images": [{"Id": ident, "Size": 100, "SharedSize": 60} for ident in self.all]}

    def images(self, repository: str) -> list[dict[str, Any]]:
        return [
            {"Id": ident}
            for ident, (names, *_) in self.all.items()
            if any(name.partition(":")[0] in (repository, f"localhost/{repository}") for name in names)
        ]

    def inspect(self, ident: str) -> dict[str, Any]:
        names, labels, tagged = self.all[ident]
        metadata = {"LastTagTime": tagged}
        return {"Id": ident, "RepoTags": names, "Config": {"Labels": labels}, "Metadata": metadata}

    def remove(self, ident: str) -> None:
        if self.all.pop(ident, None) is None:
            raise ImageNotFound("gone")
        self.removed.append(ident)

    def close(self) -> None:
        pass


def harness(name: str, on: str, tagged: str) -> tuple[str, list[str], dict[str, str], str]:
    labels = PROJECT | {"bakeoff.dependencies": f"bakeoff/dependencies:{on}"}
    return name, [f"bakeoff/harness:{name}"], labels, tagged


def dependencies(name: str) -> tuple[str, list[str], dict[str, str], str]:
    return name, [f"bakeoff/dependencies:{name}"], PROJECT, OLD


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "bakeoff"


def found(engine: Any) -> list[str]:
    return [each.name.removeprefix("image ") for each in leftovers(engine, NOW)]


def test_images_that_no_run_used_for_a_week_go_with_what_they_alone_are_made_on() -> None:
    engine = Engine(
        harness("old", "d1", OLD),
        harness("new", "d2", NEW),
        harness("running", "d3", OLD),
        *map(dependencies, ("d1", "d2", "d3")),
        used=("running",),
    )
    assert found(engine) == ["bakeoff/harness:old", "bakeoff/dependencies:d1"]
    assert [each.size for each in leftovers(engine, NOW)] == [40, 40]  # type: ignore[arg-type]


def test_images_that_bakeoff_did_not_make_or_that_have_another_name_too_stay() -> None:
    made = {"bakeoff.base.digest": "sha256:1", "bakeoff.base.recipe": "older"}
    engine = Engine(
        ("a", ["bakeoff/harness:mine"], {}, OLD),
        ("b", ["bakeoff/harness:x", "shop/agent:1"], PROJECT, OLD),
        ("c", ["bakeoff-base:bookworm-1"], made | {"bakeoff.base.recipe": STAND_IN_RECIPE}, OLD),
        ("d", ["python:3.12"], {}, OLD),
        ("e", ["localhost/bakeoff-base:bookworm-0"], made, OLD),
        ("f", ["bakeoff/harness:unknown"], PROJECT, ""),
    )
    assert found(engine) == ["bakeoff-base:bookworm-0"]


def test_wheels_and_modules_that_nothing_asked_for_since_a_week_go(cache: Path) -> None:
    before = (NOW - timedelta(days=20)).timestamp()
    asked = npm._home(["asked-for"], "x86_64")
    places = [cache / name for name in ("wheels/a", "npm/c", "built-wheels/d", "engine/e", "stand-ins/older")]
    for place in (*places, asked):
        (place / "node_modules").mkdir(parents=True)
        (place / npm.LOCK).write_text('{"packages": {}}')
        os.utime(place, (before, before))
    assert npm.find(["asked-for"], "x86_64") is not None
    names = [str(Path(each.name).relative_to(cache)) for each in leftovers(None, NOW)]
    assert names == ["wheels/a", "built-wheels/d", "npm/c", "stand-ins/older"]
    assert [each.remove() for each in leftovers(None, NOW)] == [True] * 4
    assert sorted(cache.glob("*/*")) == [cache / "engine/e", asked]


def test_nothing_is_removed_before_it_is_listed_and_agreed_to(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(harness("old", "d1", OLD), dependencies("d1"))
    monkeypatch.setattr(connection, "connect", lambda: engine)
    monkeypatch.setattr(prune, "leftovers", lambda client: leftovers(client, NOW))
    refused = CliRunner().invoke(app, ["setup", "--prune"], input="n\n")
    assert "bakeoff/harness:old, not used for 28 days" in refused.output
    assert "Remove 2 things, 80 B at least?" in refused.output
    assert not engine.removed
    agreed = CliRunner().invoke(app, ["setup", "--prune", "--yes"])
    assert "removed 2 of 2 things" in agreed.output
    assert engine.removed == ["old", "d1"]
