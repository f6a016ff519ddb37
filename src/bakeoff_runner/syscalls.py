"""The system calls that the harness and its tools are refused, by a seccomp filter of our own.

It comes on top of the engine's profile, which differs from engine to engine: older ones let io_uring, AF_VSOCK and
message queues through. The supervisor installs it in the harness's process, so that it is the same on Docker, Podman
and a cluster, and nothing of it is left to the host's files. Denied is what an agent never needs, and what reaches
beyond its container: into the kernel's rarely used parts, the host's clock and devices, other namespaces, a limit that
the whole host shares (asynchronous I/O), or the scheduler (several agents that crowd onto one core would look like a
busy host).
"""

from __future__ import annotations

import ctypes
import errno
import platform

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h

# By name: the numbers on x86_64 and on aarch64 (asm/unistd.h); None: that processor has no such call.
_NUMBERS: dict[str, tuple[int, int | None]] = {
    # namespaces, mounts, the file system from below
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "fanotify_init": (300, 262), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    # the kernel and the machine
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "kcmp": (312, 272),
    "lookup_dcookie": (212, 18), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142), "syslog": (103, 116),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "vhangup": (153, 58), "sethostname": (170, 161),
    "setdomainname": (171, 162), "iopl": (172, None), "ioperm": (173, None), "uselib": (134, None),
    # the clock
    "clock_settime": (227, 112), "clock_adjtime": (305, 266), "settimeofday": (164, 170), "adjtimex": (159, 171),
    # keys and message queues
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "mq_open": (240, 180), "mq_unlink": (241, 181), "mq_timedsend": (242, 182), "mq_timedreceive": (243, 183),
    "mq_notify": (244, 184), "mq_getsetattr": (245, 185),
    "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187),
    # the scheduler
    "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
}  # fmt: skip

# As on a kernel without them, so that programs fall back: glibc from clone3, whose flags no filter can read, to clone.
_ABSENT: dict[str, tuple[int, int]] = {
    "clone3": (435, 435),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_setup": (206, 0),
}

_CLONE, _SOCKETS = (56, 220), ((41, 198), (53, 199))  # clone; socket and socketpair
NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET
FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
X32 = 0x40000000  # the bit that marks a call of x86_64's other ABI

# linux/filter.h, linux/seccomp.h: the opcodes, where struct seccomp_data has its fields, the actions
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jt", ctypes.c_uint8),
        ("jf", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction)))


Step = tuple[int, int, int, int]


def program(machine: str) -> list[Step]:
    """The filter for this processor. A call of another ABI (32-bit, x32) does not exist."""
    column = list(AUDIT_ARCH).index(machine)
    absent, denied = _ERRNO | errno.ENOSYS, _ERRNO | errno.EPERM
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        *_unless(_EQUAL, AUDIT_ARCH[machine], absent),
        (_LOAD, 0, 0, _NUMBER),
        *_if(_AT_LEAST, X32, absent),
    ]
    for table, action in ((_NUMBERS, denied), (_ABSENT, absent)):
        for numbers in table.values():
            if (number := numbers[column]) is not None:
                steps += _if(_EQUAL, number, action)
    allow = (_RETURN, 0, 0, _ALLOW)
    namespaces = [(_LOAD, 0, 0, _FIRST_ARGUMENT), *_if(_ANY_BIT, NEW_NAMESPACES, denied), allow]
    steps += [(_EQUAL, 0, len(namespaces), _CLONE[column]), *namespaces]
    known = [step for family in FAMILIES for step in _if(_EQUAL, family, _ALLOW)]
    family = [(_LOAD, 0, 0, _FIRST_ARGUMENT), *known, (_RETURN, 0, 0, _ERRNO | errno.EAFNOSUPPORT)]
    for numbers in _SOCKETS:
        steps += [(_EQUAL, 0, len(family), numbers[column]), *family]
    return [*steps, allow]


def _if(test: int, value: int, action: int) -> list[Step]:
    return [(test, 0, 1, value), (_RETURN, 0, 0, action)]


def _unless(test: int, value: int, action: int) -> list[Step]:
    return [(test, 1, 0, value), (_RETURN, 0, 0, action)]


def restrict() -> None:
    """Install the filter for this process and all that it starts. Nothing takes it off again.

    Raises:
        OSError: the kernel refuses it.
        ValueError: there is no filter for this processor.
    """
    steps = program(platform.machine())
    filled = (_Instruction * len(steps))(*(_Instruction(*step) for step in steps))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(_Program(len(steps), filled)), 0, 0),
    ):
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "the system call filter cannot be installed")
