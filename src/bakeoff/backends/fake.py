"""A scripted sandbox, backend and clock, so that attempts and runs are tested in milliseconds, without a container.

A script is a generator: it says what the harness says, and yields where the harness waits.

    def script(harness: FakeHarness) -> Script:
        harness.loaded()
        harness.started()
        reply = yield harness.ask("What is 1 + 2?")  # one model call, until its reply is there
        yield 5.0  # five seconds of work
        harness.answer(reply["result"]["message"])

    timer = ManualTimer()
    sandbox = FakeSandbox(timer, script)

A call that failed raises `FakeModelError` in the script. Uncaught, it ends the harness as it would end a real one.

The supervisor is played too. It answers `supervisor/start` with `ready` and `supervisor/stop` by killing the harness.
At the end of the script it says `supervisor/exit`, and the streams close.

`FakeBackend` opens such sandboxes. It can go away, stay away and come back.
"""

from __future__ import annotations

import heapq
import json
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

from bakeoff.backends.base import (
    Capacity,
    Check,
    Frame,
    OnFrozen,
    Proof,
    Sandbox,
    SandboxEnd,
    SandboxError,
    SandboxSpec,
    Say,
)
from bakeoff.errors import BackendUnavailable, UnfitEnvironment
from bakeoff.record.base import JsonDict
from bakeoff.record.evidence import DockerFacts
from bakeoff.record.manifest import Host, Image, ImageBase
from bakeoff.record.trial import ResourceLimits
from bakeoff_runner import wire

if TYPE_CHECKING:
    from bakeoff.config.schema import Config

LIMITS = ResourceLimits(cpus=1.0, memory_bytes=256 * 2**20, pids=64, disk_bytes=16 * 2**20, network="none")
"""What a fake sandbox reads back, unless it is made with other limits."""

CAPACITY = Capacity(4.0, 4 * 2**30, (0, 1, 2, 3))
"""What a fake backend promises, unless it is made with another capacity."""

# Seconds of work, or the id of a call whose reply is awaited, which is then what `yield` gives.
Script = Generator[float | str, JsonDict, None]


class ManualTimer:
    """A clock that moves only when everybody waits: then it jumps to the next thing that happens.

    Threads that work (`executor`) count as busy, as does a frame that is on its way to the attempt. `now` starts at
    1000.0, as a monotonic clock starts anywhere.
    """

    def __init__(self) -> None:
        self._now = 1000.0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._busy = 0
        self._changed = threading.Condition()

    def now(self) -> float:
        return self._now

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        """Wait for a notice on `condition`, which the caller holds, or for `timeout` seconds. May return early."""
        condition.release()
        try:
            action = self._next(timeout)
            if action is not None:
                action()
        finally:
            condition.acquire()

    def _next(self, timeout: float | None) -> Callable[[], None] | None:
        with self._changed:
            if self._busy:  # what it does may be the notice
                self._changed.wait(0.01)
                return None
            deadline = float("inf") if timeout is None else self._now + timeout
            if self._agenda and self._agenda[0][0] <= deadline:
                at, _, action = heapq.heappop(self._agenda)
                self._now = max(self._now, at)
                return action
            if timeout is None:
                raise AssertionError("the fake waits for ever: nothing is going to happen")
            self._now = deadline
            return None

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do this once so many seconds have passed."""
        with self._changed:
            heapq.heappush(self._agenda, (self._now + seconds, next(self._numbers), action))

    def sleep(self, seconds: float) -> None:
        """Called in a thread of `executor`: come back when so many seconds have passed."""
        awake = threading.Event()

        def wake() -> None:
            self.busy(+1)
            awake.set()

        self.after(seconds, wake)
        self.busy(-1)
        awake.wait()

    def busy(self, change: int) -> None:
        """Hold the clock for something that is about to happen (+1), until it has happened (-1)."""
        with self._changed:
            self._busy += change
            self._changed.notify_all()

    def executor(self) -> Executor:
        """A pool of unlimited threads that hold the clock while they work."""
        return _Threads(self)


class _Threads(Executor):
    def __init__(self, timer: ManualTimer) -> None:
        self._timer = timer

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._timer.busy(+1)

        def work() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - the future carries it
                future.set_exception(error)
            finally:
                self._timer.busy(-1)

        threading.Thread(target=work, daemon=True).start()
        return future


class FakeModelError(Exception):
    """A model call failed: a limit is used up, or the gateway has no reply. `kind` is the gateway's word for it."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(f"{kind}: {message}")


