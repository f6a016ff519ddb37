"""One layer of an image, on a scripted engine: what is said while it takes long, and what is tried again."""

from pathlib import Path
from typing import IO, Any

import pytest
from docker.errors import APIError

from bakeoff.backends.docker.images import layers, progress
from bakeoff.backends.docker.images.layers import Added, Layer
from bakeoff.errors import UnfitEnvironment
from tests.fakes.said import Said

MIB = 2**20


class Engine:
    """As much of docker-py's client as a layer takes. `fails`: what each commit raises, in order."""

    timeout = 60.0

    def __init__(self, said: Said, *fails: Exception | None) -> None:
        self.said, self.fails = said, list(fails)
        self.api = self
        self.made = self.removed = 0
        self.follow = False  # each step lasts until its progress was said

    def create_host_config(self, **_: object) -> dict[str, Any]:
        return {}

    def create_container(self, *_: object, **__: object) -> dict[str, str]:
        self.made += 1
        return {"Id": "made"}

    def put_archive(self, _: str, __: str, archive: IO[bytes]) -> None:
        archive.read(2 * MIB)
        self._wait("image: sending the files of it:1: 2 MiB of 3.")
        archive.read()

    def start(self, _: str) -> None:
        pass

    def wait(self, _: str, timeout: float) -> dict[str, int]:
        self._wait("image: installing it:1: 7 MiB, ")
        return {"StatusCode": 0}

    def containers(self, **_: object) -> list[dict[str, int]]:
        return [{"SizeRw": 7 * MIB}]

    def logs(self, _: str) -> bytes:
        return b""

    def commit(self, *_: object, **__: object) -> None:
        self._wait("image: writing it:1: ")
        failure = self.fails.pop(0) if self.fails else None
        if failure is not None:
            raise failure

    def remove_container(self, _: str, **__: object) -> None:
        self.removed += 1

    def _wait(self, part: str) -> None:
        if self.follow:
            self.said.wait_for(part)


def add(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(3 * MIB))
    added = Added({"opt/file": tmp_path / "file"})
    code, _ = layers.add(engine, Layer("below", added, ["true"], "it:1", {}), engine.said)  # type: ignore[arg-type]
    assert code == 0


def test_each_part_says_how_far_it_is_and_how_fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.01)
    engine = Engine(Said())
    engine.follow = True
    add(engine, tmp_path)


def test_a_layer_that_another_set_up_committed_at_once_is_tried_again(tmp_path: Path) -> None:
    taken = APIError('failed to export layer: snapshot "sha256:1": already exists')
    engine = Engine(Said(), taken)
    add(engine, tmp_path)
    assert (engine.made, engine.removed) == (2, 2)
    with pytest.raises(UnfitEnvironment, match="already exists"):
        add(Engine(Said(), taken, taken), tmp_path)


def test_what_docker_says_otherwise_is_not_tried_again(tmp_path: Path) -> None:
    engine = Engine(Said(), APIError("no space left on device"))
    with pytest.raises(UnfitEnvironment, match="no space left") as caught:
        add(engine, tmp_path)
    assert "docker system df" in (caught.value.hint or "")
    assert (engine.made, engine.removed) == (1, 1)
