"""The hostile campaign in its short form: the cheap deeds once, in two runs.

`make hostile` plays each in a run of its own.
"""

from pathlib import Path

import pytest

from tests.hostile.deeds import DEEDS
from tests.hostile.scene import play

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.mark.parametrize("program", [False, True], ids=["agent", "program"])
def test_the_cheap_deeds_are_contained(tmp_path: Path, program: bool) -> None:
    deeds = [deed for deed in DEEDS if deed.short and deed.program == program and not deed.hasty]
    scene = play(deeds, 1, tmp_path / "project")
    assert not scene.problems
    assert not {seen.deed.name: seen.problems for seen in scene.seen if seen.problems}