@dataclass(slots=True)
class FakeHarness:
    """What a script does as the harness. Every line carries the attempt's token, unless `token` is changed."""

    box: FakeSandbox
    task: JsonDict  # the params of `harness/run`
    token: str
    exit_code: int = 0
    signal: int | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def say(self, message: JsonDict) -> None:
        """One line of the protocol."""
        self.box.write(wire.encode({"token": self.token, **message}))

    def notify(self, method: str, **params: Any) -> None:
        self.say({"method": method, "params": params})

    def loaded(self) -> None:
        self.notify("harness/loaded")

    def started(self) -> None:
        self.notify("harness/started")

    def ask(self, *messages: JsonDict | str, **params: Any) -> str:
        """Start a model call; `yield` its id to wait for the reply. A string is a user's message."""
        call: JsonDict = {"tools": None, "tool_choice": None, "stop": None, "params": {}, "stream": False}
        said = [human(item) if isinstance(item, str) else item for item in messages]
        ident = f"h{next(self._numbers)}"
        request = {"messages": said, **call, **params}
        self.say({"id": ident, "method": "model/generate", "params": request})
        return ident

    def tool(self, call_id: str, name: str, args: JsonDict, result: str = "", **end: Any) -> None:
        """A tool that starts and ends at once; `end` overrides what is said of its end."""
        self.notify("tool/start", call_id=call_id, name=name, args=args)
        said = {"seconds": 0.0, "result": result, "error": None, "errnos": [], "timed_out": False, **end}
        self.notify("tool/end", call_id=call_id, name=name, **said)

    def answer(self, *messages: JsonDict, **more: Any) -> None:
        """The result of the run: its final messages, and `answer` where it has a structured one."""
        self.say({"id": wire.RUN_ID, "result": {"messages": list(messages), **more}})

    def fail(self, error_type: str, text: str = "", **data: Any) -> None:
        """The harness raised; it exits with code 1."""
        self.exit_code = 1
        error = {"code": wire.HARNESS_ERROR, "message": text}
        self.say({"id": wire.RUN_ID, "error": {**error, "data": {"type": error_type, "errnos": [], **data}}})

    def die(self, signal: int) -> None:
        """Killed by a signal that the supervisor did not send. The script must end after it."""
        self.signal = signal


def human(text: str) -> JsonDict:
    """A user's message, as LangChain serialises it."""
    return {"type": "human", "data": {"content": text}}


def ai(text: str = "", *calls: tuple[str, str, JsonDict], **data: Any) -> JsonDict:
    """A model's message; `calls` are (id, name, arguments)."""
    made = [{"id": ident, "name": name, "args": args, "type": "tool_call"} for ident, name, args in calls]
    return {"type": "ai", "data": {"content": text, "tool_calls": made, **data}}


def tool_message(call_id: str, text: str, **data: Any) -> JsonDict:
    """What a tool returned, as the harness hands it to the model."""
    return {"type": "tool", "data": {"content": text, "tool_call_id": call_id, **data}}


def _idle(harness: FakeHarness) -> Script:
    harness.loaded()
    harness.started()
    yield float("inf")


