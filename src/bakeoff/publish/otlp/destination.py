"""Where spans go: harness.yaml and the command line, else OpenTelemetry's standard variables, else its defaults.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/. The SDK reads most of the variables itself; they are read
here too, since it answers a wrong value with a logged line, a traceback or its default, and logs secrets as they are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit, urlunsplit

from opentelemetry.util.re import parse_env_headers

from bakeoff.clients import quiet
from bakeoff.errors import InputError
from bakeoff.publish.otlp.settings import Protocol, Settings
from bakeoff.text.redact import secrets_of

LOG = "opentelemetry"  # it quotes addresses and headers as they are
PREFIX = "OTEL_EXPORTER_OTLP_"
TRACES = f"{PREFIX}TRACES_"
PATH = "/v1/traces"
DEFAULTS: Mapping[Protocol, str] = {
    "http/protobuf": "http://localhost:4318",
    "grpc": "http://localhost:4317",
}
FILES = ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")
os.environ.setdefault(
    "GRPC_VERBOSITY", "ERROR"
)  # read when grpc is imported; else it writes to stderr by itself
TIMEOUT = 10.0  # seconds of one request with its retries: the SDK's own default


@dataclass(frozen=True, slots=True)
class Destination:
    """Where spans go.

    Attributes:
        protocol: OTLP over which transport.
        endpoint: what the exporter is given.
        shown: the same without user, password and query: for messages and the journal.
        setting: the option or variable that gave the address, for errors.
        headers_setting: likewise of the headers.
        headers: sent with every request; secret.
        timeout: seconds of one request with its retries.
        compression: `gzip`, `deflate` or `none`.
    """

    protocol: Protocol
    endpoint: str
    shown: str
    setting: str
    headers_setting: str
    headers: Mapping[str, str]
    timeout: float
    compression: str

    def secrets(self, environ: Mapping[str, str]) -> tuple[str, ...]:
        """What must be masked in every text: the headers' values, keys without `Bearer` too, and all other keys."""
        parts = [part for value in self.headers.values() for part in (value, *value.split())]
        return secrets_of(environ, also=parts)


def destination(settings: Settings, environ: Mapping[str, str]) -> Destination:
    """Where the settings, else the standard variables, else the standard's defaults say.

    Raises:
        InputError: one of them is wrong; no value of a variable is told.
    """
    protocol = settings.protocol or _protocol(environ)
    endpoint, setting = _endpoint(settings, protocol, environ)
    parts = _parts(endpoint, setting, protocol)
    name = settings.headers_env or _name(environ, "HEADERS") or f"{PREFIX}HEADERS"
    if settings.headers_env and not environ.get(settings.headers_env):
        raise InputError(
            f"the environment variable {settings.headers_env} is not set",
            key="publish.otlp.headers_env",
            hint=f"Export {settings.headers_env}, or remove `headers_env`.",
        )
    for kind in FILES:
        file = _name(environ, kind)
        if file and not Path(environ[file]).is_file():
            raise InputError("names a file that is not there", key=file, hint="Correct or unset it.")
    return Destination(
        protocol=protocol,
        endpoint=endpoint,
        shown=urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")),
        setting=setting,
        headers_setting=name,
        headers=_headers(environ.get(name, ""), name),
        timeout=_timeout(environ),
        compression=_compression(environ, protocol),
    )


def seen_by_sdk(environ: Mapping[str, str]) -> dict[str, str]:
    """What the SDK, which reads `os.environ` alone, is to find there: the `OTEL_` variables of `.env` too."""
    return {name: value for name, value in environ.items() if name.startswith("OTEL_")}


def _name(environ: Mapping[str, str], what: str) -> str | None:
    """The variable that says it: that of traces wins over that of all signals."""
    return next((name for name in (TRACES + what, PREFIX + what) if environ.get(name)), None)


def _protocol(environ: Mapping[str, str]) -> Protocol:
    name = _name(environ, "PROTOCOL")
    value = environ[name].strip() if name else "http/protobuf"
    if value in ("http/protobuf", "grpc"):
        return value  # type: ignore[return-value] # one of the two
    raise InputError(
        "is not a protocol that bakeoff speaks",
        key=name,
        hint="Set it to http/protobuf or grpc, or give --protocol.",
    )


def _endpoint(settings: Settings, protocol: Protocol, environ: Mapping[str, str]) -> tuple[str, str]:
    """The address with the path that HTTP needs, and what gave it."""
    if settings.endpoint:
        base, setting = settings.endpoint, "publish.otlp.endpoint"
    elif environ.get(f"{TRACES}ENDPOINT"):
        return environ[f"{TRACES}ENDPOINT"], f"{TRACES}ENDPOINT"  # the whole address, by the standard
    elif environ.get(f"{PREFIX}ENDPOINT"):
        base, setting = environ[f"{PREFIX}ENDPOINT"], f"{PREFIX}ENDPOINT"
    else:
        base, setting = DEFAULTS[protocol], "publish.otlp.endpoint"
    if protocol == "grpc" or base.rstrip("/").endswith(PATH):
        return base, setting
    return base.rstrip("/") + PATH, setting


def _parts(endpoint: str, setting: str, protocol: Protocol) -> SplitResult:
    try:
        parts = urlsplit(endpoint)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not whole:
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
    """`name=value,name=value`, values URL-encoded where they must be. What is no header is not left out in silence."""
    with quiet(LOG):
        found = dict(parse_env_headers(text, liberal=True))
    wanted = [part for part in text.split(",") if part.strip()]
    sound = all(value.isprintable() and value.isascii() and key for key, value in found.items())
    if len(found) != len(wanted) or not sound:
        raise InputError(
            "does not hold headers",
            key=name,
            hint="Write name=value,name=value; URL-encode commas and blanks in values.",
        )
    return found


def _timeout(environ: Mapping[str, str]) -> float:
    name = _name(environ, "TIMEOUT")
    if name is None:
        return TIMEOUT
    try:
        seconds = float(environ[name])
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise InputError("is not a number of seconds", key=name, hint="Set it to 10, for example.")
    return seconds


def _compression(environ: Mapping[str, str], protocol: Protocol) -> str:
    name = _name(environ, "COMPRESSION")
    value = environ[name].strip().lower() if name else "none"
    known = ("none", "gzip") if protocol == "grpc" else ("none", "gzip", "deflate")
    if value not in known:
        raise InputError(f"is not one of {', '.join(known)}", key=name, hint="Correct or unset it.")
    return value
