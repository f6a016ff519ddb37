"""The fault campaign in its short form: every fault once. `make faults` injects each ten times."""

import pytest
from campaign import beyond
from faults import FAULTS, Fault
from scenes import SCENES, Scene

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_fault_gets_its_one_right_verdict(short_campaign: dict[str, Scene], fault: Fault) -> None:
    scene = short_campaign[SCENES[type(fault.how)].__name__]
    if scene.skipped:
        pytest.skip(scene.skipped)
    seen = [one for one in scene.seen if one.fault is fault]
    assert seen, scene.problems
    assert not [f"given {one.given or 'passed'!r}: {one.wrong}" for one in seen if one.wrong]


@pytest.mark.parametrize("name", [make.__name__ for make in SCENES.values()])
def test_nothing_is_lost_or_left_behind(short_campaign: dict[str, Scene], name: str) -> None:
    scene = short_campaign[name]
    if scene.skipped:
        pytest.skip(scene.skipped)
    assert not scene.problems + beyond(scene)
