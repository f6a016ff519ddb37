"""Which way a call goes: the provider's address, and the proxies that the environment names.

Nothing that surrounds a run decides it in silence. A variable that would choose an address or an account is refused
with its name; a proxy is used, and noted in the manifest and the report. A proxy never gets what goes to loopback.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed lacks it

SCHEMES = ("http", "https", "socks5", "socks5h")
# Variables that name a proxy. Clients are made without them, since the proxy is ours to choose.
PROXIES = tuple(
    name for kind in ("http", "https", "all") for name in (f"{kind}_proxy", f"{kind}_proxy".upper())
)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, and the variable that names it."""

    url: str
    variable: str

    @property
    def shown(self) -> str:
        """The address without a user name or password."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    @property
    def problem(self) -> str | None:
        """Why it cannot be used."""
        try:
            parts = urlsplit(self.url)
            _ = parts.port  # raises where it is not a number
        except ValueError as error:
            return f"{self.variable} is not a URL: {error}"
        if parts.scheme not in SCHEMES or not parts.hostname:
            return f"{self.variable} is not the URL of a proxy: {self.shown}"
        return None


def proxy_for(address: str | None, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy that calls to this address go through; None where they go straight.

    Args:
        address: URL of the provider; None where only its library knows it, which then speaks HTTPS.
        environ: the variables. Lower case wins over upper case, as in curl and httpx.
    """
    parts = urlsplit(address or "https://unknown.invalid")
    if _loopback(parts.hostname or "") or _bypassed(parts.netloc.rpartition("@")[2], environ):
        return None
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            if url := environ.get(variable, "").strip():
                return Proxy(url if "://" in url else f"http://{url}", variable)
    return None


def _bypassed(host: str, environ: Mapping[str, str]) -> bool:
    no_proxy = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    return bool(proxy_bypass_environment(host, {"no": no_proxy}))


def _loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
