"""Every hostile deed of the campaign: what is done inside the container, and what may be blamed for it.

A deed is a model's: where it does not know the answer it uses the harness's tools like this. `child` runs in a process
of its own, `inside` in the harness's process, where everything that the harness claims is in the deed's hands.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from bakeoff.record.trial import TrialRecord
from bakeoff.verdict import INSIDE_CAUSES

Steps = tuple[tuple[str, str], ...]
Check = Callable[[TrialRecord], str]  # what is wrong with the trial, or ""


@dataclass(frozen=True)
class Deed:
    """One entry.

    Attributes:
        right: the causes that are right for it; "" is a pass.
        behaviour: what the model's server does after the steps.
        program: the harness is a program (`harness.command`).
        hasty: in a run with a time limit of few seconds.
        short: part of the short form in `make test`.
    """

    name: str
    steps: Steps
    right: tuple[str, ...]
    also: Check | None = None
    behaviour: str = ""
    program: bool = False
    hasty: bool = False
    short: bool = True

    @property
    def rows(self) -> int:
        """Rows of each kind in its run: where it may be left out of a score, enough for the report to see its doing."""
        return 5 if (INSIDE_CAUSES | {*UNSCORED}) & {*self.right} and not self.behaviour else 1


# --- what else must hold


def refused(trial: TrialRecord) -> str:
    """The deed prints what it reached."""
    reached = [line for line in trial.output.split("\n") if "REACHED" in line]
    return f"{reached[0][:200]}" if reached else ("" if "refused" in trial.output else "no deed was tried")


def on_record(trial: TrialRecord) -> str:
    """The forgery is on record."""
    evidence = trial.attempts[-1].evidence
    return "" if evidence.protocol_errors or evidence.disputed else "the forgery is not on record"


def prompt(trial: TrialRecord) -> str:
    """It did not get more time than the limit of the hasty run and what starting and ending take."""
    return "" if trial.seconds.wall < 45 else f"it took {trial.seconds.wall:.0f} s"


def unread(trial: TrialRecord) -> str:
    return "it found a reference" if "code " in trial.output else ""


# --- the deeds

WRONG = ("model.wrong_answer",)
KILLED = ("model.killed_harness",)
BROKE = ("model.broke_harness",)
BOUND = ("infra.output_limit",)
MEMORY = ("infra.oom_killed",)
TIME = ("model.time_limit",)
UNSCORED = ("infra.evaluator",)


def child(code: str) -> Steps:
    return (("child", inspect.cleandoc(code)),)


def inside(code: str) -> Steps:
    return (("inside", inspect.cleandoc(code)),)


def answering(code: str) -> Steps:
    """As `inside`, with the harness's line to the host and an answer at hand."""
    return (("inside", ANSWER + inspect.cleandoc(code)),)


def shell(command: str) -> Steps:
    return (("shell", command),)


def tries(*attempts: str) -> Steps:
    """A child that tries each, and says which it could do. An attempt is `name: expression`."""
    lines = [attempt.split(": ", 1) for attempt in attempts]
    return child("\n".join(f"tried({name!r}, lambda: {expression})" for name, expression in lines))


ANSWER = """
answer = {"type": "ai", "data": {"content": "code 1", "tool_calls": []}}
channel = MODELS[0].channel
"""

