"""`bakeoff ...` in this process, where a start costs nothing."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from bakeoff import cli

Done = subprocess.CompletedProcess[str]


def bakeoff(*args: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> Done:
    """How it ends and what it says. `env` is the whole environment; None: this process's."""
    out, err = io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with (
        mock.patch.dict(os.environ, env or {}, clear=env is not None),
        mock.patch.object(sys, "argv", ["bakeoff", *args]),
        mock.patch.object(logging.getLogger(), "handlers", []),  # pytest's would take what goes to stderr
        contextlib.chdir(cwd or Path.cwd()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            with pytest.raises(SystemExit) as ended:
                cli.main()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return Done(args, int(ended.value.code or 0), out.getvalue(), err.getvalue())
