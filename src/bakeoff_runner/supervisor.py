"""PID 1 of the container: forks the harness, carries its lines, outlives its OOM kill, reports what the kernel counted.

It is small, since the memory and CPU it uses are charged to the agent's limits. It forks the harness before it reads
the first line, so the supervisor's token is never in the harness's memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from typing import Any

from bakeoff_runner import cgroup, process, syscalls, wire
from bakeoff_runner.waits import Waits

# The disk has no peak counter, nor have memory and pids on old kernels, so they are sampled: all at the first pace, the
# disk alone at the second, and at the third while more than half of it is in use. A fill whose file is removed at once
# lasts for milliseconds, and a look at the disk takes microseconds.
SAMPLE_MS, DISK_MS, FILLING_MS = 250, 50, 5
REPORT_SECONDS = 1.0  # how often it reports the memory in use, for the host's display
CHUNK = 64 * 1024
ENDING_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
CPU_TIMES = ("cpu_seconds", "throttled_seconds", "waited_seconds")
GRACE_SECONDS = 5.0  # for the last bytes in the pipes, once the harness has ended


class Supervisor:
    """One attempt's worth of supervision: call `run` once."""

    def __init__(self, child: int, to_child: int, from_child: int, child_log: int) -> None:
        self.child, self.to_child, self.from_child, self.child_log = child, to_child, from_child, child_log
        self.token = ""
        self.workdir = "/task"
        self.log_left, self.output_left = wire.MAX_LOG, wire.MAX_OUTPUT
        self.inbox = b""  # from the host, up to the last newline
        self.for_child = bytearray()  # from the host, not yet read by the harness
        self.outbox = bytearray()  # from the harness, up to the last newline
        self.skipping = False  # inside a line that went over its bound
        self.overflow: str | None = None
        self.log_dropped = 0
        self.terminated = (
            False  # asked to end from outside the container: `docker stop`, a host shutting down
        )
        self.stopped_for: str | None = None  # why the supervisor killed the harness
        self.startup: dict[str, Any] = {}  # CPU times up to the moment when the agent's clock started
        self.status: int | None = None  # the harness's wait status
        self.disk_peak, self.disk_full, self.inodes_full = 0, False, False
        self.pace_ms = DISK_MS
        self.peaks = {"memory_peak_bytes": 0, "pids_peak": 0}  # for kernels that keep none
        self.waits = Waits()
        self.last_sample = self.last_report = time.monotonic()

    def run(self) -> None:
        """Carry lines until the harness has ended or the host is gone; then report and return."""
        wakeup, bell = os.pipe()
        for end in (bell, wakeup, self.to_child):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)  # `take_signal` asks who sent one
        poll = select.poll()
        for end in (0, wakeup, self.from_child, self.child_log):
            poll.register(end, select.POLLIN)
        writable = False
        while self.status is None:
            if bool(self.for_child) != writable:
                writable = not writable
                if writable:
                    poll.register(self.to_child, select.POLLOUT)
                else:
                    poll.unregister(self.to_child)
            woken = poll.poll(self.pace_ms)
            for end, _ in woken:
                if end == 0:
                    if not self.read_host():
                        poll.unregister(0)
                        self.stop("host_gone")
                elif end == wakeup:
                    os.read(wakeup, 512)
                elif end == self.to_child:
                    self.write_child()
                elif not self.read_child(end):
                    poll.unregister(end)
            self.take_signal()
            self.look(woken=bool(woken))
            self.reap()
        self.drain()
        self.report()

    # --- from the host

    def read_host(self) -> bool:
        data = os.read(0, CHUNK)
        lines = (self.inbox + data).split(b"\n")
        self.inbox = lines.pop()
        for line in lines:
            if line.startswith(wire.SUPERVISOR_PREFIX):
                self.obey(json.loads(line))
            else:
                self.for_child += line + b"\n"
        return bool(data)

    def obey(self, message: dict[str, Any]) -> None:
        if message["method"] == "supervisor/stop":
            self.stop("host_asked")
            return
        if message["method"] == "supervisor/started":
            facts = self.kernel()
            self.startup = {f"startup_{name}": facts[name] for name in CPU_TIMES}
            return
        params = message["params"]
        self.token, self.workdir = params["token"], params["workdir"]
        self.log_left, self.output_left = params["log_bytes"], params["output_bytes"]
        self.say("supervisor/ready", kernel=self.kernel())

    def write_child(self) -> None:
        try:
            sent = os.write(self.to_child, self.for_child[:CHUNK])
            del self.for_child[:sent]
        except BlockingIOError:
            pass
        except BrokenPipeError:  # it closed its end or died; SIGCHLD says which
            self.for_child.clear()

    # --- from the harness

    def read_child(self, end: int) -> bool:
        data = os.read(end, CHUNK)
        if end == self.child_log:
            kept = data[: self.log_left]
            self.log_left -= len(kept)
            self.log_dropped += len(data) - len(kept)
            _write_all(2, kept)
        elif data:
            self.forward(data)
        else:
            self.stop("channel_closed")  # it can neither ask nor answer any more
        return bool(data)

    def forward(self, data: bytes) -> None:
        """Pass on whole lines within the bounds, and never a part of one."""
        self.output_left -= len(data)
        if self.output_left < 0:
            self.overflow = self.overflow or "total output"
            self.outbox.clear()
            self.stop("overflow")
            return
        self.outbox += data
        newline = self.outbox.rfind(b"\n") + 1
        if newline:
            whole = bytes(self.outbox[:newline])
            del self.outbox[:newline]
            if self.skipping:
                whole = whole[whole.index(b"\n") + 1 :]
                self.skipping = False
            _write_all(1, whole)
        if len(self.outbox) > wire.MAX_LINE:
            self.overflow = self.overflow or "line"
            self.outbox.clear()
            self.skipping = True

    # --- ends and facts

    def stop(self, reason: str) -> None:
        """Kill the harness; the loop then sees it end. The first reason counts."""
        if self.status is None:
            self.stopped_for = self.stopped_for or reason
            os.kill(self.child, signal.SIGKILL)

    def take_signal(self) -> None:
        """A sender outside the container has no process id in here; a harness that sends one ends."""
        info = signal.sigtimedwait(ENDING_SIGNALS, 0)
        if info is not None:
            self.terminated = self.terminated or info.si_pid == 0
            self.stop("terminated")

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.child:
                self.status = status

    def drain(self) -> None:
        """Kill what the harness left running, then read the last bytes from its pipes."""
        if os.getpid() == 1:  # elsewhere -1 would mean every process of the user, not of the container
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
        for end in (self.from_child, self.child_log):
            poll = select.poll()
            poll.register(end, select.POLLIN)
            while poll.poll(GRACE_SECONDS * 1000) and self.read_child(end):
                pass
        self.reap()

    def look_at_disk(self) -> None:
        try:
            stat = os.statvfs(self.workdir)
        except OSError:
            return
        used = stat.f_blocks - stat.f_bfree
        self.pace_ms = FILLING_MS if 2 * used > stat.f_blocks else DISK_MS
        self.disk_peak = max(self.disk_peak, used * stat.f_frsize)
        self.disk_full = self.disk_full or (stat.f_blocks > 0 and stat.f_bfree == 0)
        self.inodes_full = self.inodes_full or (stat.f_files > 0 and stat.f_ffree == 0)

    def look(self, *, woken: bool) -> None:
        """At the disk, and at everything where something happened or the last look is old enough."""
        self.look_at_disk()
        if woken or time.monotonic() - self.last_sample >= SAMPLE_MS / 1000:
            self.sample()

    def sample(self) -> None:
        self.last_sample = now = time.monotonic()
        self.waits.sample()
        for name, current in (
            ("memory_peak_bytes", cgroup.memory_current()),
            ("pids_peak", cgroup.pids_current()),
        ):
            self.peaks[name] = max(self.peaks[name], current or 0)
        if now - self.last_report >= REPORT_SECONDS:
            self.last_report = now
            self.say("supervisor/sample", memory_bytes=cgroup.memory_current())

    def kernel(self) -> dict[str, Any]:
        self.look(woken=True)
        facts = cgroup.facts()
        sampled = {name: peak for name, peak in self.peaks.items() if facts[name] is None and peak}
        stat = os.statvfs(self.workdir)
        return {
            **facts,
            **sampled,
            "sampled": list(sampled),
            "waited_seconds": self.waits.seconds,
            **self.startup,
            "disk_limit_bytes": stat.f_blocks * stat.f_frsize,
            "disk_peak_bytes": self.disk_peak,
            "disk_full": self.disk_full,
            "inodes_full": self.inodes_full,
        }

    def report(self) -> None:
        status = self.status or 0
        self.say(
            "supervisor/exit",
            exit_code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            overflow=self.overflow,
            terminated=self.terminated,
            # a harness that exits closes its channel too, a moment before
            stopped_for=self.stopped_for if os.WIFSIGNALED(status) else None,
            log_dropped=self.log_dropped,
            kernel=self.kernel(),
        )

    def say(self, method: str, **params: Any) -> None:
        _write_all(1, wire.notification(method, {"token": self.token, **params}))


