"""The base image: what it is, which digest it has, and which will do."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bakeoff.backends.docker.images import base_image, probe, registry
from bakeoff.backends.docker.images.probe import Probe
from bakeoff.errors import InputError

STATUS = """Package: python3
Status: install ok installed
Maintainer: someone
Version: 3.11.2-1+b1

Package: gone
Status: deinstall ok config-files
Version: 1.0

Package: libc6
Status: install ok installed
Version: 2.36-9+deb12u10
Description: GNU C Library
 Version: 9.9 is a trap in a description
"""
FOUND = Probe((3, 11, 2), 36, "x86_64", frozenset({"venv", "ensurepip"}), {"b": "2", "a": "1"})
SAID = {
    "python": [3, 12, 1],
    "libc": ["glibc", "2.36"],
    "machine": "x86_64",
    "modules": ["venv", "ensurepip"],
    "status": STATUS,
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def attributes(**changes: Any) -> dict[str, Any]:
    return {"Id": "sha256:id", "RepoTags": [], "RepoDigests": [], "Config": {"Labels": None}} | changes


def test_installed_packages_are_read_from_dpkg() -> None:
    assert probe.installed(STATUS) == {"python3": "3.11.2-1+b1", "libc6": "2.36-9+deb12u10"}
    assert probe.installed("") == {}


def test_what_the_probe_says() -> None:
    found = probe.parse(json.dumps(SAID))
    assert (found.python, found.glibc, found.machine) == ((3, 12, 1), 36, "x86_64")
    assert found.packages["python3"] == "3.11.2-1+b1"
    base_image.refuse_unfit(found, attributes(), "fine:1")
    assert probe.parse(json.dumps(SAID | {"libc": ["", ""]})).glibc == 0


@pytest.mark.parametrize("said", ["", '{"python": [3, 12]}', json.dumps(SAID | {"libc": "glibc"})])
def test_what_another_version_has_noted_is_not_trusted(said: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        probe.parse(said)


def test_what_an_image_is() -> None:
    digest = "sha256:0123456789abcdef"
    built = attributes(
        RepoTags=[base_image.stand_in_name(digest)], Config={"Labels": {base_image.LABEL_DIGEST: digest}}
    )
    image = base_image.describe(built, "python:3.12-slim-bookworm", FOUND)
    assert (image.kind, image.digest, image.python_version) == ("built", digest, "3.11")
    assert list(image.packages) == ["a", "b"]

    pulled = base_image.describe(attributes(RepoDigests=["python@sha256:77"]), "python:3.12", FOUND)
    assert (pulled.kind, pulled.digest) == ("pulled", "sha256:77")

    assert base_image.describe(attributes(), "mine", FOUND).kind == "present"


def test_an_image_made_on_top_of_a_stand_in_is_not_the_stand_in() -> None:
    inherited = attributes(RepoTags=["mine:1"], Config={"Labels": {base_image.LABEL_DIGEST: "sha256:01"}})
    assert base_image.describe(inherited, "mine:1", FOUND).kind == "present"


def test_a_loaded_image_has_one_digest_in_both_of_dockers_stores() -> None:
    content = {"RootFS": {"Layers": ["sha256:a", "sha256:b"]}, "Architecture": "amd64"}
    graphdriver = attributes(Id="sha256:of-config", **content)
    containerd = attributes(Id="sha256:of-manifest", RepoDigests=["mine@sha256:of-manifest"], **content)
    first, second = (base_image.describe(one, "mine:1", FOUND) for one in (graphdriver, containerd))
    assert (first.kind, first.digest) == (second.kind, second.digest)
    assert first.kind == "present"
    other = attributes(RootFS={"Layers": ["sha256:a"]}, Architecture="amd64")
    assert base_image.describe(other, "mine:1", FOUND).digest != first.digest


def test_in_the_containerd_store_a_pull_is_known_by_its_note() -> None:
    image = attributes(Id="sha256:77", RepoDigests=["python@sha256:77"])
    assert registry.digest_of(image, "python:3.12") is None
    registry._note("sha256:77").parent.mkdir(parents=True)
    registry._note("sha256:77").touch()
    assert registry.digest_of(image, "python:3.12") == "sha256:77"
    assert registry.digest_of(image, "python@sha256:77") == "sha256:77"


def test_of_several_digests_the_references_own_counts() -> None:
    image = attributes(RepoDigests=["mirror/python@sha256:11", "python@sha256:22"])
    assert registry.digest_of(image, "python:3.12") == "sha256:22"
    assert registry.digest_of(image, "mirror/python:3.12") == "sha256:11"
    assert registry.digest_of(image, "python@sha256:11") == "sha256:11"


@pytest.mark.parametrize(
    ("found", "config", "word"),
    [
        (replace(FOUND, python=(3, 9, 2)), {}, "3.10"),
        (replace(FOUND, glibc=0), {}, "glibc"),
        (replace(FOUND, modules=frozenset({"venv"})), {}, "neither pip nor"),
        (FOUND, {"Volumes": {"/data": {}}}, "volumes (/data)"),
    ],
)
def test_images_that_could_not_run_a_harness(found: Probe, config: dict[str, Any], word: str) -> None:
    with pytest.raises(InputError) as caught:
        base_image.refuse_unfit(found, attributes(Config=config), "mine:1")
    assert word in caught.value.problem
    assert caught.value.key == "harness.base_image"
