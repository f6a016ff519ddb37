"""The base image on a real engine: made once, found at once, pulled by digest, never replaced."""

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from bakeoff.backends.docker import connection, host
from bakeoff.backends.docker.images import base_image
from bakeoff.backends.docker.images.probe import Probe
from bakeoff.errors import InputError, UnfitEnvironment
from tests.fakes.registry import Registry

pytestmark = pytest.mark.docker


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    client = connection.connect()
    yield client
    client.close()


def test_the_second_call_says_nothing(client: docker.DockerClient) -> None:
    reference = "python:3.12-slim-bookworm"
    first = base_image.ensure(client, reference, print)
    said: list[str] = []
    assert base_image.ensure(client, reference, said.append) == first
    assert said == []  # which it would say if it made, loaded or asked for anything
    assert first.kind in {"built", "pulled", "present"}
    assert first.packages["libc6"]
    assert base_image.find(client, first.image_id) is not None


def test_an_image_on_top_does_not_pass_for_the_base(client: docker.DockerClient) -> None:
    base = base_image.ensure(client, "python:3.12-slim-bookworm", print)
    container = client.containers.create(base.image_id, ["true"], labels={"bakeoff": "test"})
    image = container.commit("bakeoff-test-on-top", "1")
    try:
        assert base_image.ensure(client, "bakeoff-test-on-top:1", print).kind == "present"
        assert base_image.ensure(client, "python:3.12-slim-bookworm", print) == base
    finally:
        container.remove()
        client.images.remove(image.id)


@pytest.fixture
def registry(client: docker.DockerClient) -> Iterator[Registry]:
    if not host.is_local(client.info()):
        pytest.skip("the engine is on another machine")
    with Registry(client.info()["Architecture"]) as server:
        yield server
    for tag in client.images.list(name=server.name):
        client.images.remove(tag.id, force=True)


def test_a_pull_is_pinned_by_digest(
    client: docker.DockerClient,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    reference, pinned = f"{registry.name}:1", registry.pinned
    said: list[str] = []
    with pytest.raises(InputError, match="no python3"):  # pulled, and then found to be of no use
        base_image.ensure(client, reference, said.append)
    assert said == [f"pulling {reference} ({pinned[:19]})"]
    assert any(path.endswith(f"/manifests/{pinned}") for path in registry.requests)
    image = client.images.get(reference)
    assert (
        base_image.describe(image.attrs, reference, Probe((3, 12), 36, "x86_64", frozenset(), {})).digest
        == pinned
    )
    assert not client.containers.list(all=True, filters={"ancestor": image.id}), (
        "the probe left its container"
    )


def test_a_silent_registry_is_asked_once_and_nothing_replaces_its_image(
    client: docker.DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for how in ("does not answer", "less than an hour ago"):
        with pytest.raises(UnfitEnvironment, match=how):
            base_image.ensure(client, "127.0.0.1:9/nobody/image:1", print)
