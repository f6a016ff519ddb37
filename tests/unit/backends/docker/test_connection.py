"""Finding the engine that the user's `docker` would talk to, and saying why it cannot be used."""

import pytest
from docker.errors import DockerException

from bakeoff.backends.docker import connection
from bakeoff.backends.docker.connection import NoEngine
from bakeoff.errors import UnfitEnvironment


def test_no_socket_is_another_error_than_no_permission() -> None:
    def wrapped(cause: Exception) -> Exception:
        return DockerException("Error while fetching server API version", ConnectionError("aborted", cause))

    absent = connection.explain(wrapped(FileNotFoundError(2, "No such file")), "")
    assert isinstance(absent, NoEngine)
    refused = connection.explain(wrapped(ConnectionRefusedError(111, "refused")), "")
    assert isinstance(refused, NoEngine)
    denied = connection.explain(wrapped(PermissionError(13, "Permission denied")), "")
    assert not isinstance(denied, NoEngine)
    assert "usermod -aG docker" in (denied.hint or "")


def test_an_engine_that_the_user_named_is_never_replaced() -> None:
    error = connection.explain(ConnectionRefusedError(111, "refused"), "DOCKER_HOST=tcp://build:2375")
    assert not isinstance(error, NoEngine)
    assert "DOCKER_HOST=tcp://build:2375" in str(error)


@pytest.mark.parametrize(
    "environment",
    [
        {"DOCKER_HOST": "unix:///nowhere/docker.sock"},
        {"DOCKER_HOST": "bogus"},
        {"DOCKER_CONTEXT": "nobody-made-it"},
    ],
)
def test_connect_names_what_was_asked_for(environment: dict[str, str]) -> None:
    with pytest.raises(UnfitEnvironment) as caught:
        connection.connect(environment)
    assert next(iter(environment.values())) in str(caught.value)
    assert not isinstance(caught.value, NoEngine)


@pytest.mark.parametrize(
    ("version", "fine"), [("1.40", False), ("1.41", True), ("1.55", True), ("2.0", True)]
)
def test_api_versions(version: str, fine: bool) -> None:
    assert (connection.complaint_about_api(version) is None) is fine
