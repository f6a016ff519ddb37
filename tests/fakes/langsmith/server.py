"""A LangSmith service on loopback, for the real client: strict about what it is sent, and breakable on purpose.

    with LangSmithServer() as server:
        client = Client(server.url, api_key=server.api_key)

Everything is in memory (`server.state`); `server.faults` break requests, `server.requests` is
what was asked. Requests are handled one at a time, so that what a test sees is a state between two of them.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

from tests.fakes.http_server import Exchange, HttpServer
from tests.fakes.langsmith.state import Reply, Request, State
from tests.fakes.langsmith.wire import ApiError, JsonDict, content, refused, rejected


@dataclass
class Fault:
    """What goes wrong with requests of a kind.

    Attributes:
        kind: `drop` closes the connection unread, `lost_reply` after the request was done; `status` answers with
            `status`; `slow` waits `seconds` first; `call` calls `action` before the request is done.
        path: part of the paths that it concerns; method: likewise, "" for all.
        after: how many matching requests pass first; times: how many are then hit; every: of these, only each n-th.
    """

    kind: str
    path: str = ""
    method: str = ""
    after: int = 0
    times: int = 10**9
    every: int = 1
    status: int = 500
    retry_after: float | None = None
    seconds: float = 0.0
    action: Callable[[], None] | None = None
    seen: int = 0

    def hits(self, method: str, path: str) -> bool:
        """Count the request; is it one to break?"""
        if self.path not in path or self.method not in ("", method):
            return False
        self.seen += 1
        return (
            self.after < self.seen <= self.after + self.times
            and (self.seen - self.after - 1) % self.every == 0
        )


@dataclass(frozen=True)
class Asked:
    """One request, as it was answered; status 0: not at all."""

    method: str
    path: str
    status: int
    encoding: str | None
    runs: int  # posted in it, where it is an ingestion


@dataclass
class Info:
    """What the server says it can, as `GET /info` has it."""

    version: str = "0.13.20"
    use_multipart_endpoint: bool = True
    size_limit: int = 100
    size_limit_bytes: int = 20 * 2**20
    zstd: bool = True
    examples_multipart: bool = True
    runs_query: bool = True  # the query API that `Client.list_runs` speaks

    def json(self) -> JsonDict:
        return {
            "version": self.version,
            "git_sha": None,
            "license_expiration_time": None,
            "batch_ingest_config": {
                "use_multipart_endpoint": self.use_multipart_endpoint,
                "scale_up_qsize_trigger": 1000,
                "scale_up_nthreads_limit": 16,
                "scale_down_nempty_trigger": 4,
                "size_limit": self.size_limit,
                "size_limit_bytes": self.size_limit_bytes,
            },
            "instance_flags": {
                "zstd_compression_enabled": self.zstd,
                "dataset_examples_multipart_enabled": self.examples_multipart,
                "examples_multipart_enabled": self.examples_multipart,
                "ch_query_enabled": self.runs_query,
            },
            "customer_info": None,
        }


class LangSmithServer(HttpServer):
    """The service, on a free port, while the `with` block lasts.

    Attributes:
        url: what LANGSMITH_ENDPOINT is set to.
        api_key: the one key that it takes; keys that begin with `org-` need the workspace named beside them.
        state: everything it knows.
        faults: what goes wrong; put them in and take them out at any time.
        requests: what it was asked, in order.
    """

    def __init__(self, *, api_key: str = "lsv2_pt_test_0123456789", info: Info | None = None) -> None:
        self.api_key = api_key
        self.info = info or Info()
        self.faults: list[Fault] = []
        self.requests: list[Asked] = []
        self._lock = threading.Lock()
        super().__init__(self._serve, http_1_1=True)
        self.state = State(
            self.url,
            multipart_runs=self.info.use_multipart_endpoint,
            multipart_examples=self.info.examples_multipart,
        )

    @property
    def workspace_id(self) -> str:
        """The one workspace."""
        return str(self.state.tenant_id)

    def broken(self, method: str, path: str) -> Fault | None:
        """The fault that this request meets."""
        with self._lock:
            return next((fault for fault in self.faults if fault.hits(method, path)), None)

    def handle(self, request: Request, key: str | None, workspace: str | None) -> Reply:
        """Answer, or raise ApiError."""
        if request.path == "/info":
            return Reply(self.info.json())
        if not request.path.startswith("/attachments/"):  # their addresses are signed
            self._authorise(request.path, key, workspace)
        with self._lock:
            return self.state.answer(request)

    def _authorise(self, path: str, key: str | None, workspace: str | None) -> None:
        """As the service answers: 403 where runs are taken in, 401 elsewhere."""
        if key is None or key.removeprefix("org-") != self.api_key:
            raise (
                rejected(403, "Forbidden")
                if path.startswith("/runs") and "query" not in path
                else refused(401, "Invalid token")
            )
        if workspace is None and key.startswith("org-"):
            raise rejected(403, "org_scoped_key_requires_workspace")
        if workspace not in (None, self.workspace_id):
            raise refused(403, "Forbidden")

    def _serve(self, exchange: Exchange) -> None:
        """Meet the request's fault, and write the reply."""
        method, parts, wire = exchange.command, urlsplit(exchange.path), exchange.body
        path = _without_prefix(unquote(parts.path))
        fault = self.broken(method, path)
        encoding = exchange.headers.get("Content-Encoding")
        asked = Asked(method, path, 0, encoding, 0)
        if fault and fault.kind == "drop":
            return self._hang_up(exchange, asked)
        if fault and fault.kind == "slow":
            time.sleep(fault.seconds)
        if fault and fault.kind == "call" and fault.action:
            fault.action()
        try:
            if fault and fault.kind == "status":
                raise rejected(fault.status, "broken on purpose")
            if len(wire) > self.info.size_limit_bytes:
                raise rejected(413, "Request body too large")
            query = parse_qs(parts.query, keep_blank_values=True)
            content_type = exchange.headers.get("Content-Type") or ""
            request = Request(method, path, query, content(wire, encoding), content_type)
            reply = self.handle(
                request, exchange.headers.get("x-api-key"), exchange.headers.get("X-Tenant-Id")
            )
        except ApiError as error:
            reply = Reply(error.body, error.status)
        if fault and fault.kind == "lost_reply":
            return self._hang_up(exchange, asked)
        self._note(replace(asked, status=reply.status, runs=reply.runs))
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body, default=_plain)
        headers = {"Content-Type": reply.content_type}
        if fault and fault.retry_after is not None:
            headers["Retry-After"] = f"{fault.retry_after:g}"
        return exchange.say(reply.status, body, headers)

    def _note(self, asked: Asked) -> None:
        with self._lock:
            self.requests.append(asked)

    def _hang_up(self, exchange: Exchange, asked: Asked) -> None:
        self._note(asked)
        exchange.hang_up()


def _without_prefix(path: str) -> str:
    """The client sets the prefix by the endpoint it was given: with /api/v1, /v1 or none."""
    for prefix in ("/api/v1", "/api", "/v1"):
        if path.startswith(prefix + "/"):
            return path.removeprefix(prefix)
    return path


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(type(value))
