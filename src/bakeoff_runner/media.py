"""What is no text in a message (an image, a sound, a film, a file) becomes a line of text that says what was there.

Records keep this line in place of the data: `[image: image/png, 5120 bytes, sha256 1f0c...]`. It knows the content
blocks of LangChain and of OpenAI's, Anthropic's, Google's and Amazon's APIs, whole or by reference. Standard library.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from typing import Any

MOST = 50  # blocks of one message that get a line of their own
_KIND = re.compile(r"(?:input_|output_)?(image|audio|video|file|document|media)(?:_url|_generation_call)?")
_KINDS = ("image", "audio", "video", "document")  # of Amazon's blocks, which have no type
_MIME = ("mime_type", "media_type", "mimeType", "format", "output_format")
_DATA = ("data", "base64", "file_data", "bytes", "result")
_REFERENCES = (
    "url",
    "image_url",
    "audio_url",
    "video_url",
    "file_url",
    "file_uri",
    "fileUri",
    "uri",
    "file_id",
    "id",
)
_LONGEST = 200  # characters of a reference or a type that are shown
_DEEPEST = 4


def without_media(content: Any) -> Any:
    """A message's content with lines of text in place of its media; the same content where it has none."""
    if not isinstance(content, list):
        return content
    lines = [placeholder(block) for block in content]
    if not any(lines):
        return content
    shown, seen = [], 0
    for i, (block, line) in enumerate(zip(content, lines, strict=True)):
        if line is None:
            shown.append(block)
            continue
        seen += 1
        if seen > MOST:
            continue
        before = "\n" if i and lines[i - 1] is None else ""
        shown.append({"type": "text", "text": before + line + ("\n" if i + 1 < len(content) else "")})
    if seen > MOST:
        shown.append({"type": "text", "text": f"\n[{seen - MOST} more]"})
    return shown


def placeholder(block: Any) -> str | None:
    """The line for one content block. None: it is no medium."""
    if not isinstance(block, dict):
        return None
    kind = _kind(block)
    if kind is None:
        return None
    mime = data = reference = ""
    for key, value in _texts(block, _DEEPEST):
        if value.startswith("data:") and "," in value:
            head, _, data = value.partition(",")
            mime = head[5:].partition(";")[0] or mime
        elif key in _MIME:
            mime = mime or value
        elif key in _DATA:
            data = data or value
        elif key in _REFERENCES:
            reference = reference or value
    if kind in ("media", "file") and (match := re.match("(image|audio|video)/", mime)):
        kind = match[1]
    facts = [mime[:_LONGEST]]
    if data:
        raw = _decoded(data)
        facts += [f"{len(raw)} bytes", f"sha256 {hashlib.sha256(raw).hexdigest()}"]
    else:
        facts.append(reference[:_LONGEST])
    return f"[{kind}: {', '.join(filter(None, facts)) or 'nothing in it'}]"


def _kind(block: dict[str, Any]) -> str | None:
    if isinstance(given := block.get("type"), str):
        match = _KIND.fullmatch(given)
        return match[1] if match else None
    return next((kind for kind in _KINDS if isinstance(block.get(kind), dict)), None)


def _texts(value: Any, levels: int) -> Iterator[tuple[str, str]]:
    """The texts in an object and in the objects in it, by their keys."""
    for key, inner in value.items():
        if isinstance(inner, str):
            yield key, inner
        elif isinstance(inner, dict) and levels:
            yield from _texts(inner, levels - 1)


def _decoded(data: str) -> bytes:
    try:
        plain = "".join(data.split()).replace("-", "+").replace("_", "/").rstrip("=")
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return data.encode(errors="surrogatepass")
