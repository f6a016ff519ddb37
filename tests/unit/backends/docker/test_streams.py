"""A container's streams: closing them while another thread writes or reads is an end, and no bug."""

from collections.abc import Callable
from typing import Any

import pytest

from bakeoff.backends.docker.container import Container


class Hijacked:
    """docker-py's SocketIO, of which `close` has taken the socket already."""

    _sock: Any = None


def closing() -> Container:
    made = Container(None, "id", None, lambda _: None)  # type: ignore[arg-type]
    made._socket = Hijacked()
    return made


def write(box: Container) -> object:
    box.send(b"a request")
    return box._write()


@pytest.mark.parametrize(("use", "ends_with"), [(write, None), (lambda box: list(box.frames()), [])])
def test_a_thread_that_uses_the_streams_while_they_are_closed_ends_quietly(
    use: Callable[[Container], object], ends_with: object
) -> None:
    assert use(closing()) == ends_with
