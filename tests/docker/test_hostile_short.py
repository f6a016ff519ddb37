"""The hostile campaign in its short form: the cheap deeds, in three runs.

`make hostile` plays each in a run of its own.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.hostile.deeds import DEEDS, Deed
from tests.hostile.scene import play

pytestmark = [pytest.mark.docker, pytest.mark.slow]

CHEAP = [deed for deed in DEEDS if deed.short and not deed.hasty]
AGENT = [deed for deed in CHEAP if not deed.program and deed.rows == 1]
PROGRAM = [deed for deed in CHEAP if deed.program]
LIMITS = [deed for deed in CHEAP if deed.rows > 1]


@pytest.mark.parametrize(
    ("deeds", "times"), [(AGENT, 1), (PROGRAM, 1), (LIMITS, 6)], ids=["agent", "program", "limits"]
)
def test_the_cheap_deeds_are_contained(tmp_path: Path, deeds: Sequence[Deed], times: int) -> None:
    scene = play(deeds, times, tmp_path / "project")
    assert not scene.problems
    assert not {seen.deed.name: seen.problems for seen in scene.seen if seen.problems}
