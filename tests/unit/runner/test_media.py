"""What stands for an image, a sound or a file in the record, whatever API its block is written for."""

import base64
import hashlib
from types import SimpleNamespace
from typing import Any

import pytest

from bakeoff_runner.media import MOST, placeholder, without_media
from bakeoff_runner.tools import result_text

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
DATA = base64.b64encode(PNG).decode()
URL = "https://pictures.example/a.png"
FACTS = f"{len(PNG)} bytes, sha256 {hashlib.sha256(PNG).hexdigest()}"
IMAGE = f"[image: image/png, {FACTS}]"


@pytest.mark.parametrize(
    ("block", "line"),
    [
        # chat completions
        ({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}", "detail": "low"}}, IMAGE),
        ({"type": "image_url", "image_url": {"url": URL}}, f"[image: {URL}]"),
        ({"type": "image_url", "image_url": f"data:image/png;base64,{DATA}"}, IMAGE),
        ({"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}}, f"[audio: wav, {FACTS}]"),
        (
            {
                "type": "file",
                "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{DATA}"},
            },
            f"[file: application/pdf, {FACTS}]",
        ),
        ({"type": "file", "file": {"file_id": "file-7"}}, "[file: file-7]"),
        # Responses
        ({"type": "input_image", "image_url": f"data:image/png;base64,{DATA}"}, IMAGE),
        ({"type": "input_image", "file_id": "file-7"}, "[image: file-7]"),
        ({"type": "image_generation_call", "result": DATA, "output_format": "png"}, f"[image: png, {FACTS}]"),
        # Messages
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}, IMAGE),
        ({"type": "image", "source": {"type": "url", "url": URL}}, f"[image: {URL}]"),
        (
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": DATA}},
            f"[document: application/pdf, {FACTS}]",
        ),
        # LangChain, both versions
        ({"type": "image", "source_type": "base64", "mime_type": "image/png", "data": DATA}, IMAGE),
        ({"type": "image", "base64": DATA, "mime_type": "image/png"}, IMAGE),
        ({"type": "video", "url": URL, "mime_type": "video/mp4"}, f"[video: video/mp4, {URL}]"),
        # Google and Amazon
        ({"type": "media", "mime_type": "image/png", "data": DATA}, IMAGE),
        ({"type": "media", "mime_type": "audio/wav", "file_uri": "gs://b/a"}, "[audio: audio/wav, gs://b/a]"),
        ({"image": {"format": "png", "source": {"bytes": DATA}}}, f"[image: png, {FACTS}]"),
        ({"type": "image"}, "[image: nothing in it]"),
        # no media
        ({"type": "text", "text": "an image"}, None),
        ({"type": "tool_use", "id": "a", "name": "f", "input": {"image": "x"}}, None),
        ({"type": "file_search_call", "id": "a"}, None),
        ({"type": "thinking", "thinking": "x"}, None),
        ("image", None),
    ],
)  # fmt: skip
def test_every_api_s_block_says_what_it_was(block: Any, line: str | None) -> None:
    assert placeholder(block) == line


def test_what_is_no_base64_is_counted_as_it_is() -> None:
    line = placeholder({"type": "image", "base64": "%%%", "mime_type": "image/png"})
    assert line == f"[image: image/png, 3 bytes, sha256 {hashlib.sha256(b'%%%').hexdigest()}]"


def test_the_lines_of_many_media_are_bounded() -> None:
    content = [{"type": "image", "url": "https://x.example/" + "y" * 10_000}] * (MOST + 5)
    shown = without_media(content)
    assert shown[-1]["text"].strip() == "[5 more]"
    assert len(str(shown)) < 20_000


def test_a_tool_s_image_is_a_line_of_its_result() -> None:
    blocks = [
        {"type": "text", "text": "The page:"},
        {"type": "image", "base64": DATA, "mime_type": "image/png"},
    ]
    message = SimpleNamespace(type="tool", content=blocks)
    assert result_text(message) == f"The page:\n{IMAGE}"
    other = SimpleNamespace(type="tool", content=[{"type": "json", "rows": 2}])
    assert result_text(other) == '[{"type": "json", "rows": 2}]'