class FakeSandbox:
    """A sandbox that follows a script. See the module's first lines.

    Args:
        timer: the clock of the test.
        script: the harness; by default it starts and never does anything.
        limits: what the supervisor reads back.
        kernel: more of what it reads back, over the defaults.
        start_error: `start` raises it.
        kill: `dies`; `ignored`, it lives on; `unanswered`, the backend does not answer.
        deaf: the supervisor never says or does anything.
        stop_works: whether the supervisor obeys `supervisor/stop`.
        end_facts: what the backend says of its end, over `exit_code`.
    """

    def __init__(
        self,
        timer: ManualTimer,
        script: Callable[[FakeHarness], Script] = _idle,
        *,
        limits: ResourceLimits = LIMITS,
        kernel: JsonDict | None = None,
        start_error: SandboxError | None = None,
        kill: Literal["dies", "ignored", "unanswered"] = "dies",
        deaf: bool = False,
        stop_works: bool = True,
        end_facts: JsonDict | None = None,
    ) -> None:
        self.id = f"fake-{id(self):x}"
        self.sent: list[JsonDict] = []  # every line that was sent to it
        self.closed = False
        self.kills = 0
        self.asked_who_holds_it = 0
        self.exit_code: int | None = None  # of PID 1; None: it runs
        self.held_by: Literal["paused", "stopped"] | None = None
        self.exit_facts: JsonDict = {}  # over what `supervisor/exit` says
        self._timer, self._script, self._start_error = timer, script, start_error
        self._kill, self._deaf, self._stop_works = kill, deaf, stop_works
        self._end_facts = end_facts or {}
        self._kernel = {**kernel_facts(limits), **(kernel or {})}
        self._network = limits.network
        self._frames: deque[Frame | None] = deque()
        self._ready = threading.Condition()
        self._on_frozen: OnFrozen = lambda *_: None
        self._frozen = self._streams_closed = False
        self._later: list[Callable[[], None]] = []  # what it would have done while it was frozen
        self._partial = b""
        self._token = ""
        self._harness: FakeHarness | None = None
        self._running: Script | None = None
        self._awaited: str | None = None  # the call that the script waits for
        self._replies: dict[str, JsonDict] = {}

    # --- the seam

    def start(self, on_frozen: OnFrozen) -> None:
        if self._start_error is not None:
            raise self._start_error
        self._on_frozen = on_frozen

    def send(self, data: bytes) -> None:
        lines = (self._partial + data).split(b"\n")
        self._partial = lines.pop()
        for line in lines:
            message = json.loads(line)
            self.sent.append(message)
            if not self._deaf:
                self._unless_frozen(partial(self._obey, message))

    def frames(self) -> Iterator[Frame]:
        while True:
            with self._ready:
                while not self._frames:
                    self._ready.wait()
                frame = self._frames.popleft()
            if frame is not None:
                yield frame
            self._timer.busy(-1)
            if frame is None:
                return

    def held(self) -> Literal["paused", "stopped"] | None:
        self.asked_who_holds_it += 1
        return self.held_by

    def kill(self) -> bool:
        self.kills += 1
        if self._kill == "dies":
            self.die(137)
        return self._kill != "unanswered"

    def end(self) -> SandboxEnd:
        if self.exit_code is None and not self._end_facts:
            failed = {"failed_step": "inspect", "error_kind": "unavailable", "error": "it still runs"}
            return SandboxEnd(DockerFacts(container_id=self.id, **failed))
        facts = {"container_id": self.id, "exit_code": self.exit_code, "oom_killed": False}
        return SandboxEnd(DockerFacts(**{**facts, **self._end_facts}), self._network)

    def close(self) -> None:
        self.closed = True
        self._on_frozen = lambda *_: None
        self.close_streams()

    # --- what a test or a script does to it

    def write(self, data: bytes, stream: Literal["stdout", "stderr"] = "stdout") -> None:
        """Raw bytes on one of its streams."""
        self._emit(Frame(stream, data))

    def freeze(self, held_by: Literal["paused", "stopped"] = "paused", *, event: bool = True) -> None:
        """It is frozen from outside; `event=False`: the backend has no event for it."""
        self._frozen, self.held_by = True, held_by
        if event:
            self._on_frozen(True, self._timer.now())

    def thaw(self) -> None:
        self._frozen, self.held_by = False, None
        self._on_frozen(False, self._timer.now())
        later, self._later = self._later, []
        for action in later:
            self._unless_frozen(action)

    def die(self, exit_code: int = 137) -> None:
        """PID 1 is gone, without a last word."""
        if self.exit_code is None:
            self.exit_code, self._running = exit_code, None
            self.close_streams()

    def close_streams(self) -> None:
        """Its streams close; it may live on."""
        if not self._streams_closed:
            self._streams_closed = True
            self._emit(None)

    def supervisor(self, method: str, **params: Any) -> None:
        """A line of the supervisor."""
        self.write(wire.notification(f"supervisor/{method}", {"token": self._token, **params}))

    def exit(self, exit_code: int | None, signal: int | None, **facts: Any) -> None:
        """The harness has ended: the supervisor's last word, then PID 1 exits."""
        if self.exit_code is not None:
            return
        last = {"overflow": None, "terminated": False, "kernel": self._kernel, **facts, **self.exit_facts}
        self.supervisor("exit", exit_code=exit_code, signal=signal, **last)
        self.die(0)

    # --- inside

    def _emit(self, frame: Frame | None) -> None:
        self._timer.busy(+1)
        with self._ready:
            self._frames.append(frame)
            self._ready.notify()

    def _unless_frozen(self, action: Callable[[], None]) -> None:
        if self._frozen:
            self._later.append(action)
        else:
            action()

    def _obey(self, message: JsonDict) -> None:
        match message:
            case {"method": "supervisor/start", "params": params}:
                self._token = params["token"]
                self.supervisor("ready", kernel=self._kernel)
            case {"method": "supervisor/stop"}:
                if self._stop_works:
                    self.exit(None, 9, stopped_for="host_asked")
            case {"method": "harness/run", "params": params}:
                self._harness = FakeHarness(self, params, params["token"])
                self._running = self._script(self._harness)
                self._step(None)
            case {"id": ident} if "method" not in message:
                self._replies[ident] = message
                if self._awaited == ident:
                    self._step(message)

    def _step(self, value: JsonDict | None) -> None:
        """Run the script up to the next thing that it waits for."""
        self._awaited = None
        if self._running is None or self._harness is None:
            return
        try:
            if value is not None and "error" in value:
                error = value["error"]
                waits = self._running.throw(FakeModelError(error["data"]["kind"], error["message"]))
            else:
                waits = next(self._running) if value is None else self._running.send(value)
        except (StopIteration, FakeModelError) as end:
            harness = self._harness
            if isinstance(end, FakeModelError):
                harness.fail("bakeoff_runner.channel.ModelUnavailable", str(end))
            self.exit(None if harness.signal else harness.exit_code, harness.signal)
            return
        if self._running is None:  # it died on the way
            return
        if isinstance(waits, str):
            self._awaited = waits
            if waits in self._replies:
                self._step(self._replies[waits])
        elif waits != float("inf"):
            self._timer.after(waits, lambda: self._unless_frozen(lambda: self._step({})))


