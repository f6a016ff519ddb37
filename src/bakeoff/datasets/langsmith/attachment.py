"""Downloads an example's attachments piece by piece: the client would hold each in memory, and wait without limit.

The address of an attachment is signed: whoever has it can read the file until it expires. So no error quotes it, and no
key is sent with the request.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import requests

TRIES = 3  # further ones of a request that got no response, or 429 or 5xx
TIMEOUT_SECONDS = (10, 60)  # to connect; between two pieces
PIECE_BYTES = 2**20


class NotDownloaded(Exception):  # noqa: N818 - it reads as a state
    """An attachment cannot be downloaded: `reason` says why, without its address."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def session() -> requests.Session:
    """A session to download with: many attachments over few connections."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    made = requests.Session()
    retries = Retry(
        TRIES, backoff_factor=0.5, status_forcelist=[429, 500, 502, 503, 504], raise_on_status=False
    )
    for scheme in ("http://", "https://"):
        made.mount(scheme, HTTPAdapter(max_retries=retries))
    return made


def download(http: requests.Session, url: str) -> Iterator[bytes]:
    """The content, in pieces. Raises NotDownloaded."""
    import requests

    try:
        with http.get(url, stream=True, timeout=TIMEOUT_SECONDS) as answer:
            if not answer.ok:
                raise NotDownloaded(f"HTTP {answer.status_code}")
            yield from answer.iter_content(PIECE_BYTES)
    except requests.RequestException as error:
        raise NotDownloaded(type(error).__name__) from None  # its text quotes the address


def address(endpoint: str, presigned: str) -> str:
    """The full address of an attachment. A self-hosted LangSmith gives a path, on its host or below its API."""
    if urlsplit(presigned).scheme in ("http", "https"):
        return presigned
    path = presigned.lstrip("/")
    base = endpoint
    if path.startswith("api/"):
        base = endpoint.removesuffix("/v1").removesuffix("/api")
    return f"{base}/{path}"
