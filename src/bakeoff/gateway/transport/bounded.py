"""The HTTP transport of every provider's client: bounded, timed, and read along.

It stands in for the client's own transport, so that one place decides how much of a reply is let in, and for how long,
whatever library asks. Clients are built on httpx or on its fork httpx2, which share their interface; `library` says on
which, and everything here works with either.
"""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from types import ModuleType
from typing import Any

from bakeoff.gateway.transport.raw import RawReply, current

# How often a thread that waits for bytes looks whether anybody still waits for it.
LOOK_SECONDS = 1.0
# At once, to one provider: above this a call would wait for another's end.
CONNECTIONS = 1000
_PIECE_BYTES = 2**20  # of decompressed data at a time
# What decompression here understands. Clients may offer more, depending on what is installed beside them.
ENCODINGS = "gzip, deflate"


def library(client_class: type) -> ModuleType:
    """httpx or httpx2: the library that a client class is derived from.

    Raises:
        ValueError: it is derived from neither.
    """
    for base in client_class.__mro__:
        name = base.__module__.partition(".")[0]
        if name in ("httpx", "httpx2"):
            return sys.modules[name]
    raise ValueError(f"{client_class.__name__} is not a client of httpx")


def transport(httpx: ModuleType, proxy: str | None = None) -> Any:
    """A transport for a client of this library.

    Args:
        httpx: the library.
        proxy: URL of the proxy that calls go through; None: straight to the provider, whatever the environment says.
    """
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=100, keepalive_expiry=30.0)
    inner = httpx.HTTPTransport(proxy=proxy, limits=limits, verify=_certificates(httpx))
    core = sys.modules[type(inner._pool).__module__.partition(".")[0]]
    # httpx has no parameter for it, httpcore has
    inner._pool._network_backend = _Network(inner._pool._network_backend, core.ReadTimeout)
    body = type("Body", (_Body, httpx.SyncByteStream), {})
    return _Transport(inner, httpx, body)


@cache
def _certificates(httpx: ModuleType) -> Any:
    """The certificates that are trusted, SSL_CERT_FILE and SSL_CERT_DIR included. They take memory: once is enough."""
    return httpx.create_ssl_context()


def client(client_class: type, proxy: str | None = None) -> Any:
    """A client of the class that an SDK would make for itself, over this transport. Its proxy and its way are ours."""
    return client_class(transport=transport(library(client_class), proxy), trust_env=False)


class _Transport:
    """httpx's BaseTransport: one request, one response."""

    def __init__(self, inner: Any, httpx: ModuleType, body: Callable[..., Any]) -> None:
        self._inner, self._httpx, self._body = inner, httpx, body

    def handle_request(self, request: Any) -> Any:
        raw = current()
        if raw is None:  # no call of the gateway's, such as a look at which models there are
            return self._inner.handle_request(request)
        raw.check()
        raw.sending()
        origin = str(request.url.copy_with(path="/", query=None, fragment=None))
        if raw.origin not in (None, origin):
            raise raw.refuse(f"it redirects from {raw.origin} to {origin}: write that address as base_url")
        raw.origin = origin
        request.headers["accept-encoding"] = ENCODINGS
        response = self._inner.handle_request(request)
        headers = {name.lower(): value for name, value in response.headers.items()}
        raw.begin(response.status_code, headers)
        encoding = headers.get("content-encoding", "identity").strip().lower()
        kept = [
            (name, value)
            for name, value in response.headers.raw
            if name.lower() not in (b"content-encoding", b"content-length", b"transfer-encoding")
        ]
        return self._httpx.Response(
            status_code=response.status_code,
            headers=kept,
            stream=self._body(response.stream, raw, encoding),
            extensions=response.extensions,
        )

    def close(self) -> None:
        self._inner.close()

    def __enter__(self) -> _Transport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Body:
    """The body of a response, decompressed in pieces, each counted and read along before it is handed on."""

    def __init__(self, inner: Any, raw: RawReply, encoding: str) -> None:
        self._inner, self._raw, self._encoding = inner, raw, encoding

    def __iter__(self) -> Iterator[bytes]:
        for piece in _decoded(self._inner, self._encoding, self._raw):
            self._raw.feed(piece)
            yield piece
        self._raw.end()

    def close(self) -> None:
        self._inner.close()


def _decoded(chunks: Iterator[bytes], encoding: str, raw: RawReply) -> Iterator[bytes]:
    """Pieces of at most a mebibyte, so that a bound is met before the memory is spent."""
    if encoding in ("", "identity"):
        yield from chunks
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise raw.refuse(f"its content encoding {encoding[:40]!r} was not asked for")
    inflate = None
    try:
        for chunk in chunks:
            inflate = inflate or zlib.decompressobj(_window(encoding, chunk))
            piece = inflate.decompress(chunk, _PIECE_BYTES)
            while piece:
                yield piece
                piece = inflate.decompress(inflate.unconsumed_tail, _PIECE_BYTES)
    except zlib.error as error:
        raise raw.refuse(f"its {encoding} data is damaged: {error}") from None
    if inflate and not inflate.eof:
        raise raw.refuse(f"its {encoding} data ends too early")


def _window(encoding: str, begun: bytes) -> int:
    """zlib's window for this data. Some servers send deflate without the header of RFC 1950."""
    headless = encoding == "deflate" and int.from_bytes(begun[:2], "big") % 31 != 0
    return -zlib.MAX_WBITS if headless else 32 + zlib.MAX_WBITS


# --- the network below httpx ---------------------------------------------------------------------------


class _Network:
    """httpcore's NetworkBackend, with connections that notice when nobody waits for them."""

    def __init__(self, inner: Any, timeout: type[Exception]) -> None:
        self._inner, self._timeout = inner, timeout

    def connect_tcp(self, *args: Any, **options: Any) -> Any:
        return _Connection(self._inner.connect_tcp(*args, **options), self._timeout)

    def connect_unix_socket(self, *args: Any, **options: Any) -> Any:
        return _Connection(self._inner.connect_unix_socket(*args, **options), self._timeout)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Connection:
    """httpcore's NetworkStream. Also a header that trickles in ends with the call that it belongs to."""

    def __init__(self, inner: Any, timeout: type[Exception]) -> None:
        self._inner, self._timeout = inner, timeout

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        raw = current()
        if raw is None:
            data: bytes = self._inner.read(max_bytes, timeout)
            return data
        until = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            raw.check()
            left = until - time.monotonic()
            try:
                data = self._inner.read(max_bytes, max(0.001, min(left, LOOK_SECONDS)))
            except self._timeout:
                if left <= LOOK_SECONDS:
                    raise
            else:
                return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(self, *args: Any, **options: Any) -> Any:
        return _Connection(self._inner.start_tls(*args, **options), self._timeout)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
