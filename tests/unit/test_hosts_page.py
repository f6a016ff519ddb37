"""What the engine matrix says of checks that it does not make itself."""

from tests.hosts.checks import CHECKS
from tests.hosts.engines import ENGINES
from tests.hosts.page import Row


def test_a_check_that_a_guest_makes_is_neither_ok_nor_not_run() -> None:
    row = Row("an engine", instead="not run", in_guest=("limits",))
    assert row.cells(["limits", "kill"]) == ["in a guest", "not run"]
    assert row.complaints() == {}


def test_guests_make_checks_that_the_matrix_has() -> None:
    named = {check for engine in ENGINES for check in engine.in_guest}
    assert named
    assert named <= set(CHECKS)
    assert all(engine.absent for engine in ENGINES if engine.in_guest)
