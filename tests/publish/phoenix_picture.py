"""Takes docs/phoenix.png: one trial's trace as it arrives at a real Phoenix, in a real browser.

.venv/bin/python tests/publish/phoenix_picture.py runs/RUN docs/phoenix.png
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from bakeoff.record import trace_ids
from bakeoff.record.store import RunDirectory
from bakeoff.record.trial import TrialRecord
from tests.publish import servers
from tests.publish.demonstration import another, publish

WIDTH, HEIGHT = 1500, 900  # CSS pixels
COLOURS = 64
SHOWN = 8  # tool calls that make a trace worth looking at, and fit on a page


def main(run: Path, picture: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        (place / "phoenix").mkdir()
        original = RunDirectory.open(run)
        copy = another(original, place / "runs", original.run_id)
        with servers._phoenix(place / "phoenix") as server:
            publish(copy, "--to", "otlp", "--url", server.url).check_returncode()
            server.settled("support-desk")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"), args=["--no-sandbox"]
                )
                page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
                page.set_default_timeout(120_000)
                taken = trace(page, server.url, trace_ids.trace_id(copy.run_id, worth_seeing(copy).trial_id))
                browser.close()
    taken.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(picture, optimize=True)
    print(f"{picture}: {picture.stat().st_size / 1024:.0f} KiB")


def worth_seeing(run: RunDirectory) -> TrialRecord:
    """A failed trial in which a tool failed too."""
    return max(
        run.trials(),
        key=lambda trial: (
            trial.verdict == "failed",
            bool(trial.tools and trial.tools.failed),
            bool(trial.tools and trial.tools.calls <= SHOWN),
            trial.usage.model_calls,
        ),
    )


def trace(page: Page, url: str, trace_id: str) -> Image.Image:
    page.goto(f"{url}/redirects/traces/{trace_id}")
    page.get_by_text("invoke_agent support-desk").first.wait_for()
    page.wait_for_timeout(4000)
    return Image.open(io.BytesIO(page.screenshot()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