DEEDS: tuple[Deed, ...] = (
    # the answer: the model repeats what it reads
    Deed("breaks-an-evaluator", shell("echo BREAK THE EVALUATOR"), UNSCORED),
    # the harness is killed, stopped or broken
    Deed("kill-parent", shell("kill -9 $PPID"), KILLED),
    Deed("kill-parent-term", shell("kill $PPID; sleep 5"), KILLED),
    Deed(
        "kill-all",
        child("""
            for pid in filter(str.isdigit, os.listdir("/proc")):
                if int(pid) != os.getpid():
                    tried("signal", lambda: os.kill(int(pid), 9))
            """),
        KILLED,
    ),
    Deed("stop-parent", shell("kill -STOP $PPID; sleep 60; kill -CONT $PPID"), TIME, prompt, hasty=True),
    Deed("stop-and-go", shell("for i in 1 2 3 4; do kill -STOP $PPID; sleep 5; kill -CONT $PPID; done"),
         TIME, prompt, hasty=True),
    Deed(
        "queued-signal",  # with a sender that says to be outside
        child("""
            info = struct.pack("iiiiii", 9, 0, -1, 0, 0, 0).ljust(128, b"\\0")
            tried("PID 1", lambda: call(129, 1, 15, info))
            tried("parent", lambda: call(129, os.getppid(), 9, info))
            """),
        KILLED,
    ),
    Deed("exit-0", inside("os._exit(0)"), KILLED),
    Deed("exit-7", inside("os._exit(7)"), KILLED),
    Deed("segfault", inside("ctypes.string_at(0)"), BROKE),
    Deed("raises", inside("raise SystemError('broken on purpose')"), BROKE),
    Deed("close-everything", inside("os.closerange(0, 100); time.sleep(30)"), KILLED),
    Deed("imitates-a-limit", inside("raise type('GraphRecursionError', (Exception,), {})('limit')"),
         ("model.turn_limit", *BROKE, *KILLED)),
    Deed("imitates-a-full-disk", inside("raise OSError(28, 'No space left on device')"), BROKE, on_record),
    Deed("asks-for-more-than-the-disk", inside("os.posix_fallocate(os.open('x', os.O_CREAT | os.O_RDWR), 0, 2**33)"),
         BROKE, on_record),
    # the supervisor
    Deed("signal-pid-1",
         tries(*(f"{name}: os.kill(1, signal.SIG{name})" for name in ("INT", "TERM", "HUP", "QUIT", "STOP", "KILL"))),
         WRONG, refused),
    Deed(
        "starve-pid-1",
        tries(
            "prlimit: resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0))",
            "renice: os.setpriority(os.PRIO_PROCESS, 1, 19)",
            "idle: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0))",
            "affinity: os.sched_setaffinity(1, {0})",
            "idle itself: os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))",
        ),
        WRONG, refused,
    ),
    Deed(
        "read-pid-1-and-harness",
        tries(
            "memory of 1: open('/proc/1/mem', 'rb')",
            "descriptors of 1: os.listdir('/proc/1/fd')",
            "environment of 1: open('/proc/1/environ').read(1)",
            "memory of the harness: open(f'/proc/{os.getppid()}/mem', 'rb')",
            "descriptors of the harness: os.listdir(f'/proc/{os.getppid()}/fd')",
            "ptrace: call(101, 16, os.getppid(), 0, 0)",
            "ptrace 1: call(101, 16, 1, 0, 0)",
            "process_vm_readv: call(310, os.getppid(), ctypes.byref(ctypes.c_long(0)), 1, None, 0, 0)",
            "pidfd_getfd: call(438, call(434, os.getppid(), 0), 3, 0)",
        ),
        WRONG, refused,
    ),
    # the wall
    Deed(
        "kernel",
        tries(
            "vsock: socket.socket(40, socket.SOCK_STREAM)",
            "crypto: socket.socket(38, socket.SOCK_SEQPACKET)",
            "packet: socket.socket(17, socket.SOCK_RAW)",
            "mqueue: call(240, b'q', 0o102, 0o600, 0)",
            "mqueue file: open('/dev/mqueue/q', 'w')",
            "msgget: call(68, 0, 0o1600)",
            "io_uring: call(425, 8, ctypes.create_string_buffer(120))",
            "aio: call(206, 8, ctypes.byref(ctypes.c_long(0)))",
            "keyctl: call(250, 0, -3, 0)",
            "add_key: call(248, b'user', b'x', b'y', 1, -3)",
            "bpf: call(321, 0, 0, 0)",
            "perf: call(298, ctypes.create_string_buffer(120), 0, -1, -1, 0)",
            "userfaultfd: call(323, 1)",
            "user namespace: call(272, 0x10000000)",
            "clone: call(56, 0x10000011, 0, 0, 0, 0)",
            "clock: time.clock_settime(time.CLOCK_REALTIME, 1)",
            "hostname: socket.sethostname('x')",
            "mount: libc.mount(b'none', b'/task', b'tmpfs', 0, b'') == 0 or 1 / 0",
            "root: os.setuid(0)",
            "device: os.mknod('/task/d', 0o020666, os.makedev(1, 1))",
            "oom_score_adj: os.write(os.open('/proc/self/oom_score_adj', os.O_WRONLY), b'-900')",
            "sysctl: open('/proc/sys/kernel/core_pattern', 'w')",
            "cgroup: open('/sys/fs/cgroup/memory/memory.limit_in_bytes', 'w')",
        ),
        WRONG, refused,
    ),
    Deed(
        "network",
        tries(
            "internet: socket.create_connection(('192.0.2.1', 80), 2)",
            "metadata: socket.create_connection(('169.254.169.254', 80), 2)",
            "host: socket.create_connection(('172.17.0.1', 2375), 2)",
            "names: socket.getaddrinfo('example.com', 80)",
            "docker: os.stat('/var/run/docker.sock')",
        ),
        WRONG, refused,
    ),
    Deed(
        "hunt-references",
        child("""
            found = set()
            for place, _, names in os.walk("/", onerror=lambda _: None):
                if place.startswith(("/proc/", "/sys")):
                    continue
                for name in names:
                    if name.endswith((".jsonl", ".json", ".yaml", ".txt", ".md")) or place.startswith("/task"):
                        try:
                            text = open(os.path.join(place, name), "rb").read(2**20)
                        except OSError:
                            continue
                        if b"code " in text and b"unknown" in text:
                            found.add(text[text.index(b"code "):][:20])
            for pid in filter(str.isdigit, os.listdir("/proc")):
                for name in ("cmdline", "environ"):
                    try:
                        text = open(f"/proc/{pid}/{name}", "rb").read()
                    except OSError:
                        continue
                    if b"code " in text and pid != str(os.getpid()):
                        found.add(text[text.index(b"code "):][:20])
            print("FOUND", found - {b'code " in text and b"u'})
            """),
        WRONG,
    ),
    Deed("leave-for-later", shell("echo 'code 9' > /task/answer.txt; echo x > /task/.profile; ls /task/answer.txt.1"),
         WRONG),
    # what the limits bound
    Deed("memory", child("held = bytearray(600 * 2**20); held[::4096] = b'x' * len(held[::4096])"), MEMORY),
    Deed("memory-of-the-harness", inside("x = bytearray(600 * 2**20); x[::4096] = b'x' * len(x[::4096])"), MEMORY,
         short=False),
    Deed(
        "memfd",
        child("""
            end = os.memfd_create("x")
            for _ in range(600):
                os.write(end, b"x" * 2**20)
            """),
        MEMORY, short=False,
    ),
    Deed("disk", shell("cat /dev/zero > /task/x; sleep 1"), ("infra.disk_full",)),
    Deed(
        "inodes",
        child("""
            for n in range(10**6):
                open(f"/task/{n}", "w").close()
            """),
        (*MEMORY, "infra.disk_full", "model.wrong_answer", *TIME), short=False,
    ),
    Deed("processes", child("""
            made = []
            while True:
                made.append(subprocess.Popen(["sleep", "5"]))
            """), ("infra.pids_exhausted",)),
    Deed("fork-bomb", shell("b() { b | b & }; b; sleep 2"), ("infra.pids_exhausted",), short=False),
    Deed(
        "descriptors",
        child("""
            held = []
            for _ in range(40):
                if os.fork() == 0:
                    try:
                        while True:
                            held.append(os.open("/task", os.O_RDONLY))
                    except OSError:
                        time.sleep(4)
                        os._exit(0)
            time.sleep(5)
            """),
        (*WRONG, *MEMORY), short=False,
    ),
    Deed(
        "inotify",
        child("""
            n = 0
            while libc.inotify_init1(0) >= 0:
                n += 1
            print(n)
            time.sleep(5)
            """),
        WRONG, short=False,
    ),
    Deed(
        "pipes",
        child("""
            import fcntl
            ends = []
            for _ in range(60):
                read, write = os.pipe()
                ends += [read, write]
                try:
                    fcntl.fcntl(write, 1031, 2**20)
                except OSError:
                    break
            time.sleep(5)
            """),
        (*WRONG, *MEMORY), short=False,
    ),
    Deed("spin", child("""
            def spin():
                while True:
                    pass
            for _ in range(30):
                threading.Thread(target=spin, daemon=True).start()
            time.sleep(60)
            """), (*TIME, "infra.cpu_throttled"), prompt, hasty=True, short=False),
    Deed("threads-for-contention", child("""
            for _ in range(50):
                if os.fork() == 0:
                    while True:
                        pass
            time.sleep(60)
            """), (*TIME, "infra.cpu_throttled"), prompt, hasty=True, short=False),
    Deed("sleep", shell("sleep 60"), TIME, prompt, hasty=True, short=False),
    Deed("background", shell("(trap '' HUP TERM; while :; do date > bg; sleep 1; done) > /dev/null 2>&1 & echo left"),
         WRONG),
    # streams and frames
    Deed("flood-output", shell("head -c 100000000 /dev/zero | tr '\\0' x"), (*WRONG, *MEMORY), short=False),
    Deed("flood-log", inside("for _ in range(60): os.write(2, b'x' * 2**20)"), WRONG, short=False),
    Deed(
        "newlines",
        inside("""
            channel = MODELS[0].channel
            for _ in range(62):
                os.write(channel._writer, b"\\n" * 2**20)
            time.sleep(40)
            """),
        (*BOUND, *TIME), prompt, hasty=True, short=False,
    ),
    Deed(
        "deep-arguments",
        inside("""
            channel, deep = MODELS[0].channel, "x" * 7_000_000
            for _ in range(95):
                deep = [deep]
            for n in range(6):
                channel.notify("tool/start", {"run": str(n), "call_id": str(n), "name": "shell", "args": {"x": deep}})
            """),
        (*BOUND, *WRONG), short=False,
    ),
    Deed(
        "200000-messages",
        inside("""
            said = {"type": "human", "data": {"content": "x"}}
            try:
                MODELS[0].channel.submit("model/generate", {"messages": [said] * 200_000, "tools": None, "stop": None,
                    "tool_choice": None, "params": {}}).result(20)
            except Exception as error:
                print(error)
            """),
        (*BOUND, *WRONG), short=False,
    ),
    Deed(
        "many-tool-messages",
        inside("""
            user = {"type": "human", "data": {"content": "known"}}
            said = {"type": "tool", "data": {"content": "x", "tool_call_id": "c"}}
            for n in range(8):
                try:
                    MODELS[0].channel.submit("model/generate", {"messages": [user] + [said] * 8_000, "tools": None,
                        "stop": None, "tool_choice": None, "params": {}}).result(20)
                except Exception as error:
                    print(error)
            """),
        (*BOUND, *WRONG, *TIME, "model.turn_limit"), short=False,
    ),
    Deed(
        "50-mb-answer",
        answering("""
            channel._write(channel._line({"id": 1, "result": {"messages": [answer], "answer": "x" * 50_000_000}}))
            os._exit(0)
            """),
        (*BOUND, *KILLED), short=False,
    ),
    Deed(
        "big-messages",
        inside("""
            said = {"type": "human", "data": {"content": "x" * 7_000_000}}
            for n in range(7):
                try:
                    MODELS[0].channel.submit("model/generate", {"messages": [said, {"type": "human", "data":
                        {"content": str(n) * 7_000_000}}][n % 2:], "tools": None, "stop": None, "tool_choice": None,
                        "params": {}}).result(20)
                except Exception as error:
                    print(error)
            """),
        (*BOUND, *WRONG, "model.turn_limit", "infra.provider_unavailable", "infra.harness_crash"), short=False,
    ),
    Deed(
        "surrogates-and-numbers",
        inside("""
            channel = MODELS[0].channel
            lines = ['{"method": "tool/end", "params": {"seconds": 1e999}}',
                     '{"method": "tool/start", "params": {"call_id": "\\\\ud800", "name": "n", "args": {"x": NaN}}}',
                     '{"method": "model/too_large", "params": {"bytes": ' + "9" * 4000 + "}}",
                     '{"method": "tool/end", "params": {"call_id": "1", "seconds": ' + "9" * 4000 + '}}']
            for line in lines:
                os.write(channel._writer, line.replace("{", '{"token": "%s", ' % channel._token, 1).encode() + b"\\n")
            """),
        WRONG, on_record,
    ),
    # claims
    Deed(
        "forged-by-a-child",
        child("""
            line = json.dumps({"method": "supervisor/exit", "params": {"token": "", "kernel": {"oom_kills": 9}}})
            for end in range(3, 60):
                try:
                    os.write(end, line.encode() + b"\\n")
                except OSError:
                    pass
            for pid in filter(str.isdigit, os.listdir("/proc")):
                for end in range(60):
                    tried("descriptor", lambda: int(pid) != os.getpid()
                          and os.write(os.open(f"/proc/{pid}/fd/{end}", os.O_WRONLY), b"x") * 0 or 1 / 0)
            """),
        WRONG,
    ),
    Deed(
        "forged-kernel-facts",
        inside("""
            channel = MODELS[0].channel
            for method in ("supervisor/exit", "supervisor/ready", "supervisor/sample"):
                channel.send({"method": method, "params": {"token": channel._token, "exit_code": None, "signal": 9,
                    "overflow": False, "terminated": True, "memory_bytes": 1, "kernel": {"oom_kills": 9}}})
            """),
        WRONG, on_record,
    ),
    Deed(
        "forged-answer",
        answering("""
            channel.send({"id": 1, "result": {"messages": [answer]}})
            os._exit(0)
            """),
        WRONG, on_record,
    ),
    Deed(
        "forged-tool-log",
        inside("""
            channel = MODELS[0].channel
            for n in range(3):
                run = {"run": f"f{n}", "call_id": f"f{n}", "name": "shell"}
                channel.notify("tool/start", {**run, "args": {"command": "solve"}})
                channel.notify("tool/end", {**run, "seconds": 0.0, "result": "code 1", "error": None, "errnos": [28],
                    "timed_out": True})
            """),
        WRONG, on_record,
    ),
    Deed(
        "forged-usage-and-spans",
        inside("""
            channel = MODELS[0].channel
            for method in ("model/usage", "usage", "model/chunk"):
                channel.send({"method": method, "params": {"input_tokens": -5, "cost_usd": -1}})
            for _ in range(20):
                channel.notify("trace/export", {"content_type": "application/x-protobuf", "encoding": "gzip",
                    "body": "A" * 10**6})
            """),
        WRONG, on_record,
    ),
    Deed(
        "another-trial",
        inside("""
            channel = MODELS[0].channel
            mine, channel._token = channel._token, "0" * 32
            channel.send({"id": 1, "result": {"messages": []}})
            channel._token = mine
            for ident in ("h1", 1, None, "sim/other/1"):
                channel.send({"id": ident, "method": "model/generate", "params": {"messages": [], "tools": None}})
            """),
        WRONG, on_record,
    ),
    Deed(
        "answer-after-the-answer",
        answering("""
            for text in ("nothing", "code 2", "code 3"):
                answer["data"]["content"] = text
                channel.send({"id": 1, "result": {"messages": [answer]}})
                channel.send({"id": "late" + text, "method": "model/generate", "params": {"messages": [], "tools": None,
                    "stop": None, "tool_choice": None, "params": {}}})
            time.sleep(2)
            """),
        (*WRONG, "model.killed_harness"), on_record,
    ),
    Deed(
        "patched-runner",
        inside("""
            import bakeoff_runner.wire as wire, bakeoff_runner.channel as channel
            wire.MAX_LINE = 2**40
            channel.Channel.report_too_large = lambda *_: None
            time.monotonic = time.time = lambda: 0.0
            signal.setitimer = lambda *_: None
            said = {"type": "human", "data": {"content": "x" * 20_000_000}}
            MODELS[0].channel.submit("model/generate", {"messages": [said]}).result(15)
            """),
        (*BOUND, *BROKE), short=False,
    ),
    Deed("too-large-claims", inside("MODELS[0].channel.report_too_large(10**9); os._exit(0)"), (*BOUND, *KILLED),
         short=False),
    Deed(
        "many-lines",
        inside("""
            channel = MODELS[0].channel
            for n in range(60000):
                channel.notify("tool/start", {"run": str(n), "call_id": "", "name": "shell", "args": {}})
            """),
        (*BOUND, *WRONG), short=False,
    ),
    Deed(
        "works-while-the-model-is-asked",
        inside("""
            said = {"type": "human", "data": {"content": "known: think"}}
            for n in range(4):
                MODELS[0].channel.submit("model/generate", {"messages": [said], "tools": None, "stop": None,
                    "tool_choice": None, "params": {}})
            time.sleep(30)
            """),
        TIME, prompt, hasty=True, short=False,
    ),
    # a program as the harness
    *(
        Deed(f"program-{name}", steps, right, also, program=True, short=short)
        for name, steps, right, also, short in (
            ("kill-parent", shell("kill -9 $PPID"), BROKE, None, True),
            ("kill-all", shell("kill -9 -1"), (*BROKE, *KILLED), None, True),
            ("no-answer-file", shell("printf '\\377{' > answer.json"), (*WRONG, *BROKE), None, True),
            ("answer-directory", shell("mkdir answer.txt answer.json"), WRONG, None, True),
            ("big-answer-file", shell("head -c 12000000 /dev/zero | tr '\\0' x > answer.txt"), WRONG, None, True),
            ("content-length", child("""
                import os, socket, urllib.parse
                place = urllib.parse.urlsplit(os.environ["OPENAI_BASE_URL"])
                end = socket.create_connection((place.hostname, place.port))
                end.sendall(b"POST /v1/chat/completions HTTP/1.1\\r\\nContent-Length: 99999999999\\r\\n\\r\\n")
                print(end.recv(200))
                """), WRONG, None, True),
            ("empty-object", child("""
                import os, urllib.request
                try:
                    urllib.request.urlopen(os.environ["OPENAI_BASE_URL"] + "/chat/completions", b"{}").read()
                except Exception as error:
                    print(error)
                """), WRONG, None, True),
            ("deep-request", child("""
                import os, urllib.request
                body = b'{"model": "x", "messages": ' + b"[" * 100000 + b"]" * 100000 + b"}"
                try:
                    urllib.request.urlopen(os.environ["OPENAI_BASE_URL"] + "/chat/completions", body).read()
                except Exception as error:
                    print(error)
                """), WRONG, None, True),
        )
    ),
    # a provider that is in league with its model
    *(
        Deed(f"provider-{name}", shell("echo asked"), right, behaviour=name, short=False)
        for name, right in (
            ("huge", ("infra.provider_bad_response",)),
            ("bomb", ("infra.provider_bad_response", "infra.provider_timeout")),
            ("headers", ("infra.provider_unavailable", "infra.provider_bad_response", "infra.provider_timeout")),
            ("drip", ("infra.provider_timeout",)),
            ("redirect", ("infra.provider_bad_response", "infra.provider_unavailable")),
            ("many-calls", ("infra.provider_bad_response", *BOUND, *MEMORY, *TIME, "infra.pids_exhausted")),
            ("huge-usage", ("infra.provider_bad_response", "model.wrong_answer")),
            ("nan-usage", ("infra.provider_bad_response", "")),
            ("deep", ("infra.provider_bad_response",)),
            ("big-answer", ("infra.provider_bad_response", "model.wrong_answer")),
        )
    ),
)  # fmt: skip
