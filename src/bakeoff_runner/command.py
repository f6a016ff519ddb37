"""A harness that is any program: it runs beside a loopback endpoint that carries its model requests to the host.

The program gets the task as one JSON object, on its stdin and as `task.json` in its working directory; the base
URLs of the endpoint in the variables that provider SDKs read; and dummy keys, so that the SDKs start. Its answer
is `answer.txt` or `answer.json` in the working directory, or else the last words of the model. Requests cross to
the host as they are, and so do its replies: which provider's dialect they are in is the gateway's business.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from bakeoff_runner import wire
from bakeoff_runner.channel import Channel, RemoteError
from bakeoff_runner.load import LoadError
from bakeoff_runner.process import make_undumpable
from bakeoff_runner.traces import discard

SOURCE = Path("/opt/harness")  # where the image has `harness.source`
TASK = "task.json"
ANSWERS = ("answer.txt", "answer.json")
MAX_BODY = wire.MAX_LINE - 64 * 1024  # bytes of one request: it travels in one line
MAX_ANSWER = 2**20  # bytes of an answer file that are read
SILENCE_SECONDS = 1.0  # after which the rest of a body that is too large is not waited for
NO_KEY = "held-by-the-gateway"
SCRIPT = re.compile(r"[^-].*\.(js|mjs|cjs|ts|py|sh|rb|pl|php|lua|jar)")


class ProgramFailed(RuntimeError):  # noqa: N818 - reads as what happened
    """The program ended otherwise than by doing its work."""


def resolve(command: list[str], source: Path = SOURCE) -> list[str]:
    """The command as it can be started from any directory: files of the source by their place in the image.

    Raises:
        LoadError: there is no such program, or no such script.
    """
    resolved = [str(source / part) if (source / part).is_file() else part for part in command]
    if shutil.which(resolved[0]) is None:
        problem = f"there is no program `{command[0]}` in the image"
        if resolved[0] != command[0]:
            problem = f"`{command[0]}` is in the source, but is not executable"
        raise LoadError("harness.command[0]", problem)
    if SCRIPT.fullmatch("".join(resolved[1:2])) and not Path(resolved[1]).is_file():
        raise LoadError("harness.command[1]", f"there is no file `{command[1]}` in `harness.source`")
    return resolved


def run(params: dict[str, Any], workdir: Path, channel: Channel) -> dict[str, Any]:
    """Run the program once, to its end; `{"answer": ...}`, None where the model's last words are the answer.

    Raises:
        ProgramFailed: it ended with a code other than 0, or never called the model.
        OSError: it could not be started.
    """
    task = {
        "inputs": params["inputs"],
        "messages": params["messages"],
        "limits": params["limits"],
        "config": params["harness"]["config"],
        "workdir": str(workdir),
        "traceparent": params.get("traceparent", ""),
    }
    text = json.dumps(task, ensure_ascii=False).encode("utf-8", "replace")
    (workdir / TASK).write_bytes(text)
    command = resolve(params["harness"]["command"])
    endpoint = Endpoint(channel)  # it ends with this process
    channel.notify("harness/loaded", {})
    make_undumpable()  # or the program could read token and channel out of this process, and speak for it
    program = subprocess.Popen(
        command,
        cwd=workdir,
        env={**os.environ, **environment(endpoint.url)},
        stdin=subprocess.PIPE,
        close_fds=False,  # Python's are not inheritable, and /proc/self/fd is closed now, to this process too
    )
    program.communicate(text)
    if program.returncode != 0:
        raise ProgramFailed(f"`{Path(command[0]).name}` {_ending(program.returncode)}")
    if not endpoint.calls:
        raise ProgramFailed(f"`{Path(command[0]).name}` ended without one request to the model")
    return {"answer": answer(workdir)}


def environment(url: str) -> dict[str, str]:
    """What makes the SDKs of OpenAI and Anthropic, and LiteLLM, speak to the endpoint."""
    return {
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_BASE": f"{url}/v1",
        "OPENAI_API_KEY": NO_KEY,
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_BASE": url,
        "ANTHROPIC_API_KEY": NO_KEY,
    }


def answer(workdir: Path) -> str | None:
    """The answer that the program left in a file: text as it is, JSON with sorted keys; None: it left none.

    An `answer.json` that is not JSON is text: models write this file too, and what they wrote is their answer.
    """
    for name in ANSWERS:
        path = workdir / name
        if not path.is_file():
            continue
        with path.open("rb") as file:
            text = file.read(MAX_ANSWER).decode("utf-8", "replace")
        try:
            value = json.loads(text) if name.endswith(".json") else text.strip()
        except (ValueError, RecursionError):
            value = text.strip()
        return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    return None


def _ending(code: int) -> str:
    return f"ended with exit code {code}" if code > 0 else f"was ended by {signal.Signals(-code).name}"


class Endpoint(ThreadingHTTPServer):
    """The model's HTTP endpoint, on a free loopback port of the container's own network namespace."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, channel: Channel) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.channel = channel
        self.calls = 0  # requests that were carried to the host
        threading.Thread(target=self.serve_forever, name="bakeoff-endpoint", daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"http://127.0.0.1:{self.server_port}"

    def exchange(self, method: str, path: str, body: Any) -> Iterator[dict[str, Any]]:
        """Carry one request to the host: pieces of a streamed reply, `{body}`; last `{status, content_type, body}`."""
        if method == "POST":
            if self.calls == 0:
                # The agent's time begins here: a program that hangs before it has asked anything is not the model's
                self.channel.notify("harness/started", {})
            self.calls += 1
        said: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        params = {"method": method, "path": path, "body": body}
        reply = self.channel.submit("model/http", params, said.put)
        reply.add_done_callback(lambda _: said.put(None))
        yield from iter(said.get, None)
        try:
            yield reply.result()
        except RemoteError as error:
            unreadable = error.kind == "invalid_params"
            status, kind = (400, "invalid_request_error") if unreadable else (502, "api_error")
            yield _refusal(status, kind, str(error))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = (
        True  # header and body are two writes: the second would wait for an acknowledgement
    )
    server: Endpoint

    def do_POST(self) -> None:
        try:
            self._reply(self._exchange())
        except ConnectionError:
            self.close_connection = True  # the program did not wait: its own affair

    do_GET = do_POST  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        """Nothing: the log is the program's own, and the host has the record of every call."""

    def _exchange(self) -> Iterator[dict[str, Any]]:
        length = self.headers.get("Content-Length", "0" if self.command == "GET" else "")
        if not length.isdecimal() or int(length) > MAX_BODY:
            self.close_connection = True  # what follows would be read as the next request
            if length.isdecimal():
                self._too_large(int(length))
                yield _refusal(413, "request_too_large", f"a request may have {MAX_BODY} bytes")
            else:
                yield _refusal(411, "invalid_request_error", "the request has no Content-Length")
            return
        raw = self.rfile.read(int(length))
        if len(raw) < int(length):
            self.close_connection = True
            return  # its sender has gone
        try:
            body = json.loads(raw) if raw else None
            grown = len(wire.encode({"params": body}))
        except (ValueError, RecursionError) as error:
            yield _refusal(400, "invalid_request_error", f"the request's body is not JSON: {error}")
            return
        if grown > MAX_BODY:  # re-encoded it has more bytes, and must not be cut on its way
            self.server.channel.report_too_large(grown)
            yield _refusal(413, "request_too_large", f"a request may have {MAX_BODY} bytes")
            return
        assert isinstance(self.server, Endpoint)
        yield from self.server.exchange(self.command, self.path, body)

    def _too_large(self, length: int) -> None:
        """Report it once it has come: anyone in the container can announce a length, and that is no request."""
        self.connection.settimeout(SILENCE_SECONDS)
        with suppress(TimeoutError):
            if discard(self.rfile, length):
                self.server.channel.report_too_large(length)

    def _reply(self, said: Iterator[dict[str, Any]]) -> None:
        """One reply with its length, or, where there are pieces, in chunks (RFC 9112, section 7.1)."""
        first = next(said, None)
        if first is None:
            return
        if "status" in first:
            body = first["body"].encode("utf-8", "replace")
            self._head(first["status"], first["content_type"], "Content-Length", str(len(body)))
            self.wfile.write(body)
            return
        self._head(200, "text/event-stream", "Transfer-Encoding", "chunked")
        for piece in chain([first], said):
            body = piece["body"].encode("utf-8", "replace")
            if body:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(body), body))
        self.wfile.write(b"0\r\n\r\n")

    def _head(self, status: int, content_type: str, framing: str, value: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header(framing, value)
        if status >= 400:
            # the gateway has spent the retry budget already; OpenAI's and Anthropic's SDKs obey this
            self.send_header("x-should-retry", "false")
        self.end_headers()


def _refusal(status: int, kind: str, message: str) -> dict[str, Any]:
    """An error of the endpoint's own, in a shape that both OpenAI's and Anthropic's clients read."""
    error = {"type": kind, "message": message, "param": None, "code": None}
    body = json.dumps({"type": "error", "error": error})
    return {"status": status, "content_type": "application/json", "body": body}
