"""Where sandboxes run. A new backend is one file and one row of `BACKENDS`."""

from __future__ import annotations

from importlib import import_module

from bakeoff.backends.base import Backend

# name -> the module whose `connect()` gives the backend; imported when it is used, since clients are slow to load
BACKENDS = {
    "docker": "bakeoff.backends.docker.backend",
    "fake": "bakeoff.backends.fake",
}


def connect(name: str = "docker") -> Backend:
    """The backend of that name, connected.

    Raises:
        UnfitEnvironment: it does not answer, or cannot be used; `hint` says what to do.
    """
    backend: Backend = import_module(BACKENDS[name]).connect()
    return backend
