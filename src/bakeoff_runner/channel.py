"""The harness's end of the protocol: calls that wait for their reply, from any thread, and notifications."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from typing import Any

from bakeoff_runner import wire
from bakeoff_runner.time_limit import INTERRUPT


class RemoteError(RuntimeError):
    """The host answered a call with an error; `kind` is the gateway's name for it."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind, self.message = kind, message
        super().__init__(f"{kind}: {message}")


class ModelUnavailable(RemoteError):  # noqa: N818 - reads as what happened
    """The gateway got no answer from the model within its retry policy."""


class LimitReached(RemoteError):  # noqa: N818
    """The production limit on model calls or tokens is used up."""


class Channel:
    """JSON-RPC over two file descriptors, for the process that made it."""

    def __init__(self, reader: int, writer: int) -> None:
        self._process = os.getpid()
        self._reader = os.fdopen(reader, "rb")
        self._writer = writer
        self._writing = threading.Lock()
        self._ids = count(1)
        self._token = ""
        self._waiting: dict[str, Future[dict[str, Any]]] = {}
        self._chunk_handlers: dict[str, Callable[[dict[str, Any]], None]] = {}  # of streamed replies
        for end in (reader, writer):
            os.set_inheritable(end, False)

    def first_request(self) -> dict[str, Any]:
        """Wait for `harness/run`; then start listening for replies."""
        request: dict[str, Any] = json.loads(self._reader.readline())
        self._token = request["params"].pop("token")
        threading.Thread(target=self._listen, name="bakeoff-channel", daemon=True).start()
        return request

    def __deepcopy__(self, _: object) -> Channel:
        return self  # of a copied model

    def send(self, message: dict[str, Any]) -> None:
        """Write one whole line, with the attempt's token."""
        self._write(self._line(message))

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Report something that has no reply. A forked process reports nothing: its lines would break into others."""
        if os.getpid() == self._process:
            self.send({"method": method, "params": params})

    def submit(
        self,
        method: str,
        params: dict[str, Any],
        on_chunk: Callable[[dict[str, Any]], None] | None = None,
    ) -> Future[dict[str, Any]]:
        """Start a call; the future gives its result, or raises `RemoteError`.

        `on_chunk` gets each piece of a streamed reply, in order and before the future is done, in the
        listening thread: it must not block. A call that is too long for a line fails at once, with the kind
        `too_large`.

        Raises:
            RuntimeError: this is a forked process, which no reply would reach.
        """
        if os.getpid() != self._process:
            raise RuntimeError(
                "only the process that built the agent can call the model, not one forked from it"
            )
        ident = f"h{next(self._ids)}"
        future: Future[dict[str, Any]] = Future()
        line = self._line({"id": ident, "method": method, "params": params})
        if len(line) > wire.MAX_LINE:
            self.report_too_large(len(line))
            what = f"a request may have {wire.MAX_LINE} bytes, this one has {len(line)}"
            future.set_exception(ModelUnavailable("too_large", what))
            return future
        self._waiting[ident] = future
        if on_chunk is not None:
            self._chunk_handlers[ident] = on_chunk
        self._write(line)
        return future

    def report_too_large(self, size: int) -> None:
        """Report a call that does not reach the host."""
        self.notify("model/too_large", {"bytes": size})

    def _line(self, message: dict[str, Any]) -> bytes:
        return wire.encode({"token": self._token, **message})

    def _write(self, line: bytes) -> None:
        view = memoryview(line)
        with self._writing:
            # the end of a tool's time must not cut a line
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {INTERRUPT})
            try:
                while view:
                    view = view[os.write(self._writer, view) :]
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def _listen(self) -> None:
        for line in self._reader:
            reply = json.loads(line)
            if reply.get("method") == "model/chunk":
                if (handle := self._chunk_handlers.get(reply["params"]["id"])) is not None:
                    handle(reply["params"]["chunk"])
                continue
            self._chunk_handlers.pop(reply["id"], None)
            future = self._waiting.pop(reply["id"], None)
            if future is None:
                # The answer to a line that was written past this channel must not stop it from listening.
                continue
            if "error" in reply:
                error = reply["error"]
                kind = error.get("data", {}).get("kind", "error")
                exception = LimitReached if error["code"] == wire.LIMIT_REACHED else ModelUnavailable
                future.set_exception(exception(kind, error["message"]))
            else:
                future.set_result(reply["result"])
