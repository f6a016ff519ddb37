"""A Docker engine started where none answers, beside the one that the other tests use."""

import os
import shutil

import pytest

from bakeoff.backends.docker import connection
from bakeoff.backends.docker.backend import DockerBackend
from bakeoff.provision import docker_engine
from tests.docker.engines import second_engine

pytestmark = pytest.mark.docker


def test_connect_shares_one_large_pool() -> None:
    backend = DockerBackend(connection.connect())
    api = backend.client.api
    assert api.get_adapter(api.base_url).max_pool_size == connection.POOL_SIZE
    assert (backend.facts().cores or 0) >= 1
    assert backend.facts().cgroup_version in {1, 2}
    backend.close()


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("dockerd") is None, reason="needs root and dockerd")
def test_an_engine_is_started_and_only_that_one_is_stopped(tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("engine")
    (place / "d.pid").write_text("1")  # stale: process 1 is no dockerd
    said: list[str] = []
    with second_engine(place) as engine:
        client = docker_engine.ensure(said.append, engine.daemon)
        assert client.info()["DockerRootDir"] == str(place / "data")
        client.close()
        assert said == [], "an engine that answers is not started again"
        assert docker_engine.stop(engine.daemon)
        assert not docker_engine.stop(engine.daemon)
    assert connection.connect().ping(), "the other engine lives"
