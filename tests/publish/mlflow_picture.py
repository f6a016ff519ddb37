"""Takes docs/mlflow.png: a run as it arrives at a real MLflow, in a real browser.

.venv/bin/python tests/publish/mlflow_picture.py runs/RUN docs/mlflow.png
"""

from __future__ import annotations

import io
import re
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from bakeoff.record.store import RunDirectory
from tests.publish import servers
from tests.publish.demonstration import publish

WIDTH, LIST, ONE = 1400, 420, 760  # CSS pixels: width, and heights of the list of runs and of one run
COLOURS = 64
UNTICKED = ("Dataset", "Source", "Models")
TICKED = (
    "score",
    "score_low",
    "score_high",
    "infra_error_rate",
    "memory_peak_bytes_max",
    "working_seconds_p95",
)


def main(run: Path, picture: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch, servers._mlflow(Path(scratch)) as server:
        done = publish(RunDirectory.open(run), "--to", "mlflow", "--url", server.url)
        done.check_returncode()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            page = browser.new_page(viewport={"width": WIDTH, "height": LIST}, color_scheme="light")
            page.set_default_timeout(120_000)
            taken = pages(page, server.url)
            browser.close()
    whole = Image.new("RGB", (WIDTH, LIST + ONE))
    whole.paste(taken[0], (0, 0))
    whole.paste(taken[1], (0, LIST))
    whole.quantize(COLOURS, dither=Image.Dither.NONE).save(picture, optimize=True)
    print(f"{picture}: {picture.stat().st_size / 1024:.0f} KiB")


def pages(page: Page, url: str) -> list[Image.Image]:
    page.goto(f"{url}/#/experiments/1/runs")
    page.get_by_text("Model training", exact=True).click()
    page.get_by_role("button", name="Close", exact=True).click()
    page.get_by_role("button", name="Toggle sidebar").click()
    page.get_by_role("link", name="simulated-steady").first.wait_for()
    page.get_by_role("button", name="Columns", exact=True).click()
    for column in (*UNTICKED, *TICKED):
        page.get_by_placeholder("Search columns").fill(column)
        page.locator("[class*=tree-title]", has_text=re.compile(f"^{column}$")).click()
    page.keyboard.press("Escape")
    page.mouse.click(WIDTH / 2, LIST - 20)
    page.wait_for_timeout(2000)
    first = shot(page)
    page.set_viewport_size({"width": WIDTH, "height": ONE})
    page.get_by_role("link", name="simulated-steady").first.click()
    page.get_by_text("About this run").wait_for()
    page.get_by_text("Metrics (", exact=False).first.scroll_into_view_if_needed()
    page.wait_for_timeout(3000)
    return [first, shot(page)]


def shot(page: Page) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
