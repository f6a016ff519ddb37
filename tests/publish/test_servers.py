"""The real back ends that the other tests publish to end with the tests, however those end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.slow


TESTS_THAT_DIE = """
import sys, time
from pathlib import Path
import servers
port = servers._free_port()
url = f"http://127.0.0.1:{port}"
with servers._served(["python", "-m", "http.server", str(port)], Path(sys.argv[1]), url, {}):
    print(url, flush=True)
    time.sleep(600)
"""


def test_a_server_ends_with_tests_that_were_killed(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", TESTS_THAT_DIE, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.PIPE,
        text=True,
    )
    url = process.stdout.readline().strip()
    assert httpx.get(url).is_success
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            httpx.get(url, timeout=2)
        except httpx.TransportError:
            return
        time.sleep(0.2)
    pytest.fail("the server lives on")
