"""Where spans go: harness.yaml and the command line, then OpenTelemetry's standard variables, then its defaults.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import httpx

from bakeoff.config.targets import Otlp, OtlpProtocol
from bakeoff.errors import InputError
from bakeoff.text.redact import secrets_of

PREFIX = "OTEL_EXPORTER_OTLP_"
TRACES = f"{PREFIX}TRACES_"
RESOURCE = "OTEL_RESOURCE_ATTRIBUTES"
PATH = "/v1/traces"
DEFAULTS: Mapping[OtlpProtocol, str] = {
    "http/protobuf": "http://localhost:4318",
    "grpc": "http://localhost:4317",
}
PROTOCOLS: tuple[OtlpProtocol, ...] = ("http/protobuf", "grpc")
COMPRESSIONS: Mapping[OtlpProtocol, Sequence[str]] = {
    "http/protobuf": ("none", "gzip", "deflate"),
    "grpc": ("none", "gzip"),
}
DEFAULT_SECONDS = 10.0
T = TypeVar("T", bound=str)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where spans go.

    Attributes:
        protocol: the transport.
        endpoint: the address, with the path that HTTP needs.
        shown: the same without user, password and query, for messages and the journal.
        setting: the option or variable that gave the address, for errors.
        headers_setting: likewise of the headers.
        headers: sent with every request; secret.
        secrets: what must be masked in every text: values of headers, with and without `Bearer`, and all other keys.
        timeout: seconds of one request with its retries.
        compression: `gzip`, `deflate` or `none`.
        ca, client_key, client_certificate: PEM files for TLS, and the variable that names each.
        resource: OTEL_RESOURCE_ATTRIBUTES.
    """

    protocol: OtlpProtocol
    endpoint: str
    shown: str
    setting: str
    headers_setting: str
    headers: Mapping[str, str]
    secrets: tuple[str, ...]
    timeout: float
    compression: str
    ca: Path | None
    client_key: Path | None
    client_certificate: Path | None
    resource: Mapping[str, str]

    def tls(self) -> ssl.SSLContext:
        """What HTTP needs for TLS. Raises InputError for files that are not certificates or keys."""
        try:
            context = ssl.create_default_context(cafile=self.ca) if self.ca else httpx.create_ssl_context()
            if self.client_certificate:
                context.load_cert_chain(self.client_certificate, self.client_key)
        except (ssl.SSLError, OSError):
            raise InputError(
                "does not name PEM files of certificates and a key",
                key=f"{PREFIX}CERTIFICATE, _CLIENT_CERTIFICATE or _CLIENT_KEY",
                hint="Correct or unset it.",
            ) from None
        return context

    def certificates(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """What gRPC needs for TLS: certificate authorities, the client's key and its certificate."""
        self.tls()
        files = (self.ca, self.client_key, self.client_certificate)
        ca, key, certificate = (file.read_bytes() if file else None for file in files)
        return ca, key, certificate


def destination(settings: Otlp, environ: Mapping[str, str]) -> Destination:
    """The destination that settings, else the standard variables, else the standard's defaults name.

    Raises:
        InputError: one of them is wrong. Never quotes the value of a variable.
    """
    protocol = settings.protocol or _choice(environ, "PROTOCOL", PROTOCOLS)
    endpoint, setting = _endpoint(settings, protocol, environ)
    parts = _parts(endpoint, setting, protocol)
    name = settings.headers_env or _variable(environ, "HEADERS") or f"{PREFIX}HEADERS"
    if settings.headers_env and not environ.get(settings.headers_env):
        raise InputError(
            f"the environment variable {settings.headers_env} is not set",
            key="publish.otlp.headers_env",
            hint=f"Export {settings.headers_env}, or remove `headers_env`.",
        )
    headers = _headers(environ.get(name, ""), name)
    words = [word for value in headers.values() for word in (value, *value.split())]
    return Destination(
        protocol=protocol,
        endpoint=endpoint,
        shown=urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")),
        setting=setting,
        headers_setting=name,
        headers=headers,
        secrets=secrets_of(environ, also=words),
        timeout=_timeout(environ),
        compression=_choice(environ, "COMPRESSION", COMPRESSIONS[protocol]),
        ca=_file(environ, "CERTIFICATE"),
        client_key=_file(environ, "CLIENT_KEY"),
        client_certificate=_file(environ, "CLIENT_CERTIFICATE"),
        resource=_pairs(environ.get(RESOURCE, ""), RESOURCE),
    )


def _variable(environ: Mapping[str, str], what: str) -> str | None:
    """The variable that says it: the one of traces wins over the one of all signals."""
    return next((name for name in (TRACES + what, PREFIX + what) if environ.get(name)), None)


def _endpoint(settings: Otlp, protocol: OtlpProtocol, environ: Mapping[str, str]) -> tuple[str, str]:
    """The address with the path that HTTP needs, and what gave it."""
    if settings.endpoint:
        base, setting = settings.endpoint, "publish.otlp.endpoint"
    elif environ.get(f"{TRACES}ENDPOINT"):
        return environ[f"{TRACES}ENDPOINT"], f"{TRACES}ENDPOINT"  # by the standard, the whole address
    elif environ.get(f"{PREFIX}ENDPOINT"):
        base, setting = environ[f"{PREFIX}ENDPOINT"], f"{PREFIX}ENDPOINT"
    else:
        base, setting = DEFAULTS[protocol], "publish.otlp.endpoint"
    if protocol == "grpc" or base.rstrip("/").endswith(PATH):
        return base, setting
    return base.rstrip("/") + PATH, setting


def _parts(endpoint: str, setting: str, protocol: OtlpProtocol) -> SplitResult:
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InputError(
            "is not an http or https address",
            key=setting,
            hint=f"Write for example `{DEFAULTS[protocol]}`.",
        )
    if protocol == "grpc" and parts.path not in ("", "/"):
        raise InputError(
            "has a path, and gRPC has none",
            key=setting,
            hint="Remove the path, or give --protocol http/protobuf.",
        )
    return parts


def _headers(text: str, name: str) -> dict[str, str]:
    headers = {key.lower(): value for key, value in _pairs(text, name).items()}
    for key, value in headers.items():
        if not (_HEADER_NAME.fullmatch(key) and value.isascii() and value.isprintable()):
            raise _not_pairs(name)
    return headers


def _pairs(text: str, variable: str) -> dict[str, str]:
    """`name=value,name=value`, URL-encoded where it must be. Raises InputError for anything else."""
    found: dict[str, str] = {}
    for part in filter(str.strip, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals or not name.strip() or unquote(name.strip()) in found:
            raise _not_pairs(variable)
        found[unquote(name.strip())] = unquote(value.strip())
    return found


def _not_pairs(variable: str) -> InputError:
    what = "attributes" if variable == RESOURCE else "headers"
    return InputError(
        f"does not hold {what}",
        key=variable,
        hint="Write name=value,name=value; URL-encode commas and blanks in values.",
    )


def _file(environ: Mapping[str, str], what: str) -> Path | None:
    name = _variable(environ, what)
    if name is None:
        return None
    if not Path(environ[name]).is_file():
        raise InputError("names a file that is not there", key=name, hint="Correct or unset it.")
    return Path(environ[name])


def _timeout(environ: Mapping[str, str]) -> float:
    name = _variable(environ, "TIMEOUT")
    if name is None:
        return DEFAULT_SECONDS
    try:
        seconds = float(environ[name])
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise InputError("is not a number of seconds", key=name, hint="Set it to 10, for example.")
    return seconds


def _choice(environ: Mapping[str, str], what: str, known: Sequence[T]) -> T:
    """What a variable chooses; the first where it is not set."""
    name = _variable(environ, what)
    value = environ[name].strip().lower() if name else known[0]
    for choice in known:
        if choice == value:
            return choice
    raise InputError(f"is not one of {', '.join(known)}", key=name, hint="Correct or unset it.")
