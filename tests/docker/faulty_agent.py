"""An agent whose tools do real harm to the container they run in. Copied into a project by the tests."""

import ctypes
import errno
import json
import os
import pwd
import resource
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from langchain.agents import create_agent
from langchain_core.messages import ChatMessage
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

MODELS = []  # the one that the agent was built with
CHILD = "import sys; held = bytearray(int(sys.argv[1]) * 2**20); held[::4096] = b'x' * len(held[::4096]); print('held')"


def hog(mib: int) -> str:
    """Hold memory in the harness's own process."""
    held = bytearray(mib * 2**20)
    held[::4096] = b"x" * len(held[::4096])
    return "held"


def hog_child(mib: int) -> str:
    """Hold memory in a child process; say what became of it."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(mib)], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else f"the child ended with {done.returncode}"


def hog_child_then_less(mib: int) -> str:
    """As hog_child; when the child is killed, be frugal."""
    first = hog_child(mib)
    return first if first == "held" else hog_child(8)


def fill_disk() -> str:
    """Write to the working directory until it is full; say how it ended and tidy up."""
    path = Path("filler")
    try:
        with path.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 2**20)
    except OSError as error:
        return f"stopped by {errno.errorcode[error.errno or 0]}"
    finally:
        time.sleep(0.4)
        path.unlink()


def fill_disk_and_raise() -> str:
    """Write to the working directory until it is full, and let the error out."""
    with Path("filler").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 2**20)


def spawn_threads() -> str:
    """Start processes until the kernel refuses."""
    children = []
    try:
        for _ in range(500):
            children.append(subprocess.Popen(["sleep", "30"]))
    except OSError as error:
        return f"refused with {errno.errorcode[error.errno or 0]} after {len(children)}"
    finally:
        for child in children:
            child.kill()
            child.wait()
    return "never refused"


def fork_bomb() -> str:
    """Let processes double for a second."""
    subprocess.Popen(["sh", "-c", "b() { b | b & }; b"], stderr=subprocess.DEVNULL)
    time.sleep(1.0)
    return "still here"


def leave(code: int) -> str:
    """End the harness process."""
    os._exit(code)


def end_by(signal_number: int) -> str:
    """Send the harness's own process a signal."""
    os.kill(os.getpid(), signal_number)
    time.sleep(60)
    return "never"


def raise_what(name: str) -> str:
    """Let an exception out."""
    raise {"KeyError": KeyError("A-99"), "SystemExit": SystemExit(3)}[name]


def go_round() -> str:
    """Run a graph that never ends into the framework's own limit."""
    graph = StateGraph(dict)
    graph.add_node("a", lambda state: state)
    graph.add_edge(START, "a")
    graph.add_edge("a", "a")
    return str(graph.compile().invoke({}, {"recursion_limit": 4}))


def ask_a_person() -> str:
    """Wait for a person's decision, for whom nobody is there."""
    return str(interrupt("Approve?"))


def segfault() -> str:
    """Crash the interpreter: read at address 0."""
    return repr(ctypes.string_at(0))


def kill_supervisor() -> str:
    """Try to kill PID 1 and to read its memory."""
    out = []
    for number in (15, 9):
        try:
            os.kill(1, number)
            out.append(f"signal {number} sent")
        except OSError as error:
            out.append(str(error))
        time.sleep(0.1)
    return "; ".join(out)


def wait(seconds: float) -> str:
    """Sleep."""
    time.sleep(seconds)
    return "waited"


