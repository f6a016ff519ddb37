"""A road to a real server that can be cut: an HTTP proxy on the loopback that loses, hangs up or lies."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

# forward and answer; forward and hang up; hang up at once; answer 200 and do nothing
Fate = Literal["pass", "lose", "cut", "forget"]
Decide = Callable[[int, str], Fate]  # the request's number, 1-based, and "METHOD /path"


@contextlib.contextmanager
def road(target: str, decide: Decide) -> Iterator[str]:
    """The address of a road to `target` on which `decide` says what becomes of each request."""
    there = urlsplit(target)
    numbers = itertools.count(1)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fate = decide(next(numbers), f"{self.command} {self.path}")
            self.close_connection = True
            if fate == "cut":
                return
            if fate == "forget":
                self.reply(200, [("Content-Type", "application/json")], b"{}")
                return
            connection = http.client.HTTPConnection(there.hostname or "", there.port, timeout=60)
            headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            if fate == "lose":
                return
            self.reply(answer.status, answer.getheaders(), content)

        def reply(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response(status)
            for key, value in headers:
                if key.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}:
                    self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # the client was killed in the middle: that is the test

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
