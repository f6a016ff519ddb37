"""The way to an engine over TLS in both directions at once, and what is said where it fails."""

import os
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from docker.transport import UnixHTTPAdapter

from bakeoff.backends.docker import connection, links
from bakeoff.backends.docker.endpoint import Certificates, Endpoint
from bakeoff.backends.docker.links import TlsLink
from bakeoff.errors import UnfitEnvironment
from tests.fakes.certificates import certificates
from tests.fakes.http_server import HttpServer

MIB = 2**20


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificates(tmp_path_factory.mktemp("tls"))


@contextmanager
def echo(engine: Path) -> Iterator[int]:
    """A TLS server that sends every byte back as it comes, to a client whose certificate it knows; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(engine / "cert.pem", engine / "key.pem")
    context.load_verify_locations(engine / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED

    def serve(raw: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(raw, server_side=True) as connection:
            while piece := connection.recv(64 * 1024):
                connection.sendall(piece)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]


@contextmanager
def link(port: int, tls: Certificates) -> Iterator[TlsLink]:
    made = TlsLink(Endpoint(f"tcp://127.0.0.1:{port}", "DOCKER_HOST=there", tls))
    try:
        yield made
    finally:
        made.close()


def own(client: Path) -> Certificates:
    return Certificates(client / "ca.pem", (client / "cert.pem", client / "key.pem"))


def dial(way: TlsLink) -> socket.socket:
    near = socket.socket(socket.AF_UNIX)
    near.settimeout(30)
    near.connect(way.address.removeprefix("unix://"))
    return near


def test_many_connections_carry_bytes_both_ways_at_once(homes: tuple[Path, Path]) -> None:
    engine, client = homes
    sent = os.urandom(4 * MIB)
    came: list[bytes] = []

    def talk() -> None:
        with dial(way) as near:
            writer = threading.Thread(target=near.sendall, args=(sent,))
            writer.start()
            back = bytearray()
            while len(back) < len(sent):
                back += near.recv(64 * 1024)
            writer.join()
            came.append(bytes(back))

    with echo(engine) as port, link(port, own(client)) as way:
        talkers = [threading.Thread(target=talk) for _ in range(4)]
        for talker in talkers:
            talker.start()
        for talker in talkers:
            talker.join(60)
    assert came == [sent] * 4


def test_a_side_that_closes_closes_the_other(homes: tuple[Path, Path]) -> None:
    engine, client = homes
    with echo(engine) as port, link(port, own(client)) as way, dial(way) as near:
        near.sendall(b"here")
        assert near.recv(4) == b"here"
        near.shutdown(socket.SHUT_WR)
        assert near.recv(4) == b""


def test_a_long_temporary_directory_is_no_place_for_a_socket(
    homes: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    engine, client = homes
    with echo(engine) as port, link(port, own(client)) as way, dial(way) as near:
        near.sendall(b"here")
        assert near.recv(4) == b"here"


def test_closing_the_way_ends_its_thread_and_its_connections(homes: tuple[Path, Path]) -> None:
    engine, client = homes
    with echo(engine) as port, link(port, own(client)) as way, dial(way) as near:
        near.sendall(b"here")
        assert near.recv(4) == b"here"
        way.close()
        assert near.recv(4) == b""
        assert not Path(way.address.removeprefix("unix://")).exists()
    assert not [thread for thread in threading.enumerate() if thread.name == "tls"]


def refused(port: int, **variables: str) -> UnfitEnvironment:
    with pytest.raises(UnfitEnvironment) as caught:
        connection.connect({"DOCKER_HOST": f"tcp://127.0.0.1:{port}", **variables})
    assert f"DOCKER_HOST=tcp://127.0.0.1:{port}" in str(caught.value)
    assert not isinstance(caught.value, connection.NoEngine)
    return caught.value


def test_what_tls_says_is_what_the_user_reads(homes: tuple[Path, Path], tmp_path: Path) -> None:
    engine, client = homes
    stranger = certificates(tmp_path / "other")[1]
    with echo(engine) as port:
        unknown = refused(port, DOCKER_TLS_VERIFY="1", DOCKER_CERT_PATH=str(stranger))
        assert "certificate verify failed" in str(unknown)
        assert "ca.pem" in (unknown.hint or "")
        (tmp_path / "empty").mkdir()
        nobody = refused(port, DOCKER_TLS="1", DOCKER_CERT_PATH=str(tmp_path / "empty"))
        assert "alert certificate required" in str(nobody)
        missing = refused(port, DOCKER_TLS_VERIFY="1", DOCKER_CERT_PATH=str(tmp_path / "empty"))
        assert "ca.pem" in str(missing)
        assert "No such file" in str(missing)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    closed = refused(port, DOCKER_TLS_VERIFY="1", DOCKER_CERT_PATH=str(client))
    assert "Connect call failed" in str(closed)


def test_no_tls_socket_is_read_and_written_by_two_threads(
    homes: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's break connections then (cpython#137583). docker-py gets a Unix socket, and no variable meant for the web
    decides what the engine's certificate is checked against."""
    engine, client = homes
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates(tmp_path / "other")[1] / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(engine / "cert.pem", engine / "key.pem")
    with HttpServer(lambda exchange: exchange.say(body={"ApiVersion": "1.45"})) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        there = {"DOCKER_HOST": f"tcp://127.0.0.1:{server.server_port}", "DOCKER_TLS_VERIFY": "1"}
        made = connection.connect({**there, "DOCKER_CERT_PATH": str(client)})
        assert isinstance(made.api.get_adapter(made.api.base_url), UnixHTTPAdapter)
        assert made.version()["ApiVersion"] == "1.45"
        made.close()