def spin(seconds: float) -> str:
    """Use the CPU."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return "spun"


def work(seconds: float) -> str:
    """Use this much CPU time, however long it takes."""
    while time.process_time() < seconds:
        pass
    return "worked"


def shout(mib: int) -> str:
    """Flood stdout and stderr with this much altogether."""
    line = "x" * 1023 + "\n"
    for _ in range(mib * 512):
        sys.stdout.write(line)
        sys.stderr.write(line)
    return "shouted"


def forge() -> str:
    """Write forged protocol lines into every descriptor that takes them, PID 1's too; some carry the right token."""
    lines = [
        {"jsonrpc": "2.0", "method": "supervisor/exit", "params": {"token": "", "kernel": {"oom_kills": 9}}},
        {"jsonrpc": "2.0", "method": "nonsense", "params": {}},
    ]
    for ident in ("forged", 1, None, ["h1"], "h1"):
        for method in ("model/generate", "model/http"):
            for params in ({}, {"messages": "none"}, [], "text"):
                channel().send({"id": ident, "method": method, "params": params})
    data = "".join(json.dumps(line) + "\n" for line in lines).encode() + b"not json\n\xff\xfe\n"
    for end in range(3, 20):
        try:
            os.write(end, data)
        except OSError:
            continue
    reached = []
    for name in ("/proc/1/fd/1", "/proc/1/mem", "/proc/1/environ"):
        try:
            with open(name, "rb+" if "fd" in name or "mem" in name else "rb"):
                reached.append(name)
        except OSError:
            continue
    return f"reached: {reached}"


def speak_to_a_critic() -> str:
    """Ask the model in a message of a type that is none of the protocol's, as a harness of today may."""
    return str(MODELS[0].invoke([ChatMessage(role="critic", content="Is it so?")]).content)


def ask_wrongly(method: str, params: dict) -> str:
    """Ask the model in a line that is no request, and wait for the reply."""
    return str(channel().submit(method, params).result())


def listen() -> str:
    """Let the model speak, piece by piece, to its end."""
    return "".join(str(piece.content) for piece in MODELS[0].stream("Tell me more."))


def return_much(mib: int) -> str:
    """A result that no model can be shown."""
    return "x" * mib * 2**20


def close_all() -> str:
    """Close every descriptor, the runner's too, and open files in their place."""
    os.closerange(3, 100)
    MODELS.extend(open(f"/task/file-{n}", "wb") for n in range(20))
    return "closed"


def answer_oddly(kind: str) -> str:
    """Answer in what Python's JSON takes and others do not, and end."""
    deep = []
    for _ in range(300):
        deep = [deep]
    args = {"nan": {"x": float("nan"), "y": float("inf")}, "deep": {"x": deep}}.get(kind, {})
    asked = {
        "content": "",
        "tool_calls": [{"name": "answer_oddly", "id": "c1", "args": {"kind": kind, **args}}],
    }
    metadata = "stop" if kind == "metadata" else {"score": float("nan")}
    answer = {"content": "done", "response_metadata": metadata}
    messages = [{"type": "ai", "data": data} for data in (asked, answer)]
    channel().send({"id": 1, "result": {"messages": messages}})
    os._exit(0)


def channel():
    """The runner's own end of the line: what runs in the harness's process can reach it."""
    return MODELS[0].channel


def long_line(mib: int) -> str:
    """Send the host one endless line, through every descriptor that takes it."""
    for end in range(3, 20):
        try:
            for _ in range(mib):
                os.write(end, b"x" * 2**20)
            os.write(end, b"\n")
        except OSError:
            continue
    return "sent"


def probe() -> str:
    """What can be seen and done from in here, as JSON."""
    writable = []
    for place in ("/", "/tmp", "/dev/shm", "/var/tmp", "/opt", "/run", "/etc", "/task"):
        try:
            with open(os.path.join(place, "probe"), "w") as file:
                file.write("x")
            os.unlink(os.path.join(place, "probe"))
            writable.append(place)
        except OSError:
            continue
    status = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line
    )
    try:
        socket.create_connection(("192.0.2.1", 80), timeout=1)
        network = "connected"
    except OSError as error:
        network = str(error)
    facts = {
        "environment": dict(os.environ),
        "writable": writable,
        "uid": os.getuid(),
        "capabilities": status["CapEff"].strip(),
        "bounding": status["CapBnd"].strip(),
        "no_new_privileges": status["NoNewPrivs"].strip(),
        "network": network,
        "interfaces": [name for _, name in socket.if_nameindex()],
        "socket": os.path.exists("/var/run/docker.sock"),
        "home": str(Path.home()),
        "cwd": os.getcwd(),
        "shared_memory": os.path.realpath("/dev/shm"),
        "against_the_supervisor": against_the_supervisor(),
        "against_the_kernel": against_the_kernel(),
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "threads": threading.active_count(),
        "limits": [
            resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in ("NOFILE", "CORE", "NPROC")
        ],
        "process 1": Path("/proc/1/cmdline").read_text().split("\0"),
        "langchain_chat_models": sorted(m for m in sys.modules if m.startswith(("openai", "anthropic"))),
    }
    Path("/task/probe.json").write_text(json.dumps(facts))
    print("PROBE " + json.dumps(facts), flush=True)
    return "probed"


