"""Which engine the user's `docker` command would talk to, by the command's own rules.

DOCKER_HOST, else DOCKER_CONTEXT, else the current context of Docker's configuration, else the local socket.
A context that is missing or broken is refused, as the command does: any other engine would be another host.
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakeoff.errors import UnfitEnvironment

SCHEMES = frozenset({"unix", "tcp", "ssh"})
PORT, TLS_PORT = 2375, 2376


@dataclass(frozen=True, slots=True)
class Certificates:
    """What TLS to an engine needs. Without `ca` the engine's certificate is not checked."""

    ca: Path | None
    own: tuple[Path, Path] | None  # certificate and key, for an engine that asks who is there

    def context(self) -> ssl.SSLContext:
        """TLS as the docker command speaks it.

        Raises:
            OSError: a file is missing or is no certificate.
        """
        # `create_default_context` refuses, from Python 3.13 on, what Docker's own instructions make
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca is None:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        else:
            context.load_verify_locations(self.ca)
        if self.own is not None:
            context.load_cert_chain(*self.own, password="")  # else OpenSSL asks for one on the terminal
        return context


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an engine is. `named`: who said so, in words, for messages; empty when nobody did."""

    address: str  # unix://, tcp:// with a port, or ssh://; empty: the local socket
    named: str = ""
    tls: Certificates | None = None

    @property
    def scheme(self) -> str:
        return self.address.partition("://")[0]


def find(environment: Mapping[str, str]) -> Endpoint:
    """The engine that these environment variables and Docker's configuration name.

    Raises:
        UnfitEnvironment: they name a context that is missing or broken, or an address of no known kind.
    """
    if host := environment.get("DOCKER_HOST"):
        tls = _tls_of_environment(environment)
        return Endpoint(_address(host, f"DOCKER_HOST={host}", tls), f"DOCKER_HOST={host}", tls)
    home = _home(environment)
    if name := environment.get("DOCKER_CONTEXT"):
        return _context(home, name, f"DOCKER_CONTEXT={name}")
    name = _current(home)
    return _context(home, name, f"the current Docker context {name!r}")


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("DOCKER_CONFIG") or Path.home() / ".docker")


def _current(home: Path) -> str:
    """As the docker command has it, a configuration that cannot be read names no context."""
    try:
        config = json.loads((home / "config.json").read_text(encoding="utf-8"))
        return str(config.get("currentContext") or "default")
    except (OSError, ValueError, AttributeError):
        return "default"


def _context(home: Path, name: str, named: str) -> Endpoint:
    if name == "default":
        return Endpoint("")
    digest = hashlib.sha256(name.encode()).hexdigest()
    meta = home / "contexts" / "meta" / digest / "meta.json"
    try:
        docker: dict[str, Any] = json.loads(meta.read_text(encoding="utf-8"))["Endpoints"]["docker"]
        host, unchecked = str(docker.get("Host") or ""), bool(docker.get("SkipTLSVerify"))
    except FileNotFoundError:
        raise UnfitEnvironment(
            f"{named}: there is no such context",
            hint="See `docker context ls`; name one of those (`docker context use`), or unset DOCKER_CONTEXT.",
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnfitEnvironment(
            f"{named} cannot be read: {meta}: {error!r}",
            hint=f"Make it again (`docker context rm {name}; docker context create {name} ...`).",
        ) from error
    tls = _tls_of_context(home / "contexts" / "tls" / digest / "docker", unchecked)
    return Endpoint(_address(host, named, tls), named, tls)


def _tls_of_context(files: Path, unchecked: bool) -> Certificates | None:
    ca, own = files / "ca.pem", (files / "cert.pem", files / "key.pem")
    if not files.is_dir() and not unchecked:
        return None
    return Certificates(None if unchecked else ca, own if own[1].exists() else None)


def _tls_of_environment(environment: Mapping[str, str]) -> Certificates | None:
    checked = bool(environment.get("DOCKER_TLS_VERIFY"))
    if not checked and not environment.get("DOCKER_TLS"):
        return None
    files = Path(environment.get("DOCKER_CERT_PATH") or _home(environment))
    own = files / "cert.pem", files / "key.pem"
    return Certificates(files / "ca.pem" if checked else None, own if own[0].exists() else None)


def _address(host: str, named: str, tls: Certificates | None) -> str:
    """The address with its scheme and port."""
    scheme, separator, rest = host.partition("://")
    if not separator:
        scheme, rest = ("tcp", host) if host else ("unix", "")
    if scheme not in SCHEMES:
        raise UnfitEnvironment(
            f"{named}: an engine's address begins with unix://, tcp:// or ssh://, not {scheme}://",
            hint="Correct the variable or context that names it.",
        )
    if scheme == "unix":
        return f"unix://{rest}" if rest else ""
    if scheme == "tcp" and not re.search(r":\d+/?$", rest):
        rest = f"{rest.rstrip('/')}:{TLS_PORT if tls else PORT}"
    return f"{scheme}://{rest}"
