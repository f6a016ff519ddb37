"""What `pip install` of a checkout brings, read from the lock file and the pages that say so."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker

ROOT = Path(__file__).parents[3]
LOCK: dict[str, Any] = {
    package["name"]: package for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]
}
OURS = LOCK["bakeoff"]
OVERRIDDEN = "sys_platform == 'none'"
INSTALLS = r"(?:pip install|pipx (?:install|run)|uvx|uv (?:add|tool install|pip install))[^\n`|#]*?"


def closure(extra: str) -> set[str]:
    """What pip installs here for an extra: also what uv's overrides, which pip does not read, keep from uv."""
    found, waiting = set[str](), [*OURS["dependencies"], *OURS["optional-dependencies"][extra]]
    while waiting:
        wanted = waiting.pop()
        marker = wanted.get("marker", OVERRIDDEN)
        if marker != OVERRIDDEN and not Marker(marker).evaluate():
            continue
        package, extras = LOCK.get(wanted["name"], {}), wanted.get("extra", [])
        more = [each for one in extras for each in package.get("optional-dependencies", {}).get(one, [])]
        if wanted["name"] not in found or more:
            found.add(wanted["name"])
            waiting += [each for each in package.get("dependencies", []) if each["name"] not in found] + more
    return found


@pytest.mark.parametrize("extra", sorted(OURS["optional-dependencies"]))
def test_no_extra_compiles_anything(extra: str) -> None:
    fits = re.compile(r"-(?:any|[\w.]*manylinux[\w.]*x86_64)\.whl$")
    without = [
        name
        for name in closure(extra)
        if not any(fits.search(wheel["url"]) for wheel in LOCK[name].get("wheels", []))
    ]
    assert without == []


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *(p.name for p in (ROOT / "docs").glob("*.md"))]
)
def test_no_page_installs_bakeoff_from_an_index_that_does_not_have_it(page: str) -> None:
    path = ROOT / page if (ROOT / page).exists() else ROOT / "docs" / page
    assert re.findall(INSTALLS + r"""[\s'"]bakeoff(?![\w/-])[^\n]*""", path.read_text()) == []
