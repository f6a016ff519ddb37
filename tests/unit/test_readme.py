"""The README says what the code does: its table of causes, its harness.yaml, its dataset row and its files."""

import re
from pathlib import Path

import pytest

from bakeoff import datasets
from bakeoff.cli import app
from bakeoff.config import loading
from bakeoff.verdict import CAUSES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def causes() -> str:
    """The table of causes, one row each, in the order in which they are asked."""
    lines = ["| Cause | Meaning | Evidence | What follows |", "| --- | --- | --- | --- |"]
    for cause in CAUSES:
        follows = ", ".join(cause.follows)
        lines.append(f"| `{cause.code}` | {cause.meaning} | {cause.source} | {follows} |")
    return "\n".join(lines)


def test_the_table_of_causes_is_the_code_s() -> None:
    [(_, table)] = re.findall(r"<!-- causes(.*?)-->\n(.*?)\n<!-- /causes -->", README, re.DOTALL)
    assert table == causes()


def test_the_harness_file_and_the_row_are_read_without_an_error(tmp_path: Path) -> None:
    [harness], [row] = (
        re.findall(rf"```{language}\n(.*?)\n```", README, re.DOTALL) for language in ("yaml", "json")
    )
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets/support_desk.jsonl").write_text(row)
    (tmp_path / "harness.yaml").write_text(harness)
    config = loading.load(tmp_path / "harness.yaml")
    assert len(config.candidates) == 4
    [example] = datasets.load(config).examples
    assert example.cluster == "order_status"


@pytest.mark.parametrize(
    "path", re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(r"`((?:src|tests)/[\w/.]+)`", README)
)
def test_what_it_points_to_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_commands_and_targets_exist() -> None:
    commands = {info.name or info.callback.__name__ for info in app.registered_commands if info.callback}
    assert set(re.findall(r"(?:^|`)bakeoff ([a-z]+)", README, re.MULTILINE)) <= commands
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE)) <= targets
