"""Real back ends for the tests: an MLflow server and an Arize Phoenix, from an environment of their own.

Their versions are pinned in servers.txt and never meet bakeoff's own. The environment is made once, below
.cache/publish-servers; when servers.txt or the Python changes another one is made, since somebody may use the old one:

    .venv/bin/python tests/publish/servers.py

A server cannot outlive the tests, however those end: it ends when the pipe to its standard input does.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uv

PINS = Path(__file__).with_name("servers.txt")
ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".cache" / "publish-servers"
START_SECONDS = 180.0  # the first start writes thousands of .pyc files; later ones take about ten seconds
STOP_SECONDS = 3.0  # then it is killed: nobody will read its data again

# Its process group has this shell in it; when either the server or the pipe to us ends, all of it does.
GUARD = '{ "$@"; kill 0; } & read -r _; kill 0'

# Nothing of the user's settings, and nothing sent home.
QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "PHOENIX_TELEMETRY_ENABLED": "false",
    "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
    "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
}
FOREIGN = ("MLFLOW_", "PHOENIX_", "OTEL_", "LANGSMITH_", "LANGCHAIN_")


class NoEnvironment(Exception):
    """The servers' environment could not be made here."""


def environment() -> Path:
    """The `bin` directory of the servers' environment, made where it is missing or out of date.

    Raises NoEnvironment when it cannot be made: no network, for one.
    """
    digest = hashlib.sha256(PINS.read_bytes() + sys.version.encode()).hexdigest()
    place = PLACE / digest[:12]
    place.mkdir(parents=True, exist_ok=True)
    stamp = place / "made"
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs at once make it once
        if not stamp.exists():
            shutil.rmtree(place / "env", ignore_errors=True)
            _uv(place, "venv", "--python", sys.executable, "env")
            # servers.txt is the whole closure: nothing is left to resolve
            _uv(
                place, "pip", "install", "--no-deps", "--compile-bytecode", "--python", "env", "-r", str(PINS)
            )
            stamp.touch()
    return place / "env" / "bin"


def _uv(place: Path, *command: str) -> None:
    """Run uv in `place` with the user's own settings."""
    env = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    done = subprocess.run(
        [uv.find_uv_bin(), *command], cwd=place, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NoEnvironment(f"uv {command[0]} failed: {done.stderr.strip()[-2000:]}")


@dataclass(frozen=True)
class Server:
    """One that answers. `url` is its page and its HTTP API."""

    url: str
    log: Path
    data: Path


@dataclass(frozen=True)
class Phoenix(Server):
    """Arize Phoenix. OTLP over HTTP goes to `url + "/v1/traces"`, over gRPC to `grpc` (host:port, no TLS)."""

    grpc: str = ""

    def projects(self) -> list[str]:
        """Names of the projects that it has."""
        return [row["name"] for row in self._pages("/v1/projects", {"include_experiment_projects": True})]

    def spans(self, project: str, **filters: Any) -> list[dict[str, Any]]:
        """Every span of a project, as `GET /v1/projects/{project}/spans` gives it; none of an unknown project.

        `filters` are that request's own: trace_id, parent_id, name, status_code, ...
        """
        return list(self._pages(f"/v1/projects/{project}/spans", filters))

    def settled(self, project: str, seconds: float = 30.0) -> list[dict[str, Any]]:
        """Its spans, once no more come: it writes them after it has answered. At most `seconds` are waited for."""
        end = time.monotonic() + seconds
        before, spans = -1, self.spans(project)
        while (not spans or len(spans) != before) and time.monotonic() < end:
            time.sleep(1.5)
            before, spans = len(spans), self.spans(project)
        return spans

    def _pages(self, path: str, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            page = {"limit": 1000} | query | ({"cursor": cursor} if cursor else {})
            answer = httpx.get(self.url + path, params=page, timeout=60)
            if answer.status_code == 404:
                return
            body = answer.raise_for_status().json()
            yield from body["data"]
            cursor = body.get("next_cursor")
            if not cursor:
                return


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`mlflow server` on SQLite, which serves the artifacts too."""
    with _mlflow(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture(scope="session")
def mlflow_server_with_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same with MLflow's basic authentication: `admin`, whose password is ADMIN_PASSWORD."""
    data = tmp_path_factory.mktemp("mlflow-auth")
    settings = data / "auth.ini"
    settings.write_text(
        "[mlflow]\ndefault_permission = READ\nadmin_username = admin\n"
        f"admin_password = {ADMIN_PASSWORD}\ndatabase_uri = sqlite:///{data}/users.sqlite\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    secret = base64.b64encode(os.urandom(24)).decode()
    env = {"MLFLOW_AUTH_CONFIG_PATH": str(settings), "MLFLOW_FLASK_SERVER_SECRET_KEY": secret}
    with _mlflow(data, "--app-name", "basic-auth", env=env) as server:
        yield server


ADMIN_PASSWORD = "a-password-of-the-tests"


@contextlib.contextmanager
def _mlflow(data: Path, *options: str, env: dict[str, str] | None = None) -> Iterator[Server]:
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{data}/mlflow.sqlite"]
    command += ["--serve-artifacts", "--artifacts-destination", f"{data}/artifacts", *options]
    with _served(command, data, f"{url}/health", env or {}) as log:
        yield Server(url, log, data)


@pytest.fixture(scope="session")
def phoenix_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phoenix]:
    """`phoenix serve` on SQLite, with its two OTLP ports."""
    with _phoenix(tmp_path_factory.mktemp("phoenix")) as server:
        yield server


@contextlib.contextmanager
def _phoenix(data: Path) -> Iterator[Phoenix]:
    port, grpc = _free_port(), _free_port()
    url = f"http://127.0.0.1:{port}"
    env = {
        "PHOENIX_WORKING_DIR": str(data),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc),
    }
    with _served(["phoenix", "serve"], data, f"{url}/healthz", env) as log:
        yield Phoenix(url, log, data, grpc=f"127.0.0.1:{grpc}")


@contextlib.contextmanager
def _served(command: list[str], data: Path, health: str, env: dict[str, str]) -> Iterator[Path]:
    """The server while it runs; yields its log once `health` answers."""
    try:
        binaries = environment()
    except NoEnvironment as error:
        if os.environ.get("CI"):
            pytest.fail(f"the back ends could not be installed, and CI may not skip this: {error}")
        pytest.skip(f"the back ends could not be installed: {error}")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    # mlflow starts its web server as `python` of its own environment
    clean |= QUIET | env | {"HOME": str(data), "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    log = data / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-c", GUARD, "sh", str(binaries / command[0]), *command[1:]],
            cwd=data,
            env=clean,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a process group of its own, whose id is the shell's
        )
    try:
        _wait(process, health, log)
        yield log
    finally:
        _stop(process)


def _wait(process: subprocess.Popen[bytes], health: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(health, timeout=5).is_success:
                return
        time.sleep(0.2)
    state = "ended" if process.poll() is not None else f"did not answer within {START_SECONDS:g} s"
    pytest.fail(f"{process.args!r} {state}:\n{log.read_text(errors='replace')[-4000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    # the shell ends at once, and so may leave behind what is slow to end: its group keeps its id until the last has
    end = time.monotonic() + STOP_SECONDS
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < end:
            os.killpg(process.pid, 0)
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    print(environment().parent)
