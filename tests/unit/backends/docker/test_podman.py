"""Podman's answers in Docker's words, from a recorded /version and /info."""

from typing import Any

from bakeoff.backends.docker import podman
from bakeoff.backends.docker.images import base_image, registry
from bakeoff.backends.docker.images.probe import Probe

VERSION = {"Components": [{"Name": "Podman Engine", "Version": "5.4.2"}, {"Name": "Conmon"}]}
DOCKER = {"Components": [{"Name": "Engine", "Version": "26.1.5"}, {"Name": "containerd"}]}
INFO = {
    "ID": "60db48b9-c3cb-4375-b636-b3749d9a7387",
    "Name": "vm",
    "DockerRootDir": "/var/lib/containers",
    "Architecture": "amd64",
    "ServerVersion": "5.4.2",
}
DIGEST = "sha256:d0986844faa9c52e5eb054ef8e1df9e5627b42b4515b11ca90b596ea49b9551f"
LOADED: dict[str, Any] = {
    "Id": "sha256:1033",
    "RepoTags": ["localhost/bakeoff-base:bookworm-d0986844faa9"],
    "RepoDigests": ["localhost/bakeoff-base@sha256:567f"],
    "Config": {"Labels": {base_image.LABEL_DIGEST: DIGEST}},
}


def test_podman_is_known_by_its_version() -> None:
    assert podman.answers(VERSION)
    assert not podman.answers(DOCKER)
    assert not podman.answers({})


def test_its_host_has_one_id_that_stays_and_the_processor_has_dockers_name() -> None:
    once, twice = (podman.in_dockers_words(INFO | {"ID": ident}) for ident in ("a", "b"))
    assert once["ID"] == twice["ID"] == "podman:vm:/var/lib/containers"
    assert once["Architecture"] == "x86_64"
    assert once["ServerVersion"] == "Podman 5.4.2"
    assert podman.is_podman(once)
    assert not podman.is_podman(INFO | {"ServerVersion": "26.1.5"})


def test_a_loaded_image_is_no_pulled_one_and_a_stand_in_is_known_by_its_name() -> None:
    assert registry.digest_of(LOADED, "python:3.12-slim-bookworm") is None
    found = Probe(python=(3, 11, 2), glibc=36, machine="x86_64", modules=frozenset(), packages={})
    made = base_image.describe(LOADED, "python:3.12-slim-bookworm", found)
    assert (made.kind, made.digest) == ("built", DIGEST)
