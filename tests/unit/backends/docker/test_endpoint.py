"""Which engine is named: by the docker command's own rules, from files as that command writes them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from bakeoff.backends.docker import endpoint
from bakeoff.backends.docker.endpoint import Endpoint
from bakeoff.errors import UnfitEnvironment


class Home:
    """A directory of Docker's configuration."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def context(self, name: str, docker: dict[str, Any] | None, *files: str) -> Path:
        digest = hashlib.sha256(name.encode()).hexdigest()
        meta = self.path / "contexts/meta" / digest / "meta.json"
        meta.parent.mkdir(parents=True)
        endpoints = {} if docker is None else {"docker": docker}
        meta.write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": endpoints}))
        tls = self.path / "contexts/tls" / digest / "docker"
        for file in files:
            tls.mkdir(parents=True, exist_ok=True)
            (tls / file).touch()
        return meta

    def config(self, text: str) -> None:
        (self.path / "config.json").write_text(text)

    def find(self, **variables: str) -> Endpoint:
        return endpoint.find({"DOCKER_CONFIG": str(self.path), **variables})


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_without_a_word_it_is_the_local_socket(home: Home) -> None:
    assert home.find() == Endpoint("")
    assert home.find(DOCKER_HOST="", DOCKER_CONTEXT="") == Endpoint("")


def test_a_host_goes_before_a_context_and_a_context_before_the_current_one(home: Home) -> None:
    home.context("desktop", {"Host": "unix:///desktop.sock"})
    home.context("build", {"Host": "ssh://build"})
    home.config('{"currentContext": "desktop"}')
    assert home.find().address == "unix:///desktop.sock"
    assert home.find(DOCKER_CONTEXT="build").address == "ssh://build"
    assert home.find(DOCKER_CONTEXT="default").address == ""
    assert home.find(DOCKER_CONTEXT="gone", DOCKER_HOST="tcp://there:1").address == "tcp://there:1"


def test_a_context_is_found_where_no_config_file_is(home: Home) -> None:
    home.context("build", {"Host": "ssh://build"})
    assert home.find(DOCKER_CONTEXT="build").address == "ssh://build"


def test_a_stale_context_is_refused_wherever_it_is_named(home: Home) -> None:
    home.config('{"currentContext": "desktop-linux"}')  # Docker Desktop was removed, its configuration stayed
    for variables in ({}, {"DOCKER_CONTEXT": "gone"}):
        with pytest.raises(UnfitEnvironment, match="no such context") as caught:
            home.find(**variables)
        assert variables.get("DOCKER_CONTEXT", "desktop-linux") in str(caught.value)
        assert "docker context ls" in (caught.value.hint or "")


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"Endpoints": []}', '{"Endpoints": {"docker": 1}}'])
def test_a_broken_context_is_refused(home: Home, broken: str) -> None:
    home.context("broken", {}).write_text(broken)
    with pytest.raises(UnfitEnvironment, match="cannot be read"):
        home.find(DOCKER_CONTEXT="broken")


def test_a_context_for_something_else_than_docker_is_refused(home: Home) -> None:
    home.context("cluster", None)
    with pytest.raises(UnfitEnvironment, match="docker"):
        home.find(DOCKER_CONTEXT="cluster")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_configuration_that_names_no_context_means_the_local_socket(home: Home, text: str) -> None:
    home.config(text)
    assert home.find() == Endpoint("")


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("unix:///run/docker.sock", "unix:///run/docker.sock"),
        ("unix://", ""),
        ("tcp://there", "tcp://there:2375"),
        ("there:99", "tcp://there:99"),
        ("tcp://[::1]:99", "tcp://[::1]:99"),
        ("ssh://ann@there:22", "ssh://ann@there:22"),
    ],
)
def test_addresses(home: Home, host: str, address: str) -> None:
    assert home.find(DOCKER_HOST=host).address == address


def test_an_address_of_no_known_kind_is_refused(home: Home) -> None:
    with pytest.raises(UnfitEnvironment, match="npipe"):
        home.find(DOCKER_HOST="npipe:////./pipe/docker_engine")


def test_tls_of_the_environment(home: Home, tmp_path: Path) -> None:
    files = tmp_path / "certs"
    files.mkdir()
    there = {"DOCKER_HOST": "tcp://there", "DOCKER_CERT_PATH": str(files)}
    assert home.find(**there).tls is None, "a directory alone asks for no TLS"
    found = home.find(**there, DOCKER_TLS_VERIFY="1")
    assert found.address == "tcp://there:2376"
    assert (found.tls.ca, found.tls.own) == (files / "ca.pem", None)
    (files / "cert.pem").touch()
    unchecked = home.find(**there, DOCKER_TLS="1", DOCKER_TLS_VERIFY="").tls
    assert (unchecked.ca, unchecked.own) == (None, (files / "cert.pem", files / "key.pem"))


def test_tls_of_a_context(home: Home) -> None:
    home.context("plain", {"Host": "tcp://there:1", "SkipTLSVerify": False})
    home.context("safe", {"Host": "tcp://there:1"}, "ca.pem", "cert.pem", "key.pem")
    home.context("unchecked", {"Host": "tcp://there:1", "SkipTLSVerify": True})
    assert home.find(DOCKER_CONTEXT="plain").tls is None
    safe, unchecked = home.find(DOCKER_CONTEXT="safe").tls, home.find(DOCKER_CONTEXT="unchecked").tls
    assert safe.own == (safe.ca.with_name("cert.pem"), safe.ca.with_name("key.pem"))
    assert unchecked == endpoint.Certificates(None, None)
