"""An HTTP server on the loopback whose answer to each request is a function: what every fake service is made of."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Exchange(BaseHTTPRequestHandler):
    """One request with its `body`, and ways to answer it."""

    disable_nagle_algorithm = (
        True  # head and body leave apart; without this a reply waits for an acknowledgement
    )
    server: HttpServer

    def do_GET(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.answer(self)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def say(self, status: int = 200, body: Any = b"", headers: dict[str, str] | None = None) -> None:
        """A whole reply; what is neither bytes nor text is sent as JSON."""
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        data = text.encode() if isinstance(text, str) else text
        self.begin(status, {"content-length": str(len(data)), **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(data)

    def begin(self, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """Status and headers."""
        self.send_response(status)
        given = {name.lower(): value for name, value in (headers or {}).items()}
        for name, value in {"content-type": "application/json", **given}.items():
            self.send_header(name, value)
        self.end_headers()

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        pass


class HttpServer(ThreadingHTTPServer):
    """Listens at `url` while the `with` block lasts. `http_1_1`: connections are kept open. `port` 0: any."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        answer: Callable[[Any], None],
        *,
        http_1_1: bool = False,
        exchange: type[Exchange] = Exchange,
        port: int = 0,
    ) -> None:
        version = {"protocol_version": "HTTP/1.1"} if http_1_1 else {}
        super().__init__(("127.0.0.1", port), type("Bound", (exchange,), version))
        self.answer = answer
        self.url = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is often what a test is about; anything else is a fault of the fake."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
