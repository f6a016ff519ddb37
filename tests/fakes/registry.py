"""A registry on the loopback with one small image, `tiny:1`, that has no Python; it can be asked to misbehave."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import Literal

from tests.fakes.http_server import Exchange, HttpServer

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"

Manner = Literal["well", "asks for a login", "has too many requests", "is broken", "cuts a layer off"]
REFUSALS: dict[Manner, tuple[int, str, str]] = {
    "asks for a login": (401, "UNAUTHORIZED", "authentication required"),
    "has too many requests": (429, "TOOMANYREQUESTS", "too many requests"),
    "is broken": (500, "UNKNOWN", "unknown error"),
}


class PlainHttp(Exchange):
    """Says to a TLS handshake that this is HTTP, by which a client knows to try without TLS."""

    default_request_version = "HTTP/1.0"


class Registry(HttpServer):
    """The least of a registry. `pinned`: the image's digest. `manner`: how it answers from now on."""

    def __init__(self, machine: str, port: int = 0) -> None:
        super().__init__(self._answer, port=port, exchange=PlainHttp)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("empty"))
        layer = gzip.compress(buffer.getvalue(), mtime=0)
        rootfs = {"type": "layers", "diff_ids": [digest(buffer.getvalue())]}
        architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, "amd64")
        config = json.dumps(
            {"architecture": architecture, "os": "linux", "config": {}, "rootfs": rootfs}
        ).encode()
        described = [
            {"mediaType": kind, "size": len(body), "digest": digest(body)}
            for kind, body in ((CONFIG, config), (LAYER, layer))
        ]
        manifest = json.dumps(
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
        ).encode()
        self.pinned, self._layer = digest(manifest), digest(layer)
        self._blobs = {
            "1": (MANIFEST, manifest),
            self.pinned: (MANIFEST, manifest),
            digest(config): ("application/octet-stream", config),
            self._layer: ("application/octet-stream", layer),
        }
        self.manner: Manner = "well"
        self.requests: list[str] = []
        self.name = f"127.0.0.1:{self.server_port}/tiny"

    def _answer(self, exchange: Exchange) -> None:
        self.requests.append(exchange.path)
        asked = exchange.path.rpartition("/")[2]
        if refusal := REFUSALS.get(self.manner):
            status, code, message = refusal
            login = {"WWW-Authenticate": 'Basic realm="registry"'} if status == 401 else {}
            exchange.say(status, {"errors": [{"code": code, "message": message}]}, login)
            return
        kind, body = self._blobs.get(asked, ("text/plain", b"{}"))
        headers = {"Content-Type": kind, "Docker-Content-Digest": digest(body)}
        if asked == self._layer and self.manner == "cuts a layer off":
            if "Range" not in exchange.headers:  # nor does it give the rest
                exchange.begin(200, {**headers, "Content-Length": str(len(body))})
                exchange.wfile.write(body[: len(body) // 2])
            exchange.hang_up()
            return
        exchange.say(200, body, headers)


def digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"
