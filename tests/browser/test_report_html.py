"""report.html in a real browser: plots are drawn, it fits any screen. What hostile text does to it: tests/sinks."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from bakeoff.record.store import RunDirectory
from bakeoff.report import data
from bakeoff.report.write import write
from tests.browser.page import Visit
from tests.fakes import synthetic

pytestmark = pytest.mark.slow

PLOTS = ["score", "causes", "memory", "cost", "latency"]
LONG = "a-candidate-whose-name-is-as-long-as-a-name-may-be-" + "x" * 13


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = ["steady", "hasty", LONG]
    records = synthetic.trials(names, 30, 3, skills=(0.95, 0.7, 0.4), infra_rate=0.05)
    manifest = synthetic.manifest(names, 30, 3, run_id="rich")
    return made(synthetic.run_directory(tmp_path_factory.mktemp("rich"), records, manifest))


def made(run: RunDirectory) -> Path:
    return write(run, data.collect(run))[1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_plots_are_drawn_in_the_colours_of_the_page(browser: Browser, rich: Path, scheme: Any) -> None:
    visit = Visit(browser, rich, color_scheme=scheme)
    plots = visit.page.locator("figure svg.plot")
    assert plots.count() == len(PLOTS)
    for name in PLOTS:
        plot = visit.page.locator(f"svg[aria-labelledby={name}-title]")
        box = plot.bounding_box()
        assert box["width"] > 300
        assert box["height"] > 100
        assert visit.page.locator(f"#{name}-title").inner_text()
        drawn = plot.evaluate(
            "svg => [...svg.querySelectorAll('path, use')].filter(x => x.getBBox().width > 0).length"
        )
        assert drawn > 5
        ink = plot.locator("text").first.evaluate("each => getComputedStyle(each).fill")
        assert ink == visit.page.evaluate("getComputedStyle(document.body).color")
    assert visit.said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(browser: Browser, rich: Path, scheme: Any) -> None:
    """WCAG 2.2, success criterion 1.4.3: at least 4.5 to 1."""
    visit = Visit(browser, rich, color_scheme=scheme)
    for selector in (
        ".decision",
        ".warning",
        ".simulated",
        "figcaption span",
        "thead th",
        "td",
        "a",
        "summary",
    ):
        assert visit.page.locator(selector).first.evaluate(CONTRAST) >= 4.5, selector


CONTRAST = """element => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  let behind = element;
  const clear = each => numbers(getComputedStyle(each).backgroundColor)[3] === 0;
  while (behind.parentElement && clear(behind)) behind = behind.parentElement;
  const pair = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor].map(c => light(numbers(c)));
  return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
}"""


@pytest.mark.parametrize("width", [320, 390, 1200])
def test_the_page_never_scrolls_sideways(browser: Browser, rich: Path, width: int) -> None:
    page = Visit(browser, rich, viewport={"width": width, "height": 844}).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # whatever is wider scrolls in a box of its own, which a keyboard can reach
    assert page.locator("table").count() == page.locator(".scroll[tabindex='0'] > table").count() > 5


def test_a_phone_shows_the_first_numbers_beside_the_names(browser: Browser, rich: Path) -> None:
    page = Visit(browser, rich, viewport={"width": 390, "height": 844}).page
    seen = page.evaluate(SEEN)
    assert len(seen) > 10
    assert all(columns >= 2 for columns in seen), seen


# of each table: the columns that begin within the screen
SEEN = """() => [...document.querySelectorAll('table')].map(table =>
  [...table.querySelectorAll('thead th')].filter(th => th.getBoundingClientRect().left < 350).length)"""


def test_the_page_is_one_file_with_sound_structure(browser: Browser, rich: Path) -> None:
    page = Visit(browser, rich).page
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(each => each.id)")
    assert len(ids) == len(set(ids))
    targets = page.evaluate("[...document.querySelectorAll('nav a')].map(each => each.hash.slice(1))")
    assert len(targets) == 9
    assert set(targets) <= set(ids)
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3')].map(each => Number(each.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.locator("svg[role=img]:not([aria-labelledby])").count() == 0
    assert page.locator("main > .simulated").count() == 1  # the stamp, before any number
    assert page.locator("th:not([scope])").count() == 0
