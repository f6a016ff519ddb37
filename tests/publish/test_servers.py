"""The real back ends that the other tests publish to: they start, answer, and end with the tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from servers import ADMIN_PASSWORD, Phoenix, Server

pytestmark = pytest.mark.slow


def test_mlflow_answers_its_own_api(mlflow_server: Server) -> None:
    answer = httpx.post(f"{mlflow_server.url}/api/2.0/mlflow/experiments/search", json={"max_results": 10})
    assert answer.json()["experiments"]  # those of other tests, and its own


def test_mlflow_with_users_lets_only_them_in(mlflow_server_with_users: Server) -> None:
    url = f"{mlflow_server_with_users.url}/api/2.0/mlflow/experiments/search"
    assert httpx.post(url, json={"max_results": 10}).status_code == 401
    assert httpx.post(url, json={"max_results": 10}, auth=("admin", "wrong")).status_code == 401
    assert httpx.post(url, json={"max_results": 10}, auth=("admin", ADMIN_PASSWORD)).status_code == 200


def test_phoenix_gives_back_the_span_that_was_sent(phoenix_server: Phoenix) -> None:
    body = {
        "name": "a test's span",
        "context": {"trace_id": "1" * 32, "span_id": "2" * 16},
        "span_kind": "CHAIN",
        "start_time": "2026-07-22T14:15:03Z",
        "end_time": "2026-07-22T14:15:04Z",
        "status_code": "OK",
        "attributes": {"a": 1},
    }
    httpx.post(f"{phoenix_server.url}/v1/projects", json={"name": "test-servers"}).raise_for_status()
    url = f"{phoenix_server.url}/v1/projects/test-servers/spans"
    httpx.post(url, json={"data": [body]}).raise_for_status()
    (span,) = phoenix_server.settled("test-servers")
    assert span["name"] == "a test's span"
    assert span["context"] == {"trace_id": "1" * 32, "span_id": "2" * 16}
    assert span["attributes"]["a"] == 1
    assert "test-servers" in phoenix_server.projects()
    assert phoenix_server.spans("no-such-project") == []


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
    assert process.stdout is not None
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
