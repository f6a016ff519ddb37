"""The base image: which name is what, what a package list is worth, which Python will do."""

import json
from typing import Any

import pytest

from bakeoff.errors import InputError
from bakeoff.provision import base_image
from bakeoff.provision.base_image import Probe

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
FOUND = Probe((3, 11, 2), "glibc", frozenset({"venv", "ensurepip"}), {"b": "2", "a": "1"})


def test_installed_packages_are_read_from_dpkg() -> None:
    assert base_image.installed(STATUS) == {"python3": "3.11.2-1+b1", "libc6": "2.36-9+deb12u10"}
    assert base_image.installed("") == {}


def test_the_digest_is_of_the_contents_and_not_of_their_order() -> None:
    assert base_image.digest_of({"a": "1", "b": "2"}) == base_image.digest_of({"b": "2", "a": "1"})
    assert base_image.digest_of({"a": "1"}) != base_image.digest_of({"a": "2"})


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("python:3.12-slim-bookworm", ("python", "3.12-slim-bookworm")),
        ("python", ("python", "latest")),
        ("host:5000/team/image", ("host:5000/team/image", "latest")),
        ("host:5000/team/image:1", ("host:5000/team/image", "1")),
        ("host:5000/image@sha256:00", ("host:5000/image", None)),
    ],
)
def test_names_and_tags(reference: str, expected: tuple[str, str | None]) -> None:
    assert base_image.name_and_tag(reference) == expected


def attributes(**changes: Any) -> dict[str, Any]:
    return {"Id": "sha256:id", "RepoTags": [], "RepoDigests": [], "Config": {"Labels": None}} | changes


def test_what_an_image_is() -> None:
    digest = "sha256:0123456789abcdef"
    built = attributes(
        RepoTags=[base_image.own_name(digest)], Config={"Labels": {base_image.LABEL_DIGEST: digest}}
    )
    image = base_image.describe(built, "python:3.12-slim-bookworm", FOUND)
    assert (image.kind, image.digest, image.python_version) == ("built", digest, "3.11")
    assert list(image.packages) == ["a", "b"]

    pulled = base_image.describe(attributes(RepoDigests=["python@sha256:77"]), "python:3.12", FOUND)
    assert (pulled.kind, pulled.digest) == ("pulled", "sha256:77")

    own = base_image.describe(attributes(), "mine", FOUND)
    assert (own.kind, own.digest) == ("present", "sha256:id")


def test_an_image_made_on_top_of_a_stand_in_is_not_the_stand_in() -> None:
    inherited = attributes(RepoTags=["mine:1"], Config={"Labels": {base_image.LABEL_DIGEST: "sha256:01"}})
    assert base_image.describe(inherited, "mine:1", FOUND).kind == "present"


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (Probe((3, 9, 2), "glibc", frozenset({"pip"}), {}), "3.10"),
        (Probe((3, 12, 0), "", frozenset({"pip"}), {}), "glibc"),
        (Probe((3, 12, 0), "glibc", frozenset({"venv"}), {}), "neither pip nor"),
    ],
)
def test_images_that_could_not_run_a_harness(found: Probe, word: str) -> None:
    with pytest.raises(InputError) as caught:
        base_image.refuse_unfit(found, "mine:1")
    assert word in caught.value.problem
    assert caught.value.key == "harness.base_image"


def test_the_probe_speaks_json() -> None:
    said = {"python": [3, 12, 1], "libc": "glibc", "modules": ["venv", "ensurepip"], "status": STATUS}
    found = base_image.parse_probe(json.dumps(said))
    assert found.packages["python3"] == "3.11.2-1+b1"
    base_image.refuse_unfit(found, "fine:1")
