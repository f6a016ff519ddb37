"""The stand-in base image: what a package list is worth."""

from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest

from bakeoff.backends.docker.images import progress
from bakeoff.provision import stand_in


def test_the_digest_is_of_the_contents_and_not_of_their_order() -> None:
    assert stand_in.digest_of({"a": "1", "b": "2"}) == stand_in.digest_of({"b": "2", "a": "1"})
    assert stand_in.digest_of({"a": "1"}) != stand_in.digest_of({"a": "2"})


PACKAGE = "Package: python3\nStatus: install ok installed\nVersion: 3.11\n"


def test_building_says_how_far_it_is_and_how_fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that writes its tree where it is told to, and its tar at the end."""
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(PACKAGE)
    tool = tmp_path / "bin" / "mmdebstrap"
    tool.parent.mkdir()
    script = f"head -c 3145728 /dev/zero >$TMPDIR/tree\nwhile [ ! -e {tmp_path}/seen ]; do sleep 0.02; done\n"
    tool.write_text(f"#!/bin/sh\n{script}tar -C {tmp_path} -cf - var\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    monkeypatch.setattr(stand_in, "privilege", tuple)
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.01)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("base image: building: 3 MiB, "):
            (tmp_path / "seen").touch()

    class Engine:
        def import_image(self, src: IO[bytes], **_: object) -> str:
            assert src.read()
            return "sha256:" + "0" * 64

    engine: Any = SimpleNamespace(api=Engine())
    stand_in.build(engine, say)
    assert said[-1].startswith("built bakeoff-base:")
    assert all("/s, " in line for line in said[:-1])
