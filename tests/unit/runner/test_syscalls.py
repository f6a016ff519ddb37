"""The filter of system calls, run by an interpreter of its few instructions; tests/docker tries it on a kernel."""

import errno

import pytest

from bakeoff_runner import syscalls

ALLOWED, DENIED, ABSENT, NO_FAMILY = 0, errno.EPERM, errno.ENOSYS, errno.EAFNOSUPPORT
TESTS = {0x15: int.__eq__, 0x35: int.__ge__, 0x45: lambda a, b: bool(a & b)}


def outcome(machine: str, number: int, argument: int = 0, architecture: int | None = None) -> int:
    """The errno of a call, 0 where it is allowed."""
    data = {0: number, 4: architecture or syscalls.AUDIT_ARCH[machine], 16: argument}
    steps, at, value = syscalls.program(machine), 0, 0
    while True:
        code, yes, no, operand = steps[at]
        at += 1
        if code == 0x20:
            value = data[operand]
        elif code == 0x06:
            assert operand == 0x7FFF0000 or operand >> 16 == 5
            return 0 if operand == 0x7FFF0000 else operand & 0xFFFF
        else:
            at += yes if TESTS[code](value, operand) else no


@pytest.mark.parametrize(
    ("machine", "read", "clone", "socket", "unshare", "uring"),
    [("x86_64", 0, 56, 41, 272, 425), ("aarch64", 63, 220, 198, 97, 425)],
)
def test_what_the_filter_lets_through(
    machine: str, read: int, clone: int, socket: int, unshare: int, uring: int
) -> None:
    fork, thread, new_user = 0x1200011, 0x3D0F00, 0x10000011
    assert [outcome(machine, clone, flags) for flags in (fork, thread, new_user)] == [0, 0, DENIED]
    unix, inet, packet, vsock = 1, 2, 17, 40
    families = [outcome(machine, socket, family) for family in (unix, inet, packet, vsock)]
    assert families == [ALLOWED, ALLOWED, NO_FAMILY, NO_FAMILY]
    assert [outcome(machine, number) for number in (read, unshare, uring)] == [ALLOWED, DENIED, ABSENT]
    assert outcome(machine, read, architecture=0x40000003) == ABSENT  # i386
    assert outcome(machine, 500) == ALLOWED  # newer than the filter: the engine's own profile decides


def test_the_other_abi_of_x86_does_not_exist() -> None:
    assert outcome("x86_64", 0x40000000) == ABSENT
