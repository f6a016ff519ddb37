"""The way to an engine: its own socket, or one on this machine that carries each connection on.

docker-py speaks well over a Unix socket and plain TCP only. Its ssh reads no stream as it comes. Over TLS it reads and
writes one connection from two threads, which Python's TLS sockets do not bear. So `ssh` forwards the engine's socket,
and TLS ends in this process, in one thread for all connections.
"""

from __future__ import annotations

import asyncio
import os
import re
import select
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from bakeoff.backends.docker.endpoint import Endpoint
from bakeoff.errors import UnfitEnvironment
from bakeoff.text.escape import last_lines

# For a login over ssh, and for the greetings of TLS.
OPEN_SECONDS = 30.0
PIECE = 64 * 1024
LONGEST_DIRECTORY = 75


class Link(Protocol):
    """What docker-py connects to: `address`, a Unix socket's or plain TCP's; empty: the local engine's."""

    address: str

    def renew(self) -> None:
        """Open the way again, if it has closed.

        Raises:
            UnfitEnvironment: it cannot be opened.
        """
        ...

    def problem(self) -> tuple[str, str] | None:
        """Why the last connection failed on the way, and what to do; None: not on the way."""
        ...

    def close(self) -> None:
        """Close the way and all that goes over it. Idempotent."""
        ...


def open_link(endpoint: Endpoint) -> Link:
    """The way to an engine.

    Raises:
        UnfitEnvironment: it cannot be opened.
    """
    if endpoint.scheme == "ssh":
        return SshLink(endpoint)
    if endpoint.scheme == "tcp" and endpoint.tls is not None:
        return TlsLink(endpoint)
    return DirectLink(endpoint.address)


def _private_directory() -> Path:
    """For a socket, whose address has room for about 100 bytes: not below a long TMPDIR."""
    long = len(tempfile.gettempdir()) > LONGEST_DIRECTORY
    return Path(tempfile.mkdtemp(prefix="bakeoff-", dir="/tmp" if long else None))  # noqa: S108


class DirectLink:
    """The engine's own socket."""

    def __init__(self, address: str) -> None:
        self.address = address

    def renew(self) -> None:
        pass

    def problem(self) -> tuple[str, str] | None:
        return None

    def close(self) -> None:
        pass


# --- ssh --------------------------------------------------------------------------------------------

# Of the user's own ssh, with its keys and configuration. It asks for nothing, since a question in the middle of a run
# would find nobody; it notices a dead network; and a shared connection (ControlPath) would keep the socket for itself.
SSH = (
    "ssh", "-T", "-a", "-x",
    *("-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3"),
    *("-o", "ControlPath=none", "-o", "RemoteCommand=none", "-o", "LogLevel=INFO"),
)  # fmt: skip
REMOTE_SOCKET = "/var/run/docker.sock"
READY = b"bakeoff-ready"
# Says whether this user may talk to an engine there, then lasts as long as this process holds its standard input.
THERE = (
    "exec sh -c '"
    "if [ ! -S {socket} ]; then echo bakeoff-absent; "
    "elif [ ! -w {socket} ]; then echo bakeoff-denied; "
    "else echo bakeoff-ready; exec cat >/dev/null; fi'"
)
SSH_HINTS = (
    (
        r"host key|host identification|authenticity of host",
        "Run `{ssh}` once by hand, and compare the host's key before you accept it.",
    ),
    (
        r"permission denied|too many authentication failures",
        "Log in with a key that asks for nothing: `ssh-copy-id`, and `ssh-add` where it has a passphrase.",
    ),
    (r"could not resolve", "Check the host's name."),
    (
        r"connection refused|timed out|no route|unreachable",
        "Check that the host runs and that its sshd listens there.",
    ),
)