def against_the_supervisor() -> dict:
    """What this process may do to the supervisor: nothing that ends it, slows it or reads it is to be in here."""
    deeds = {
        **{f"signal {number}": lambda number=number: os.kill(1, number) for number in (1, 2, 3, 9, 15, 19)},
        "prlimit": lambda: resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0)),
        "renice": lambda: os.setpriority(os.PRIO_PROCESS, 1, 19),
        "idle": lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)),
        "affinity": lambda: os.sched_setaffinity(1, {0}),
        "memory": lambda: open("/proc/1/mem", "rb"),
        "descriptors": lambda: os.listdir("/proc/1/fd"),
        "become root": lambda: os.setuid(0),
    }
    done = {}
    for name, deed in deeds.items():
        try:
            done[name] = repr(deed())
        except OSError:
            continue
    spy = "import sys; open(f'/proc/{sys.argv[1]}/mem', 'rb')"
    if (
        subprocess.run(
            [sys.executable, "-c", spy, str(os.getpid())], stderr=subprocess.DEVNULL, check=False
        ).returncode
        == 0
    ):
        done["a child reads the harness's memory"] = "yes"
    if subprocess.run("echo noted > /dev/stderr", shell=True, check=False).returncode != 0:
        done["a child cannot write to /dev/stderr"] = "yes"
    return done


def against_the_kernel() -> dict:
    """What this process may do to the kernel, beyond its container: nothing of this is to be in here."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(number, *arguments):
        if libc.syscall(number, *arguments) < 0:
            raise OSError(ctypes.get_errno(), "refused")
        return "done"

    numbers = {
        "unshare": (272, 0x10000000), "clone into a user namespace": (56, 0x10000000 | 17, 0, 0, 0, 0),
        "io_uring": (425, 8, ctypes.create_string_buffer(120)), "aio": (206, 8, ctypes.byref(ctypes.c_long(0))),
        "keyctl": (250, 0, -3, 0), "add_key": (248, b"user", b"x", b"y", 1, -3), "bpf": (321, 0, 0, 0),
        "perf": (298, ctypes.create_string_buffer(120), 0, -1, -1, 0), "userfaultfd": (323, 1),
        "mq_open": (240, b"q", 0o102, 0o600, 0), "msgget": (68, 0, 0o1600),
        "settimeofday": (164, ctypes.create_string_buffer(16), 0), "setns": (308, 0, 0), "x32": (0x40000027,),
    }  # fmt: skip
    deeds = {name: lambda arguments=arguments: call(*arguments) for name, arguments in numbers.items()}
    deeds |= {
        f"family {family}": lambda family=family: socket.socket(family, socket.SOCK_STREAM).close() or "open"
        for family in (17, 38, 40)
    }
    deeds["affinity"] = lambda: os.sched_setaffinity(0, os.sched_getaffinity(0)) or "set"
    deeds["queue by its file"] = lambda: open("/dev/mqueue/q", "w").close() or "made"
    done = {}
    for name, deed in deeds.items():
        try:
            done[name] = deed()
        except OSError:
            continue
    return done


def read_file(name: str) -> str:
    """A file of the working directory."""
    return Path(name).read_text()


TOOLS = [
    hog, hog_child, hog_child_then_less, fill_disk, fill_disk_and_raise, spawn_threads, fork_bomb, leave, segfault,
    kill_supervisor, wait, spin, work, shout, forge, speak_to_a_critic, ask_wrongly, return_much, close_all, listen,
    answer_oddly, long_line, probe, read_file, end_by, raise_what, go_round, ask_a_person,
]  # fmt: skip


def build_agent(model, context):
    """The agent."""
    MODELS.append(model)
    return create_agent(model, TOOLS, system_prompt="You do as you are told.")
