"""A Docker engine started where none answers, beside the one that the other tests use."""

import os
import shutil

import pytest

from bakeoff.backends.docker import connection
from bakeoff.backends.docker.backend import DockerBackend
from bakeoff.provision import docker_engine
from bakeoff.provision.docker_engine import Daemon

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
    tmp_path = tmp_path_factory.mktemp("engine")  # short: the address of a Unix socket has room for 107 bytes
    daemon = Daemon(
        socket=tmp_path / "d.sock",
        pid_file=tmp_path / "d.pid",
        containerd_pid_file=tmp_path / "exec/containerd/containerd.pid",
        state=tmp_path / "state",
        arguments=(
            *("--data-root", str(tmp_path / "data"), "--exec-root", str(tmp_path / "exec")),
            *("--pidfile", str(tmp_path / "d.pid"), "-H", f"unix://{tmp_path / 'd.sock'}"),
            *("--bridge", "none", "--iptables=false", "--ip6tables=false"),
        ),
    )
    daemon.pid_file.write_text("1")  # stale: process 1 is no dockerd
    said: list[str] = []
    try:
        client = docker_engine.ensure(said.append, daemon)
        assert client.info()["DockerRootDir"] == str(tmp_path / "data")
        client.close()
        docker_engine.ensure(said.append, daemon).close()
        assert len(said) == 1, "an engine that answers is not started again"
    finally:
        stopped = docker_engine.stop(daemon)
    assert stopped
    assert not docker_engine.stop(daemon)
    assert connection.connect().ping(), "the other engine lives"