def kernel_facts(limits: ResourceLimits) -> JsonDict:
    """What the supervisor of a healthy sandbox with these limits reads back."""
    return {
        "cpus_limit": limits.cpus,
        "memory_limit_bytes": limits.memory_bytes,
        "pids_limit": limits.pids,
        "disk_limit_bytes": limits.disk_bytes,
        "swap_limit_bytes": 0,
        "oom_kills": 0,
        "pids_refused": 0,
        "disk_full": False,
    }


def one_question(harness: FakeHarness) -> Script:
    """A harness that asks its model once, with the messages of the task, and answers with the reply."""
    harness.loaded()
    harness.started()
    reply = yield harness.ask(*(human(str(message["content"])) for message in harness.task["messages"]))
    harness.answer(reply["result"]["message"])


def connect() -> FakeBackend:
    """A backend whose harness asks one question."""
    return FakeBackend()


class FakeBackend:
    """A backend in this process. Everything that is opened is remembered, so that what is left can be seen.

    Args:
        make: the sandbox of one `open`; may raise `SandboxError`. By default its harness asks one question.
        capacity: what it promises.
        on_lost: what `await_return` does first, such as setting `available`.
    """

    host_id = "fake"
    local = False

    def __init__(
        self,
        make: Callable[[SandboxSpec], Sandbox] | None = None,
        capacity: Capacity = CAPACITY,
        on_lost: Callable[[FakeBackend], None] = lambda _: None,
    ) -> None:
        self._make = make or (lambda spec: FakeSandbox(ManualTimer(), one_question, limits=spec.limits))
        self._capacity, self._on_lost = capacity, on_lost
        self.available = True
        self.unfit: UnfitEnvironment | None = None  # why `prove` refuses
        self.cores = capacity.cores  # what `prove` finds
        self.image: str | None = "fake"  # what `probe_image` finds
        self.proved: list[tuple[SandboxSpec, int]] = []
        self.expected: dict[SandboxSpec, int] = {}
        self.opened: list[tuple[SandboxSpec, tuple[int, ...]]] = []
        self.left: dict[str, list[Sandbox]] = {}  # by run: what no sweep has removed
        self._lock = threading.Lock()

    def facts(self) -> Host:
        return Host(cores=int(self._capacity.cpus), memory_bytes=self._capacity.memory_bytes, os="fake")

    def capacity(self, promised_bytes: int = 0) -> Capacity:
        return self._capacity

    def checks(self, config: Config | None) -> Generator[Check, None, None]:
        yield Check.ok("fake", "a scripted host")

    def probe_image(self, config: Config | None) -> str | None:
        return self.image

    def prove(self, spec: SandboxSpec, pinned: int = 0) -> Proof:
        self.proved.append((spec, pinned))
        if self.unfit is not None:
            raise self.unfit
        return Proof(self.cores, 2**40)

    def prepare(self, config: Config, say: Say) -> Image:
        return Image(
            id="fake",
            reference="fake",
            key="fake",
            source_digest="fake",
            python="3.13",
            base=ImageBase(kind="fake", reference=config.harness.base_image, digest="fake"),
            packages={},
        )

    def expect(self, spec: SandboxSpec, count: int, at_once: int) -> None:
        self.expected[spec] = self.expected.get(spec, 0) + count

    def open(self, spec: SandboxSpec, cores: tuple[int, ...] = ()) -> Sandbox:
        if not self.available:
            raise SandboxError(
                DockerFacts(failed_step="create", error_kind="unavailable", error="the fake is away")
            )
        sandbox = self._make(spec)
        with self._lock:
            self.opened.append((spec, cores))
            self.left.setdefault(spec.run_id, []).append(sandbox)
        return sandbox

    def await_return(self, stopping: threading.Event) -> None:
        self._on_lost(self)
        if not self.available and not stopping.is_set():
            raise BackendUnavailable("the fake stays away")

    def sweep(self, run_id: str) -> int:
        if not self.available:
            raise BackendUnavailable("sandboxes may be left")
        return len(self.left.pop(run_id, []))

    def close(self) -> None:
        pass