class SshLink:
    """A socket here that `ssh -L` carries to the engine's socket there: one login for all connections."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._named = endpoint.named
        self._login, self._socket = parse_ssh(endpoint)
        self._directory = _private_directory()
        self._here, self._log = self._directory / "d.sock", self._directory / "ssh.log"
        self.address = f"unix://{self._here}"
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        try:
            self.renew()
        except BaseException:
            self.close()
            raise

    def renew(self) -> None:
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                return
            self._end()
            self._here.unlink(missing_ok=True)
            self._open()

    def _open(self) -> None:
        command = [
            *SSH,
            "-L",
            f"{self._here}:{self._socket}",
            *self._login,
            THERE.format(socket=self._socket),
        ]
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
                )
        except FileNotFoundError:
            raise UnfitEnvironment(
                f"{self._named}: there is no ssh on this machine", hint="Install the OpenSSH client."
            ) from None
        said = self._greeting(self._process)
        if said == READY and self._here.exists():
            return
        self._end()
        raise explain_ssh(said.decode(), self._said(), self._named, self._login, self._socket)

    def _greeting(self, process: subprocess.Popen[bytes]) -> bytes:
        """Its first line of ours: a login shell may say other things first. Empty: it ended, or took too long."""
        output = process.stdout
        if output is None:
            raise AssertionError("it has a pipe")
        said, deadline = b"", time.monotonic() + OPEN_SECONDS
        while select.select([output], [], [], max(0.0, deadline - time.monotonic()))[0]:
            piece = os.read(output.fileno(), PIECE)
            said += piece
            if found := re.search(rb"^(bakeoff-\w+)\r?\n", said, re.MULTILINE):
                return found[1]
            if not piece:
                break
        return b""

    def problem(self) -> tuple[str, str] | None:
        """What ssh said of a connection that the far side did not take."""
        refused = [line for line in self._said().splitlines() if "open failed" in line]
        if not refused:
            return None
        # OpenSSH has the same words for both
        hint = (
            "Start the engine there; or let the host's sshd forward sockets: AllowStreamLocalForwarding yes."
        )
        return f"{self._socket} there: {refused[-1]}", hint

    def _said(self) -> str:
        with suppress(OSError):
            return last_lines(self._log.read_text(encoding="utf-8", errors="replace"))
        return ""

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def close(self) -> None:
        with self._lock:
            self._end()
            shutil.rmtree(self._directory, ignore_errors=True)


def parse_ssh(endpoint: Endpoint) -> tuple[list[str], str]:
    """ssh's arguments for the host of `ssh://[user@]host[:port][/path/of/the/socket]`, and the socket there.

    Raises:
        UnfitEnvironment: it is no such address.
    """
    pattern = r"ssh://(?:([^@/:]+)@)?(\[[\w:%.]+\]|[^@/:\[\]]+)(?::(\d+))?(/[\w./@+-]*)?"
    found = re.fullmatch(pattern, endpoint.address)
    if found is None:
        raise UnfitEnvironment(
            f"{endpoint.named}: that is no address of a host",
            hint="Write ssh://user@host:port, or a part of it.",
        )
    user, host, port, path = found.groups()
    login = [*(["-l", user] if user else []), *(["-p", port] if port else []), "--", host.strip("[]")]
    return login, path if path and path != "/" else REMOTE_SOCKET


def explain_ssh(
    greeting: str, log: str, named: str, login: list[str], socket: str = REMOTE_SOCKET
) -> UnfitEnvironment:
    """Why ssh gave no engine: the far side's greeting, or the last words of ssh itself."""
    host = login[-1]
    if greeting == "bakeoff-absent":
        hint = (
            "Start Docker there, or name its socket; of a rootless engine: "
            f"ssh://{host}/run/user/1000/docker.sock (with the user's id)."
        )
        return UnfitEnvironment(f"no Docker Engine answers at {named}: {host} has no {socket}", hint=hint)
    if greeting == "bakeoff-denied":
        hint = f"On {host}: `sudo usermod -aG docker $USER`."
        return UnfitEnvironment(
            f"no Docker Engine answers at {named}: this user may not use {socket} on {host}", hint=hint
        )
    ssh = " ".join(["ssh", *(one for one in login if one != "--")])
    said = log or "it does not answer"
    hints = (hint for signs, hint in SSH_HINTS if re.search(signs, log, re.IGNORECASE))
    hint = next(hints, "See `{ssh} -v`.").format(ssh=ssh)
    return UnfitEnvironment(f"no Docker Engine answers at {named}: ssh failed: {said}", hint=hint)


# --- TLS --------------------------------------------------------------------------------------------


class TlsLink:
    """A socket here whose connections go on over TLS. One thread moves all bytes, so nothing waits for its turn."""

    def __init__(self, endpoint: Endpoint) -> None:
        if endpoint.tls is None:
            raise AssertionError("it is an engine with TLS")
        parts = urlsplit(endpoint.address)
        self._host, self._port = parts.hostname or "", parts.port or 0
        try:
            self._context = endpoint.tls.context()
        except OSError as error:
            raise UnfitEnvironment(
                f"{endpoint.named}: no TLS with these certificates ({endpoint.tls.ca or endpoint.tls.own}): {error}",
                hint="Set DOCKER_CERT_PATH to the directory of ca.pem, cert.pem and key.pem.",
            ) from error
        self._problem: tuple[str, str] | None = None
        self._directory = _private_directory()
        self.address = f"unix://{self._directory / 'd.sock'}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tls", daemon=True)
        self._thread.start()
        listening = asyncio.start_unix_server(self._carry, self._directory / "d.sock")
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result()

    def renew(self) -> None:
        pass

    def problem(self) -> tuple[str, str] | None:
        return self._problem

    def close(self) -> None:
        if not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            shutil.rmtree(self._directory, ignore_errors=True)

    async def _stop(self) -> None:
        self._server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _carry(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        """One connection, until either side closes it."""
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                far, to_far = await asyncio.open_connection(self._host, self._port, ssl=self._context)
        except OSError as error:  # TLS's own errors and a timeout are such, too
            self._fail(error)
            to_near.close()
            return
        ways = [asyncio.create_task(self._pump(near, to_far)), asyncio.create_task(self._pump(far, to_near))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for writer in (to_near, to_far):
                writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while piece := await source.read(PIECE):
                sink.write(piece)
                await sink.drain()
        except ssl.SSLError as error:  # a client's certificate is refused after the greetings
            self._fail(error)
        except OSError:
            pass  # the side that is still there sees the connection close

    def _fail(self, error: OSError) -> None:
        hint = "Start that engine, or unset the variable or context that names it."
        if isinstance(error, ssl.SSLError):
            hint = (
                "Check ca.pem (which signed the engine's certificate), cert.pem and key.pem in DOCKER_CERT_PATH or the "
                "context, and that the certificate names the host."
            )
        self._problem = str(error) or "no answer in time", hint
