"""What the host learns of an exception."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bakeoff_runner import wire
from bakeoff_runner.failure import errnos

# A user without the right to one more process: what a limit above the container comes to.
REFUSED = """
import asyncio, json, multiprocessing.popen_fork, os, resource, subprocess, threading
from bakeoff_runner.failure import errnos

if os.getuid() == 0:
    os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))

def thread():
    threading.Thread(target=print).start()

def program():
    subprocess.run(["true"])

def program_from_asyncio():
    asyncio.run(asyncio.create_subprocess_exec("true"))

def worker():
    multiprocessing.get_context("fork").Process(target=print).start()

def fork():
    os.fork()

def wrapped():
    try:
        program()
    except OSError as error:
        raise ValueError("no shell") from error

found = {}
for start in (thread, program, program_from_asyncio, worker, fork, wrapped):
    try:
        start()
    except Exception as error:
        found[start.__name__] = errnos(error)
print(json.dumps(found))
"""


def raised(deed: Any) -> list[int]:
    try:
        deed()
    except OSError as error:
        return errnos(error)
    raise AssertionError("nothing was raised")


def test_a_process_or_thread_that_is_refused_is_known_however_it_is_started() -> None:
    source = str(Path(wire.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", REFUSED],
        env={"PYTHONPATH": source, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert len(found) == 6
    assert all(numbers == [errno.EAGAIN] for numbers in found.values()), found


def test_a_call_that_would_block_refuses_no_process() -> None:
    reading, _ = os.pipe()
    os.set_blocking(reading, False)
    assert raised(lambda: os.read(reading, 1)) == []


def test_a_watch_that_inotify_has_no_room_for_is_no_full_disk() -> None:
    def watch(libc: Any) -> None:
        if libc.inotify_add_watch(3, b"/task", 2) < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    def write() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert raised(lambda: watch(SimpleNamespace(inotify_add_watch=lambda *_: -1))) == []
    assert raised(write) == [errno.ENOSPC]
