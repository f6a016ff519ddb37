"""Engines that are not at a socket of this machine: over a real sshd, and a real dockerd that speaks TLS."""

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bakeoff.backends.base import SandboxSpec
from bakeoff.backends.docker import connection
from bakeoff.backends.docker.backend import DockerBackend
from bakeoff.backends.docker.images import base_image
from bakeoff.config.schema import Harness
from bakeoff.errors import UnfitEnvironment
from bakeoff.record.trial import ResourceLimits
from tests.docker.engines import SecondEngine, base_names, second_engine
from tests.docker.project import Project, call
from tests.docker.sshd import Sshd, sshd
from tests.fakes.certificates import certificates

pytestmark = pytest.mark.docker

MIB = 2**20
LIMITS = ResourceLimits(cpus=1.0, memory_bytes=128 * MIB, pids=32, disk_bytes=16 * MIB, network="none")
# Reads and writes at once, as the supervisor does
ECHO = "import os\nwhile piece := os.read(0, 65536):\n  while piece: piece = piece[os.write(1, piece):]"


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    with sshd(tmp_path) as server:
        monkeypatch.setenv("PATH", server.environment["PATH"])
        yield server


def refused(**variables: str) -> UnfitEnvironment:
    with pytest.raises(UnfitEnvironment) as caught:
        connection.connect(variables)
    assert next(iter(variables.values())) in str(caught.value)
    assert caught.value.exit_code == 4
    return caught.value


def talks_both_ways_at_once(variables: dict[str, str], mebibytes: int) -> None:
    """A container gets many bytes and sends each of them back, while the next ones are on their way."""
    backend = DockerBackend(connection.connect(variables))
    image = base_image.ensure(backend.client, Harness.model_fields["base_image"].default, print).image_id
    spec = SandboxSpec("test-remote", image, LIMITS, command=("python3", "-I", "-c", ECHO))
    sent, came = os.urandom(mebibytes * MIB), bytearray()
    box = backend.open(spec)
    watch = threading.Timer(120, box.kill)
    try:
        watch.start()
        box.start(lambda *_: None)
        for begin in range(0, len(sent), 65536):
            box.send(sent[begin : begin + 65536])
        for frame in box.frames():
            came += frame.data
            if len(came) >= len(sent):
                break
        assert bytes(came) == sent
    finally:
        watch.cancel()
        box.close()
        backend.sweep("test-remote")
        backend.close()


# --- ssh


def test_a_container_over_ssh_talks_both_ways_at_once(far: Sshd) -> None:
    talks_both_ways_at_once({"DOCKER_HOST": f"ssh://{far.host}"}, 8)
    assert not [one for one in psutil.Process().children() if one.name() == "ssh"], "its ssh has ended"


def test_what_ssh_fails_with_is_what_the_user_reads(far: Sshd, tmp_path: Path) -> None:
    host = {"DOCKER_HOST": f"ssh://{far.host}"}
    (far.place / "known").write_text("")
    assert "Host key verification failed" in str(refused(**host))
    far.know()
    keys = (far.place / "authorized").read_text()
    (far.place / "authorized").write_text("")
    assert "Permission denied" in str(refused(**host))
    (far.place / "authorized").write_text(keys)
    absent = refused(DOCKER_HOST=f"ssh://{far.host}{tmp_path}/none.sock")
    assert f"{far.host} has no {tmp_path}/none.sock" in str(absent)
    with socket.socket(socket.AF_UNIX) as nobody:
        nobody.bind(f"{tmp_path}/dead.sock")
    assert "open failed" in str(refused(DOCKER_HOST=f"ssh://{far.host}{tmp_path}/dead.sock"))
    assert not [one for one in psutil.Process().children() if one.name() == "ssh"], "none is left"


def test_an_sshd_that_forwards_no_sockets_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sshd(tmp_path, "AllowStreamLocalForwarding no") as server:
        monkeypatch.setenv("PATH", server.environment["PATH"])
        error = refused(DOCKER_HOST=f"ssh://{server.host}")
        assert "open failed" in str(error)
        assert "AllowStreamLocalForwarding" in (error.hint or "")


def test_settings_that_the_user_has_for_the_host_do_no_harm(far: Sshd) -> None:
    far.configure(
        f"LocalForward 127.0.0.1:{far.port} 127.0.0.1:9",  # taken
        *("RemoteCommand ls", "RequestTTY yes", "ControlMaster auto", f"ControlPath {far.place}/shared"),
    )
    client = connection.connect({"DOCKER_HOST": f"ssh://{far.host}"})
    assert client.ping()
    client.close()


@pytest.mark.slow
def test_a_run_over_ssh_survives_the_end_of_its_connection(far: Sshd, project: Project) -> None:
    project.config["infra"]["attempts"] = 3
    project.row("row", call("wait", "waited", seconds=4))
    process = project.start(env={"DOCKER_HOST": f"ssh://{far.host}"})
    deadline = time.monotonic() + 120
    while not project.containers() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1.0)
    for child in psutil.Process(process.pid).children():
        if child.name() == "ssh":
            child.kill()
    outcome = project.finish(process)
    trial = outcome.trials()["row"]
    assert [attempt.cause for attempt in trial.attempts] == ["infra.docker_unavailable", None]
    assert trial.verdict == "passed"


# --- TLS


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SecondEngine, dict[str, str]]]:
    """An engine that speaks TLS to clients with a certificate of its authority, and the variables of such a client."""
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("needs root and dockerd")
    place = tmp_path_factory.mktemp("tls")
    engine, client = certificates(place)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    files = [f"--tls{name}={engine / file}" for name, file in (("cacert", "ca.pem"), ("cert", "cert.pem"))]
    arguments = ["--tlsverify", *files, f"--tlskey={engine / 'key.pem'}", "-H", f"tcp://127.0.0.1:{port}"]
    with second_engine(place / "e", *arguments) as made:
        yield (
            made,
            {
                "DOCKER_HOST": f"tcp://127.0.0.1:{port}",
                "DOCKER_TLS_VERIFY": "1",
                "DOCKER_CERT_PATH": str(client),
            },
        )


@pytest.mark.slow
def test_a_container_over_tls_talks_both_ways_at_once(protected: tuple[SecondEngine, dict[str, str]]) -> None:
    engine, variables = protected
    engine.load(*base_names())
    for _ in range(3):
        talks_both_ways_at_once(variables, 32)


@pytest.mark.slow
def test_a_run_over_tls(protected: tuple[SecondEngine, dict[str, str]], project: Project) -> None:
    _, variables = protected
    for name in ("a", "b", "c", "d"):
        project.row(name, call("wait", "waited", seconds=0))
    outcome = project.bake(env=variables)
    assert {name: trial.cause for name, trial in outcome.trials().items()} == dict.fromkeys("abcd")


@pytest.mark.slow
def test_an_engine_that_does_not_know_the_client_is_named(
    protected: tuple[SecondEngine, dict[str, str]], tmp_path: Path
) -> None:
    _, variables = protected
    stranger = certificates(tmp_path / "other")[1]
    engine_ca = Path(variables["DOCKER_CERT_PATH"]) / "ca.pem"
    shutil.copy(engine_ca, stranger / "ca.pem")
    error = refused(**{**variables, "DOCKER_CERT_PATH": str(stranger)})
    assert "alert" in str(error)
    assert "cert.pem" in (error.hint or "")
