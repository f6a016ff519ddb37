"""Run in a container, this spends each of its limits and prints its cgroup's files as JSON.

docker run --rm -i --cgroupns private --network none \
    --memory 128m --memory-swap 128m --cpus 0.1 --pids-limit 32 IMAGE \
    python3 - <tests/unit/cgroups/record.py >tests/unit/cgroups/NAME.json
"""

import json
import os
import platform
import signal
import time
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
V1 = {
    "memory": "limit_in_bytes memsw.limit_in_bytes max_usage_in_bytes usage_in_bytes oom_control",
    "cpu": "stat cfs_quota_us cfs_period_us",
    "cpuacct": "usage",
    "pids": "current max peak events",
}
V2 = {
    "cgroup": "controllers",
    "memory": "current peak max swap.max events events.local oom.group",
    "cpu": "stat max",
    "pids": "current max peak events",
}


def child(spend):
    """Fork, spend, and say how it ended."""
    pid = os.fork()
    if pid == 0:
        spend()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def memory():
    held = bytearray(300 << 20)
    held[::4096] = bytes(len(held[::4096]))


def pids():
    while True:  # each waits for its own child, until one may have none
        try:
            pid = os.fork()
        except BlockingIOError:
            os._exit(3)
        if pid:
            os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def cpu():
    end = time.monotonic() + 2
    while time.monotonic() < end:
        pass


spent = {"memory": child(memory), "pids": child(pids), "cpu": child(cpu)}
assert spent == {"memory": -signal.SIGKILL, "pids": 3, "cpu": 0}, spent
unified = (CGROUP / "cgroup.controllers").exists()
names = [
    (f"{controller}.{file}" if unified else f"{controller}/{controller}.{file}")
    for controller, files in (V2 if unified else V1).items()
    for file in files.split()
]
files = {name: (CGROUP / name).read_text() for name in names if (CGROUP / name).exists()}
swap = [
    line for line in Path("/proc/meminfo").read_text().splitlines(keepends=True) if line.startswith("Swap")
]
print(json.dumps({"kernel": platform.release(), "cgroup": files, "meminfo": "".join(swap)}, indent=1))
