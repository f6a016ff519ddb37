"""Ways to end a run or to damage its directory, and whether `--resume` makes it whole.

Each is played in a project of its own. "whole" is given only where the run ended as it should, without a traceback,
and where after the resume every trial has passed once, both reports are there, and no container is left.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.docker.project import COMMAND, Project, call, docker
from tests.fakes.http_server import HttpServer
from tests.faults.faults import Fault, Survive
from tests.faults.provider import Provider

if TYPE_CHECKING:
    from tests.faults.scenes import Scene

ROWS, SLOTS = 5, 3
PATIENCE_SECONDS = 120.0
# What is sent, in turn: three interrupts within 30 ms first.
SIGNALS = (
    (signal.SIGINT,) * 3,
    (signal.SIGTERM,),
    (signal.SIGHUP,),
    (signal.SIGQUIT,),
    (signal.SIGKILL,),
    (signal.SIGINT,),
    (signal.SIGTERM,) * 2,
)
INTERRUPTED, UNFIT, REFUSED = 130, 4, 2
PROOF = " proof-"

MARKS = """
import time
from pathlib import Path

def mark(**_):
    Path(__file__).with_name("scoring").touch()
    time.sleep(0.3)
    return 1.0
"""


class NotWhole(Exception):
    """What is wrong, in a few words."""


class Victim(Project):
    """A run of a few trials, each of which passes."""

    def __init__(self, root: Path, name: str, collector: str | None, provider: str | None) -> None:
        super().__init__(root)
        self.published = collector is not None
        if collector:
            self.config["publish"] = {"otlp": {"endpoint": collector, "protocol": "http/protobuf"}}
        if provider:
            self.config["candidates"] = [{"name": "sim", "model": "openai:fine", "base_url": provider}]
        self.config["name"] = name
        self.config["evaluators"].append({"use": "marks:mark", "threshold": 1.0})
        (root / "marks.py").write_text(MARKS)
        for number in range(ROWS):
            self.row(f"row-{number}", call("wait", "waited", seconds=0 if provider else 0.5))

    def begun(self, *before: str) -> subprocess.Popen[str]:
        """The run, started; `before`: a command that starts it."""
        self.write()
        return subprocess.Popen(
            [*before, *COMMAND, "run", "--quiet", "--max-concurrency", str(SLOTS)],
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def again(self, *command: str) -> subprocess.Popen[str]:
        """Another command on the run."""
        return subprocess.Popen(
            [*COMMAND, *command], cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    @property
    def directory(self) -> Path | None:
        return next(iter(sorted(path.parent for path in self.root.glob("runs/*/manifest.json"))), None)

    def lines(self) -> list[bytes]:
        """Of trials.jsonl."""
        return (self.directory / "trials.jsonl").read_bytes().splitlines(True) if self.directory else []

    def sandboxes(self) -> list[str]:
        """Ids of the containers of this project's runs, of the rehearsal's too."""
        return _labelled(f"-{self.config['name']}-")

    def left(self) -> list[str]:
        """What should be gone at the end; whose a proof of limits was, nothing says."""
        return [*self.sandboxes(), *_labelled(PROOF)]

    def until(self, process: subprocess.Popen[str], there: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not there():
            if process.poll() is not None:
                said = process.communicate()[1] or ""
                raise NotWhole(f"it ended before it was harmed: {said[-300:]}")
            if time.monotonic() > deadline:
                raise NotWhole("it never came so far")
            time.sleep(0.005)

    def child(self, process: subprocess.Popen[str], command: str) -> bool:
        """Whether the run has come so far that this command runs for it."""
        try:
            return any(command in child.cmdline() for child in psutil.Process(process.pid).children())
        except psutil.Error:
            return False


# --- harms: each ends a run, and returns how it ended ---------------------------------------------------------


Ended = tuple["subprocess.Popen[str]", Sequence[int]]  # the process, and the exit codes that are right


def _sent(process: subprocess.Popen[str], numbers: Sequence[signal.Signals], *more: int) -> Ended:
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.01)
    if signal.SIGKILL in numbers:
        return process, (-signal.SIGKILL,)
    late = [-number for number in numbers[1:]]  # it may meet an interpreter that is gone by half
    # CPython ends itself by SIGINT where the signal met an `exec` of text, as in the making of a dataclass.
    return process, (INTERRUPTED, -signal.SIGINT, *late, *more)


def _at_start(victim: Victim, numbers: Sequence[signal.Signals], nth: int) -> Ended:
    process = victim.begun()
    time.sleep(0.1 + 0.05 * nth)
    return _sent(process, numbers, *(-number for number in numbers))  # Python itself was still loading


def _preparing(victim: Victim, numbers: Sequence[signal.Signals], nth: int) -> Ended:
    process = victim.begun()
    time.sleep(0.8 + 0.1 * nth)
    return _sent(process, numbers)


def _proving(victim: Victim, numbers: Sequence[signal.Signals], nth: int) -> Ended:
    process = victim.begun()
    victim.until(process, lambda: _labelled(PROOF))
    return _sent(process, numbers)


def _rehearsing(victim: Victim, numbers: Sequence[signal.Signals], nth: int) -> Ended:
    process = victim.begun()
    victim.until(process, lambda: not victim.directory and victim.sandboxes())
    return _sent(process, numbers)


def _running(victim: Victim, numbers: Sequence[signal.Signals], nth: int) -> Ended:
    process = victim.begun()
    victim.until(process, lambda: victim.directory and len(victim.sandboxes()) >= SLOTS)
    time.sleep(0.1 * nth)
    return _sent(process, numbers)


def _scoring(victim: Victim, numbers: Sequence[signal.Signals], nth: int) -> Ended:
    process = victim.begun()
    victim.until(process, (victim.root / "scoring").exists)
    return _sent(process, numbers)


def _reporting(victim: Victim, numbers: Sequence[signal.Signals], nth: int) -> Ended:
    process = victim.begun()
    victim.until(process, lambda: victim.child(process, "report"))
    time.sleep(0.15 * nth)
    return _sent(process, numbers)


def _publishing(victim: Victim, numbers: Sequence[signal.Signals], nth: int) -> Ended:
    process = victim.begun()
    victim.until(process, lambda: victim.child(process, "publish"))
    time.sleep(0.1 * nth)
    return _sent(process, numbers)


def _terminal_lost(victim: Victim, nth: int) -> Ended:
    victim.write()
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *COMMAND, "run", "--max-concurrency", str(SLOTS)],
        cwd=victim.root,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    os.set_blocking(ours, False)

    def read_until_it_runs() -> bool:
        try:
            os.read(ours, 65536)
        except OSError:
            pass
        return len(victim.lines()) > nth % 3

    victim.until(process, read_until_it_runs)
    os.close(ours)
    return process, (INTERRUPTED,)


def _made_read_only(victim: Victim, nth: int) -> Ended:
    """Root writes everywhere, so that this run is of a root without that capability."""
    process = victim.begun("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    victim.until(process, lambda: len(victim.lines()) > nth % 3)
    places = [victim.directory, *victim.directory.rglob("*")]  # type: ignore[union-attr, list-item]
    for place in places:
        place.chmod(place.stat().st_mode & ~0o222)
    process.wait(PATIENCE_SECONDS)
    for place in places:
        if place.exists():
            place.chmod(place.stat().st_mode | 0o200)
    return process, (UNFIT,)


def _two_runs(victim: Victim, nth: int) -> Ended:
    """At once, into one `--out`: neither minds. The first is the one that is looked at."""
    process, other = victim.begun(), victim.begun()
    _, stderr = other.communicate(timeout=PATIENCE_SECONDS)
    if other.returncode:
        raise NotWhole(f"the other run: exit {other.returncode}: {stderr[-300:]}")
    return process, (0,)


def _two_resumes(victim: Victim, nth: int) -> Ended:
    process, _ = _running(victim, [signal.SIGKILL], nth)
    process.wait()
    both = [victim.again("run", "--quiet", "--resume", "latest") for _ in range(2)]
    said = [each.communicate(timeout=PATIENCE_SECONDS)[1] for each in both]
    codes = sorted(each.returncode for each in both)
    if codes != [0, REFUSED]:
        raise NotWhole(f"two resumes: exit {codes}: {said}")
    refusal = said[0] if both[0].returncode else said[1]
    if "another process is running this run" not in refusal and "this run is finished" not in refusal:
        raise NotWhole(f"the second resume: {refusal}")
    return process, (-signal.SIGKILL,)


def _few_open_files(victim: Victim, nth: int) -> Ended:
    limit = (64, 48, 80, 100)[nth % 4]
    process = victim.begun("prlimit", f"--nofile={limit}:{limit}")
    return process, (0, UNFIT)


def _damaged(damage: Callable[[list[bytes]], list[bytes]]) -> Callable[[Victim, int], Ended]:
    def harm(victim: Victim, nth: int) -> Ended:
        process = victim.begun()
        victim.until(process, lambda: len(victim.lines()) > 1 + nth % 4)
        process.kill()
        process.wait()
        assert victim.directory
        (victim.directory / "trials.jsonl").write_bytes(b"".join(damage(victim.lines())))
        return process, (-signal.SIGKILL,)

    return harm


STAGES = {
    "signal-at-start": _at_start,
    "signal-preparing": _preparing,
    "signal-proving": _proving,
    "signal-rehearsing": _rehearsing,
    "signal-running": _running,
    "signal-scoring": _scoring,
    "signal-reporting": _reporting,
    "signal-publishing": _publishing,
}
HARMS: dict[str, Callable[[Victim, int], Ended]] = {
    "terminal-lost": _terminal_lost,
    "made-read-only": _made_read_only,
    "two-runs": _two_runs,
    "two-resumes": _two_resumes,
    "few-open-files": _few_open_files,
    "line-torn": _damaged(lambda lines: [*lines[:-1], lines[-1][: len(lines[-1]) // 2]]),
    "line-doubled": _damaged(lambda lines: [*lines, lines[0]]),
    "line-damaged": _damaged(lambda lines: [lines[0][:50] + b"\n", *lines[1:]]),
    "nul-tail": _damaged(lambda lines: [*lines, b"\0" * 4096]),
}


# --- the scene -------------------------------------------------------------------------------------------------


def run_directory(faults: Sequence[Fault], times: int, scratch: Path, scene: Scene) -> None:
    """Each injection is a run of its own, and what makes it whole."""

    def collect(exchange: object) -> None:
        time.sleep(1.0)
        exchange.say(200, b"", {"content-type": "application/x-protobuf"})  # type: ignore[attr-defined]

    with HttpServer(collect) as collector, Provider() as provider:
        for fault in faults:
            assert isinstance(fault.how, Survive)
            harm, signals = fault.how.harm, cycle(SIGNALS)
            for nth in range(times):
                paid = provider.base_url if harm == "signal-rehearsing" else None  # others are not rehearsed
                sent = collector.url if harm == "signal-publishing" else None
                victim = Victim(scratch / f"{harm}-{nth}", f"{harm}-{nth}", sent, paid)
                try:
                    if harm in STAGES:
                        ended = STAGES[harm](victim, next(signals), nth)
                    else:
                        ended = HARMS[harm](victim, nth)
                    given = _whole(victim, *ended)
                except (NotWhole, subprocess.TimeoutExpired) as problem:
                    given = str(problem)
                scene.note(fault, given)
                scene.left += len(victim.left())


def _whole(victim: Victim, process: subprocess.Popen[str], codes: Sequence[int]) -> str:
    """Make the run whole, as its user would; "whole", or what is wrong."""
    stderr = process.communicate(timeout=PATIENCE_SECONDS)[1] or ""
    if process.returncode not in codes:
        raise NotWhole(f"exit {process.returncode}, not {codes[0]}: {stderr[-300:]}")
    _said_well(stderr)
    if process.returncode != -signal.SIGKILL and victim.left():
        raise NotWhole("containers are left before the resume")
    if victim.directory is None:
        _done(victim.begun())
    else:
        state = json.loads((victim.directory / "manifest.json").read_bytes())["state"]
        reported = all((victim.directory / name).is_file() for name in ("report.md", "report.html"))
        if not (state == "finished" and reported):
            _done(victim.again("run", "--quiet", "--resume", "latest"))
        if victim.published:
            _done(victim.again("publish", "latest"))
    return _looked_at(victim)


def _done(process: subprocess.Popen[str]) -> None:
    _, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    if process.returncode:
        raise NotWhole(f"made whole: exit {process.returncode}: {stderr[-300:]}")


def _said_well(stderr: str) -> None:
    if "Traceback" in stderr or "bug in bakeoff" in stderr:
        raise NotWhole(f"no clear error: {stderr[-300:]}")


def _looked_at(victim: Victim) -> str:
    assert victim.directory
    trials = [json.loads(line) for line in victim.lines()]
    names = sorted(trial["trial_id"] for trial in trials)
    if names != [f"sim/row-{number}/1" for number in range(ROWS)]:
        raise NotWhole(f"trials: {names}")
    if {trial["verdict"] for trial in trials} != {"passed"}:
        raise NotWhole(f"verdicts: {[trial['cause'] for trial in trials]}")
    if not all((victim.directory / name).is_file() for name in ("report.md", "report.html")):
        raise NotWhole("no report")
    if list(victim.directory.rglob("*.tmp")):
        raise NotWhole("temporary files are left")
    if victim.left():
        raise NotWhole("containers are left")
    return "whole"


def _labelled(part: str) -> list[str]:
    """Ids of all containers of a run whose id has this part."""
    listed = docker("ps", "-a", "--format", '{{.ID}} {{.Label "bakeoff"}}').splitlines()
    return [line.split()[0] for line in listed if part in line]
