"""The stand-in base image: what a package list is worth."""

from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from bakeoff.backends.docker.images import progress
from bakeoff.errors import UnfitEnvironment
from bakeoff.provision import stand_in


def test_the_digest_is_of_the_contents_and_not_of_their_order() -> None:
    assert stand_in.digest_of({"a": "1", "b": "2"}) == stand_in.digest_of({"b": "2", "a": "1"})
    assert stand_in.digest_of({"a": "1"}) != stand_in.digest_of({"a": "2"})


PACKAGE = "Package: python3\nStatus: install ok installed\nVersion: 3.11\n"


class Engine:
    """As much of docker-py's client as an import takes."""

    def __init__(self) -> None:
        self.api = self
        self.loaded: list[tuple[bytes, dict[str, Any]]] = []

    def import_image(self, src: IO[bytes], **how: Any) -> str:
        self.loaded.append((src.read(), how))
        return "sha256:" + "0" * 64


def build(engine: Engine, say: Callable[[str], None]) -> None:
    stand_in.build(engine, say)  # type: ignore[arg-type]


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tool that fills the directory it is told to, waits until that was seen, and writes its tar at the end."""
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(PACKAGE)
    tool = tmp_path / "bin" / "mmdebstrap"
    tool.parent.mkdir()
    script = f"head -c 3145728 /dev/zero >$TMPDIR/tree\nwhile [ ! -e {tmp_path}/seen ]; do sleep 0.02; done\n"
    tool.write_text(f"#!/bin/sh\n{script}tar -C {tmp_path} -cf - var\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(stand_in, "privilege", tuple)
    return tool


def test_building_says_how_far_it_is_and_how_fast(tool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.01)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("base image: building: 3 MiB, "):
            (tool.parents[1] / "seen").touch()

    build(Engine(), say)
    assert said[-2].startswith("built with mmdebstrap in ")
    assert said[-1].startswith("loaded bakeoff-base:bookworm-")
    assert all("/s, " in line for line in said[:-2])


def test_another_engine_gets_what_was_built_and_nothing_is_built_again(
    tool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tool.parents[1] / "seen").touch()
    first, second, later = Engine(), Engine(), Engine()
    build(first, lambda _: None)
    tool.write_text("#!/bin/sh\nexit 3\n")
    build(second, lambda _: None)
    assert second.loaded == first.loaded
    assert f"LABEL {stand_in.LABEL_MADE_BY}=mmdebstrap" in second.loaded[0][1]["changes"]
    monkeypatch.setattr(stand_in, "KEPT_SECONDS", 0)
    with pytest.raises(UnfitEnvironment, match="could not build"):
        build(later, lambda _: None)
