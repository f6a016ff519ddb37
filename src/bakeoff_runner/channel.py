"""The harness's end of the wire: calls that wait for their reply, from any thread, and notifications."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from typing import Any

from bakeoff_runner import wire


class RemoteError(RuntimeError):
    """The host answered a call with an error. `kind` is the gateway's word for it."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(f"{kind}: {message}")


class ModelUnavailable(RemoteError):  # noqa: N818 - reads as what happened
    """The gateway could not get an answer from the model within the retry budget."""


class LimitReached(RemoteError):  # noqa: N818
    """The production limit on model calls or tokens is used up."""


class Channel:
    """JSON-RPC over two file descriptors."""

    def __init__(self, reader: int, writer: int) -> None:
        self._reader = os.fdopen(reader, "rb")
        self._writer = writer
        self._writing = threading.Lock()
        self._ids = count(1)
        self._token = ""
        self._waiting: dict[str, Future[dict[str, Any]]] = {}
        self._takers: dict[str, Callable[[dict[str, Any]], None]] = {}  # of streamed replies
        for end in (reader, writer):
            os.set_inheritable(end, False)

    def first_request(self) -> dict[str, Any]:
        """Wait for `harness/run`; then start listening for replies."""
        request: dict[str, Any] = json.loads(self._reader.readline())
        self._token = request["params"].pop("token")
        threading.Thread(target=self._listen, name="bakeoff-channel", daemon=True).start()
        return request

    def send(self, message: dict[str, Any]) -> None:
        """Write one line, whole, with the attempt's token."""
        self._write(self._line(message))

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Tell the host something that has no reply."""
        self.send({"method": method, "params": params})

    def submit(
        self,
        method: str,
        params: dict[str, Any],
        on_chunk: Callable[[dict[str, Any]], None] | None = None,
    ) -> Future[dict[str, Any]]:
        """Start a call; the future gives its result, or raises `RemoteError`.

        `on_chunk` takes each piece of a streamed reply, in order and before the future is done, in the
        listening thread: it must not block. A call that no line can hold fails at once, with the kind `too_large`.
        """
        ident = f"h{next(self._ids)}"
        future: Future[dict[str, Any]] = Future()
        line = self._line({"id": ident, "method": method, "params": params})
        if len(line) > wire.MAX_LINE:
            self.tell_too_large(len(line))
            what = f"a request may have {wire.MAX_LINE} bytes, this one has {len(line)}"
            future.set_exception(ModelUnavailable("too_large", what))
            return future
        self._waiting[ident] = future
        if on_chunk is not None:
            self._takers[ident] = on_chunk
        self._write(line)
        return future

    def tell_too_large(self, size: int) -> None:
        """Tell the host of a call that does not reach it."""
        self.notify("model/too_large", {"bytes": size})

    def _line(self, message: dict[str, Any]) -> bytes:
        return wire.encode({"token": self._token, **message})

    def _write(self, line: bytes) -> None:
        view = memoryview(line)
        with self._writing:
            while view:
                view = view[os.write(self._writer, view) :]

    def _listen(self) -> None:
        for line in self._reader:
            reply = json.loads(line)
            if reply.get("method") == "model/chunk":
                if (take := self._takers.get(reply["params"]["id"])) is not None:
                    take(reply["params"]["chunk"])
                continue
            self._takers.pop(reply["id"], None)
            future = self._waiting.pop(reply["id"], None)
            if future is None:
                # the answer to a line that went out beside this channel: it must not end the listening for others
                continue
            if "error" in reply:
                error = reply["error"]
                kind = error.get("data", {}).get("kind", "error")
                sort = LimitReached if error["code"] == wire.LIMIT_REACHED else ModelUnavailable
                future.set_exception(sort(kind, error["message"]))
            else:
                future.set_result(reply["result"])