# --- ssh


@pytest.mark.parametrize(
    ("address", "login", "there"),
    [
        ("ssh://build", ["--", "build"], "/var/run/docker.sock"),
        ("ssh://ann@build:2222/", ["-l", "ann", "-p", "2222", "--", "build"], "/var/run/docker.sock"),
        ("ssh://Build/run/user/1000/docker.sock", ["--", "Build"], "/run/user/1000/docker.sock"),
        (
            "ssh://ann@[fe80::1%eth0]:22",
            ["-l", "ann", "-p", "22", "--", "fe80::1%eth0"],
            "/var/run/docker.sock",
        ),
        ("ssh://-oProxyCommand=x", ["--", "-oProxyCommand=x"], "/var/run/docker.sock"),
    ],
)
def test_the_host_is_left_to_the_users_ssh(address: str, login: list[str], there: str) -> None:
    assert links.parse_ssh(Endpoint(address, "it")) == (login, there)


@pytest.mark.parametrize("address", ["ssh://", "ssh://a:b", "ssh://a@b@c", "ssh://a/$(id)", "ssh://a/x'y"])
def test_an_address_that_ssh_would_misread_is_refused(address: str) -> None:
    with pytest.raises(UnfitEnvironment, match="no address of a host"):
        links.parse_ssh(Endpoint(address, "it"))


@pytest.mark.parametrize(
    ("greeting", "log", "says", "hint"),
    [
        ("bakeoff-absent", "", "build has no /var/run/docker.sock", "rootless"),
        ("bakeoff-denied", "", "this user may not use", "usermod -aG docker"),
        ("", "Host key verification failed.", "Host key verification failed", "`ssh -p 2222 build`"),
        ("", "ann@build: Permission denied (publickey).", "Permission denied", "ssh-copy-id"),
        ("", "ssh: Could not resolve hostname build", "Could not resolve", "name"),
        ("", "connect to host build port 22: Connection timed out", "timed out", "sshd"),
        ("", "", "does not answer", "`ssh -p 2222 build -v`"),
    ],
)
def test_why_ssh_failed_is_said_with_what_to_do(greeting: str, log: str, says: str, hint: str) -> None:
    login = ["-p", "2222", "--", "build"]
    error = links.explain_ssh(greeting, log, "DOCKER_HOST=ssh://build:2222", login)
    assert says in str(error)
    assert "DOCKER_HOST=ssh://build:2222" in str(error)
    assert hint in (error.hint or "")


def test_a_machine_without_ssh_gets_a_clear_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnfitEnvironment, match="no ssh on this machine"):
        connection.connect({"DOCKER_HOST": "ssh://build"})
