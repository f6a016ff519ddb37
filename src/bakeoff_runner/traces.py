"""The harness's own spans: an OTLP/HTTP receiver on loopback, since its container has no network.

Every OpenTelemetry SDK finds it by the standard variables, in any language. What arrives is carried to the host as
it is, up to a bound, and read there, where it is hostile input.
"""

from __future__ import annotations

import base64
import os
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase

from bakeoff_runner import wire
from bakeoff_runner.channel import Channel

PATH = "/v1/traces"
MAX_BODY = wire.MAX_SPANS * 3 // 4  # bytes of one request: base64 makes four of three
MOST_DISCARDED = 16 * MAX_BODY  # bytes of a request that is too large
FLUSH_MILLISECONDS = 2000  # for spans that a batching SDK still holds when the agent has answered


class Receiver(ThreadingHTTPServer):
    """Takes exports until this process ends."""

    daemon_threads = True

    def __init__(self, channel: Channel) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.channel = channel
        self.left = wire.MAX_SPANS  # characters that the host still takes
        threading.Thread(target=self.serve_forever, name="bakeoff-traces", daemon=True).start()

    def environment(self) -> dict[str, str]:
        """What makes SDKs send their spans here, and nothing else anywhere."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.server_port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
        }


def receive(channel: Channel) -> None:
    """Start the receiver and let this process and its children know."""
    os.environ.update(Receiver(channel).environment())


def flush() -> None:
    """Send what the SDK in this process still holds: it ends without its exit handlers. Its failure costs no trial."""
    trace = sys.modules.get("opentelemetry.trace")
    force_flush = None if trace is None else getattr(trace.get_tracer_provider(), "force_flush", None)
    if force_flush is not None:
        try:
            force_flush(FLUSH_MILLISECONDS)
        except Exception:  # noqa: BLE001 - the answer is out already: the log shows it
            traceback.print_exc()


def discard(body: BufferedIOBase, length: int) -> bool:
    """Take in a body that nobody wants, up to a bound: its sender reads no answer before it has sent all.

    Returns whether as much came as was announced, or the bound.
    """
    left = min(length, MOST_DISCARDED)
    while left > 0 and (piece := body.read(min(left, 2**16))):
        left -= len(piece)
    return left == 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if self.path != PATH or not length.isdecimal() or int(length) > MAX_BODY:
            discard(self.rfile, int(length) if length.isdecimal() else 0)
            self.close_connection = True  # what follows would be read as the next request
            self._answer(404 if self.path != PATH else 413)
            return
        body = self.rfile.read(int(length))
        kind, coding = self.headers.get("Content-Type", ""), self.headers.get("Content-Encoding", "")
        params = {"content_type": kind, "encoding": coding, "body": base64.b64encode(body).decode()}
        self.server.left -= sum(map(len, params.values()))
        if self.server.left < 0:
            self._answer(413)
            return
        self.server.channel.notify("trace/export", params)
        # an empty ExportTraceServiceResponse: everything was taken
        self._answer(200, kind, b"{}" if "json" in kind else b"")

    def _answer(self, status: int, kind: str = "text/plain", body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind or "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: the log is the harness's own."""
