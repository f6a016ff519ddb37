"""Takes the pictures of docs/ in a real browser.

python -m tests.browser.pictures report runs/RUN/report.html docs/report.png    the top of a run's report
python -m tests.browser.pictures mlflow runs/RUN docs/mlflow.png                a run at a real MLflow
python -m tests.browser.pictures phoenix runs/RUN docs/phoenix.png              one trial's trace at a real Phoenix
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from bakeoff.record import trace_ids
from bakeoff.record.store import RunDirectory
from bakeoff.record.trial import TrialRecord
from tests.publish import servers
from tests.publish.demonstration import another, publish

# CSS pixels: MLflow's width, and the heights of its list of runs and of one run
WIDTH, LIST, ONE = 1400, 420, 760
UNTICKED = ("Dataset", "Source", "Models")
TICKED = (
    "score",
    "score_low",
    "score_high",
    "infra_error_rate",
    "memory_peak_bytes_max",
    "working_seconds_p95",
)
SHOWN = 8  # tool calls that make a trace worth looking at, and fit on a page


@contextlib.contextmanager
def browser(width: int, height: int) -> Iterator[Page]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme="light")
        page.set_default_timeout(120_000)
        yield page
        chromium.close()


def shot(page: Page) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def report(file: Path) -> Image.Image:
    with browser(1000, 1180) as page:
        page.goto(file.resolve().as_uri())
        return shot(page)


def mlflow(run: Path) -> Image.Image:
    with tempfile.TemporaryDirectory() as scratch, servers._mlflow(Path(scratch)) as server:
        publish(RunDirectory.open(run), "--to", "mlflow", "--url", server.url).check_returncode()
        whole = Image.new("RGB", (WIDTH, LIST + ONE))
        with browser(WIDTH, LIST) as page:
            page.goto(f"{server.url}/#/experiments/1/runs")
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
            whole.paste(shot(page), (0, 0))
            page.set_viewport_size({"width": WIDTH, "height": ONE})
            page.get_by_role("link", name="simulated-steady").first.click()
            page.get_by_text("About this run").wait_for()
            page.get_by_text("Metrics (", exact=False).first.scroll_into_view_if_needed()
            page.wait_for_timeout(3000)
            whole.paste(shot(page), (0, LIST))
        return whole


def phoenix(run: Path) -> Image.Image:
    with tempfile.TemporaryDirectory() as scratch:
        place, original = Path(scratch), RunDirectory.open(run)
        (place / "phoenix").mkdir()
        copy = another(original, place / "runs", original.run_id)
        with servers._phoenix(place / "phoenix") as server, browser(1500, 900) as page:
            publish(copy, "--to", "otlp", "--url", server.url).check_returncode()
            server.settled("support-desk")
            seen = max(copy.trials(), key=worth_seeing)
            page.goto(f"{server.url}/redirects/traces/{trace_ids.trace_id(copy.run_id, seen.trial_id)}")
            page.get_by_text("invoke_agent support-desk").first.wait_for()
            page.wait_for_timeout(4000)
            return shot(page)


def worth_seeing(trial: TrialRecord) -> tuple[bool, bool, bool, int]:
    """A failed trial in which a tool failed too."""
    tools = trial.tools
    few = bool(tools and tools.calls <= SHOWN)
    return trial.verdict == "failed", bool(tools and tools.failed), few, trial.usage.model_calls


if __name__ == "__main__":
    what, source, picture = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    taken = {"report": report, "mlflow": mlflow, "phoenix": phoenix}[what](source)
    # text and flat colours need no more, and the file stays small
    taken.quantize(64, dither=Image.Dither.NONE).save(picture, optimize=True)
    print(f"{picture}: {picture.stat().st_size / 1024:.0f} KiB")