def _write_all(end: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(end, view) :]


def _owner(home: str) -> int:
    """The sandbox's own user: the engine mounts its one writable place for it, or for root and names the user."""
    owner = os.stat(home).st_uid
    if owner == 0 and len(sys.argv) > 1:
        owner = int(sys.argv[1])
        os.chown(home, owner, owner)
    return owner


def main() -> None:
    """Fork the harness, supervise it, report, exit 0. A failure of the supervisor itself exits non-zero.

    As root in a container it runs the harness as another user. The harness and its tools can then neither signal,
    trace, limit nor slow the supervisor, so what it reports of their end is no claim of theirs.
    """
    # Podman's marks: programs ask for them, and should find the same on every engine
    for mark in ("container", "TERM"):
        os.environ.pop(mark, None)
    child_in, to_child = os.pipe()
    from_child, child_out = os.pipe()
    walled = os.getpid() == 1 and os.getuid() == 0
    home = os.environ.get("HOME", "/")
    user = _owner(home)
    child_log, log_in = process.pipe_of(user) if walled else os.pipe()
    shared_memory = f"{home}/.shm"
    if walled:
        process.place_shared_memory(shared_memory)
        process.close_message_queues()
    pid = os.fork()
    if pid == 0:
        for end in (to_child, from_child, child_log):
            os.close(end)
        os.dup2(log_in, 1)
        os.dup2(log_in, 2)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)  # the container's stdin is the supervisor's alone
        for end in (null, log_in):
            os.close(end)
        process.be_killed_first()
        if walled:
            process.become(user)
            syscalls.restrict()
            os.mkdir(shared_memory, 0o700)
        from bakeoff_runner.harness import serve

        serve(child_in, child_out)
    for end in (child_in, child_out, log_in):
        os.close(end)
    process.make_undumpable()
    Supervisor(pid, to_child, from_child, child_log).run()
    sys.stdout.flush()
    os._exit(0)
